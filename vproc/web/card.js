// One video in the list, from its upload to its end. It shows an upload, a file of the daemon's, or both one after the other.

import { ask, playbackOf, post } from "/assets/api.js";
import { $, announce, button, h, icon, say, sure } from "/assets/dom.js";
import { follow, isMoving, unfollow } from "/assets/events.js";
import { ago, bytes, left, percent } from "/assets/format.js";
import { STAGES, STATUS, explain } from "/assets/words.js";

const UPLOAD = { queued: "Next to be uploaded", uploading: "Uploading", paused: "Paused", failed: "Upload broke off", interrupted: "Interrupted" };
const OPEN = { thumbnails: "Show", audio: "Listen" }; // by profile
const line = (...texts) => texts.filter(Boolean).join(" · ");
const FILM = "M4 4h16v16H4zm2 2v2h2V6zm0 5v2h2v-2zm0 5v2h2v-2zM16 6v2h2V6zm0 5v2h2v-2zm0 5v2h2v-2zM10 6v5h4V6zm0 7v5h4v-5z";
const NOTE = "M12 3v10.6A4 4 0 1 0 14 17V7h4V3z";
let numbers = 0;

function whenSeen(element, act) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
    observer.disconnect();
    act();
  });
  observer.observe(element);
}

// What a card shows: `state`, `badge`, `meta`, the names of its `buttons`; `work`, which is `share`, `text` and perhaps `stage`;
// `fault`, which is `what` and perhaps `todo` and `detail`.

function viewOfUpload({ state, file, profile, loaded, share, speed, left_s, inParts, error }) {
  const pace = state === "uploading" && speed ? [`${bytes(speed)}/s`, left(left_s)] : [];
  return {
    state,
    badge: UPLOAD[state],
    meta: line(bytes(file.size), profile),
    work: {
      share,
      text: state === "interrupted"
        ? `${percent(share)} is uploaded. Choose the same file again to go on.`
        : line(`${bytes(loaded)} of ${bytes(file.size)}`, percent(share), ...pace),
    },
    fault: state === "failed" && { what: error.message, todo: "What was uploaded is kept: go on when you are ready." },
    buttons: {
      queued: [inParts && "pause", "cancel"],
      uploading: [inParts && "pause", "cancel"],
      interrupted: ["choose", "discard"],
    }[state] ?? ["resume", "cancel"],
  };
}

function viewOfFile(file) {
  const { processing_status: state, profile, stage, progress, speed, eta_s, error } = file;
  const pace = line(STAGES[stage] ?? "Begins", percent(progress), typeof speed === "number" && (speed > 0 ? `${speed.toFixed(1)}× speed` : "stalled"), left(eta_s));
  return {
    state,
    badge: STATUS[state],
    meta: line(bytes(file.size), profile, ago(file.created_at)),
    work: {
      uploaded: { share: progress, text: "Uploaded; a worker takes it as soon as one is free.", stage: "" },
      processing: { share: progress, text: pace, stage },
    }[state],
    fault: state === "failed" && error && explain(error),
    buttons: [
      state === "completed" && "open",
      (state === "cancelled" || (state === "failed" && error?.retryable)) && "again",
      ["uploaded", "processing"].includes(state) && "cancel",
      state !== "processing" && "remove",
    ],
  };
}

export class Card {
  upload = null; // while there is one, no filter hides it
  file = null;
  #opened = null;
  #poster = false;
  #quarter = -1;

  // `on` is told of the card: `choose` when its file is to be chosen again, `uploaded`, `completed`, `gone`.
  constructor(on) {
    this.on = on;
    const id = `card-${(numbers += 1)}`;
    this.name = h("h3", { id: `${id}-name` });
    this.meta = h("p.meta");
    this.badge = h("span.badge");
    this.thumb = h("div.thumb", icon(FILM));
    this.bar = h("progress", { "aria-labelledby": `${id}-name ${id}-line` });
    this.line = h("p.line", { id: `${id}-line` });
    this.stages = h("ol.stages", { "aria-label": "Stages" }, ...Object.entries(STAGES).map(([key, text]) => h("li", { "data-stage": key }, text)));
    this.work = h("div.work", this.bar, this.line, this.stages);
    this.error = h("div.error");
    this.detail = h("div.detail", { id: `${id}-detail`, hidden: true });
    this.buttons = this.#buttons(id);
    this.actions = h("div.actions", ...Object.values(this.buttons));
    this.element = h("li.card", { "aria-labelledby": `${id}-name` },
      h("div.row", this.thumb, h("div.about", this.name, this.meta), this.badge), this.work, this.error, this.actions, this.detail);
  }

  get id() {
    return this.file?.file_id ?? this.upload?.fileId ?? null;
  }

  get title() {
    return this.upload?.file.name ?? this.file?.file_name ?? "";
  }

  #buttons(id) {
    const named = (text, work, className, props) => button(text, () => this.#tried(work), { className, "aria-describedby": `${id}-name`, ...props });
    return {
      open: named("Watch", () => this.toggle(), "main", { "aria-expanded": "false", "aria-controls": `${id}-detail` }),
      choose: named("Choose the file again", () => this.on.choose(this), "main"),
      resume: named("Resume", () => this.upload.again(), "main"),
      again: named("Try again", () => this.#retry(), "main"),
      pause: named("Pause", () => this.upload.pause()),
      cancel: named("Cancel", () => this.#cancel()),
      discard: named("Discard", () => this.#cancel()),
      remove: named("Delete", () => this.#remove(), "danger"),
    };
  }

  async #tried(work) {
    try {
      await work();
    } catch (problem) {
      this.#showFault({ what: problem.message });
    }
  }

  attachUpload(upload) {
    this.upload = upload;
    let waits = false;
    upload.addEventListener("change", () => {
      if (!waits) requestAnimationFrame(() => {
        waits = false;
        this.#uploadChanged(upload);
      });
      waits = true;
    });
    this.show();
  }

  #uploadChanged(upload) {
    if (this.upload !== upload) return;
    if (upload.state === "cancelled") return this.#gone();
    if (upload.state === "done") {
      this.upload = null;
      this.fresh = true;
      this.file ??= { file_id: upload.fileId, file_name: upload.file.name, size: upload.file.size, profile: upload.profile, processing_status: "uploaded", progress: 0, created_at: new Date().toISOString() };
      announce(`${this.title} is uploaded.`);
      this.follow();
      this.on.uploaded(this);
    }
    if (upload.state === "failed") announce(`${this.title}: the upload broke off. ${upload.error.message}`);
    const quarter = Math.floor(upload.share * 4);
    if (upload.state === "uploading" && quarter > this.#quarter) announce(`${this.title}: ${quarter * 25} % uploaded.`);
    this.#quarter = Math.max(quarter, this.#quarter);
    this.show();
  }

  follow() {
    follow(this.id, (file) => this.setFile(file));
  }

  setFile(file) {
    const { processing_status: state } = file;
    const before = this.file?.processing_status ?? state;
    this.file = file;
    if (before !== state) announce(`${file.file_name}: ${STATUS[state]}.`);
    this.show();
    if (state !== "completed") return;
    if (!this.#poster) whenSeen(this.element, () => this.#loadPoster());
    this.#poster = true;
    if (this.fresh) this.on.completed(this);
    this.fresh = false;
  }

  show() {
    const { state, badge, meta, buttons, work, fault } = this.upload ? viewOfUpload(this.upload) : viewOfFile(this.file);
    this.element.dataset.state = state;
    say(this.name, this.title);
    say(this.badge, badge);
    say(this.meta, meta);
    say(this.buttons.open, this.#opened ? "Close" : (OPEN[this.file?.profile] ?? "Watch"));
    this.work.hidden = !work;
    if (work) this.#showWork(work);
    this.#showFault(fault);
    for (const [name, one] of Object.entries(this.buttons)) this.#showButton(one, buttons.includes(name));
  }

  // A button that goes while it has the focus hands it on, so that the keyboard is not thrown to the top of the page.
  #showButton(one, shown) {
    const had = document.activeElement === one;
    one.hidden = !shown;
    if (had && !shown) queueMicrotask(() => this.actions.querySelector("button:not([hidden])")?.focus());
  }

  #showWork({ share, text, stage }) {
    this.bar.value = share;
    say(this.line, text);
    this.stages.hidden = stage === undefined;
    for (const item of this.stages.children) item.ariaCurrent = item.dataset.stage === stage ? "step" : null;
  }

  #showFault(fault) {
    this.error.hidden = !fault;
    this.error.role = fault ? "alert" : null;
    if (!fault) return this.error.replaceChildren();
    const { what, todo, detail } = fault;
    this.error.replaceChildren(h("p", h("strong", what), todo ? ` ${todo}` : ""), detail ? h("p.meta", detail) : "");
  }

  async #loadPoster() {
    const { poster } = await playbackOf(this.id).catch(() => ({}));
    const picture = poster && h("img", { alt: "", src: poster, onerror: () => this.thumb.replaceChildren(icon(FILM)) });
    this.thumb.replaceChildren(picture ?? icon(NOTE));
  }

  async toggle() {
    if (this.#opened) return this.close();
    this.#opened = { destroy() {} };
    this.buttons.open.ariaExpanded = "true";
    this.detail.hidden = false;
    this.detail.replaceChildren(h("p.meta", "Opening…"));
    this.show();
    try {
      const { showDetail } = await import("/assets/detail.js");
      const opened = await showDetail(this.detail, this.file);
      if (this.#opened) this.#opened = opened;
      else opened.destroy();
    } catch (problem) {
      this.detail.replaceChildren(h("p.fault", { role: "alert" }, problem.message));
    }
  }

  close() {
    this.#opened?.destroy();
    this.#opened = null;
    this.buttons.open.ariaExpanded = "false";
    this.detail.hidden = true;
    this.detail.replaceChildren();
    if (this.file) this.show();
  }

  // Takes it from the page; nothing more is heard of it.
  leave() {
    this.close();
    if (this.id) unfollow(this.id);
    this.element.remove();
  }

  async #retry() {
    this.setFile(await post(`/upload/${this.id}/retry`));
    this.follow();
  }

  async #cancel() {
    if (this.upload) return this.upload.cancel();
    const file = await post(`/upload/${this.id}/cancel`);
    if (isMoving(file)) this.follow();
    else this.setFile(file);
  }

  async #remove() {
    if (!(await sure(`Delete “${this.title}” and everything made of it?`, "Delete"))) return;
    await ask(`/upload/${this.id}`, { method: "DELETE" });
    announce(`${this.title} is deleted.`);
    this.#gone();
  }

  #gone() {
    const next = this.element.nextElementSibling?.querySelector("button:not([hidden])") ?? $("choose");
    const had = this.element.contains(document.activeElement) || document.activeElement === document.body;
    this.leave();
    if (had) next.focus();
    this.on.gone(this);
  }
}
