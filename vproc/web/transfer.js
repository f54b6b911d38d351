// One PUT to the store with its progress, watched: one that stands still is broken off.

import { Problem, unlessAborted } from "/assets/api.js";

const STANDS_STILL_MS = 60_000;

class StoreProblem extends Problem {
  // 403: the address expired. 400: S3 says so of a body that broke off.
  get passes() {
    return super.passes || [400, 403].includes(this.status);
  }
}

// Ends with a success. Throws a `Problem` (status 0: no answer), or an AbortError by `signal`.
export function put(url, body, { headers = {}, onprogress, signal }) {
  const request = new XMLHttpRequest();
  let watch = 0;
  const alive = () => {
    clearTimeout(watch);
    watch = setTimeout(() => request.abort(), STANDS_STILL_MS);
  };
  return unlessAborted(signal, (resolve, reject) => {
    request.open("PUT", url);
    for (const [name, value] of Object.entries(headers)) {
      // Content-Length is signed too, but a browser sets it by itself and lets nobody else.
      if (name.toLowerCase() !== "content-length") request.setRequestHeader(name, value);
    }
    request.upload.onprogress = ({ loaded }) => {
      alive();
      onprogress(loaded);
    };
    request.onload = () => {
      const { status } = request;
      if (status >= 200 && status < 300) resolve();
      else reject(new StoreProblem(status, `The storage refused it (${status}).`));
    };
    request.onerror = request.onabort = () => reject(new StoreProblem(0, "The storage does not answer. Check your connection."));
    alive();
    request.send(body);
  }).finally(() => {
    clearTimeout(watch);
    request.abort();
  });
}

// `speed` in bytes a second, of which the last seconds count most.
export class Meter {
  speed = 0;
  #at = null;

  take(loaded) {
    const now = performance.now();
    if (this.#at) {
      const [passed_s, more] = [(now - this.#at.now) / 1000, loaded - this.#at.loaded];
      if (passed_s < 0.25) return;
      const share = this.speed ? 1 - Math.exp(-passed_s / 3) : 1;
      this.speed += share * (Math.max(0, more) / passed_s - this.speed);
    }
    this.#at = { now, loaded };
  }
}
