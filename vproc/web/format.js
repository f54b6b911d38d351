// Sizes, times and shares as a person reads them.

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

export function bytes(count) {
  if (typeof count !== "number") return "";
  let unit = 0;
  while (count >= 999.5 && unit < UNITS.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit && count < 99.95 ? count.toFixed(1) : Math.round(count)} ${UNITS[unit]}`;
}

export const percent = (share) => `${Math.floor(100 * share + 1e-6)} %`;

// 65 → "1:05", 3725 → "1:02:05".
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const two = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export function left(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s left`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min left`;
  return `${(seconds / 3600).toFixed(1)} h left`;
}

// 42 → "42 s", 4000 → "1 h 7 min", 200000 → "2 d 7 h".
export function span(seconds) {
  const steps = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
  for (const [length, unit, smaller, smallerUnit] of steps) {
    if (seconds < length) continue;
    const rest = Math.floor((seconds % length) / smaller);
    return `${Math.floor(seconds / length)} ${unit}${rest && (length > 60 || seconds < 600) ? ` ${rest} ${smallerUnit}` : ""}`;
  }
  return `${Math.round(seconds)} s`;
}

export const lasted = (seconds) => (seconds < 90 ? `${seconds.toFixed(1)} s` : `${clock(seconds)} min`);

export function ago(text) {
  const passed = (Date.now() - Date.parse(text)) / 1000;
  if (passed < 45) return "just now";
  const steps = [[60, "minute"], [3600, "hour"], [86400, "day"]];
  const [length, unit] = steps.findLast(([length]) => passed >= length * 0.75) ?? steps[0];
  if (passed > 14 * 86400) return new Date(text).toLocaleDateString();
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(-Math.max(1, Math.round(passed / length)), unit);
}

const CODECS = { h264: "H.264", hevc: "HEVC", av1: "AV1", vp9: "VP9", aac: "AAC", opus: "Opus", mp3: "MP3", prores: "ProRes" };
export const codec = (name) => (name ? (CODECS[name] ?? name) : "");

export const rate = (bps) => (bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1000)} kbit/s`);

// As people name a picture's size: by the shorter side.
export const rung = ({ width, height }) => (width && height ? `${Math.min(width, height)}p` : "");
