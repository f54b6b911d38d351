// Uploads in parts that were begun in this browser, so that a reload loses nothing: by the file's name, size and time of change.

const NAME = "vproc.uploads";
const LAST_MS = 24 * 3600e3; // the store keeps parts for a day

function all() {
  try {
    return JSON.parse(localStorage.getItem(NAME)) ?? {};
  } catch {
    return {};
  }
}

function store(records) {
  try {
    localStorage.setItem(NAME, JSON.stringify(records));
  } catch {
    // A browser that keeps nothing uploads all the same; it only cannot go on after a reload.
  }
}

const markOf = ({ name, size, lastModified }) => `${name}\n${size}\n${lastModified}`;

export const isSame = (file, other) => markOf(file) === markOf(other);

export function remember({ name, size, lastModified }, record) {
  const kept = { ...record, name, size, lastModified, at: Date.now() };
  store({ ...all(), [markOf(kept)]: kept });
}

export function forget(file) {
  const { [markOf(file)]: gone, ...rest } = all();
  store(rest);
}

export const forgetAll = () => store({});

// Those that may still be gone on with.
export const interrupted = () => Object.values(all()).filter(({ at }) => Date.now() - at < LAST_MS);

export const recall = (file) => interrupted().find((record) => isSame(record, file)) ?? null;
