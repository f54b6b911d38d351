// Thumbnails of a seek bar: a WebVTT file whose cues name a part of a sprite sheet (`sprite-001.jpg#xywh=0,0,160,90`).

const CUE = /(?:(\d+):)?(\d+):([\d.]+)\s+-->\s+(?:(\d+):)?(\d+):([\d.]+)[^\n]*\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)/g;
const seconds = (hours, minutes, rest) => Number(hours ?? 0) * 3600 + Number(minutes) * 60 + Number(rest);

// Gives a function from a time to `{url, x, y, width, height}`, or null where there are none.
export async function thumbnails(address) {
  const response = await fetch(address).catch(() => null);
  if (!response?.ok) return null;
  const base = new URL(address, location.href);
  const cues = [...(await response.text()).replaceAll("\r", "").matchAll(CUE)].map((cue) => ({
    until: seconds(cue[4], cue[5], cue[6]),
    url: new URL(cue[7], base).href,
    x: Number(cue[8]),
    y: Number(cue[9]),
    width: Number(cue[10]),
    height: Number(cue[11]),
  }));
  return cues.length ? (time) => cues.find((cue) => time < cue.until) ?? cues.at(-1) : null;
}
