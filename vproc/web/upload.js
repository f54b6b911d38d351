// The queue of uploads: small files by one PUT, others in parts, several at a time; paused, gone on with, given up.

import { ask, backOff, config, pause, post, unlessAborted } from "/assets/api.js";
import { forget, interrupted, recall, remember } from "/assets/resume.js";
import { Meter, put } from "/assets/transfer.js";

const MIB = 2 ** 20;
const PARTS_FROM = 16 * MIB;
const LEAST_PART = 8 * MIB;
const MOST_PARTS = 1000;
const FILES_AT_ONCE = 2;
const PARTS_AT_ONCE = 3;
const TRIES = 8;

// Why this file is not taken, or null.
export function refusal({ name, size }) {
  const suffix = name.slice(name.lastIndexOf(".")).toLowerCase();
  if (!config.suffixes.includes(suffix)) return `“${name}” is no video file that is taken here (${config.suffixes.join(" ")}).`;
  if (size === 0) return `“${name}” is empty.`;
  return size > config.max_upload_bytes ? `“${name}” is larger than this service takes.` : null;
}

// `state`: queued, uploading, paused, failed, done, cancelled; interrupted, where it broke off with an earlier page and its file
// is to be chosen again. Tells of each change by the event `change`.
export class Upload extends EventTarget {
  state = "queued";
  loaded = 0;
  error = null;
  #stop = new AbortController();
  #meter = new Meter();
  #record = null; // of an upload in parts that was begun
  #standing = 0; // bytes that the store has
  #sending = new Map(); // bytes on their way, by the part's number
  #key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;

  constructor(file, profile) {
    super();
    this.file = file;
    this.inParts = file.size > PARTS_FROM;
    this.#record = this.inParts ? recall(file) : null;
    this.fileId = this.#record?.fileId ?? null;
    this.profile = this.#record?.profile ?? profile;
  }

  // The uploads that broke off with an earlier page, as the store has them.
  static async interrupted() {
    const found = interrupted().map((record) => new Upload(record)).map(async (upload) => {
      try {
        const parts = await ask(upload.#path());
        upload.loaded = parts.reduce((sum, part) => sum + part.Size, 0);
        upload.state = "interrupted";
        return upload;
      } catch (problem) {
        if (problem.status === 404) forget(upload.file);
        return null;
      }
    });
    return (await Promise.all(found)).filter(Boolean);
  }

  get share() {
    return this.loaded / this.file.size;
  }

  get speed() {
    return this.#meter.speed;
  }

  get left_s() {
    return (this.file.size - this.loaded) / this.speed;
  }

  async run() {
    this.#stop = new AbortController();
    this.#meter = new Meter();
    this.#sending.clear();
    this.#become("uploading");
    try {
      await (this.inParts ? this.#putParts(this.#stop.signal) : this.#putWhole(this.#stop.signal));
      forget(this.file);
      this.loaded = this.file.size;
      this.#become("done");
    } catch (error) {
      if (error.name === "AbortError") return; // whoever stopped it said what it is now
      this.error = error;
      this.#end("failed");
    }
  }

  pause() {
    this.#end("paused");
  }

  // To wait in the queue again.
  again() {
    this.#become("queued");
  }

  async cancel() {
    this.#end("cancelled");
    forget(this.file);
    if (this.#record) await ask(this.#path(), { method: "DELETE" });
    else if (this.fileId) await post(`/upload/${this.fileId}/cancel`);
  }

  // Of the parts, or of one: `/5`, `/complete`.
  #path(which = "") {
    const { uploadId, key } = this.#record;
    return `/s3/multipart/${encodeURIComponent(uploadId)}${which}?key=${encodeURIComponent(key)}`;
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }

  #end(state) {
    this.#become(state);
    this.#stop.abort();
  }

  #progress(part, sent) {
    this.#sending.set(part, sent);
    this.loaded = [...this.#sending.values()].reduce((sum, bytes) => sum + bytes, this.#standing);
    this.#meter.take(this.loaded);
    this.dispatchEvent(new Event("change"));
  }

  // Tries again what a connection, or a service that is away, broke off.
  async #tried(signal, work) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        if (!error.passes || attempt + 1 >= TRIES) throw error;
        if (!navigator.onLine) await online(signal);
        await pause(backOff(attempt, error), signal);
      }
    }
  }

  #begin(path, body, signal) {
    return post(path, { size: this.file.size, ...body }, { headers: { "Idempotency-Key": this.#key }, signal });
  }

  #put(part, url, body, options) {
    this.#progress(part, 0);
    return put(url, body, { ...options, onprogress: (sent) => this.#progress(part, sent) });
  }

  #putWhole(signal) {
    return this.#tried(signal, async () => {
      const { file_id, upload_url, headers } = await this.#begin("/upload", { file_name: this.file.name, profile: this.profile || undefined }, signal);
      this.fileId = file_id;
      try {
        await this.#put(1, upload_url, this.file, { headers, signal });
      } catch (error) {
        if (error.status !== 412) throw error; // it arrived before, and the answer was lost
      }
    });
  }

  // The parts that the store has, of an upload that is begun here where there is none.
  async #parts(signal) {
    if (this.#record) {
      try {
        return await this.#tried(signal, () => ask(this.#path(), { signal }));
      } catch (error) {
        if (error.status !== 404) throw error;
        this.#key += "+"; // it was given up meanwhile: begin anew
      }
    }
    const { file, profile } = this;
    const body = { filename: file.name, type: "", metadata: profile ? { profile } : {} };
    const { key, uploadId } = await this.#tried(signal, () => this.#begin("/s3/multipart", body, signal));
    const partSize = Math.max(LEAST_PART, Math.ceil(file.size / MOST_PARTS / MIB) * MIB);
    this.fileId = key.split("/").at(-1).split(".")[0];
    this.#record = { key, uploadId, partSize, profile, fileId: this.fileId };
    remember(file, this.#record);
    return [];
  }

  async #putParts(signal) {
    const there = new Map((await this.#parts(signal)).map(({ PartNumber, Size }) => [PartNumber, Size]));
    const { file } = this;
    const { partSize } = this.#record;
    const missing = [];
    this.#standing = 0;
    for (let from = 0, number = 1; from < file.size; from += partSize, number += 1) {
      const part = file.slice(from, from + partSize);
      if (there.get(number) === part.size) this.#standing += part.size;
      else missing.push([number, part]);
    }
    const work = async () => {
      for (let next = missing.shift(); next; next = missing.shift()) {
        const [number, part] = next;
        await this.#tried(signal, async () => {
          // Signed when its turn comes: an address never waits long enough to expire.
          const { url } = await ask(this.#path(`/${number}`), { signal });
          await this.#put(number, url, part, { signal });
        });
        this.#sending.delete(number);
        this.#standing += part.size;
      }
    };
    await Promise.all(Array.from({ length: PARTS_AT_ONCE }, work));
    // What the store has, not what was answered: an ETag is hidden where the bucket's CORS rules do not expose it.
    const parts = (await this.#tried(signal, () => ask(this.#path(), { signal }))).map(({ PartNumber, ETag }) => ({ PartNumber, ETag }));
    await this.#tried(signal, () => post(this.#path("/complete"), { parts }, { signal }));
  }
}

const online = (signal) => unlessAborted(signal, (resolve, reject, ended) => addEventListener("online", resolve, { signal: ended }));

let uploads = [];
const running = new Set();

const is = (...states) => ({ state }) => states.includes(state);

export const busy = () => uploads.some(is("queued", "uploading"));

// Runs it when its turn comes: a few go at a time.
export function enqueue(upload) {
  uploads.push(upload);
  upload.addEventListener("change", runNext);
  runNext();
}

function runNext() {
  uploads = uploads.filter((upload) => !is("done", "cancelled")(upload));
  for (const upload of uploads.filter(is("queued"))) {
    if (running.size >= FILES_AT_ONCE) return;
    if (running.has(upload)) continue;
    running.add(upload);
    upload.run().finally(() => {
      running.delete(upload);
      runNext();
    });
  }
}
