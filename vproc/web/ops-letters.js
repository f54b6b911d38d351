// The dead letters. They are looked at when the page opens, when their number changes and when somebody wants it, never by the
// clock: each look hides them from others for a moment, and is paid for.

import { ask } from "/assets/api.js";
import { $, announce, button, h, say, sure } from "/assets/dom.js";
import { span } from "/assets/ops-span.js";
import { fileLink, reason } from "/assets/ops-view.js";
import { Table } from "/assets/table.js";

const WORDS = "Send all dead letters back to the queue? Their files start anew, with no attempt counted.";
let turn = 0;

const nameOf = (letter) => letter.objects.map((path) => path.slice(path.indexOf("/") + 1)).join(", ") || letter.message_id;

const table = new Table("Dead letters", [
  { title: "File", of: (letter) => [letter.file_id ? fileLink(letter.file_id, nameOf(letter)) : h("span", { class: "name" }, nameOf(letter))] },
  { title: "Why", of: ({ code, detail }) => reason(code, detail) },
  { title: "Attempts", of: ({ attempts }) => [attempts === null ? "–" : String(attempts)] },
  { title: "Age", of: ({ sent_at: at }) => [at ? h("time", { datetime: at, title: new Date(at).toLocaleString() }, span(Math.max(0, (Date.now() - Date.parse(at)) / 1000))) : "–"] },
  { title: "Action", of: (letter) => [button("Redrive", (event) => one(letter, event.target), { "aria-label": `Redrive ${nameOf(letter)}` })] },
], (letter) => letter.message_id, "None.");

const look = button("Look again", () => loadLetters({ told: true }));
const all = button("Redrive all", redriveAll, { hidden: true });
const more = h("p", { class: "meta", hidden: true }, "These are the first hundred; there may be more.");

async function redrive(wanted, name) {
  say($("letters-trouble"), "");
  try {
    const { redriven } = await ask("/ops/dead-letters/redrive", { method: "POST", body: wanted });
    announce(redriven === null ? "It takes longer. Look again in a while." : `Sent back: ${name ?? redriven}.`);
    if (redriven === null) say($("letters-trouble"), "It takes longer than half a minute. Look again in a while.");
  } catch (problem) {
    if (problem.status !== 401) say($("letters-trouble"), problem.message);
  }
  await loadLetters();
}

async function one(letter, pressed) {
  const next = pressed.closest("tr").nextElementSibling ?? pressed.closest("tr").previousElementSibling;
  pressed.disabled = true;
  await redrive({ ids: [letter.message_id] }, nameOf(letter));
  if (pressed.isConnected) pressed.disabled = false;
  else (next?.querySelector("button") ?? look).focus();
}

async function redriveAll() {
  if (!(await sure(WORDS, "Redrive all", "Not now"))) return;
  all.disabled = true;
  await redrive({ all: true });
  all.disabled = false;
  if (all.hidden) look.focus();
}

function show(letters, hasMore) {
  if (!table.element.isConnected) {
    $("letters").append(table.element, more);
    $("letters-actions").append(all, look);
  }
  table.show(letters);
  all.hidden = letters.length === 0;
  more.hidden = !hasMore;
}

export async function loadLetters({ told = false } = {}) {
  const mine = (turn += 1);
  look.disabled = told;
  try {
    const { letters, more: hasMore } = await ask("/ops/dead-letters");
    if (mine !== turn) return;
    show(letters, hasMore);
    if (told) {
      say($("letters-trouble"), "");
      announce(letters.length ? `Dead letters: ${letters.length}.` : "No dead letters.");
    }
  } catch (problem) {
    if (mine === turn && ![401, 403].includes(problem.status)) say($("letters-trouble"), problem.message);
  } finally {
    if (look.disabled) {
      look.disabled = false;
      if (told) look.focus();
    }
  }
}

// When somebody else signs in, nothing of the one before is left.
export function clearLetters() {
  turn += 1;
  if (table.element.isConnected) show([], false);
  say($("letters-trouble"), "");
}
