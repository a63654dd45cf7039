// Handing capabilities from page to page, by drag or by click (Belay §14.2).
// Never here: a capability in what is dragged or armed; only a generator, which is asked afterwards.

/** Milliseconds in which an offer must be taken. */
const OFFER_TIME = 60000;

/** The exchange of one CapServer. */
class Exchange {
  constructor(session, capServer) {
    Object.assign(this, { session, capServer, services: Object(session.outpost.services) });
  }

  /** `offer(element, {rc, generate | cap, label, image})`, or `offer(element, rc, gen, image)`. */
  offer(node, options, gen, image) {
    const element = elementOf(node);
    if (Object(options) === options) return new Offer(this, element, options).handle();
    return new Offer(this, element, { rc: options, gen, image }).handle();
  }

  /** `accept(element, {rc, accept(cap, info), label})`, or `accept(element, rc, accept(gen, rc))`. */
  accept(node, options, accept) {
    const element = elementOf(node);
    if (Object(options) === options) return new Acceptor(this, element, options).handle();
    return new Acceptor(this, element, { rc: options, acceptGenerator: accept }).handle();
  }

  /** Asks a service of the frame; without it, or if it fails, nothing is shown. */
  ask(name, data) {
    const service = this.services[name];
    return service ? service.post(data) : Promise.reject(failure(404));
  }

  show(className, classes) {
    const rc = classes.length === 1 ? classes[0] : classes;
    this.ask("highlightByRC", { className, rc }).catch(() => {});
  }

  hide() {
    this.ask("unhighlight").catch(() => {});
  }
}

/** The element of a jQuery object too. */
function elementOf(node) {
  const element = node instanceof Element ? node : Object(node)[0];
  if (!(element instanceof Element)) throw new TypeError("an offer or an acceptor is an element");
  return element;
}

function checkedClasses(rc) {
  const classes = [].concat(rc);
  const isClass = (name) => typeof name === "string" && /^\S+$/.test(name);
  if (classes.length === 0 || !classes.every(isClass)) {
    throw new TypeError("a resource class is a string without spaces");
  }
  return classes;
}

/** What an element became by an offer or an acceptor, and how it becomes what it was. */
class Dressing {
  constructor(element) {
    Object.assign(this, { element, undone: [] });
  }

  attribute(name, value) {
    const before = this.element.getAttribute(name);
    this.element.setAttribute(name, value);
    this.undone.push(() => {
      if (before === null) this.element.removeAttribute(name);
      else this.element.setAttribute(name, before);
    });
  }

  className(name) {
    this.element.classList.add(name);
    this.undone.push(() => this.element.classList.remove(name));
  }

  /** Listens to what a person did, not to what a script pretends (Belay §14.2). */
  on(type, listener, target = this.element) {
    const trusted = (event) => { if (event.isTrusted) listener(event); };
    target.addEventListener(type, trusted);
    this.undone.push(() => target.removeEventListener(type, trusted));
  }

  /** Calls `activate` when a person chooses the element, by pointer or by key. */
  onActivation(activate) {
    const isButton = this.element.matches("button, a[href], input, summary");
    if (!isButton) {
      this.attribute("role", "button");
      if (this.element.tabIndex < 0) this.attribute("tabindex", "0");
      this.on("keydown", (event) => {
        if (event.target !== this.element || !["Enter", " "].includes(event.key)) return;
        event.preventDefault();
        activate();
      });
    }
    this.on("click", () => activate());
  }

  undo() {
    for (const undo of this.undone.splice(0).reverse()) undo();
  }
}

class Offer {
  constructor(exchange, element, { rc, generate, cap, gen, label, image }) {
    const classes = checkedClasses(rc);
    if (classes.includes("*")) throw new TypeError("an offer has a class of its own");
    Object.assign(this, { exchange, element, classes, gen, label, image: imageOf(image) });
    this.generate = typeof generate === "function" ? generate : () => cap;
    if (!isCapability(gen) && !isCapability(cap) && typeof generate !== "function") {
      throw new TypeError("an offer needs generate or cap");
    }
    this.live = new Set();
    this.dress();
  }

  dress() {
    const dressing = new Dressing(this.element);
    dressing.attribute("data-rc", this.classes.join(" "));
    dressing.attribute("draggable", "true");
    dressing.attribute("aria-pressed", "false");
    dressing.className("belay-cap-source");
    dressing.on("dragstart", (event) => this.drag(event));
    dressing.on("dragend", () => this.dragged());
    dressing.onActivation(() => this.arm());
    dressing.on("keydown", (event) => { if (event.key === "Escape") this.disarm(); }, document);
    this.dressing = dressing;
    this.onDisarmed = () => this.press(false);
    this.exchange.session.onDisarmed.add(this.onDisarmed);
  }

  handle() {
    return Object.freeze({ cancel: () => this.cancel() });
  }

  cancel() {
    this.disarm();
    for (const generator of this.live) generator.end();
    this.exchange.session.onDisarmed.delete(this.onDisarmed);
    this.dressing.undo();
    this.element.classList.remove("belay-selected");
  }

  record() {
    const rc = this.classes.length === 1 ? this.classes[0] : this.classes;
    const gen = this.gen || new Generator(this).capability;
    return this.label === undefined ? { rc, gen } : { rc, gen, label: this.label };
  }

  drag(event) {
    writeTransfer(event.dataTransfer, this.exchange.capServer, this.record(), this.classes);
    if (this.image) event.dataTransfer.setDragImage(this.image, 0, 0);
    this.element.classList.add("belay-selected");
    this.exchange.show("belay-cap-target", this.classes);
  }

  dragged() {
    this.element.classList.remove("belay-selected");
    this.exchange.hide();
  }

  arm() {
    const record = { ...this.record(), rc: this.classes };
    this.press(true);
    this.exchange.ask("offer", record).catch(() => this.press(false));
  }

  disarm() {
    if (!this.isArmed) return;
    this.press(false);
    this.exchange.ask("disarm").catch(() => {});
    for (const generator of this.live) generator.end();
  }

  press(isArmed) {
    this.isArmed = isArmed;
    this.element.setAttribute("aria-pressed", String(isArmed));
    this.element.classList.toggle("belay-selected", isArmed);
  }
}

/** What is shown while dragging: a URL, or a function that gives one. It is loaded before. */
function imageOf(image) {
  if (image === undefined) return undefined;
  const element = document.createElement("img");
  element.src = typeof image === "function" ? image() : image;
  return element;
}

/** Gives what an offer has, once and within a minute. */
class Generator {
  constructor(offer) {
    Object.assign(this, { offer, isBusy: false });
    this.capability = offer.exchange.capServer.grant({
      get: () => this.claim(offer.classes[0]),
      post: (rc) => this.claim(rc),
    });
    this.timer = setTimeout(() => this.end(), OFFER_TIME);
    offer.live.add(this);
  }

  async claim(rc) {
    if (!this.offer.classes.includes(rc)) throw failure(400);
    if (this.isBusy) throw failure(404);
    this.isBusy = true;
    try {
      const given = handedOver(this.offer.exchange.capServer, await this.offer.generate(rc));
      this.end();
      return given;
    } finally {
      this.isBusy = false;
    }
  }

  end() {
    clearTimeout(this.timer);
    this.offer.live.delete(this);
    this.offer.exchange.capServer.revoke(this.capability);
  }
}

/** A new capability for an item; a capability as it is, and a record of several. */
function handedOver(capServer, item) {
  const isFunction = (name) => typeof item[name] === "function";
  const isRecord = typeof item === "object" && item !== null
    && !["invoke", "get", "put", "post", "remove"].some(isFunction);
  return isCapability(item) || isRecord ? item : capServer.grant(item);
}

class Acceptor {
  constructor(exchange, element, { rc, accept, acceptGenerator }) {
    if (typeof accept !== "function" && typeof acceptGenerator !== "function") {
      throw new TypeError("an acceptor needs accept");
    }
    Object.assign(this, { exchange, element, classes: checkedClasses(rc), accept, acceptGenerator });
    this.dress();
  }

  dress() {
    const dressing = new Dressing(this.element);
    dressing.attribute("data-rc", this.classes.join(" "));
    dressing.className("belay-cap-target");
    dressing.on("mouseenter", () => this.exchange.show("belay-cap-source", this.classes));
    dressing.on("mouseleave", () => this.exchange.hide());
    dressing.on("dragenter", (event) => this.over(event));
    dressing.on("dragover", (event) => this.over(event));
    dressing.on("dragleave", () => this.left());
    dressing.on("drop", (event) => this.drop(event));
    dressing.onActivation(() => this.take());
    this.dressing = dressing;
  }

  handle() {
    return Object.freeze({
      cancel: () => {
        this.dressing.undo();
        this.left();
      },
    });
  }

  over(event) {
    if (!mayAccept(event.dataTransfer, this.classes)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    this.element.classList.add("belay-over");
  }

  left() {
    this.element.classList.remove("belay-over");
  }

  drop(event) {
    this.left();
    if (!mayAccept(event.dataTransfer, this.classes)) return;
    event.preventDefault();
    this.complete(readTransfer(event.dataTransfer, this.exchange.capServer));
  }

  /** Takes what is armed, if it is for here. */
  take() {
    const complete = (record) => this.complete(parseRecord(record));
    this.exchange.ask("take", { rc: this.classes }).then(complete, () => {});
  }

  /** The second step: the generator is asked, now that the person has completed the gesture. */
  complete(record) {
    const rc = record && commonClass(record.classes, this.classes);
    if (rc === undefined) return;
    const { gen, label } = record;
    if (this.acceptGenerator) {
      isolated(() => this.acceptGenerator(gen, rc));
      return;
    }
    const asked = rc === "belay/generate" ? gen.get() : gen.post(rc);
    const info = Object.freeze({ rc, label, generator: gen });
    asked.then((given) => isolated(() => this.accept(given, info)), report);
  }
}
