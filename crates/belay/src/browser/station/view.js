// What a person sees and presses. Never here: a capability that is invoked.

const at = (id) => document.getElementById(id);

function el(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function button(text, className, pressed) {
  const made = el("button", { type: "button", className, textContent: text });
  made.addEventListener("click", pressed);
  return made;
}

/** The page has nothing but this to say. */
function tell(title, text) {
  document.title = title;
  at("message-title").textContent = title;
  at("message-text").textContent = text;
  at("message").hidden = false;
  for (const id of ["sections", "adding"]) at(id).hidden = true;
  at("message-title").focus({ preventScroll: true });
}

/** How long a notice stays, in milliseconds; one that can be undone stays until the next. */
const NOTICE_TIME = 8000;
let noticeTimer;

/** One line at the top, with a button that takes the deed back if there is `undo`. */
function notice(text, undo) {
  clearTimeout(noticeTimer);
  at("notice").replaceChildren(text);
  if (!undo) noticeTimer = setTimeout(() => at("notice").replaceChildren(), NOTICE_TIME);
  if (!undo) return;
  at("notice").append(button("Undo", "", () => {
    at("notice").replaceChildren();
    undo();
  }));
}

function failed({ status, message }) {
  notice(status === 404 ? "It is not there any more." : `That did not work: ${message} (${status}).`);
}

/** A date as people say it: a time for today, a day otherwise. */
function when(text) {
  const then = new Date(text);
  const isToday = then.toDateString() === new Date().toDateString();
  return isToday
    ? then.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : then.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
}

/** Shows memberships; `deeds` does what a person presses. */
class View {
  constructor(deeds) {
    this.deeds = deeds;
    /** The id of the membership that is being edited. */
    this.editing = null;
  }

  show(memberships, running) {
    document.title = "Station";
    at("message").hidden = memberships.length > 0;
    at("message-title").textContent = "No memberships yet";
    at("message-text").textContent = "Add what sites offer you; open and end it here.";
    at("sections").hidden = memberships.length === 0;
    at("adding").hidden = false;
    at("count").textContent = memberships.length === 0 ? "" : `· ${memberships.length}`;
    const focused = document.activeElement && document.activeElement.dataset.key;
    const bySection = new Map();
    for (const one of [...memberships].sort((a, b) => a.name.localeCompare(b.name))) {
      bySection.set(one.section, [...(bySection.get(one.section) || []), one]);
    }
    const names = [...bySection.keys()].sort((a, b) => a.localeCompare(b));
    at("sections").replaceChildren(
      ...names.map((name) => this.section(name, bySection.get(name), running)),
      el("datalist", { id: "known" }, ...names.filter(Boolean).map((name) => el("option", { value: name }))),
    );
    const again = focused && at("sections").querySelector(`[data-key="${CSS.escape(focused)}"]`);
    if (again) again.focus();
  }

  section(name, memberships, running) {
    const title = el("h2", {}, name || "Memberships");
    const items = memberships.map((one) => this.item(one, running.has(one.id)));
    return el("section", {}, title, el("ul", { className: "memberships" }, ...items));
  }

  item(membership, isRunning) {
    const { id, name, icon, launch, created, opened } = membership;
    const picture = icon
      ? el("img", { className: "icon", src: icon, alt: "" })
      : el("span", { className: "icon", ariaHidden: "true" }, [...name][0].toUpperCase());
    const state = isRunning
      ? el("span", { className: "badge" }, "open in a window")
      : el("span", {}, opened ? `opened ${when(opened)}` : `added ${when(created)}`);
    const meta = el("p", { className: "meta" }, el("span", {}, siteOf(launch) || "a window"), state);
    const key = (element, deed) => {
      element.dataset.key = `${deed} ${id}`;
      element.setAttribute("aria-label", `${element.textContent} ${name}`);
      return element;
    };
    const actions = [key(button("Edit", "quiet", () => this.edit(membership)), "edit")];
    if (!isRunning) {
      actions.unshift(key(button("Open", "", () => this.deeds.open(membership)), "open"));
    } else if (this.deeds.mayClose(membership)) {
      actions.unshift(key(button("Close", "", () => this.deeds.close(membership)), "open"));
    }
    const bottom = this.editing === id
      ? this.form(membership)
      : el("div", { className: "row" }, ...actions);
    return el("li", { className: "card membership" }, picture, el("h3", {}, name), meta, bottom);
  }

  edit(membership) {
    this.editing = membership === null ? null : membership.id;
    this.deeds.refresh();
    const field = at("name");
    if (field) field.focus();
  }

  form(membership) {
    const name = el("input", { id: "name", value: membership.name, required: true, maxLength: NAME_CHARS_MAX });
    const section = el("input", { id: "section", value: membership.section, maxLength: NAME_CHARS_MAX });
    section.setAttribute("list", "known");
    const done = (deed) => () => {
      this.editing = null;
      deed();
    };
    const actions = el(
      "div",
      { className: "row" },
      el("button", { type: "submit", textContent: "Save" }),
      button("Cancel", "quiet", () => this.edit(null)),
      button("Remove", "danger", done(() => this.deeds.remove(membership))),
    );
    if (membership.control) {
      actions.append(button("End it at the site", "danger", done(() => this.deeds.revoke(membership))));
    }
    const form = el(
      "form",
      {},
      el("label", { htmlFor: "name" }, "Name"),
      name,
      el("label", { htmlFor: "section" }, "Section"),
      section,
      actions,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const changed = { name: cleanName(name.value), section: cleanName(section.value) };
      if (changed.name) done(() => this.deeds.change(membership, changed))();
    });
    form.addEventListener("keydown", ({ key }) => { if (key === "Escape") this.edit(null); });
    return form;
  }
}
