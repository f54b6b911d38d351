// Makes elements. Text is always set as text: nothing here reads HTML.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M6 5h4v14H6zm8 0h4v14h-4z",
  sound: "M3 9v6h4l5 5V4L7 9zm13.5 3A4.5 4.5 0 0 0 14 8v8a4.5 4.5 0 0 0 2.5-4z",
  muted: "M3 9v6h4l5 5V4L7 9zm12.6 3 2.7-2.7-1.4-1.4-2.7 2.7v2.8l2.7 2.7 1.4-1.4z",
  full: "M7 14H5v5h5v-2H7zM5 10h2V7h3V5H5zm12 7h-3v2h5v-5h-2zM14 5v2h3v3h2V5z",
  film: "M4 4h16v16H4zm2 2v2h2V6zm0 5v2h2v-2zm0 5v2h2v-2zM16 6v2h2V6zm0 5v2h2v-2zm0 5v2h2v-2zM10 6v5h4V6zm0 7v5h4v-5z",
  note: "M12 3v10.6A4 4 0 1 0 14 17V7h4V3z",
  up: "M11 16V7.8L7.4 11.4 6 10l6-6 6 6-1.4 1.4L13 7.8V16zM5 18h14v2H5z",
};

// `props` are properties where the element has them, else attributes; `on…` are listeners; null and undefined are left out.
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// The same for drawings, by attributes alone.
export function drawn(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const icon = (name) => drawn("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, drawn("path", { d: ICONS[name] }));

export const button = (text, onclick, props = {}) => h("button", { type: "button", onclick, ...props }, text);

// Sets a text only where it changes, so that what reads it out is not told twice.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const byId = (id) => document.getElementById(id);
export { byId as $ };

let told = "";
// For screen readers: one polite line, for what somebody would want to hear of.
export function announce(text) {
  if (text === told) return;
  told = text;
  byId("announce").textContent = text;
}

// Asks before something that cannot be undone; whether it is meant.
export function sure(question, yes, no = "Keep it") {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-label": question }, h("p", {}, question), h("div", { class: "actions" },
      button(yes, () => dialog.close("yes"), { class: "danger" }), button(no, () => dialog.close(""), { autofocus: true })));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
