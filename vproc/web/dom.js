// Makes elements. Text is always set as text: nothing here reads HTML.

// `h("p.meta", { hidden: true }, "text", child)`. Props are properties where the element has them, else attributes; `on…` are
// listeners. The props may be left out; what is null or undefined, of them and of the children, is.
export function h(name, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  const props = children[0]?.constructor === Object ? children.shift() : {};
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// The same for drawings, by attributes alone.
export function drawn(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Of a square of 24, by the path that is filled.
export const icon = (d) => drawn("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, drawn("path", { d }));

export const button = (text, onclick, props) => h("button", { type: "button", onclick, ...props }, text);

export const $ = (id) => document.getElementById(id);

// Sets a text only where it changes, so that what reads it out is not told twice.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// For screen readers: one polite line, for what somebody would want to hear of.
export const announce = (text) => say($("announce"), text);

// Asks before something that cannot be undone; whether it is meant.
export function sure(question, yes, no = "Keep it") {
  const dialog = h("dialog", { "aria-label": question }, h("p", question), h("form.actions", { method: "dialog" },
    h("button.danger", { value: "yes" }, yes), h("button", { autofocus: true }, no)));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    dialog.remove();
    resolve(dialog.returnValue === "yes");
  }));
}
