// Asks the daemon. A session that ended is refreshed once where there are accounts; otherwise `signed-out` goes out on `bus`.

export const bus = new EventTarget();
export const config = JSON.parse(document.querySelector("meta[name=vproc]").content);

// `status` 0: no answer came. `retryAfter_s` as the daemon says, or null.
export class Problem extends Error {
  constructor(status, detail, retryAfter_s = null) {
    super(detail);
    Object.assign(this, { status, retryAfter_s });
  }

  // Whether the same may go well in a while.
  get passes() {
    return [0, 408, 429, 500, 502, 503, 504].includes(this.status);
  }
}

async function once(path, { body, headers, ...options }) {
  const sent = body && { body: JSON.stringify(body), headers: { "Content-Type": "application/json", ...headers } };
  try {
    return await fetch(path, { headers, ...options, ...sent });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Problem(0, "The service does not answer. Check your connection.");
  }
}

let refreshing = null; // many may find at the same time that the session ended
function refreshed() {
  refreshing ??= once("/auth/refresh", { method: "POST" }).then(({ ok }) => ok, () => false).finally(() => (refreshing = null));
  return refreshing;
}

// The answer's JSON, or null where it has none. Throws a `Problem`, or an AbortError by `signal`.
export async function ask(path, options = {}) {
  const inside = !path.startsWith("/auth/");
  let response = await once(path, options);
  if (response.status === 401 && inside && config.auth === "cognito" && (await refreshed())) response = await once(path, options);
  const { status } = response;
  if (response.ok) return status === 204 ? null : response.json();
  const { detail = `The service answered ${status}.` } = await response.json().catch(() => ({}));
  if (status === 401 && inside) bus.dispatchEvent(new Event("signed-out"));
  throw new Problem(status, detail, Number(response.headers.get("Retry-After")) || null);
}

export const post = (path, body, options) => ask(path, { method: "POST", body, ...options });

const playbacks = new Map();
// Addresses for a player: asked for once, and again before they end.
export function playbackOf(id, { fresh = false } = {}) {
  const known = playbacks.get(id);
  if (known && !fresh && known.until > Date.now()) return known.answer;
  const answer = post(`/upload/${id}/playback`);
  playbacks.set(id, { answer, until: Date.now() + 11 * 3600e3 });
  answer.catch(() => playbacks.delete(id));
  return answer;
}

// What `begin(resolve, reject, ended)` comes to, or an AbortError by `signal`; `ended` is a signal for what ends with it.
export function unlessAborted(signal, begin) {
  const end = new AbortController();
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    signal.addEventListener("abort", () => reject(signal.reason), { signal: end.signal });
    begin(resolve, reject, end.signal);
  }).finally(() => end.abort());
}

export const pause = (ms, signal) => unlessAborted(signal, (resolve) => setTimeout(resolve, ms));

// 1 s, 2 s, 4 s … at most 30 s, a half of it by chance; what the daemon said, where it said something.
export function backOff(attempt, problem) {
  if (problem?.retryAfter_s) return problem.retryAfter_s * 1000;
  return Math.min(30, 2 ** attempt) * 500 * (1 + Math.random());
}
