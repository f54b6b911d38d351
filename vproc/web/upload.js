// Announces a file, puts it to the store with progress, follows its events, shows and plays what was made of it.
// With ?file=ID in the address it does so for a file that is known already.

const element = (id) => document.getElementById(id);

async function answerOf(response) {
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail ?? response.statusText);
  return body;
}

function show(text, share) {
  element("state").textContent = text;
  element("bar").value = share;
}

const percent = (share) => `${Math.round(100 * share)} %`;

// How fast it goes and how long it still takes, as far as the daemon tells.
function pace({ speed, eta_s: left }) {
  const told = [];
  if (typeof speed === "number") told.push(speed > 0 ? `${speed.toFixed(1)}×` : "stalled");
  if (typeof left === "number") told.push(left < 90 ? `${left} s left` : `${Math.round(left / 60)} min left`);
  return told;
}

function clear(name) {
  element("job").hidden = false;
  element("name").textContent = name;
  element("error").textContent = "";
  element("outputs").replaceChildren();
  element("player").removeAttribute("src");
  for (const id of ["player", "unplayed", "poster"]) element(id).hidden = true;
  element("bar").hidden = false;
  show("", 0);
}

// Content-Length is signed too, but a browser sets it by itself and lets nobody else.
const settable = ([name]) => name.toLowerCase() !== "content-length";

function put(address, file) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(address.method, address.upload_url);
    for (const [name, value] of Object.entries(address.headers).filter(settable)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => show(`uploading, ${percent(event.loaded / file.size)}`, event.loaded / file.size);
    request.onload = () => (request.status < 300 ? resolve() : reject(new Error(`the store answered ${request.status}`)));
    request.onerror = () => reject(new Error("the store did not answer; does the bucket allow this page by CORS?"));
    request.send(file);
  });
}

function follow(id) {
  return new Promise((resolve) => {
    const stream = new EventSource(`/upload/${id}/events`);
    let last = null;
    stream.addEventListener("status", (event) => {
      last = JSON.parse(event.data);
      show([last.processing_status, last.stage, percent(last.progress), ...pace(last)].filter(Boolean).join(", "), last.progress);
    });
    stream.addEventListener("end", () => {
      stream.close();
      resolve(last);
    });
  });
}

function readable(bytes) {
  for (const unit of ["bytes", "kB", "MB"]) {
    if (bytes < 1000) return unit === "bytes" ? `${bytes} bytes` : `${bytes.toFixed(1)} ${unit}`;
    bytes /= 1000;
  }
  return `${bytes.toFixed(1)} GB`;
}

// Without the file's id and, where there is one, the run's.
const nameOf = (key) => key.split("/").slice(key.split("/").length > 2 ? 2 : 1).join("/");

function list(outputs) {
  for (const output of outputs) {
    const link = document.createElement("a");
    link.href = output.url;
    link.textContent = nameOf(output.key);
    const row = element("outputs").insertRow();
    row.insertCell().append(link);
    for (const text of [output.kind, output.height ? `${output.width}×${output.height}` : "", readable(output.bytes)]) {
      row.insertCell().textContent = text;
    }
  }
}

// Browsers that know no HEVC play such a file all the same, as sound without a picture.
const typeOf = (output) => (output.codec === "hevc" ? 'video/mp4; codecs="hvc1.1.6.L120.90"' : output.content_type);

// The largest file that this browser plays by itself, else the stream where it plays that; else the picture.
function play(outputs) {
  const player = element("player");
  const stream = outputs.find(({ kind }) => kind === "hls");
  const files = outputs.filter(({ kind }) => kind === "video" || kind === "audio").sort((a, b) => b.bytes - a.bytes);
  const poster = outputs.find(({ kind }) => kind === "poster");
  const chosen = [...files, stream].find((output) => output && player.canPlayType(typeOf(output)));

  function showPicture() {
    player.hidden = true;
    element("unplayed").hidden = !(stream ?? files[0]);
    element("stream").href = (stream ?? files[0])?.url ?? "";
    if (!poster) return;
    element("poster").src = poster.url;
    element("poster").hidden = false;
  }

  if (!chosen) return showPicture();
  player.onerror = showPicture;
  player.poster = poster?.url ?? "";
  player.src = chosen.url;
  player.hidden = false;
}

async function watch(id) {
  const status = await follow(id);
  if (status.error) throw new Error(status.error.detail);
  if (status.processing_status !== "completed") return;
  const { outputs } = await answerOf(await fetch(`/upload/${id}/download/processed`));
  list(outputs);
  play(outputs);
}

async function upload(file) {
  clear(file.name);
  show("announcing", 0);
  const address = await answerOf(
    await fetch("/upload", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ file_name: file.name, size: file.size }),
    }),
  );
  await put(address, file);
  show("uploaded, waiting for a worker", 0);
  history.replaceState(null, "", `?file=${address.file_id}`);
  await watch(address.file_id);
}

async function open(id) {
  clear("");
  const status = await answerOf(await fetch(`/upload/${encodeURIComponent(id)}/status`));
  element("name").textContent = status.file_name;
  await watch(status.file_id);
}

async function told(work) {
  element("send").disabled = true;
  try {
    await work();
  } catch (error) {
    element("error").textContent = error.message;
    element("bar").hidden = true;
  } finally {
    element("send").disabled = false;
  }
}

element("send").addEventListener("click", () => {
  const [file] = element("file").files;
  if (file) told(() => upload(file));
});

const known = new URLSearchParams(location.search).get("file");
if (known) told(() => open(known));
