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

export function remember(file, record) {
  store({ ...all(), [markOf(file)]: { ...record, name: file.name, size: file.size, lastModified: file.lastModified, at: Date.now() } });
}

export function forget(file) {
  const records = all();
  delete records[markOf(file)];
  store(records);
}

export const recall = (file) => interrupted().find((record) => markOf(record) === markOf(file)) ?? null;

// Those that may still be gone on with.
export function interrupted() {
  return Object.values(all()).filter((record) => Date.now() - record.at < LAST_MS);
}

export const forgetAll = () => store({});
