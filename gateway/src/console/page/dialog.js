// What is asked of a person, and what they are told: dialogs, and a line at the foot of the page. A
// dialog keeps the focus, ends with Escape, and gives the focus back.

import { Unreachable, call, may } from "./api.js";
import { button, el } from "./dom.js";

// How long something that was done is told.
const TOLD_MS = 6000;
let forgetting = 0;

export function tell(text) {
  const line = document.getElementById("told");
  line.textContent = text;
  clearTimeout(forgetting);
  forgetting = setTimeout(() => { line.textContent = ""; }, TOLD_MS);
}

function open(title, body) {
  const dialog = el("dialog", { "aria-labelledby": "dialog-title" },
    el("h2", { id: "dialog-title" }, title), body);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// Nothing is open any more, so that what the next person sees is theirs.
export function closeAll() {
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
}

export function show(title, ...body) {
  const dialog = open(title, [body, el("div", { class: "row end" }, button("Close", () => dialog.close()))]);
}

// Whether a person wants it done.
export function confirmed(title, text, yes) {
  return new Promise((resolve) => {
    const dialog = open(title, [
      el("p", {}, text),
      el("div", { class: "row end" },
        button("Cancel", () => dialog.close()),
        button(yes, () => dialog.close("yes"), { class: "danger" })),
    ]);
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"));
  });
}

// Shows what is told this once.
export function secret(title, lines) {
  const shown = lines.map(([name, value], index) => {
    const input = el("input", { id: `secret-${index}`, value, readonly: true, class: "mono" });
    const copy = button("Copy", () => navigator.clipboard.writeText(value).then(
      () => tell(`${name} copied.`), () => input.select()), { "aria-label": `Copy ${name}` });
    return [el("label", { for: `secret-${index}` }, name), el("div", { class: "row" }, input, copy)];
  });
  show(title, el("p", {}, "It is shown this once. Keep it where secrets are kept."), shown);
}

// A message of the gateway names every problem, each with its field: `scope: …; sink: …`.
function problemsOf(error) {
  return error.message.split(/; (?=[a-z_.]+: )/);
}

function control(field) {
  const attributes = {
    id: `field-${field.name}`, name: field.name, required: field.required, autocomplete: "off", spellcheck: "false",
    "aria-describedby": `wrong-${field.name} hint-${field.name}`,
  };
  if (field.options) {
    const options = field.options.map(([value, text]) =>
      el("option", { value, selected: value === field.value }, text));
    return el("select", attributes, options);
  }
  if (field.rows) return el("textarea", { ...attributes, rows: field.rows }, field.value || "");
  if (field.type === "checkbox") return el("input", { ...attributes, type: "checkbox", checked: field.value });
  return el("input", { ...attributes, type: field.type || "text", value: field.value });
}

// Asks for the values of `fields`, `{ name, label, hint, value, type, options, rows, half, required }`,
// and gives them to `run`. What that fails with is shown at the fields that it names, and nothing is lost.
export function form({ title, note = null, fields, yes, run }) {
  const problems = el("div", { role: "alert", class: "problems" });
  const inputs = new Map(fields.map((field) => [field.name, control(field)]));
  const tellProblems = (error) => {
    const all = problemsOf(error);
    const wrong = fields.filter(({ name }) => {
      const own = all.filter((text) => text.split(":")[0].split(".").at(-1) === name);
      dialog.querySelector(`#wrong-${name}`).textContent = own.join("; ");
      if (own.length) inputs.get(name).setAttribute("aria-invalid", "true");
      else inputs.get(name).removeAttribute("aria-invalid");
      return own.length;
    });
    problems.replaceChildren(el("ul", {}, all.map((text) => el("li", {}, text))));
    if (wrong.length) inputs.get(wrong[0].name).focus();
  };
  const submit = button(yes, null, { type: "submit" });
  const send = async (event) => {
    event.preventDefault();
    problems.replaceChildren();
    submit.disabled = true;
    try {
      const value = (input) => (input.type === "checkbox" ? input.checked : input.value);
      await run(Object.fromEntries([...inputs].map(([name, input]) => [name, value(input)])));
      dialog.close();
    } catch (error) {
      tellProblems(error);
    } finally {
      submit.disabled = false;
    }
  };
  const shown = fields.map((field) => el("div", { class: `field ${field.type === "checkbox" ? "check" : ""} ${field.half ? "half" : ""}` },
    el("label", { for: `field-${field.name}` }, field.label), inputs.get(field.name),
    el("small", { id: `wrong-${field.name}`, class: "wrong" }),
    el("small", { id: `hint-${field.name}` }, field.hint || "")));
  const dialog = open(title, el("form", { onsubmit: send },
    note ? el("p", { class: "hint" }, note) : null, el("div", { class: "fields" }, shown), problems,
    el("div", { class: "row end" }, button("Cancel", () => dialog.close()), submit)));
}

// A button that makes a call; none if whoever is signed in may not make it. `ask` is what to confirm
// first, `done` what to tell, `then` what to do.
export function action(text, name, body, { label, ask = null, done = null, then = null, failed, danger = false }) {
  if (!may(name)) return null;
  const press = async () => {
    if (ask && !(await confirmed(label, ask, text))) return;
    try {
      const answer = await call(name, body);
      if (done) tell(typeof done === "function" ? done(answer) : done);
      if (then) await then(answer);
    } catch (error) {
      failed(error);
    }
  };
  return button(text, press, { "aria-label": label, class: danger ? "danger" : null });
}

// What to do about a failure, where that is known.
export function nextStep(error) {
  if (error instanceof Unreachable) return "";
  return {
    Unauthenticated: "Sign in again.",
    PermissionDenied: "Ask an administrator for a token with that role.",
    NotFound: "It may be gone: go back and look at the list.",
    Unavailable: "Try again in a moment; the overview shows what is wrong.",
    ResourceExhausted: "Something is full: look at the overview, or wait a moment.",
    DeadlineExceeded: "It took too long: try again.",
    Aborted: "Somebody else changed it: look at it again.",
    Internal: "The log of the gateway says why.",
  }[error.code] || "";
}
