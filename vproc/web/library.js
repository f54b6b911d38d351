// The list of one's videos: what the daemon knows, page by page, with what is being uploaded above it.

import { ask, bus } from "/assets/api.js";
import { Card } from "/assets/card.js";
import { $, say } from "/assets/dom.js";
import { isMoving, unfollow } from "/assets/events.js";
import { forget, interrupted } from "/assets/resume.js";

const PAGE = 20;
const SEARCHED_AT_MOST = 1000;

const cards = new Set();
let cursor = null;
let listed = 0;
let asked = 0;
let choose = () => {};

const filter = () => $("status").value;
const search = () => $("search").value.trim().toLowerCase();
const cardOf = (id) => [...cards].find((card) => card.id === id);

function add(card, { first = false } = {}) {
  cards.add(card);
  if (first) $("list").prepend(card.element);
  else $("list").append(card.element);
}

function newCard() {
  return new Card({ choose, removed: (card) => { cards.delete(card); arrange(); } });
}

// Which cards are seen, and what stands where there is none.
function arrange() {
  let seen = 0;
  for (const card of cards) {
    const fits = card.uploading || ((!filter() || card.file?.processing_status === filter()) && card.title.toLowerCase().includes(search()));
    card.element.hidden = !fits;
    if (fits) seen += 1;
  }
  const narrowed = filter() || search();
  say($("none"), seen ? "" : narrowed ? "No video fits." : "No videos yet. Drop one above.");
  $("none").hidden = seen > 0;
  $("more").hidden = cursor === null;
  return seen;
}

// The card of an upload: a new one, that of an upload that broke off, or of the file that it goes on with.
export function addUpload(upload) {
  const card = (upload.fileId && cardOf(upload.fileId)) || newCard();
  card.attachUpload(upload);
  upload.addEventListener("change", () => ["queued", "uploading"].includes(upload.state) || arrange());
  add(card, { first: true });
  arrange();
  return card;
}

function addFile(file, options) {
  const known = cardOf(file.file_id);
  if (known) {
    if (!known.uploading) known.setFile(file);
    return known;
  }
  const card = newCard();
  card.setFile(file);
  add(card, options);
  if (isMoving(file) && file.processing_status !== "pending") card.follow();
  return card;
}

async function addInterrupted() {
  for (const record of interrupted()) {
    if (cardOf(record.fileId)?.uploading) continue;
    const path = `/s3/multipart/${encodeURIComponent(record.uploadId)}?key=${encodeURIComponent(record.key)}`;
    try {
      const parts = await ask(path);
      const card = cardOf(record.fileId) ?? newCard();
      card.record = { ...record, loaded: parts.reduce((sum, part) => sum + part.Size, 0), discard: () => { forget(record); return ask(path, { method: "DELETE" }); } };
      card.show();
      add(card, { first: true });
    } catch (problem) {
      if (problem.status === 404) forget(record);
    }
  }
}

async function loadPage() {
  const turn = asked;
  const query = new URLSearchParams({ limit: search() ? 100 : PAGE, ...(filter() ? { status: filter() } : {}), ...(cursor ? { cursor } : {}) });
  const page = await ask(`/uploads?${query}`);
  if (turn !== asked) return false;
  for (const file of page.uploads) addFile(file);
  cursor = page.cursor;
  listed += page.uploads.length;
  return true;
}

// So many pages that something is seen: what is searched for may stand far behind.
async function loadMore() {
  const enough = arrange() + PAGE;
  const from = listed;
  $("more").disabled = true;
  try {
    do {
      if (!(await loadPage())) return;
    } while (arrange() < enough && search() && cursor && listed - from < SEARCHED_AT_MOST);
    say($("trouble"), "");
  } catch (problem) {
    if (problem.status !== 401) say($("trouble"), problem.message);
  } finally {
    $("more").disabled = false;
    arrange();
  }
}

// The list anew, what is being uploaded excepted.
export async function load() {
  asked += 1;
  cursor = null;
  listed = 0;
  for (const card of cards) {
    if (card.uploading || card.fresh || !$("list").contains(card.element) || card.file?.file_id === opened) continue;
    unfollow(card.id);
    card.close();
    card.element.remove();
    cards.delete(card);
  }
  await loadMore();
}

let opened = null;
// A file that the address names: first in the list, and open. What is wrong with it, or nothing.
async function open(id) {
  opened = id;
  try {
    const card = addFile(await ask(`/upload/${encodeURIComponent(id)}/status`), { first: true });
    if (card.file.processing_status === "completed") await card.toggle();
    else card.fresh = true;
  } catch (problem) {
    if (problem.status === 404) return "The video that this address names is not here, or is not yours.";
    if (problem.status !== 401) return problem.message;
  }
  return "";
}

export async function start() {
  const known = new URLSearchParams(location.search).get("file");
  const wrong = known ? await open(known) : "";
  await load();
  if (wrong) say($("trouble"), wrong); // after the list, which clears what was told before
  await addInterrupted();
  arrange();
}

// When somebody else signs in, nothing of the one before is left.
export function clear() {
  asked += 1;
  for (const card of cards) {
    if (card.id) unfollow(card.id);
    card.close();
    card.element.remove();
  }
  cards.clear();
  cursor = null;
}

export function init(onchoose) {
  choose = onchoose;
  let typing = 0;
  $("search").addEventListener("input", () => {
    arrange();
    clearTimeout(typing);
    if (search()) typing = setTimeout(() => cursor && arrange() < PAGE && loadMore(), 300);
  });
  $("status").addEventListener("change", load);
  $("more").addEventListener("click", loadMore);
  bus.addEventListener("uploaded", ({ detail: card }) => {
    history.replaceState(null, "", `?file=${card.id}`);
    arrange();
  });
  // What was uploaded here opens by itself, unless several are under way.
  bus.addEventListener("completed", ({ detail: card }) => {
    if (![...cards].some((other) => other.uploading || other.fresh)) card.toggle();
  });
}

