// Thumbnails of a seek bar: a WebVTT file whose cues name a part of a sprite sheet (`sprite-001.jpg#xywh=0,0,160,90`).

const CUE = /--> (?:(\d+):)?(\d+):([\d.]+).*\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)/g;

// Gives a function from a time to `{url, x, y, width, height}`, or null where there are none.
export async function thumbnails(address) {
  const response = await fetch(address).catch(() => null);
  if (!response?.ok) return null;
  const base = new URL(address, location);
  const cues = [...(await response.text()).matchAll(CUE)].map(([, hours = 0, minutes, seconds, name, ...place]) => {
    const [x, y, width, height] = place.map(Number);
    return { until: hours * 3600 + minutes * 60 + Number(seconds), url: new URL(name, base).href, x, y, width, height };
  });
  return cues.length ? (time) => cues.find(({ until }) => time < until) ?? cues.at(-1) : null;
}
