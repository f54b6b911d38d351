// The list of one's videos: what the daemon knows, page by page, with what is being uploaded above it.

import { ask } from "/assets/api.js";
import { Card } from "/assets/card.js";
import { $, say } from "/assets/dom.js";
import { isMoving } from "/assets/events.js";
import { Upload } from "/assets/upload.js";

const PAGE = 20;
const SEARCHED_AT_MOST = 1000;

const cards = new Set();
let cursor = null;
let listed = 0;
let turn = 0; // of loading the list: what an older one brings is not taken
let opened = null; // the file that the address names
let choose = null;

const filter = () => $("status").value;
const search = () => $("search").value.trim().toLowerCase();
const cardOf = (id) => [...cards].find((card) => card.id === id);

const told = {
  choose: (card) => choose(card),
  gone(card) {
    cards.delete(card);
    arrange();
  },
  uploaded(card) {
    history.replaceState(null, "", `?file=${card.id}`);
    arrange();
  },
  // What was uploaded here opens by itself, unless several are under way.
  completed(card) {
    if (![...cards].some((other) => other !== card && (other.upload || other.fresh))) card.toggle();
  },
};

// The card of that id, or a new one, once `fill` gave it what it shows; `first` in the list, or where it stands, or last.
function put(id, fill, { first = false } = {}) {
  const card = (id && cardOf(id)) || new Card(told);
  fill(card);
  if (first) $("list").prepend(card.element);
  else if (!cards.has(card)) $("list").append(card.element);
  cards.add(card);
  return card;
}

// Which cards are seen, and what stands where there is none.
function arrange() {
  const [wanted, text] = [filter(), search()];
  let seen = 0;
  for (const card of cards) {
    const fits = card.upload || ((!wanted || card.file?.processing_status === wanted) && card.title.toLowerCase().includes(text));
    card.element.hidden = !fits;
    if (fits) seen += 1;
  }
  say($("none"), seen ? "" : wanted || text ? "No video fits." : "No videos yet. Drop one above.");
  $("more").hidden = cursor === null;
  return seen;
}

// The card of an upload: a new one, that of an upload that broke off, or of the file that it goes on with.
export function addUpload(upload) {
  upload.addEventListener("change", () => ["queued", "uploading"].includes(upload.state) || arrange());
  const card = put(upload.fileId, (card) => card.attachUpload(upload), { first: true });
  arrange();
  return card;
}

function addFile(file, options) {
  const known = cards.has(cardOf(file.file_id));
  const card = put(file.file_id, (card) => card.upload || card.setFile(file), options);
  if (!known && isMoving(file) && file.processing_status !== "pending") card.follow();
  return card;
}

async function addInterrupted() {
  for (const upload of await Upload.interrupted()) {
    if (!cardOf(upload.fileId)?.upload) addUpload(upload);
  }
}

async function loadPage() {
  const mine = turn;
  const query = new URLSearchParams({ limit: search() ? 100 : PAGE });
  if (filter()) query.set("status", filter());
  if (cursor) query.set("cursor", cursor);
  const page = await ask(`/uploads?${query}`);
  if (mine !== turn) return false;
  for (const file of page.uploads) addFile(file);
  cursor = page.cursor;
  listed += page.uploads.length;
  return true;
}

// So many pages that something is seen: what is searched for may stand far behind.
async function loadMore() {
  const enough = arrange() + PAGE;
  const most = listed + SEARCHED_AT_MOST;
  $("more").disabled = true;
  try {
    do {
      if (!(await loadPage())) return;
    } while (arrange() < enough && search() && cursor && listed < most);
    say($("trouble"), "");
  } catch (problem) {
    if (problem.status !== 401) say($("trouble"), problem.message);
  } finally {
    $("more").disabled = false;
    arrange();
  }
}

// Takes cards from the list, which begins anew.
function empty(goes) {
  turn += 1;
  cursor = null;
  listed = 0;
  for (const card of [...cards].filter(goes)) {
    card.leave();
    cards.delete(card);
  }
}

// When somebody else signs in, nothing of the one before is left.
export const clear = () => empty(() => true);

// The list anew, what is being uploaded or was named excepted.
export function load() {
  empty((card) => !card.upload && !card.fresh && card.id !== opened);
  return loadMore();
}

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
  const named = new URLSearchParams(location.search).get("file");
  const wrong = named ? await open(named) : "";
  await load();
  if (wrong) say($("trouble"), wrong); // after the list, which clears what was told before
  await addInterrupted();
  arrange();
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
}
