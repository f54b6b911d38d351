// The page: what is dropped or chosen goes into the queue, and every video has a card in the list.

import { ask, bus, config } from "/assets/api.js";
import { $, h, say } from "/assets/dom.js";
import { addUpload, clear, init, load, start } from "/assets/library.js";
import { show } from "/assets/session.js";
import { Queue, Upload, refusal } from "/assets/upload.js";
import { PROFILES, STATUS } from "/assets/words.js";

const queue = new Queue();
let wanted = null; // the card whose file is chosen again

function take(files) {
  const refused = [];
  for (const file of files) {
    const why = refusal(file);
    if (why) refused.push(why);
    else {
      const upload = new Upload(file, $("profile").value);
      const card = addUpload(upload);
      queue.add(upload);
      card.element.scrollIntoView({ block: "nearest" });
    }
  }
  wanted = null;
  say($("refused"), refused.join(" "));
}

function isOther(files) {
  const { name, size, lastModified } = wanted.record;
  return files.every((file) => file.name !== name || file.size !== size || file.lastModified !== lastModified);
}

function chosen(files) {
  if (wanted?.record && files.length && isOther(files)) {
    say($("refused"), `That is another file than “${wanted.record.name}”, or it was changed since. It is uploaded as a new one.`);
    wanted = null;
    const told = $("refused").textContent;
    take(files);
    if (!$("refused").textContent) say($("refused"), told);
    return;
  }
  take(files);
}

const carriesFiles = (event) => event.dataTransfer?.types.includes("Files") && document.body.matches(".in");

function listen() {
  $("choose").addEventListener("click", () => { wanted = null; $("file").click(); });
  $("file").addEventListener("change", () => {
    const files = [...$("file").files];
    $("file").value = "";
    chosen(files);
  });
  let inside = 0;
  const over = (shown) => ($("dropping").hidden = !shown);
  addEventListener("dragenter", (event) => carriesFiles(event) && over((inside += 1) > 0));
  addEventListener("dragleave", (event) => carriesFiles(event) && over((inside = Math.max(0, inside - 1)) > 0));
  addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    over((inside = 0) > 0);
    chosen([...event.dataTransfer.files]);
  });
  addEventListener("beforeunload", (event) => queue.busy && event.preventDefault());
  bus.addEventListener("signed-out", () => { clear(); show(false); });
  bus.addEventListener("signed-in", enter);
}

function fill() {
  $("file").accept = `video/*,${config.suffixes.join()}`;
  $("profile").append(...config.profiles.map((name) => h("option", { value: name, selected: name === config.profile }, PROFILES[name] ?? name)));
  $("status").append(...Object.entries(STATUS).map(([value, text]) => h("option", { value }, text)));
}

async function enter() {
  show(true);
  await start();
}

fill();
listen();
init((card) => { wanted = card; $("file").click(); });
if (config.auth === "none") enter();
else ask("/uploads?limit=1").then(enter, (problem) => problem.status === 401 || (show(true), load()));
