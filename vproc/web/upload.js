// The queue of uploads: small files by one PUT, others in parts, several at a time; paused, gone on with, given up.

import { Problem, ask, backOff, config, pause } from "/assets/api.js";
import { forget, recall, remember } from "/assets/resume.js";
import { Meter, put } from "/assets/transfer.js";

const MIB = 2 ** 20;
const PARTS_FROM = 16 * MIB;
const LEAST_PART = 8 * MIB;
const MOST_PARTS = 1000;
const FILES_AT_ONCE = 2;
const PARTS_AT_ONCE = 3;
const TRIES = 8;

const partSize = (size) => Math.max(LEAST_PART, Math.ceil(size / MOST_PARTS / MIB) * MIB);
const fileIdOf = (key) => key.split("/").at(-1).split(".")[0];

// Why this file is not taken, or null.
export function refusal(file) {
  const suffix = file.name.slice(file.name.lastIndexOf(".")).toLowerCase();
  if (!config.suffixes.includes(suffix)) return `“${file.name}” is no video file that is taken here (${config.suffixes.join(" ")}).`;
  if (file.size === 0) return `“${file.name}” is empty.`;
  if (file.size > config.max_upload_bytes) return `“${file.name}” is larger than this service takes.`;
  return null;
}

// `state`: queued, uploading, paused, failed, done, cancelled. Tells of each change by the event `change`.
export class Upload extends EventTarget {
  state = "queued";
  loaded = 0;
  fileId = null;
  error = null;
  #stop = new AbortController();
  #meter = new Meter();
  #sending = new Map();
  #record = null;
  #key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;

  constructor(file, profile) {
    super();
    this.file = file;
    this.inParts = file.size > PARTS_FROM;
    this.#record = this.inParts ? recall(file) : null;
    this.fileId = this.#record?.fileId ?? null;
    this.profile = this.#record?.profile ?? profile;
  }

  get share() {
    return this.file.size ? Math.min(1, this.loaded / this.file.size) : 0;
  }

  get speed() {
    return this.#meter.bytesPerSecond;
  }

  get left_s() {
    return this.speed ? (this.file.size - this.loaded) / this.speed : Infinity;
  }

  get ended() {
    return this.state === "done" || this.state === "cancelled";
  }

  async run() {
    this.#stop = new AbortController();
    this.error = null;
    this.#meter.clear();
    this.#become("uploading");
    try {
      await (this.inParts ? this.#putParts() : this.#putWhole());
      if (this.inParts) forget(this.file);
      this.loaded = this.file.size;
      this.#become("done");
    } catch (error) {
      if (error.name === "AbortError") return; // whoever stopped it said what it is now
      this.#stop.abort();
      this.error = error;
      this.#become("failed");
    }
  }

  pause() {
    this.#become("paused");
    this.#stop.abort();
  }

  // To wait in the queue again.
  again() {
    this.#become("queued");
  }

  async cancel() {
    this.#become("cancelled");
    this.#stop.abort();
    forget(this.file);
    if (this.#record) await ask(this.#path(), { method: "DELETE" });
    else if (this.fileId) await ask(`/upload/${this.fileId}/cancel`, { method: "POST" });
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }

  #progress(standing) {
    this.loaded = standing + [...this.#sending.values()].reduce((sum, sent) => sum + sent, 0);
    this.#meter.take(this.loaded);
    this.dispatchEvent(new Event("change"));
  }

  // Tries again what a connection, or a service that is away, broke off.
  async #tried(work) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await work(attempt);
      } catch (error) {
        // 403: the address expired. 400: S3 says so of a body that broke off.
        const again = error instanceof Problem && (error.passes || (error.fromStore && [400, 403].includes(error.status)));
        if (!again || attempt + 1 >= TRIES) throw error;
        if (!navigator.onLine) await online(this.#stop.signal);
        await pause(backOff(attempt, error), this.#stop.signal);
      }
    }
  }

  async #putWhole() {
    const { signal } = this.#stop;
    await this.#tried(async () => {
      const body = { file_name: this.file.name, size: this.file.size, ...(this.profile ? { profile: this.profile } : {}) };
      const address = await ask("/upload", { method: "POST", body, headers: { "Idempotency-Key": this.#key }, signal });
      this.fileId = address.file_id;
      this.#progress(0);
      try {
        await fromStore(put(address.upload_url, this.file, { headers: address.headers, signal, onprogress: (sent) => this.#whole(sent) }));
      } catch (error) {
        if (error.status !== 412) throw error; // it arrived before, and the answer was lost
      }
    });
  }

  #whole(sent) {
    this.#sending.set(0, sent);
    this.#progress(0);
  }

  #path(part = "") {
    const { uploadId, key } = this.#record;
    return `/s3/multipart/${encodeURIComponent(uploadId)}${part}?key=${encodeURIComponent(key)}`;
  }

  async #standing() {
    if (!this.#record) return [];
    try {
      return await this.#tried(() => ask(this.#path(), { signal: this.#stop.signal }));
    } catch (error) {
      if (error.status !== 404) throw error;
      this.#record = null; // it was given up meanwhile: begin anew
      this.#key = `${this.#key}+`;
      return [];
    }
  }

  async #begin() {
    const body = { filename: this.file.name, type: "", size: this.file.size, metadata: this.profile ? { profile: this.profile } : {} };
    const options = { method: "POST", body, headers: { "Idempotency-Key": this.#key }, signal: this.#stop.signal };
    const { key, uploadId } = await this.#tried(() => ask("/s3/multipart", options));
    this.#record = { key, uploadId, fileId: fileIdOf(key), partSize: partSize(this.file.size), profile: this.profile };
    remember(this.file, this.#record);
  }

  async #putParts() {
    const { signal } = this.#stop;
    const standing = new Map((await this.#standing()).map((part) => [part.PartNumber, part]));
    if (!this.#record) await this.#begin();
    this.fileId = this.#record.fileId;
    const size = this.#record.partSize;
    const missing = [];
    let there = 0;
    for (let number = 1; (number - 1) * size < this.file.size; number += 1) {
      const length = Math.min(size, this.file.size - (number - 1) * size);
      if (standing.get(number)?.Size === length) there += length;
      else missing.push({ number, length, from: (number - 1) * size });
    }
    this.#sending.clear();
    this.#progress(there);
    const work = async () => {
      for (let part = missing.shift(); part; part = missing.shift()) {
        const { number, length } = part;
        await this.#tried(() => this.#putPart(part, () => this.#progress(there)));
        this.#sending.delete(number);
        there += length;
      }
    };
    await Promise.all(Array.from({ length: PARTS_AT_ONCE }, work));
    // What the store has, not what was answered: an ETag is hidden where the bucket's CORS rules do not expose it.
    const parts = (await this.#tried(() => ask(this.#path(), { signal }))).map(({ PartNumber, ETag }) => ({ PartNumber, ETag }));
    await this.#tried(() => ask(this.#path("/complete"), { method: "POST", body: { parts }, signal }));
  }

  async #putPart({ number, length, from }, progressed) {
    const { signal } = this.#stop;
    // Signed when its turn comes: an address never waits long enough to expire.
    const { url } = await ask(this.#path(`/${number}`), { signal });
    const onprogress = (sent) => {
      this.#sending.set(number, Math.min(sent, length));
      progressed();
    };
    try {
      await fromStore(put(url, this.file.slice(from, from + length), { signal, onprogress }));
    } finally {
      this.#sending.set(number, 0);
    }
    this.#sending.set(number, length);
    progressed();
  }
}

async function fromStore(work) {
  try {
    return await work;
  } catch (error) {
    throw Object.assign(error, { fromStore: true });
  }
}

function online(signal) {
  return new Promise((resolve, reject) => {
    addEventListener("online", resolve, { once: true, signal });
    signal.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")), { once: true });
  });
}

// Runs what waits, a few at a time.
export class Queue {
  #uploads = [];
  #running = new Set();

  get busy() {
    return this.#uploads.some((upload) => ["queued", "uploading"].includes(upload.state));
  }

  add(upload) {
    this.#uploads.push(upload);
    upload.addEventListener("change", () => this.#next());
    this.#next();
  }

  #next() {
    this.#uploads = this.#uploads.filter((upload) => !upload.ended);
    for (const upload of this.#uploads) {
      if (this.#running.size >= FILES_AT_ONCE) return;
      if (upload.state !== "queued" || this.#running.has(upload)) continue;
      this.#running.add(upload);
      upload.run().finally(() => {
        this.#running.delete(upload);
        this.#next();
      });
    }
  }
}
