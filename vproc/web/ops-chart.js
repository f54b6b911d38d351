// Bars by the hour, and the same as a table.

import { $, drawn, h, say } from "/assets/dom.js";
import { span } from "/assets/ops-span.js";
import { Table } from "/assets/table.js";

const WIDE = 10;
const HIGH = 60;
const LEAST = 2; // so that one of a thousand is seen

const clockOf = ({ begins_at: at }) => at.slice(11, 16);
const sum = (hours, what) => hours.reduce((total, hour) => total + hour[what], 0);

const table = new Table("By the hour, UTC", [
  { title: "Hour (UTC)", of: (hour) => [`${hour.begins_at.slice(0, 10)} ${clockOf(hour)}`] },
  { title: "Completed", of: (hour) => [String(hour.completed)] },
  { title: "Video", of: ({ media_s: seconds }) => [seconds ? span(seconds) : "–"] },
  { title: "Failed", of: (hour) => [String(hour.failed)] },
], (hour) => hour.begins_at, "");

function bars(hours, what, most) {
  return hours.map((hour, at) => {
    const count = hour[what];
    const high = count ? Math.max(LEAST, (count / most) * HIGH) : 0;
    const place = { x: at * WIDE + 1, y: HIGH - high, width: WIDE - 2, height: high, rx: 1 };
    return drawn("g", { class: at === hours.length - 1 ? "bar now" : "bar" },
      drawn("title", {}, `${clockOf(hour)}: ${count}`), drawn("rect", { class: "hit", x: at * WIDE, y: 0, width: WIDE, height: HIGH }), drawn("rect", place));
  });
}

function chart(hours, what, name) {
  const most = Math.max(1, ...hours.map((hour) => hour[what]));
  const total = sum(hours, what);
  const peak = hours.findLast((hour) => hour[what] === most);
  const told = `${name} by the hour: ${total} in 24 hours${total ? `, at most ${most}, at ${clockOf(peak)} UTC` : ""}. The table below has each hour.`;
  const svg = drawn("svg", { class: "chart", role: "img", "aria-label": told, viewBox: `0 0 ${WIDE * hours.length} ${HIGH}`, preserveAspectRatio: "none" }, ...bars(hours, what, most));
  const ticks = [0, 6, 12, 18, 23].map((at) => h("span", {}, at === 23 ? "now" : clockOf(hours[at])));
  return h("figure", { class: `${what} figure` },
    h("figcaption", {}, h("strong", {}, name), h("span", { class: "meta" }, total ? `${total.toLocaleString("en")}, at most ${most.toLocaleString("en")} an hour` : "none")),
    h("div", { class: "plot" }, svg),
    h("div", { class: "ticks", "aria-hidden": "true" }, ...ticks));
}

const figures = h("div", { class: "figures" });
const summary = h("summary", {}, "As a table");
const whole = h("details", {}, summary, table.element);

export function showHours(hours) {
  if (!figures.isConnected) $("hours").append(figures, whole);
  [["completed", "Completed"], ["failed", "Failed"]].forEach(([what, name], at) => {
    const fresh = chart(hours, what, name);
    const known = figures.children[at];
    if (!known) figures.append(fresh);
    else if (!known.isEqualNode(fresh)) known.replaceWith(fresh);
  });
  table.show([...hours].reverse());
  say(summary, "As a table");
}
