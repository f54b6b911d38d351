// The page: what is dropped or chosen goes into the queue, and every video has a card in the list.

import { ask, bus, config } from "/assets/api.js";
import { $, h, say } from "/assets/dom.js";
import { addUpload, clear, init, load, start } from "/assets/library.js";
import { isSame } from "/assets/resume.js";
import { Upload, busy, enqueue, refusal } from "/assets/upload.js";
import { PROFILES, STATUS } from "/assets/words.js";

let wanted = null; // the card whose file is chosen again

function take(files) {
  const told = [];
  const before = wanted?.upload?.file;
  wanted = null;
  if (before && files.length && !files.some((file) => isSame(file, before))) {
    told.push(`That is another file than “${before.name}”, or it was changed since. It is uploaded as a new one.`);
  }
  for (const file of files) {
    const why = refusal(file);
    if (why) {
      told.push(why);
      continue;
    }
    const upload = new Upload(file, $("profile").value);
    const card = addUpload(upload);
    enqueue(upload);
    card.element.scrollIntoView({ block: "nearest" });
  }
  say($("refused"), told.join(" "));
}

function choose(card = null) {
  wanted = card;
  $("file").click();
}

function dragged(event) {
  if (!event.dataTransfer?.types.includes("Files") || !document.body.matches(".in")) return;
  event.preventDefault();
  const dropped = event.type === "drop";
  $("dropping").hidden = dropped || (event.type === "dragleave" && !event.relatedTarget); // no target: out of the window
  if (dropped) take([...event.dataTransfer.files]);
}

function listen() {
  $("choose").addEventListener("click", () => choose());
  $("file").addEventListener("change", ({ target }) => {
    const files = [...target.files];
    target.value = "";
    take(files);
  });
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) addEventListener(name, dragged);
  addEventListener("beforeunload", (event) => busy() && event.preventDefault());
  bus.addEventListener("signed-out", () => {
    clear();
    show(false);
  });
  bus.addEventListener("signed-in", enter);
}

function fill() {
  $("file").accept = `video/*,${config.suffixes.join()}`;
  $("profile").append(...config.profiles.map((name) => h("option", { value: name, selected: name === config.profile }, PROFILES[name] ?? name)));
  $("status").append(...Object.entries(STATUS).map(([value, text]) => h("option", { value }, text)));
}

// The door is fetched where there is one.
async function show(inside) {
  if (config.auth === "none") document.body.classList.add("in");
  else (await import("/assets/session.js")).show(inside);
}

async function enter() {
  await show(true);
  await start();
}

fill();
listen();
init(choose);
if (config.auth === "none") enter();
else ask("/uploads?limit=1").then(enter, (problem) => problem.status === 401 || show(true).then(load));
