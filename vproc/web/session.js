// Who asks: nobody is asked, a key or token is traded for a session's cookie, or accounts. No key and no token is kept by a script.

import { ask, bus, config } from "/assets/api.js";
import { $, announce, button, h, say } from "/assets/dom.js";
import { forgetAll } from "/assets/resume.js";

const field = (label, name, props) => h("label", {}, h("span", {}, label), h("input", { name, required: true, ...props }));
const email = () => field("E-mail address", "email", { type: "email", autocomplete: "username", value: known });
const password = (label, autocomplete) => field(label, "password", { type: "password", autocomplete, maxLength: 256 });
const code = () => field("Code from the e-mail", "code", { autocomplete: "one-time-code", inputMode: "numeric", maxLength: 64 });
const post = (path, body) => ask(path, { method: "POST", body });
let known = "";
let form = null;

const FORMS = {
  key: () => ({
    title: "Enter your key",
    text: config.auth === "jwt" ? "An API key, or an access token of your organisation." : "An API key. Whoever runs this service makes one: vproc keys create.",
    fields: [field("API key", "key", { type: "password", autocomplete: "off", spellcheck: false })],
    go: "Enter",
    others: config.auth === "cognito" ? [["Log in with an account", "login"]] : [],
    async done({ key }) {
      await ask("/auth/session", { method: "POST", headers: { Authorization: `Bearer ${key.trim()}` } });
      entered();
    },
  }),
  login: () => ({
    title: "Log in",
    fields: [email(), password("Password", "current-password")],
    go: "Log in",
    others: [["Make an account", "signup"], ["Forgotten password", "forgot"], ["Use an API key", "key"]],
    async done({ email: address, password: secret }) {
      try {
        await post("/auth/log-in", { email: address, password: secret });
      } catch (problem) {
        if (problem.status !== 409) throw problem;
        open("confirm", problem.message);
        return;
      }
      entered();
    },
  }),
  signup: () => ({
    title: "Make an account",
    fields: [email(), password("Password", "new-password"), field("Name (optional)", "name", { required: false, autocomplete: "name", maxLength: 255 })],
    go: "Sign up",
    others: [["I have an account", "login"], ["I have a code", "confirm"]],
    async done({ email: address, password: secret, name }) {
      const { detail } = await post("/auth/sign-up", { email: address, password: secret, ...(name.trim() ? { name: name.trim() } : {}) });
      open("confirm", detail);
    },
  }),
  confirm: () => ({
    title: "Confirm your address",
    fields: [email(), code()],
    go: "Confirm",
    others: [["Send another code", async () => say(form.querySelector(".told"), (await post("/auth/resend", { email: form.elements.email.value })).detail)], ["Log in", "login"]],
    async done({ email: address, code: sent }) {
      await post("/auth/confirm", { email: address, code: sent.trim() });
      open("login", "Your address is confirmed. Log in.");
    },
  }),
  forgot: () => ({
    title: "Forgotten password",
    fields: [email()],
    go: "Send a code",
    others: [["Log in", "login"], ["I have a code", "reset"]],
    async done({ email: address }) {
      open("reset", (await post("/auth/forgot-password", { email: address })).detail);
    },
  }),
  reset: () => ({
    title: "Another password",
    fields: [email(), code(), password("New password", "new-password")],
    go: "Set it",
    others: [["Log in", "login"]],
    async done({ email: address, code: sent, password: secret }) {
      await post("/auth/reset-password", { email: address, code: sent.trim(), password: secret });
      open("login", "Your password is set. Log in.");
    },
  }),
};

function open(name, told = "") {
  const { title, text, fields, go, others, done } = FORMS[name]();
  const error = h("p", { class: "fault", role: "alert" });
  const send = h("button", { class: "main" }, go);
  const links = others.map(([label, to]) => button(label, () => typeof to === "string" ? open(to) : to().catch((problem) => say(error, problem.message)), { class: "link" }));
  const hosted = name === "login" && config.hosted ? h("a", { class: "button", href: "/auth/authorize" }, "Log in with your organisation") : null;
  form = h("form", { "aria-label": title }, h("h2", {}, title), text ? h("p", { class: "meta" }, text) : null, h("p", { class: "told", role: "status" }, told), ...fields, error, send, hosted, h("p", { class: "links" }, ...links));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    say(error, "");
    send.disabled = true;
    try {
      known = form.elements.email?.value ?? known;
      await done(Object.fromEntries(new FormData(event.target)));
    } catch (problem) {
      say(error, problem.status === 401 && name === "key" ? "This key opens nothing here. Check that all of it was pasted." : problem.message);
    } finally {
      send.disabled = false;
    }
  });
  $("door").replaceChildren(form);
  $("door").hidden = false;
  form.querySelector("input").focus();
}

function entered() {
  announce("You are in.");
  bus.dispatchEvent(new Event("signed-in"));
}

async function leave() {
  if (config.auth === "cognito") await post("/auth/log-out").catch(() => {});
  await ask("/auth/session", { method: "DELETE" }).catch(() => {});
  forgetAll();
  history.replaceState(null, "", location.pathname); // whoever comes next is not asked for this one's file
  bus.dispatchEvent(new Event("signed-out"));
}

// What the header says of whoever is in.
async function greet() {
  if (config.auth === "none") return;
  const me = config.auth === "cognito" ? await ask("/auth/me").catch(() => null) : null;
  const name = me && (me.name || me.email);
  $("account").replaceChildren(...[name ? h("span", {}, name) : null, button("Log out", leave, { class: "link" })].filter(Boolean));
}

export function show(inside) {
  document.body.classList.toggle("in", inside);
  $("door").hidden = inside;
  if (inside) {
    $("door").replaceChildren();
    greet();
  } else {
    $("account").replaceChildren();
    open(config.auth === "cognito" ? "login" : "key");
  }
}
