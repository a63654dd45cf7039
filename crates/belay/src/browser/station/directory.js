// The directory at the gateway, behind the station capability. Never here: a window.

const ICON_CHARS_MAX = 8192;
const NAME_CHARS_MAX = 60;

const isCap = (value) => Object(value) === value && typeof value.serialize === "function";

/** What a site calls itself, as one short line. */
function cleanName(text) {
  const line = String(text).replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").trim();
  return [...line].slice(0, NAME_CHARS_MAX).join("");
}

/** An icon that shows without asking anybody for it; another one is left out. */
function cleanIcon(icon) {
  const isData = typeof icon === "string" && icon.startsWith("data:image/");
  return isData && icon.length <= ICON_CHARS_MAX ? icon : undefined;
}

/** The host that a capability is at; a window has none. */
function siteOf(cap) {
  try {
    return new URL(cap.serialize()).host;
  } catch {
    return "";
  }
}

class Directory {
  constructor(cap) {
    this.cap = cap;
    this.memberships = [];
  }

  async load() {
    const { memberships } = await this.cap.get();
    this.memberships = memberships;
  }

  /** Keeps what a site describes: `{launch, name, icon}`, or a launch capability alone (Belay §13.3). */
  async add(description) {
    const { launch, control, name, icon, section } = isCap(description)
      ? { launch: description }
      : Object(description);
    if (!isCap(launch)) throw { status: 400, message: "it is no membership" };
    const kept = { launch, name: cleanName(name || "") || siteOf(launch) || "A membership" };
    const cleaned = cleanIcon(icon);
    if (cleaned) kept.icon = cleaned;
    if (section) kept.section = section;
    if (isCap(control)) kept.control = control;
    const membership = await this.cap.post({ add: kept });
    this.memberships.push(membership);
    return membership;
  }

  async change(membership, { name, section }) {
    await this.cap.post({ change: { id: membership.id, name, section } });
    Object.assign(membership, { name, section });
  }

  /** It runs as `instance` from now on. */
  async opened(membership, instance) {
    Object.assign(membership, { instance, opened: new Date().toISOString() });
    await this.cap.post({ opened: { id: membership.id, instance } });
  }

  async remove(membership) {
    await this.cap.post({ remove: { id: membership.id } });
    this.memberships = this.memberships.filter((other) => other !== membership);
  }
}
