// What a finished video shows when it is opened: player, files to download, what it was and what came of it.

import { ask, playbackOf } from "/assets/api.js";
import { h } from "/assets/dom.js";
import { bytes } from "/assets/format.js";
import { clock, codec, lasted, rate, rung } from "/assets/media.js";
import { Player, playable } from "/assets/player.js";
import { PROFILES } from "/assets/words.js";

const KINDS = { hls: "HLS playlist", dash: "DASH manifest", poster: "Poster", sprite_vtt: "Thumbnails (WebVTT)", sprite: "Thumbnails (pictures)", metadata: "Metadata (JSON)", captions: "Captions", chapters: "Chapters", hls_media: "Rendition playlist", hls_iframes: "Key frames" };
const FIRST = ["video", "audio", "hls", "dash", "captions", "poster"];
const section = (title, ...children) => h("section", { "aria-label": title }, h("h4", title), ...children);

const styled = new Promise((resolve) => document.head.append(h("link", { rel: "stylesheet", href: "/assets/detail.css", onload: resolve, onerror: resolve })));

// Fills `host`. Gives what ends it.
export async function showDetail(host, file) {
  const { file_id: id, file_name: name } = file;
  const [{ outputs }, playback] = await Promise.all([ask(`/upload/${id}/download/processed`), playbackOf(id), styled]);
  const manifest = outputs.find(({ kind }) => kind === "metadata");
  const told = manifest && (await fetch(manifest.url).then((answer) => answer.json()).catch(() => null));
  const source = playable(outputs, playback);
  const player = source && new Player({ id, name, outputs, playback, source });
  const picture = playback.poster ? h("img.picture", { src: playback.poster, alt: `Poster of ${name}` }) : "";
  host.replaceChildren(player?.element ?? picture, downloads(outputs, playback), facts(file, told?.source), rungs(outputs));
  return { destroy: () => player?.destroy() };
}

function nameOf(output) {
  const size = rung(output);
  if (output.kind === "video") return [size, codec(output.codec), "MP4"].filter(Boolean).join(" ");
  if (output.kind === "audio") return `Sound, ${codec(output.codec)}`;
  return [KINDS[output.kind] ?? output.kind, output.name ?? size].filter(Boolean).join(", ");
}

// Playlists by the addresses for players: from a private bucket nothing that they name could be fetched otherwise.
function downloads(outputs, playback) {
  const link = (output) => h("a", { href: playback[output.kind] ?? output.url, target: "_blank", rel: "noopener" }, nameOf(output), " ", h("small", bytes(output.bytes)));
  const list = (some) => h("ul.files", ...some.map((output) => h("li", link(output))));
  const sorted = outputs.toSorted((a, b) => FIRST.indexOf(a.kind) - FIRST.indexOf(b.kind) || b.bytes - a.bytes);
  const first = sorted.filter(({ kind }) => FIRST.includes(kind));
  const rest = sorted.filter(({ kind }) => !FIRST.includes(kind));
  return section("Files", list(first), rest.length ? h("details", h("summary", `${rest.length} more`), list(rest)) : "");
}

function facts(file, source) {
  const { width, height } = source?.video ?? {};
  const pairs = {
    Original: [codec(file.original_codec), width && `${width} × ${height}`, bytes(file.size)].filter(Boolean).join(", "),
    Duration: source?.duration_s && clock(source.duration_s),
    Output: PROFILES[file.profile] ?? file.profile,
    Codec: codec(file.target_codec),
    Took: file.processing_time !== null && lasted(file.processing_time),
    Id: file.file_id,
  };
  const known = Object.entries(pairs).filter(([, value]) => value);
  return section("About", h("dl", ...known.map(([name, value]) => h("div", h("dt", name), h("dd", value)))));
}

// A row for each size: of streams what their rate makes of their length, since they are many small files.
function rungs(outputs) {
  const sizes = outputs.filter(({ kind, height }) => height && (kind === "video" || kind === "hls_media")).sort((a, b) => b.height - a.height);
  if (!sizes.length) return "";
  const rows = sizes.map((one) => {
    const { kind, width, height, bitrate_bps: bps, duration_s } = one;
    const size = kind === "hls_media" && bps && duration_s ? `about ${bytes((bps * duration_s) / 8)}` : bytes(one.bytes);
    const cells = [`${width} × ${height}`, codec(one.codec), bps ? rate(bps) : "", size];
    return h("tr", h("th", { scope: "row" }, rung(one)), ...cells.map((text) => h("td", text)));
  });
  const head = ["Size", "Picture", "Codec", "Rate", "Bytes"].map((text) => h("th", { scope: "col" }, text));
  const table = section("Sizes", h("table", h("thead", h("tr", ...head)), h("tbody", ...rows)));
  table.className = "rungs";
  return table;
}
