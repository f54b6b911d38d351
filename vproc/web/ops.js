// The operator's view: asks for the state while somebody looks, and says when what is shown is old, and why.

import { ask, backOff, bus, config, pause } from "/assets/api.js";
import { $, announce, say } from "/assets/dom.js";
import { seen } from "/assets/events.js";
import { clearLetters, loadLetters } from "/assets/ops-letters.js";
import { span } from "/assets/ops-span.js";
import { showState } from "/assets/ops-view.js";
import { show } from "/assets/session.js";

const EVERY_MS = 3000;
const LATEST_MS = 15000;
const OLD_MS = 10000;

let watching = null;
let last = null; // what was told, and when it came
let wrong = null;

function tellAge() {
  if (!last) return say($("age"), wrong ? `Nothing to show yet. ${wrong.message}` : "Asking…");
  const age_ms = Date.now() - last.at;
  const old = wrong !== null || age_ms > OLD_MS;
  document.body.classList.toggle("old", old);
  const at = new Date(last.at).toLocaleTimeString();
  const why = wrong ? wrong.message : "The service takes long to answer.";
  say($("age"), old ? `These numbers are of ${at}, ${span(age_ms / 1000)} old. ${why}` : `As of ${at}.`);
}

// What somebody who does not see the page would want to hear of.
function tellNews(before, state) {
  if (!before) return;
  const known = new Set(before.failures.map(({ file_id: id, failed_at: at }) => id + at));
  const fresh = state.failures.filter(({ file_id: id, failed_at: at }) => !known.has(id + at));
  if (fresh.length === 1) announce(`${fresh[0].file_name} failed: ${fresh[0].error.code}.`);
  else if (fresh.length) announce(`${fresh.length} files failed.`);
  const { dead_letters: letters } = state.queue;
  if (letters !== before.queue.dead_letters) announce(letters ? `Dead letters: ${letters}.` : "No dead letters any more.");
}

function came(state) {
  if (wrong) announce("The numbers are new again.");
  const before = last?.state;
  [last, wrong] = [{ state, at: Date.now() }, null];
  showState(state);
  tellNews(before, state);
  if (before && before.queue.dead_letters !== state.queue.dead_letters) loadLetters();
}

function failed(problem) {
  if (!wrong && last) announce(`The numbers are old. ${problem.message}`);
  wrong = problem;
}

async function watch(signal) {
  let failures = 0;
  for (;;) {
    if (document.hidden) await seen(signal);
    try {
      came(await ask("/ops/state", { signal }));
      failures = 0;
    } catch (problem) {
      if (problem.name === "AbortError" || problem.status === 401) return;
      if (problem.status === 403) return refuse();
      failed(problem);
      failures += 1;
    }
    tellAge();
    await pause(failures ? Math.min(LATEST_MS, backOff(failures, wrong)) : EVERY_MS, signal);
  }
}

function refuse() {
  stop();
  document.body.classList.remove("in");
  $("refused").hidden = false;
  say($("refused"), "This page is for operators. The key or account that you came in with has no admin rights. "
    + "Log out, and come back with a key of the scope admin, or as a member of the group vproc-admin.");
}

function stop() {
  watching?.abort();
  [watching, last, wrong] = [null, null, null];
  clearLetters();
}

function enter() {
  stop();
  $("refused").hidden = true;
  show(true);
  tellAge();
  watching = new AbortController();
  watch(watching.signal).catch(() => {});
  loadLetters();
}

setInterval(() => watching && tellAge(), 1000);
bus.addEventListener("signed-out", () => { stop(); $("refused").hidden = true; show(false); });
bus.addEventListener("signed-in", enter);
if (config.auth === "none") enter();
else ask("/ops/state").then(enter, (problem) => { if (problem.status !== 401) enter(); });
