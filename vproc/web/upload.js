// Announces a file, puts it to the store with progress, follows its events, and shows what was made of it.

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

// Content-Length is signed too, but a browser sets it by itself and lets nobody else.
const settable = ([name]) => name.toLowerCase() !== "content-length";

function put(address, file) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(address.method, address.upload_url);
    for (const [name, value] of Object.entries(address.headers).filter(settable)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => show(`uploading, ${Math.round((100 * event.loaded) / file.size)} %`, event.loaded / file.size);
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
      show([last.processing_status, last.stage, `${Math.round(100 * last.progress)} %`].filter(Boolean).join(", "), last.progress);
    });
    stream.addEventListener("end", () => {
      stream.close();
      resolve(last);
    });
  });
}

async function showOutputs(id) {
  const { outputs } = await answerOf(await fetch(`/upload/${id}/download/processed`));
  for (const output of outputs) {
    const link = document.createElement("a");
    link.href = output.url;
    link.textContent = output.key.split("/").pop();
    const row = element("outputs").insertRow();
    row.insertCell().append(link);
    for (const text of [output.kind, output.height ? `${output.width}×${output.height}` : "", `${output.bytes} bytes`]) {
      row.insertCell().textContent = text;
    }
    if (output.kind === "poster" && element("poster").hidden) {
      element("poster").src = output.url;
      element("poster").hidden = false;
    }
  }
}

async function upload(file) {
  element("job").hidden = false;
  element("name").textContent = file.name;
  element("error").textContent = "";
  element("outputs").replaceChildren();
  element("poster").hidden = true;
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
  const status = await follow(address.file_id);
  if (status.error) throw new Error(status.error.detail);
  if (status.processing_status === "completed") await showOutputs(address.file_id);
}

element("send").addEventListener("click", async () => {
  const [file] = element("file").files;
  if (!file) return;
  element("send").disabled = true;
  try {
    await upload(file);
  } catch (error) {
    element("error").textContent = error.message;
  } finally {
    element("send").disabled = false;
  }
});
