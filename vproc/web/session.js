// Who asks: a key or token is traded for a session's cookie, or there are accounts. No key and no token is kept by a script.

import { ask, bus, config, post } from "/assets/api.js";
import { $, announce, button, h, say } from "/assets/dom.js";
import { forgetAll } from "/assets/resume.js";

const ACCOUNTS = config.auth === "cognito";
let known = ""; // the address that was typed last

const field = (label, name, props) => h("label", h("span", label), h("input", { name, required: true, ...props }));
const email = () => field("E-mail address", "email", { type: "email", autocomplete: "username", value: known });
const password = (label, autocomplete) => field(label, "password", { type: "password", autocomplete, maxLength: 256 });
const code = () => field("Code from the e-mail", "code", { autocomplete: "one-time-code", inputMode: "numeric", maxLength: 64 });

// `send` gets what was typed in by the fields' names. It gives the form that comes next and what that says first, or nothing
// where somebody is in. `others` are forms by what leads to them.
const FORMS = {
  key: {
    title: "Enter your key",
    text: config.auth === "jwt" ? "An API key, or an access token of your organisation." : "An API key. Whoever runs this service makes one: vproc keys create.",
    fields: () => [field("API key", "key", { type: "password", autocomplete: "off", spellcheck: false })],
    go: "Enter",
    others: ACCOUNTS ? { "Log in with an account": "login" } : {},
    async send({ key }) {
      await post("/auth/session", undefined, { headers: { Authorization: `Bearer ${key.trim()}` } });
    },
  },
  login: {
    title: "Log in",
    fields: () => [email(), password("Password", "current-password")],
    go: "Log in",
    others: { "Make an account": "signup", "Forgotten password": "forgot", "Use an API key": "key" },
    async send(typed) {
      try {
        await post("/auth/log-in", typed);
      } catch (problem) {
        if (problem.status === 409) return ["confirm", problem.message];
        throw problem;
      }
    },
  },
  signup: {
    title: "Make an account",
    fields: () => [email(), password("Password", "new-password"), field("Name (optional)", "name", { required: false, autocomplete: "name", maxLength: 255 })],
    go: "Sign up",
    others: { "I have an account": "login", "I have a code": "confirm" },
    send: async ({ name, ...typed }) => ["confirm", (await post("/auth/sign-up", { ...typed, name: name.trim() || undefined })).detail],
  },
  confirm: {
    title: "Confirm your address",
    fields: () => [email(), code()],
    go: "Confirm",
    others: { "Send another code": async (form) => say(form.querySelector(".told"), (await post("/auth/resend", { email: form.elements.email.value })).detail), "Log in": "login" },
    async send(typed) {
      await post("/auth/confirm", typed);
      return ["login", "Your address is confirmed. Log in."];
    },
  },
  forgot: {
    title: "Forgotten password",
    fields: () => [email()],
    go: "Send a code",
    others: { "Log in": "login", "I have a code": "reset" },
    send: async (typed) => ["reset", (await post("/auth/forgot-password", typed)).detail],
  },
  reset: {
    title: "Another password",
    fields: () => [email(), code(), password("New password", "new-password")],
    go: "Set it",
    others: { "Log in": "login" },
    async send(typed) {
      await post("/auth/reset-password", typed);
      return ["login", "Your password is set. Log in."];
    },
  },
};

function open(name, told = "") {
  const { title, text = "", fields, go, others, send } = FORMS[name];
  const error = h("p.fault", { role: "alert" });
  const sender = h("button.main", go);
  const follow = (to) => (typeof to === "string" ? open(to) : to(form).catch((problem) => say(error, problem.message)));
  const links = Object.entries(others).map(([label, to]) => button(label, () => follow(to), { className: "link" }));
  const hosted = name === "login" && config.hosted ? h("a.button", { href: "/auth/authorize" }, "Log in with your organisation") : null;
  const onsubmit = async (event) => {
    event.preventDefault();
    say(error, "");
    sender.disabled = true;
    const typed = Object.fromEntries(new FormData(form));
    known = typed.email ?? known;
    typed.code &&= typed.code.trim();
    try {
      const next = await send(typed);
      if (next) return open(...next);
      announce("You are in.");
      bus.dispatchEvent(new Event("signed-in"));
    } catch (problem) {
      say(error, problem.status === 401 && name === "key" ? "This key opens nothing here. Check that all of it was pasted." : problem.message);
    } finally {
      sender.disabled = false;
    }
  };
  const form = h("form", { "aria-label": title, onsubmit },
    h("h2", title), h("p.meta", text), h("p.told", { role: "status" }, told), ...fields(), error, sender, hosted, h("p.links", ...links));
  $("door").replaceChildren(form);
  form.elements[0].focus();
}

async function leave() {
  if (ACCOUNTS) await post("/auth/log-out").catch(() => {});
  await ask("/auth/session", { method: "DELETE" }).catch(() => {});
  forgetAll();
  history.replaceState(null, "", location.pathname); // whoever comes next is not asked for this one's file
  bus.dispatchEvent(new Event("signed-out"));
}

// What the header says of whoever is in.
async function greet() {
  const { name, email } = (ACCOUNTS && (await ask("/auth/me").catch(() => null))) || {};
  $("account").replaceChildren(name || email || "", button("Log out", leave, { className: "link" }));
}

export function show(inside) {
  document.body.classList.toggle("in", inside);
  $("door").hidden = inside;
  $(inside ? "door" : "account").replaceChildren();
  if (!inside) open(ACCOUNTS ? "login" : "key");
  else if (config.auth !== "none") greet();
}
