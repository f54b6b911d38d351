// Shows the state: tiles, jobs, hours, failures, the process.

import { $, h, say } from "/assets/dom.js";
import { ago, bytes, left, percent } from "/assets/format.js";
import { showHours } from "/assets/ops-chart.js";
import { span } from "/assets/ops-span.js";
import { Table } from "/assets/table.js";
import { STAGES } from "/assets/words.js";

const LEAST_FREE = 0.1; // of the scratch disk
const DASH = "–";

export const fileLink = (id, name) => h("a", { href: `/?file=${encodeURIComponent(id)}` }, name);
const small = (...texts) => h("small", {}, texts.filter(Boolean).join(" · "));
const when = (at) => h("time", { datetime: at, title: new Date(at).toLocaleString() }, ago(at));
export const reason = (code, detail) => [code ? h("code", { class: "code" }, code) : null, h("span", { class: "why" }, detail)].filter(Boolean);

const jobs = new Table("Jobs in progress", [
  { title: "File", of: (job) => [fileLink(job.file_id, job.file_name), small(job.profile, job.owner)] },
  { title: "Stage", of: (job) => (job.silent ? [h("span", { class: "mark" }, "No sign of life")] : [STAGES[job.stage] ?? "Begins"]) },
  { title: "Progress", of: (job) => [h("progress", { max: 1, value: job.progress, "aria-label": `Progress of ${job.file_name}` }), h("span", { class: "share" }, percent(job.progress))] },
  { title: "Speed", of: ({ speed, silent }) => [typeof speed !== "number" || silent ? DASH : speed ? `${speed.toFixed(1)}×` : "stalled"] },
  { title: "Left", of: ({ eta_s: eta }) => [typeof eta === "number" ? left(eta).replace(" left", "") : DASH] },
  { title: "For", of: (job) => [span(Math.max(0, (Date.parse(job.now) - Date.parse(job.started_at)) / 1000))] },
  { title: "Attempt", of: (job) => [String(job.attempt)] },
  { title: "Worker", of: (job) => [h("span", { class: "worker", title: job.worker }, job.worker.split(":").slice(0, 2).join(":"))] },
], (job) => job.file_id, "No job is in progress.");

const moreJobs = h("p", { class: "meta", hidden: true });

const failures = new Table("Failed lately", [
  { title: "File", of: (file) => [fileLink(file.file_id, file.file_name), small(file.profile, file.owner)] },
  { title: "Why", of: ({ error }) => reason(error.code, error.detail) },
  { title: "Attempts", of: (file) => [String(file.attempts)] },
  { title: "When", of: (file) => [when(file.failed_at)] },
], (file) => file.file_id, "No file is failed.");

function tile(name, value, note, tone = "") {
  return h("div", { class: "tile", "data-tone": tone }, h("dt", {}, name), h("dd", { class: "value" }, value), h("dd", { class: "note" }, note));
}

function replaceTiles(tiles) {
  const list = $("tiles");
  tiles.forEach((one, at) => {
    const known = list.children[at];
    if (!known) list.append(one);
    else if (!known.isEqualNode(one)) known.replaceWith(one);
  });
}

const number = (value) => (value === null ? DASH : value.toLocaleString("en"));

function oldest({ waiting, oldest_age_s: age }) {
  if (waiting === 0) return tile("Oldest", DASH, "nothing waits");
  return age === null ? tile("Oldest", DASH, "none taken here yet") : tile("Oldest", span(age), "as it was taken here");
}

function scratch(worker) {
  if (!worker) return tile("Scratch free", DASH, "no jobs in this process");
  const { scratch_free_bytes: free, scratch_size_bytes: size } = worker;
  const used = size ? 1 - free / size : 0;
  return tile("Scratch free", bytes(free), size ? `of ${bytes(size)}, ${percent(used)} used` : "", used > 1 - LEAST_FREE ? "bad" : "");
}

function media(seconds) {
  return seconds ? `${span(seconds)} of video` : "no video";
}

function showTiles({ queue, worker, running, hours, jobs: listed }) {
  const [before, now] = hours.slice(-2);
  const silent = listed.filter((job) => job.silent).length;
  const read = queue.read_at ? `read ${ago(queue.read_at)}` : "never read here";
  replaceTiles([
    tile("Waiting", number(queue.waiting), queue.in_flight === null ? read : `${number(queue.in_flight)} in flight`),
    oldest(queue),
    tile("In progress", number(running), silent ? `${silent} without a sign of life` : worker ? `${worker.jobs} of ${worker.slots} slots here` : "none in this process", silent ? "bad" : ""),
    tile("Done this hour", number(now.completed), media(now.media_s)),
    tile("Failed this hour", number(now.failed), `${number(before.failed)} the hour before`, now.failed ? "bad" : ""),
    tile("Dead letters", number(queue.dead_letters), read, queue.dead_letters ? "bad" : ""),
    scratch(worker),
  ]);
}

function showProcess({ process }) {
  const pairs = [["vproc", process.version], ["ffmpeg", process.ffmpeg ?? "none here"], ["Schema", process.schema_version], ["Up for", span(process.uptime_s)]];
  const list = pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  $("process").replaceChildren(...list);
}

export function showState(state) {
  if (!jobs.element.isConnected) {
    $("jobs").append(jobs.element, moreJobs);
    $("failures").append(failures.element);
  }
  showTiles(state);
  jobs.show(state.jobs.map((job) => ({ ...job, now: state.read_at })));
  const more = state.running - state.jobs.length;
  moreJobs.hidden = more <= 0;
  say(moreJobs, `${more} more are in progress.`);
  showHours(state.hours);
  failures.show(state.failures);
  showProcess(state);
}
