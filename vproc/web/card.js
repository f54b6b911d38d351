// One video in the list, from its upload to its end. It shows an upload, a file of the daemon's, or both one after the other.

import { ask, bus, playbackOf } from "/assets/api.js";
import { $, announce, button, h, icon, say, sure } from "/assets/dom.js";
import { follow, isMoving, unfollow } from "/assets/events.js";
import { ago, bytes, left, percent } from "/assets/format.js";
import { STAGES, STATUS, explain } from "/assets/words.js";

const UPLOAD = { queued: "Next to be uploaded", uploading: "Uploading", paused: "Paused", failed: "Upload broke off", done: "Waiting for a worker", cancelled: "Cancelled" };
let numbers = 0;

const whenSeen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    whenSeen.unobserve(target);
    target.dispatchEvent(new Event("seen"));
  }
});

export class Card {
  upload = null;
  file = null;
  record = null;
  #opened = null;
  #poster = null;
  #quarter = -1;

  // `removed` is told when it is gone; `anew` when a file was chosen to go on with.
  constructor({ removed, choose }) {
    this.removed = removed;
    this.choose = choose;
    const id = `card-${(numbers += 1)}`;
    this.name = h("h3", { id: `${id}-name` });
    this.meta = h("p", { class: "meta" });
    this.badge = h("span", { class: "badge" });
    this.thumb = h("div", { class: "thumb" }, icon("film"));
    this.bar = h("progress", { max: 1, value: 0, "aria-labelledby": `${id}-name ${id}-line` });
    this.line = h("p", { class: "line", id: `${id}-line` });
    this.stages = h("ol", { class: "stages", "aria-label": "Stages" }, ...Object.entries(STAGES).map(([key, text]) => h("li", { "data-stage": key }, text)));
    this.work = h("div", { class: "work" }, this.bar, this.line, this.stages);
    this.error = h("div", { class: "error", hidden: true });
    this.detail = h("div", { class: "detail", id: `${id}-detail`, hidden: true });
    this.buttons = this.#buttons(id);
    this.actions = h("div", { class: "actions" }, ...Object.values(this.buttons));
    this.element = h("li", { class: "card", "aria-labelledby": `${id}-name` },
      h("div", { class: "row" }, this.thumb, h("div", { class: "about" }, this.name, this.meta), this.badge),
      this.work, this.error, this.actions, this.detail);
    this.element.addEventListener("seen", () => this.#loadPoster());
  }

  get id() {
    return this.file?.file_id ?? this.upload?.fileId ?? this.record?.fileId ?? null;
  }

  get title() {
    return this.upload?.file.name ?? this.file?.file_name ?? this.record?.name ?? "";
  }

  // Whether it is being uploaded, or waits for that: then no filter hides it.
  get uploading() {
    return Boolean(this.upload || this.record);
  }

  #buttons(id) {
    const named = (text, onclick, props = {}) => button(text, () => this.#told(onclick), { "aria-describedby": `${id}-name`, hidden: true, ...props });
    return {
      open: named("Watch", () => this.toggle(), { class: "main", "aria-expanded": "false", "aria-controls": `${id}-detail` }),
      choose: named("Choose the file again", () => this.choose(this), { class: "main" }),
      resume: named("Resume", () => this.upload.again(), { class: "main" }),
      again: named("Try again", () => this.#retry(), { class: "main" }),
      pause: named("Pause", () => this.upload.pause()),
      cancel: named("Cancel", () => this.#cancel()),
      discard: named("Discard", () => this.#discard()),
      remove: named("Delete", () => this.#remove(), { class: "danger" }),
    };
  }

  async #told(work) {
    try {
      await work();
    } catch (problem) {
      this.#fault(problem.message, "");
    }
  }

  attachUpload(upload) {
    this.upload = upload;
    this.record = null;
    let drawn = false;
    upload.addEventListener("change", () => {
      if (drawn) return;
      drawn = true;
      requestAnimationFrame(() => {
        drawn = false;
        this.#uploadChanged();
      });
    });
    this.show();
  }

  #uploadChanged() {
    const { upload } = this;
    if (!upload) return;
    if (upload.state === "done") {
      this.upload = null;
      this.fresh = true;
      this.file ??= { file_id: upload.fileId, file_name: upload.file.name, size: upload.file.size, profile: upload.profile, processing_status: "uploaded", progress: 0, created_at: new Date().toISOString() };
      announce(`${this.title} is uploaded.`);
      this.follow();
      bus.dispatchEvent(new CustomEvent("uploaded", { detail: this }));
    }
    if (upload.state === "cancelled") return this.#gone();
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
    const before = this.file?.processing_status;
    this.file = file;
    if (before && before !== file.processing_status) announce(`${file.file_name}: ${STATUS[file.processing_status]}.`);
    this.show();
    if (this.fresh && file.processing_status === "completed") {
      this.fresh = false;
      bus.dispatchEvent(new CustomEvent("completed", { detail: this }));
    }
  }

  show() {
    say(this.name, this.title);
    const shown = this.upload ? this.#showUpload() : this.record ? this.#showRecord() : this.#showFile();
    this.element.dataset.state = shown.state;
    say(this.badge, shown.badge);
    say(this.meta, shown.meta.filter(Boolean).join(" · "));
    for (const [name, one] of Object.entries(this.buttons)) this.#showButton(one, shown.buttons.includes(name));
  }

  // A button that goes while it has the focus hands it on, so that the keyboard is not thrown to the top of the page.
  #showButton(one, shown) {
    const had = document.activeElement === one;
    one.hidden = !shown;
    if (had && !shown) queueMicrotask(() => this.actions.querySelector("button:not([hidden])")?.focus());
  }

  #progress(share, text, stage = null) {
    this.work.hidden = false;
    this.bar.value = share;
    say(this.line, text);
    this.stages.hidden = stage === null;
    for (const item of this.stages.children) {
      if (item.dataset.stage === stage) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    }
  }

  #fault(what, todo, detail = "") {
    this.error.hidden = !what;
    const parts = what ? [h("p", {}, h("strong", {}, what), todo ? ` ${todo}` : ""), detail ? h("p", { class: "meta" }, detail) : null] : [];
    this.error.replaceChildren(...parts.filter(Boolean));
    if (what) this.error.setAttribute("role", "alert");
  }

  #showUpload() {
    const { upload } = this;
    const { state } = upload;
    const going = state === "uploading";
    const told = [`${bytes(upload.loaded)} of ${bytes(upload.file.size)}`, percent(upload.share)];
    if (going && upload.speed) told.push(`${bytes(upload.speed)}/s`, left(upload.left_s));
    this.#progress(upload.share, told.filter(Boolean).join(" · "));
    this.#fault(state === "failed" ? upload.error.message : "", "What was uploaded is kept: go on when you are ready.");
    const stopped = state === "paused" || state === "failed";
    const buttons = [upload.inParts && ["uploading", "queued"].includes(state) ? "pause" : "", stopped ? "resume" : "", "cancel"];
    return { state, badge: UPLOAD[state], meta: [bytes(upload.file.size), upload.profile], buttons };
  }

  #showRecord() {
    const { record } = this;
    this.#progress((record.loaded ?? 0) / record.size, `${percent((record.loaded ?? 0) / record.size)} is uploaded. Choose the same file again to go on.`);
    this.#fault("", "");
    return { state: "interrupted", badge: "Interrupted", meta: [bytes(record.size), record.profile], buttons: ["choose", "discard"] };
  }

  #showFile() {
    const { file } = this;
    const { processing_status: state } = file;
    if (isMoving(file) && state !== "pending") this.#progress(file.progress, this.#pace(), state === "processing" ? file.stage : "");
    else this.work.hidden = true;
    if (state === "failed" && file.error) {
      const { what, todo, detail } = explain(file.error);
      this.#fault(what, todo, detail);
    } else this.#fault("", "");
    if (state === "completed" && !this.#poster) whenSeen.observe(this.element);
    const retry = state === "cancelled" || (state === "failed" && file.error?.retryable);
    say(this.buttons.open, this.#opened ? "Close" : file.profile === "thumbnails" ? "Show" : file.profile === "audio" ? "Listen" : "Watch");
    const buttons = [state === "completed" ? "open" : "", retry ? "again" : "", ["uploaded", "processing"].includes(state) ? "cancel" : "", state === "processing" ? "" : "remove"];
    return { state, badge: STATUS[state], meta: [bytes(file.size), file.profile, ago(file.created_at)], buttons };
  }

  #pace() {
    const { file } = this;
    if (file.processing_status === "uploaded") return "Uploaded; a worker takes it as soon as one is free.";
    const told = [STAGES[file.stage] ?? "Begins", percent(file.progress)];
    if (typeof file.speed === "number") told.push(file.speed > 0 ? `${file.speed.toFixed(1)}× speed` : "stalled");
    if (typeof file.eta_s === "number") told.push(left(file.eta_s));
    return told.join(" · ");
  }

  async #loadPoster() {
    if (this.#poster || this.file?.processing_status !== "completed") return;
    this.#poster = true;
    const { poster } = await playbackOf(this.id).catch(() => ({}));
    if (!poster) return this.thumb.replaceChildren(icon("note"));
    const picture = h("img", { alt: "", loading: "lazy", src: poster });
    picture.addEventListener("error", () => this.thumb.replaceChildren(icon("film")));
    this.thumb.replaceChildren(picture);
  }

  async toggle() {
    if (this.#opened) return this.close();
    this.#opened = { destroy() {} };
    this.buttons.open.setAttribute("aria-expanded", "true");
    this.detail.hidden = false;
    this.detail.replaceChildren(h("p", { class: "meta" }, "Opening…"));
    this.show();
    try {
      const { showDetail } = await import("/assets/detail.js");
      const opened = await showDetail(this.detail, this.file);
      if (this.#opened) this.#opened = opened;
      else opened.destroy();
    } catch (problem) {
      this.detail.replaceChildren(h("p", { class: "fault", role: "alert" }, problem.message));
    }
  }

  close() {
    this.#opened?.destroy();
    this.#opened = null;
    this.buttons.open.setAttribute("aria-expanded", "false");
    this.detail.hidden = true;
    this.detail.replaceChildren();
    if (this.file) this.show();
  }

  async #retry() {
    this.setFile(await ask(`/upload/${this.id}/retry`, { method: "POST" }));
    this.follow();
  }

  async #cancel() {
    if (this.upload) return this.upload.cancel();
    const file = await ask(`/upload/${this.id}/cancel`, { method: "POST" });
    if (!isMoving(file)) this.setFile(file);
    else this.follow();
  }

  async #discard() {
    this.removed(this);
    this.#gone();
    await this.record.discard();
  }

  async #remove() {
    if (!(await sure(`Delete “${this.title}” and everything made of it?`, "Delete"))) return;
    await ask(`/upload/${this.id}`, { method: "DELETE" });
    announce(`${this.title} is deleted.`);
    this.#gone();
  }

  #gone() {
    this.close();
    if (this.id) unfollow(this.id);
    const next = this.element.nextElementSibling?.querySelector("button:not([hidden])") ?? $("choose");
    const had = this.element.contains(document.activeElement) || document.activeElement === document.body;
    this.element.remove();
    if (had) next.focus();
    this.removed(this);
  }
}
