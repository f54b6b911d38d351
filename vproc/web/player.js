// The player: HLS by hls.js, which is fetched when the first video is opened, or by the browser itself where it knows no media
// source extensions; MP4 and sound by the browser. Controls of our own, for the quality and the pictures over the seek bar.

import { playbackOf } from "/assets/api.js";
import { h, icon } from "/assets/dom.js";
import { clock, rung } from "/assets/media.js";
import { thumbnails } from "/assets/thumbs.js";

const ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M6 5h4v14H6zm8 0h4v14h-4z",
  sound: "M3 9v6h4l5 5V4L7 9zm13.5 3A4.5 4.5 0 0 0 14 8v8a4.5 4.5 0 0 0 2.5-4z",
  muted: "M3 9v6h4l5 5V4L7 9zm12.6 3 2.7-2.7-1.4-1.4-2.7 2.7v2.8l2.7 2.7 1.4-1.4z",
  full: "M7 14H5v5h5v-2H7zM5 10h2V7h3V5H5zm12 7h-3v2h5v-5h-2zM14 5v2h3v3h2V5z",
};
const CODECS = { hevc: 'video/mp4; codecs="hvc1.1.6.L120.90"', av1: 'video/mp4; codecs="av01.0.08M.08"' };

// What there is to play, or null: `{hls}` or `{files}`, largest first.
export function playable(outputs, { hls }) {
  if (hls) return { hls };
  const files = outputs.filter(({ kind }) => kind === "video" || kind === "audio").sort((a, b) => b.bytes - a.bytes);
  return files.length ? { files } : null;
}

// Makes of a button what it does now.
function label(button, text, picture) {
  button.ariaLabel = button.title = text;
  button.replaceChildren(icon(ICONS[picture]));
}

function control(text, picture, onclick) {
  const button = h("button.control", { type: "button", onclick });
  label(button, text, picture);
  return button;
}

export class Player {
  #id;
  #outputs;
  #hls = null;
  #thumbAt = null;
  #faults = 0;

  constructor({ id, name, outputs, playback, source }) {
    this.#id = id;
    this.#outputs = outputs;
    this.source = source;
    this.base = (playback.hls ?? playback.poster ?? "").replace(/[^/]*$/, "");
    const [state, time, quiet] = [() => this.#showState(), () => this.#showTime(), () => (this.preview.hidden = true)];
    this.video = h("video", {
      playsInline: true, preload: "metadata", poster: playback.poster ?? "", "aria-label": name, tabIndex: -1,
      onclick: () => this.#toggle(), onplay: state, onpause: state, onvolumechange: state,
      ontimeupdate: time, ondurationchange: time, onseeked: time, onerror: () => this.#hls || this.#fail(),
    });
    this.video.textTracks.addEventListener("addtrack", () => this.#listCaptions());
    this.seek = h("input.seek", {
      type: "range", max: 1, step: 0.1, value: 0, "aria-label": "Seek", oninput: () => this.#go(this.seek.valueAsNumber),
      onpointermove: (event) => this.#preview(this.#timeAt(event)), onpointerleave: quiet, onblur: quiet,
    });
    this.fault = h("p.fault", { role: "alert" });
    this.element = h("div.player", { role: "group", "aria-label": `Player: ${name}`, onkeydown: (event) => this.#key(event) }, this.video, this.fault, this.#controls());
    this.#start();
  }

  destroy() {
    this.#hls?.destroy();
    this.video.removeAttribute("src");
    this.video.load();
  }

  #controls() {
    const choice = (title, onchange) => h("select.control", { "aria-label": title, title, hidden: true, onchange });
    this.play = control("Play", "play", () => this.#toggle());
    this.mute = control("Mute", "sound", () => this.#mute());
    this.time = h("span.time", "0:00");
    this.quality = choice("Quality", () => this.#choose(Number(this.quality.value)));
    this.captions = choice("Captions", () => this.#texts().forEach((track, at) => (track.mode = String(at) === this.captions.value ? "showing" : "disabled")));
    this.preview = h("div.preview", { hidden: true, "aria-hidden": "true" }, h("i"), h("span"));
    return h("div.controls", h("div.bar", this.preview, this.seek), this.play, this.mute, this.time, h("span.gap"),
      this.captions, this.quality, control("Full screen", "full", () => this.#fullScreen()));
  }

  #key(event) {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || target.tagName === "SELECT") return;
    const { currentTime } = this.video;
    const done = {
      k: () => this.#toggle(),
      m: () => this.#mute(),
      f: () => this.#fullScreen(),
      ArrowLeft: () => this.#go(currentTime - 5),
      ArrowRight: () => this.#go(currentTime + 5),
      " ": (target === this.seek || target === this.video) && (() => this.#toggle()),
    }[key];
    if (!done) return;
    event.preventDefault();
    done();
  }

  #go(time) {
    const to = Math.min(Math.max(0, time), this.video.duration || 0);
    this.video.currentTime = to;
    if (document.activeElement === this.seek) this.#preview(to);
  }

  #toggle() {
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  #mute() {
    this.video.muted = !this.video.muted;
  }

  #fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.element.requestFullscreen) this.element.requestFullscreen().catch(() => {});
    else this.video.webkitEnterFullscreen?.();
  }

  #showState() {
    const { paused, muted } = this.video;
    label(this.play, ...(paused ? ["Play", "play"] : ["Pause", "pause"]));
    label(this.mute, ...(muted ? ["Unmute", "muted"] : ["Mute", "sound"]));
  }

  #showTime() {
    const { currentTime, duration } = this.video;
    if (!Number.isFinite(duration)) return;
    Object.assign(this.seek, { max: duration, value: currentTime, ariaValueText: `${clock(currentTime)} of ${clock(duration)}` });
    this.time.textContent = `${clock(currentTime)} / ${clock(duration)}`;
  }

  #timeAt({ clientX }) {
    const { left, width } = this.seek.getBoundingClientRect();
    return Math.min(1, Math.max(0, (clientX - left) / width)) * (this.video.duration || 0);
  }

  #preview(time) {
    const [picture, text] = this.preview.children;
    const thumb = this.#thumbAt?.(time);
    picture.hidden = !thumb;
    if (thumb) {
      const { url, x, y, width, height } = thumb;
      Object.assign(picture.style, { width: `${width}px`, height: `${height}px`, background: `url("${url}") -${x}px -${y}px` });
    }
    text.textContent = clock(time);
    this.preview.hidden = false;
    const [half, width] = [this.preview.offsetWidth / 2, this.seek.clientWidth];
    this.preview.style.left = `${Math.max(half, Math.min(width - half, (width * time) / (this.video.duration || 1)))}px`;
  }

  async #start() {
    if (this.base && this.#outputs.some(({ kind }) => kind === "sprite_vtt")) {
      thumbnails(`${this.base}sprite.vtt`).then((at) => (this.#thumbAt = at));
    }
    const { hls, files } = this.source;
    if (files) return this.#startFiles(files);
    if (window.MediaSource || window.ManagedMediaSource) {
      // Where it could not be fetched, perhaps the browser needs none.
      const { default: Hls } = await import("/assets/hls.min.mjs").catch(() => ({}));
      if (Hls?.isSupported()) return this.#startHls(Hls);
    }
    if (this.video.canPlayType("application/vnd.apple.mpegurl")) this.video.src = hls;
    else this.#fail();
  }

  #startHls(Hls) {
    // No worker: it would need a script from a blob, which the policy forbids, and fragmented MP4 has little to unpack.
    const hls = new Hls({ enableWorker: false, capLevelToPlayerSize: true, backBufferLength: 60 });
    this.#hls = hls;
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.#listQualities(hls.levels, h("option", { value: -1 }, "Auto")));
    hls.on(Hls.Events.LEVEL_SWITCHED, (_, { level }) => {
      this.quality.options[0].text = hls.autoLevelEnabled ? `Auto (${rung(hls.levels[level])})` : "Auto";
    });
    hls.on(Hls.Events.ERROR, (_, told) => told.fatal && this.#mend(Hls, told.type));
    hls.attachMedia(this.video);
    hls.loadSource(this.source.hls);
  }

  // A few times: new addresses where the old ones ended, and the decoder anew where it stumbled.
  async #mend(Hls, type) {
    if ((this.#faults += 1) > 3) return this.#fail();
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
    const known = files.filter(({ codec, content_type: type }) => this.video.canPlayType(CODECS[codec] ?? type));
    if (!known.length) return this.#fail();
    for (const { key, name } of this.#outputs.filter(({ kind }) => kind === "captions")) {
      this.video.append(h("track", { kind: "captions", label: name ?? "Captions", src: this.base + key.split("/").slice(1).join("/") }));
    }
    this.source.files = known;
    this.#listQualities(known);
    this.video.src = known[0].url;
  }

  // `auto`: the choice above them, where one may be left to hls.js.
  #listQualities(sizes, auto) {
    const tallest = [...sizes.entries()].filter(([, size]) => rung(size)).sort(([, a], [, b]) => b.height - a.height);
    this.quality.replaceChildren(auto ?? "", ...tallest.map(([value, size]) => h("option", { value }, rung(size))));
    this.quality.hidden = tallest.length < 2;
  }

  #choose(index) {
    if (this.#hls) {
      this.#hls.nextLevel = index;
      return;
    }
    const { currentTime, paused } = this.video;
    this.video.src = this.source.files[index].url;
    this.video.currentTime = currentTime;
    if (!paused) this.#toggle();
  }

  #texts() {
    return [...this.video.textTracks].filter(({ kind }) => kind === "captions" || kind === "subtitles");
  }

  #listCaptions() {
    const tracks = this.#texts();
    const named = tracks.map(({ label, language }, at) => h("option", { value: at }, label || language || `Captions ${at + 1}`));
    this.captions.replaceChildren(h("option", { value: -1 }, "No captions"), ...named);
    this.captions.value = tracks.findIndex(({ mode }) => mode === "showing");
    this.captions.hidden = !tracks.length;
  }

  #fail() {
    this.fault.textContent = "This browser cannot play this video. Download it, or open it in another browser.";
  }
}
