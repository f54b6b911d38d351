// What a finished video shows when it is opened: player, files to download, what it was and what came of it.

import { ask, playbackOf } from "/assets/api.js";
import { h } from "/assets/dom.js";
import { bytes, clock, codec, lasted, rate, rung } from "/assets/format.js";
import { Player, playable } from "/assets/player.js";
import { PROFILES } from "/assets/words.js";

const KINDS = { hls: "HLS playlist", dash: "DASH manifest", poster: "Poster", sprite_vtt: "Thumbnails (WebVTT)", sprite: "Thumbnails (pictures)", metadata: "Metadata (JSON)", captions: "Captions", chapters: "Chapters", hls_media: "Rendition playlist", hls_iframes: "Key frames" };
const FIRST = ["video", "audio", "hls", "dash", "captions", "poster"];

// Fills `host`. Gives what ends it.
export async function showDetail(host, file) {
  const [{ outputs }, playback] = await Promise.all([ask(`/upload/${file.file_id}/download/processed`), playbackOf(file.file_id)]);
  const told = outputs.find(({ kind }) => kind === "metadata");
  const source = told && (await fetch(told.url).then((answer) => answer.json()).then((all) => all.source).catch(() => null));
  const player = playable(outputs, playback) && new Player({ id: file.file_id, name: file.file_name, outputs, playback });
  const picture = !player && playback.poster && h("img", { class: "picture", src: playback.poster, alt: `Poster of ${file.file_name}` });
  host.replaceChildren(...[player?.element ?? picture].filter(Boolean), downloads(outputs, playback), facts(file, source), rungs(outputs));
  return { destroy: () => player?.destroy() };
}

function nameOf(output) {
  const size = rung(output);
  if (output.kind === "video") return [size, codec(output.codec), "MP4"].filter(Boolean).join(" ");
  if (output.kind === "audio") return `Sound, ${codec(output.codec)}`;
  return [KINDS[output.kind] ?? output.kind, output.name ?? size].filter(Boolean).join(", ");
}

const link = (output, playback) => h("a", { href: playback[output.kind] ?? output.url, target: "_blank", rel: "noopener" }, nameOf(output), " ", h("small", {}, bytes(output.bytes)));

// Playlists by the addresses for players: from a private bucket nothing that they name could be fetched otherwise.
function downloads(outputs, playback) {
  const sorted = [...outputs].sort((a, b) => FIRST.indexOf(a.kind) - FIRST.indexOf(b.kind) || b.bytes - a.bytes);
  const list = (some) => h("ul", { class: "files" }, ...some.map((output) => h("li", {}, link(output, playback))));
  const first = sorted.filter(({ kind }) => FIRST.includes(kind));
  const rest = sorted.filter(({ kind }) => !FIRST.includes(kind));
  const more = h("details", {}, h("summary", {}, `${rest.length} more`), list(rest));
  return h("section", { class: "downloads", "aria-label": "Files" }, h("h4", {}, "Files"), list(first), rest.length ? more : null);
}

function facts(file, source) {
  const video = source?.video;
  const size = video?.width ? `${video.width} × ${video.height}` : null;
  const pairs = [
    ["Original", [codec(file.original_codec), size, bytes(file.size)].filter(Boolean).join(", ")],
    ["Duration", source?.duration_s ? clock(source.duration_s) : null],
    ["Output", PROFILES[file.profile] ?? file.profile],
    ["Codec", codec(file.target_codec)],
    ["Took", file.processing_time === null ? null : lasted(file.processing_time)],
    ["Id", file.file_id],
  ].filter(([, value]) => value);
  return h("section", { "aria-label": "About" }, h("h4", {}, "About"), h("dl", {}, ...pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

// A row for each size: of streams what their rate makes of their length, since they are many small files.
function rungs(outputs) {
  const sizes = outputs.filter(({ kind, height }) => height && (kind === "video" || kind === "hls_media")).sort((a, b) => b.height - a.height);
  if (!sizes.length) return "";
  const rows = sizes.map((one) => {
    const stream = one.kind === "hls_media";
    const length = stream && one.bitrate_bps && one.duration_s ? (one.bitrate_bps * one.duration_s) / 8 : one.bytes;
    const cells = [`${one.width} × ${one.height}`, codec(one.codec), one.bitrate_bps ? rate(one.bitrate_bps) : "", `${stream ? "about " : ""}${bytes(length)}`];
    return h("tr", {}, h("th", { scope: "row" }, rung(one)), ...cells.map((text) => h("td", {}, text)));
  });
  const head = h("tr", {}, ...["Size", "Picture", "Codec", "Rate", "Bytes"].map((text) => h("th", { scope: "col" }, text)));
  return h("section", { class: "rungs", "aria-label": "Sizes" }, h("h4", {}, "Sizes"), h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows)));
}
