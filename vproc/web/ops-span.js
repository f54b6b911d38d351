// How long something lasts, as operators read it.

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
