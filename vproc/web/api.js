// Asks the daemon. A session that ended is refreshed once where there are accounts; otherwise `signed-out` goes out on `bus`.

export const bus = new EventTarget();
export const config = JSON.parse(document.querySelector("meta[name=vproc]").content);
const AWAY = "The service does not answer. Check your connection.";

// `status` 0: no answer came. `retryAfter_s` as the daemon says, or null.
export class Problem extends Error {
  constructor(status, detail, retryAfter_s = null) {
    super(detail);
    this.status = status;
    this.retryAfter_s = retryAfter_s;
  }

  // Whether the same may go well in a while.
  get passes() {
    return [0, 408, 429, 500, 502, 503, 504].includes(this.status);
  }
}

async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  return new Problem(response.status, body.detail ?? `The service answered ${response.status}.`, Number(response.headers.get("Retry-After")) || null);
}

async function once(path, { method = "GET", body, headers = {}, signal } = {}) {
  const sent = body === undefined ? headers : { "Content-Type": "application/json", ...headers };
  try {
    return await fetch(path, { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, AWAY);
  }
}

let refreshing = null;
function refreshed() {
  refreshing ??= once("/auth/refresh", { method: "POST" }).then((answer) => answer.ok).catch(() => false).finally(() => (refreshing = null));
  return refreshing;
}

// The answer's JSON, or null where it has none. Throws a `Problem`, or an AbortError by `signal`.
export async function ask(path, options = {}) {
  let response = await once(path, options);
  if (response.status === 401 && !path.startsWith("/auth/") && config.auth === "cognito" && (await refreshed())) {
    response = await once(path, options);
  }
  if (!response.ok) {
    const problem = await problemOf(response);
    if (problem.status === 401 && !path.startsWith("/auth/")) bus.dispatchEvent(new Event("signed-out"));
    throw problem;
  }
  return response.status === 204 ? null : response.json();
}

const playbacks = new Map();
// Addresses for a player: asked for once, and again before they end.
export function playbackOf(id, { fresh = false } = {}) {
  const known = playbacks.get(id);
  if (known && !fresh && known.until > Date.now()) return known.answer;
  const answer = ask(`/upload/${id}/playback`, { method: "POST" });
  playbacks.set(id, { answer, until: Date.now() + 11 * 3600e3 });
  answer.catch(() => playbacks.delete(id));
  return answer;
}

export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new DOMException("stopped", "AbortError"));
    if (signal?.aborted) return stop();
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); stop(); }, { once: true });
  });
}

// 1 s, 2 s, 4 s … at most 30 s, a half of it by chance; what the daemon said, where it said something.
export function backOff(attempt, problem) {
  if (problem?.retryAfter_s) return problem.retryAfter_s * 1000;
  const most = Math.min(30, 2 ** attempt) * 1000;
  return most / 2 + (Math.random() * most) / 2;
}
