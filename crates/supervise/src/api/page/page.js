"use strict";

// The first run in three steps. Values are read from the fields and sent to this machine only;
// they never come back. Every text is set as text.

const main = document.getElementById("main");
const say = document.getElementById("status");
const KEY = "setup";
let state = null;
// What was typed, by id: it outlives every step and every failure, and not the page.
const typed = new Map();
// Ids of optional secrets whose values shall go.
const removed = new Set();
// What checks the fields that are shown.
let checks = [];

function make(name, options, ...children) {
  const { text, on, ...rest } = options || {};
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(rest)) {
    if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  for (const [event, handle] of Object.entries(on || {})) element.addEventListener(event, handle);
  if (text !== undefined) element.textContent = text;
  element.append(...children.filter((child) => child));
  return element;
}

async function ask(method, path, body) {
  const headers = { authorization: "Bearer " + (sessionStorage.getItem(KEY) || "") };
  if (body) headers["content-type"] = "application/json";
  const answer = await fetch("/setup/" + path, {
    method, headers, body: body && JSON.stringify(body), cache: "no-store", credentials: "omit",
  });
  const text = await answer.text();
  let json = null;
  try { json = JSON.parse(text); } catch { /* a text for people */ }
  return { ok: answer.ok, status: answer.status, json, text: text.trim() };
}

function show(step, title, ...children) {
  document.getElementById("steps").hidden = !step;
  document.getElementById("title").textContent = title;
  for (const item of document.querySelectorAll("#steps li")) {
    if (item.dataset.step === step) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
  main.replaceChildren(...children.filter((child) => child));
  say.textContent = "";
  document.getElementById("title").focus();
  window.scrollTo(0, 0);
}

function button(text, handle, isMain) {
  return make("button", { type: "button", text, class: isMain ? "main" : undefined, on: { click: handle } });
}

const prompts = () => state.secrets.filter((secret) => secret.class === "user_prompt");
const generated = () => state.secrets.filter((secret) => secret.class === "per_install_generated");
const others = () => state.secrets.filter((secret) => secret.class === "remote_fetch");

async function refresh() {
  const answer = await ask("GET", "state");
  if (answer.ok && answer.json) {
    state = answer.json;
    document.getElementById("app").textContent = state.app.name + " " + state.app.version;
    document.title = "Setup of " + state.app.name;
  }
  return answer;
}

function stepGenerated() {
  const item = (secret) => make("li", {
    text: secret.label + (secret.length ? ", " + secret.length + " characters" : "")
      + (secret.status === "configured" ? ": created" : ": missing"),
  });
  const remote = (secret) => make("li", {
    text: secret.label + (secret.status === "configured" ? ": fetched" : ": " + (secret.problem || "missing")),
  });
  show("generated", "Created for you",
    make("p", { text: generated().length
      ? "These were drawn at random on this computer, for this installation only. There is nothing to do."
      : "Nothing has to be created for this application." }),
    make("ul", { class: "list" }, ...generated().map(item)),
    others().length ? make("p", { text: "These are kept elsewhere, and fetched when the application starts:" }) : null,
    others().length ? make("ul", { class: "list" }, ...others().map(remote)) : null,
    make("p", { class: "row" }, button("Next", stepPrompts, true)));
}

function card(secret, at) {
  const id = "field-" + at;
  const isSet = secret.status === "configured";
  const problem = make("p", { class: "problem", id: id + "-problem", "aria-live": "polite" });
  const describedBy = [secret.description ? id + "-about" : "", id + "-problem"].filter(Boolean).join(" ");
  const field = make(secret.is_file ? "textarea" : "input", {
    id, type: secret.is_file ? undefined : "password", autocomplete: "off", spellcheck: "false",
    autocapitalize: "none", "aria-describedby": describedBy, "aria-required": String(secret.required && !isSet),
    placeholder: isSet ? "already set; leave empty to keep it" : secret.hint,
    class: secret.is_file ? "hidden-text" : undefined,
  });
  field.value = typed.get(secret.id) || "";
  let timer = 0;
  let round = 0;
  const mark = (text, isFine) => {
    problem.textContent = text;
    problem.className = isFine ? "fine" : "problem";
    field.setAttribute("aria-invalid", String(Boolean(text) && !isFine));
  };
  const check = async () => {
    clearTimeout(timer);
    const mine = ++round;
    if (!field.value) { mark("", false); return; }
    const answer = await ask("POST", "check", { id: secret.id, value: field.value }).catch(() => null);
    // An answer to what was typed before is none to what stands there now.
    if (mine !== round || !answer) return;
    if (!answer.json) mark(answer.text, false);
    else if (answer.json.valid) {
      const warning = (answer.json.warnings || [])[0];
      mark(warning ? warning.message : "✓ fits", true);
    } else mark((answer.json.errors || []).map((error) => error.told || error.message).join("; "), false);
  };
  checks.push(check);
  field.addEventListener("input", () => {
    typed.set(secret.id, field.value);
    // What was said of an attempt to save is not so of what stands there now.
    say.textContent = "";
    clearTimeout(timer);
    timer = setTimeout(check, 250);
  });
  if (!secret.is_file) {
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) save();
    });
  }
  const reveal = make("button", { type: "button", text: "Show", "aria-pressed": "false", "aria-controls": id,
    "aria-label": "Show " + secret.label });
  reveal.addEventListener("click", () => {
    const isShown = reveal.getAttribute("aria-pressed") === "true";
    reveal.setAttribute("aria-pressed", String(!isShown));
    reveal.textContent = isShown ? "Show" : "Hide";
    if (secret.is_file) field.classList.toggle("hidden-text", isShown);
    else field.type = isShown ? "password" : "text";
  });
  const paste = make("button", { type: "button", text: "Paste", "aria-label": "Paste into " + secret.label });
  paste.addEventListener("click", async () => {
    try {
      field.value = await navigator.clipboard.readText();
      field.dispatchEvent(new Event("input"));
    } catch {
      mark("the browser does not let this page read the clipboard: press Ctrl+V in the field", false);
    }
    field.focus();
  });
  const remove = isSet && !secret.required ? make("button", { type: "button", "aria-controls": id }) : null;
  const showRemoval = () => {
    const isGone = removed.has(secret.id);
    field.disabled = isGone;
    field.placeholder = isGone ? "removed when you save" : "already set; leave empty to keep it";
    remove.textContent = isGone ? "Keep" : "Remove";
    remove.setAttribute("aria-label", remove.textContent + " " + secret.label);
  };
  if (remove) {
    remove.addEventListener("click", () => {
      if (!removed.delete(secret.id)) removed.add(secret.id);
      typed.delete(secret.id);
      field.value = "";
      check();
      showRemoval();
    });
    showRemoval();
  }
  const label = make("label", { for: id, text: secret.label });
  if (!secret.required) label.append(make("span", { class: "optional", text: " (optional)" }));
  const isWeb = /^https?:\/\//.test(secret.link || "");
  if (field.value) check();
  return make("section", { class: "card" }, label,
    secret.description ? make("p", { id: id + "-about", text: secret.description }) : null,
    isWeb ? make("p", {}, make("a", { href: secret.link, target: "_blank", rel: "noopener noreferrer",
      text: "How to get it (opens " + new URL(secret.link).host + ")" })) : null,
    field, make("div", { class: "row" }, reveal, paste, remove), problem);
}

function stepPrompts() {
  if (!prompts().length) { stepSummary(); return; }
  checks = [];
  show("prompts", "Your entries",
    make("p", { text: "What you enter is checked and kept encrypted on this computer." }),
    ...prompts().map(card),
    make("p", { class: "row" }, button("Back", stepGenerated), button("Save and go on", save, true)));
}

let isSaving = false;

async function save() {
  if (isSaving) return;
  isSaving = true;
  say.textContent = "Saving…";
  try {
    await store();
  } finally {
    isSaving = false;
  }
}

async function store() {
  const secrets = {};
  for (const secret of prompts()) {
    const value = removed.has(secret.id) ? "" : typed.get(secret.id);
    if (value || removed.has(secret.id)) secrets[secret.id] = value;
  }
  if (Object.keys(secrets).length) {
    const answer = await ask("POST", "save", { secrets }).catch(() => null);
    if (!answer) {
      say.textContent = "The application does not answer. What you typed is still here: try again.";
      return;
    }
    if (!answer.ok) {
      await Promise.all(checks.map((check) => check()));
      const first = document.querySelector("[aria-invalid='true']");
      const why = answer.status >= 500 ? "it cannot be written. Is the disk full?"
        : answer.json ? answer.json.validation_errors || answer.json.error : answer.text;
      say.textContent = "Nothing was saved, and nothing is lost: " + (first ? "see what is marked." : why);
      if (first) first.focus();
      return;
    }
    typed.clear();
    removed.clear();
  }
  await refresh().catch(() => null);
  stepSummary();
}

// What is to be said, and can be done, where services run with what was there before.
const lateNote = () => {
  if (!state.outdated.length) return null;
  const names = state.outdated.join(", ");
  return make("section", { class: "card" },
    make("p", { text: "Not yet used by: " + names + "." }),
    make("p", { class: "row" }, button("Restart " + names + " now", restart)));
};

async function restart() {
  say.textContent = "Restarting…";
  const answer = await ask("POST", "restart").catch(() => null);
  if (!answer || !answer.ok) {
    say.textContent = answer ? answer.text : "The application does not answer. Try again.";
    return;
  }
  await finish();
}

function stepSummary() {
  const isGood = (secret) => secret.status === "configured" || (!secret.required && secret.status === "missing");
  const line = (secret) => make("li", {},
    make("span", { text: secret.label + ": " }),
    make("span", {
      class: isGood(secret) ? "fine" : "problem",
      text: secret.status === "configured" ? "✓ set" : secret.required ? "✗ " + secret.status : "✓ left out",
    }));
  const isComplete = state.secrets.every(isGood);
  const start = button("Continue", finish, true);
  start.disabled = !isComplete;
  show("summary", isComplete ? "All is set" : "Something is missing",
    make("ul", { class: "list" }, ...state.secrets.map(line)),
    isComplete ? null : make("p", { class: "problem", text: "Go back and enter what is missing." }),
    lateNote(),
    make("p", { class: "row" }, prompts().length ? button("Back", stepPrompts) : null, start));
}

async function finish() {
  const answer = await ask("POST", "finish").catch(() => null);
  if (!answer || !answer.ok) {
    say.textContent = answer ? answer.text : "The application does not answer. Try again.";
    return;
  }
  await refresh().catch(() => null);
  show("summary", state.ready ? "The application runs" : "The application starts",
    make("p", { id: "progress", text: "", role: "status" }), make("div", { id: "late" }, lateNote()),
    make("p", { text: "You may close this page. It shows your settings again when it is opened from the application." }));
  const progress = document.getElementById("progress");
  const follow = async () => {
    const now = await refresh().catch(() => null);
    if (!now || !now.ok) { progress.textContent = "The application has ended."; return; }
    const services = Object.entries(state.services).map(([id, message]) => id + ": " + message);
    progress.textContent = state.ready ? "The application is ready." : services.join(", ");
    if (state.ready) document.getElementById("title").textContent = "The application runs";
    const late = document.getElementById("late");
    // Only what has changed: a button that is renewed loses the focus.
    if (late.dataset.names !== state.outdated.join()) {
      late.dataset.names = state.outdated.join();
      late.replaceChildren(...[lateNote()].filter((child) => child));
    }
    if (!state.ready) setTimeout(follow, 1000);
  };
  follow();
}

async function begin() {
  const code = location.hash.slice(1);
  if (code) {
    history.replaceState(null, "", "/setup/");
    const opened = await ask("POST", "open", { code });
    if (opened.ok) sessionStorage.setItem(KEY, opened.json.session);
  }
  const answer = await refresh();
  if (answer.ok) { stepGenerated(); return; }
  show("", "This page cannot be opened",
    make("p", { text: "Its link was used already, or is too old. Open it again from the application." }));
}

begin().catch(() => show("", "The application does not answer", make("p", { text: "Is it running?" })));
