// Follows files by the daemon's event streams. A browser opens six connections to a host at most, all its tabs together, so
// three files are streamed at a time and only while the page is seen; the others are asked for now and then.

import { ask, backOff, pause, unlessAborted } from "/assets/api.js";

const STREAMS = 3;
const ASK_EVERY_MS = 4000;

export const isMoving = ({ processing_status: status }) => ["pending", "uploaded", "processing"].includes(status);

const followed = new Map();
let streaming = 0;

// Tells `heard` each status of the file until it stands. To follow it again while it is followed changes who hears.
export function follow(id, heard) {
  const known = followed.get(id);
  if (known) {
    known.heard = heard;
    return;
  }
  const one = { heard, stop: new AbortController() };
  followed.set(id, one);
  run(id, one, one.stop.signal).catch(() => {}).finally(() => followed.delete(id));
}

export const unfollow = (id) => followed.get(id)?.stop.abort();

async function run(id, one, signal) {
  for (let failures = 0; ;) {
    try {
      if (document.hidden) await seen(signal);
      if (streaming < STREAMS) {
        if (await stream(id, one, signal)) return;
        failures = 0;
      } else {
        const status = await ask(`/upload/${id}/status`, { signal });
        one.heard(status);
        if (!isMoving(status)) return;
        await pause(ASK_EVERY_MS, signal);
      }
    } catch (error) {
      // Gone, or not ours: nothing more comes. Signed out: whoever signs in again lists anew.
      if (!error.passes) return;
      await pause(backOff((failures += 1), error), signal);
    }
  }
}

// Whether it came to its end. False: it was broken off where nothing was wrong, as by hiding the page.
function stream(id, one, signal) {
  streaming += 1;
  const source = new EventSource(`/upload/${id}/events`);
  return unlessAborted(signal, (resolve, reject, ended) => {
    source.addEventListener("status", (event) => one.heard(JSON.parse(event.data)));
    source.addEventListener("end", () => resolve(true));
    // It connects again by itself, but not after an answer that is an error: then the status says which.
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) ask(`/upload/${id}/status`, { signal }).then(() => pause(2000, signal)).then(() => resolve(false), reject);
    };
    document.addEventListener("visibilitychange", () => document.hidden && resolve(false), { signal: ended });
  }).finally(() => {
    source.close();
    streaming -= 1;
  });
}

// Waits until somebody looks at the page.
export const seen = (signal) => unlessAborted(signal, (resolve, reject, ended) => {
  document.addEventListener("visibilitychange", () => document.hidden || resolve(), { signal: ended });
});
