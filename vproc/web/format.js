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

export function left(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s left`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min left`;
  return `${(seconds / 3600).toFixed(1)} h left`;
}

export function ago(text) {
  const passed = (Date.now() - Date.parse(text)) / 1000;
  if (passed < 45) return "just now";
  const steps = [[60, "minute"], [3600, "hour"], [86400, "day"]];
  const [length, unit] = steps.findLast(([length]) => passed >= length * 0.75) ?? steps[0];
  if (passed > 14 * 86400) return new Date(text).toLocaleDateString();
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(-Math.max(1, Math.round(passed / length)), unit);
}
