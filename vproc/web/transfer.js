// One PUT to the store with its progress, watched: one that stands still is broken off.

import { Problem } from "/assets/api.js";

const STANDS_STILL_MS = 60_000;

// Gives `{status, etag}` of a success. Throws a `Problem` (status 0: no answer), or an AbortError by `signal`.
export function put(url, body, { headers = {}, onprogress = () => {}, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let watch = 0;
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(() => request.abort(), STANDS_STILL_MS);
    };
    const stop = () => request.abort();
    const ended = (settle) => () => {
      clearTimeout(watch);
      signal.removeEventListener("abort", stop);
      settle();
    };
    const away = () => reject(new Problem(0, "The storage does not answer. Check your connection."));
    request.open("PUT", url);
    for (const [name, value] of Object.entries(headers)) {
      // Content-Length is signed too, but a browser sets it by itself and lets nobody else.
      if (name.toLowerCase() !== "content-length") request.setRequestHeader(name, value);
    }
    request.upload.onprogress = (event) => {
      alive();
      onprogress(event.loaded);
    };
    request.onload = ended(() => {
      const { status } = request;
      if (status >= 200 && status < 300) resolve({ status, etag: request.getResponseHeader("ETag") });
      else reject(new Problem(status, `The storage refused it (${status}).`));
    });
    request.onerror = ended(away);
    request.onabort = ended(() => (signal.aborted ? reject(new DOMException("stopped", "AbortError")) : away()));
    if (signal.aborted) return reject(new DOMException("stopped", "AbortError"));
    signal.addEventListener("abort", stop);
    alive();
    request.send(body);
  });
}

// Speed over the last seconds, in bytes a second.
export class Meter {
  #seen = [];

  take(loaded) {
    const now = performance.now();
    this.#seen.push([now, loaded]);
    while (this.#seen.length > 2 && now - this.#seen[0][0] > 6000) this.#seen.shift();
  }

  clear() {
    this.#seen = [];
  }

  get bytesPerSecond() {
    if (this.#seen.length < 2) return 0;
    const [[from, before], [to, after]] = [this.#seen[0], this.#seen.at(-1)];
    return to - from < 500 ? 0 : Math.max(0, (after - before) / ((to - from) / 1000));
  }
}
