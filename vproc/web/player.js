// The player: HLS by hls.js, which is fetched when the first video is opened, or by the browser itself where it knows no media
// source extensions; MP4 and sound by the browser. Controls of our own, for the quality and the pictures over the seek bar.

import { playbackOf } from "/assets/api.js";
import { h, icon } from "/assets/dom.js";
import { clock, rung } from "/assets/format.js";
import { thumbnails } from "/assets/thumbs.js";

const CODECS = { hevc: 'video/mp4; codecs="hvc1.1.6.L120.90"', av1: 'video/mp4; codecs="av01.0.08M.08"' };
const NOT_HERE = "This browser cannot play this video. Download it, or open it in another browser.";

let library = null;
const loadHls = () => (library ??= import("/assets/hls.min.mjs").then((module) => module.default));

// What there is to play, or null: `{hls}` or `{files}`, largest first.
export function playable(outputs, playback) {
  if (playback.hls) return { hls: playback.hls };
  const files = outputs.filter(({ kind }) => kind === "video" || kind === "audio").sort((a, b) => b.bytes - a.bytes);
  return files.length ? { files } : null;
}

export class Player {
  #id;
  #outputs;
  #hls = null;
  #at = null;
  #quiet = 0;

  constructor({ id, name, outputs, playback }) {
    this.#id = id;
    this.#outputs = outputs;
    this.source = playable(outputs, playback);
    this.base = (playback.hls ?? playback.poster ?? "").replace(/[^/]*$/, "");
    this.video = h("video", { playsInline: true, preload: "metadata", poster: playback.poster ?? "", "aria-label": name, tabIndex: -1 });
    this.fault = h("p", { class: "fault", role: "alert", hidden: true });
    this.element = h("div", { class: "player", role: "group", "aria-label": `Player: ${name}` }, this.video, this.fault, this.#controls());
    this.#listen();
    this.#start();
  }

  destroy() {
    this.#hls?.destroy();
    this.video.removeAttribute("src");
    this.video.load();
  }

  #controls() {
    const control = (label, name, onclick) => h("button", { type: "button", class: "control", "aria-label": label, title: label, onclick }, icon(name));
    const choice = (label) => h("select", { class: "control", "aria-label": label, title: label, hidden: true });
    this.toggle = control("Play", "play", () => this.#toggle());
    this.mute = control("Mute", "sound", () => (this.video.muted = !this.video.muted));
    this.seek = h("input", { type: "range", class: "seek", min: 0, max: 1, step: 0.1, value: 0, "aria-label": "Seek" });
    this.time = h("span", { class: "time" }, "0:00");
    this.quality = choice("Quality");
    this.captions = choice("Captions");
    this.full = control("Full screen", "full", () => this.#fullScreen());
    this.preview = h("div", { class: "preview", hidden: true, "aria-hidden": "true" }, h("i"), h("span"));
    return h("div", { class: "controls" }, h("div", { class: "bar" }, this.preview, this.seek),
      this.toggle, this.mute, this.time, h("span", { class: "gap" }), this.captions, this.quality, this.full);
  }

  #listen() {
    const { video, seek } = this;
    video.addEventListener("click", () => this.#toggle());
    for (const name of ["play", "pause", "ended"]) video.addEventListener(name, () => this.#shown());
    for (const name of ["timeupdate", "durationchange", "loadedmetadata", "seeked"]) video.addEventListener(name, () => this.#told());
    video.addEventListener("volumechange", () => this.#swap(this.mute, video.muted ? ["Unmute", "muted"] : ["Mute", "sound"]));
    video.addEventListener("error", () => !this.#hls && this.#fail());
    video.textTracks.addEventListener("addtrack", () => this.#listCaptions());
    seek.addEventListener("input", () => {
      video.currentTime = Number(seek.value);
      this.#preview(Number(seek.value));
    });
    seek.addEventListener("pointermove", (event) => this.#preview(this.#timeAt(event)));
    for (const name of ["pointerleave", "blur"]) seek.addEventListener(name, () => (this.preview.hidden = true));
    this.captions.addEventListener("change", () => {
      for (const [index, track] of this.#texts().entries()) track.mode = String(index) === this.captions.value ? "showing" : "disabled";
    });
    this.quality.addEventListener("change", () => this.#choose(Number(this.quality.value)));
    this.element.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    const onBar = event.target === this.seek;
    const keys = {
      k: () => this.#toggle(),
      m: () => (this.video.muted = !this.video.muted),
      f: () => this.#fullScreen(),
      ArrowLeft: () => this.#jump(-5),
      ArrowRight: () => this.#jump(5),
      ...(onBar || event.target === this.video ? { " ": () => this.#toggle() } : {}),
    };
    const done = keys[event.key];
    if (!done) return;
    event.preventDefault();
    done();
  }

  #jump(by) {
    const to = Math.min(Math.max(0, this.video.currentTime + by), this.video.duration || 0);
    this.video.currentTime = to;
    if (document.activeElement === this.seek) this.#preview(to);
  }

  #toggle() {
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  #fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.element.requestFullscreen) this.element.requestFullscreen().catch(() => {});
    else this.video.webkitEnterFullscreen?.();
  }

  #swap(control, [label, name]) {
    control.setAttribute("aria-label", label);
    control.title = label;
    control.replaceChildren(icon(name));
  }

  #shown() {
    this.#swap(this.toggle, this.video.paused ? ["Play", "play"] : ["Pause", "pause"]);
    this.element.classList.toggle("playing", !this.video.paused);
  }

  #told() {
    const { currentTime, duration } = this.video;
    if (!Number.isFinite(duration)) return;
    this.seek.max = duration;
    this.seek.value = currentTime;
    this.seek.style.setProperty("--at", `${(100 * currentTime) / duration}%`);
    this.seek.setAttribute("aria-valuetext", `${clock(currentTime)} of ${clock(duration)}`);
    this.time.textContent = `${clock(currentTime)} / ${clock(duration)}`;
  }

  #timeAt(event) {
    const box = this.seek.getBoundingClientRect();
    return (Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) || 0) * (this.video.duration || 0);
  }

  #preview(time) {
    const [picture, text] = this.preview.children;
    const thumb = this.#at?.(time);
    picture.hidden = !thumb;
    if (thumb) {
      const style = { width: `${thumb.width}px`, height: `${thumb.height}px`, backgroundImage: `url("${thumb.url}")`, backgroundPosition: `-${thumb.x}px -${thumb.y}px` };
      Object.assign(picture.style, style);
    }
    text.textContent = clock(time);
    const width = this.seek.clientWidth;
    const half = (thumb ? thumb.width : 48) / 2 + 4;
    this.preview.hidden = false;
    this.preview.style.left = `${Math.min(Math.max(half, (width * time) / (this.video.duration || 1)), Math.max(half, width - half))}px`;
  }

  async #start() {
    if (this.base && this.#outputs.some(({ kind }) => kind === "sprite_vtt")) {
      thumbnails(`${this.base}sprite.vtt`).then((at) => (this.#at = at));
    }
    if (!this.source) return;
    if (this.source.files) return this.#startFiles(this.source.files);
    if (window.MediaSource || window.ManagedMediaSource) {
      try {
        const Hls = await loadHls();
        if (Hls.isSupported()) return this.#startHls(Hls);
      } catch {
        library = null; // could not be fetched: perhaps the browser needs none
      }
    }
    if (this.video.canPlayType("application/vnd.apple.mpegurl")) this.video.src = this.source.hls;
    else this.#fail();
  }

  #startHls(Hls) {
    // No worker: it would need a script from a blob, which the policy forbids, and fragmented MP4 has little to unpack.
    const hls = new Hls({ enableWorker: false, capLevelToPlayerSize: true, backBufferLength: 60 });
    this.#hls = hls;
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.#listQualities(hls.levels, true));
    hls.on(Hls.Events.LEVEL_SWITCHED, (_, { level }) => {
      const [auto] = this.quality.options;
      if (auto) auto.textContent = hls.autoLevelEnabled ? `Auto (${rung(hls.levels[level])})` : "Auto";
    });
    hls.on(Hls.Events.ERROR, (_, told) => told.fatal && this.#mend(Hls, told.type));
    hls.attachMedia(this.video);
    hls.loadSource(this.source.hls);
  }

  // Once each: new addresses where the old ones ended, and the decoder anew where it stumbled.
  async #mend(Hls, type) {
    if ((this.#quiet += 1) > 3) return this.#fail();
    if (type === Hls.ErrorTypes.MEDIA_ERROR) return this.#hls.recoverMediaError();
    if (type !== Hls.ErrorTypes.NETWORK_ERROR) return this.#fail();
    try {
      const { hls } = await playbackOf(this.#id, { fresh: true });
      const { currentTime } = this.video;
      this.#hls.loadSource(hls);
      this.#hls.startLoad(currentTime);
    } catch {
      this.#fail();
    }
  }

  #startFiles(files) {
    const known = files.filter((file) => this.video.canPlayType(CODECS[file.codec] ?? file.content_type));
    if (!known.length) return this.#fail();
    for (const { key, name } of this.#outputs.filter(({ kind }) => kind === "captions")) {
      this.video.append(h("track", { kind: "captions", label: name ?? "Captions", src: this.base + key.split("/").slice(1).join("/") }));
    }
    this.source.files = known;
    this.#listQualities(known, false);
    this.video.src = known[0].url;
  }

  #listQualities(sizes, auto) {
    const options = sizes.map((size, index) => ({ value: index, text: rung(size), tall: size.height })).filter(({ text }) => text);
    options.sort((a, b) => b.tall - a.tall);
    this.quality.replaceChildren(...(auto ? [h("option", { value: -1 }, "Auto")] : []), ...options.map(({ value, text }) => h("option", { value }, text)));
    this.quality.hidden = options.length < 2;
  }

  #choose(index) {
    if (this.#hls) {
      this.#hls.nextLevel = index;
      return;
    }
    const { currentTime, paused } = this.video;
    this.video.src = this.source.files[index].url;
    this.video.currentTime = currentTime;
    if (!paused) this.video.play().catch(() => {});
  }

  #texts() {
    return [...this.video.textTracks].filter(({ kind }) => kind === "captions" || kind === "subtitles");
  }

  #listCaptions() {
    const tracks = this.#texts();
    const named = tracks.map((track, index) => h("option", { value: index }, track.label || track.language || `Captions ${index + 1}`));
    this.captions.replaceChildren(h("option", { value: -1 }, "No captions"), ...named);
    this.captions.value = tracks.findIndex(({ mode }) => mode === "showing");
    this.captions.hidden = !tracks.length;
  }

  #fail() {
    this.fault.textContent = NOT_HERE;
    this.fault.hidden = false;
  }
}
