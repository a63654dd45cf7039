// What the frames of a partition do together for the person before them: highlighting, and introductions
// by click (Belay §11.3, §14.2). Never here: granting; the generator that is offered is its page's.

/** How long an offer stays armed, in milliseconds. */
const OFFER_LIFETIME = 60000;
/** Whoever routes this id has the offer that is armed; it is no instance's. */
const OFFER_ID = "offer";
const RC_MAX = 16;
const TEXT_MAX_CHARS = 200;

const isText = (value) => typeof value === "string" && value.length <= TEXT_MAX_CHARS;

const highlight = (className, rc) => ({ op: "highlight", args: { className, rc } });

function parseClasses(rc) {
  const classes = [].concat(rc);
  if (classes.length === 0 || classes.length > RC_MAX || !classes.every(isText)) throw failure(400);
  return classes;
}

/** The services of one frame. `tell` reaches its page. */
class Services {
  constructor(server, router, tell) {
    Object.assign(this, { server, router, tell, armed: null });
    const { partition } = router;
    if (partition) partition.onnotice = (notice) => this.notice(notice);
  }

  /** The record of an outpost. */
  grants() {
    const grant = (service) => this.server.grant(service);
    return {
      highlightByRC: grant(async (wanted) => {
        const { className, rc } = Object(wanted);
        if (!isText(className)) throw failure(400);
        parseClasses(rc);
        this.show(highlight(className, rc));
      }),
      unhighlight: grant(async () => this.show("unhighlight")),
      offer: grant(async (offer) => this.arm(Object(offer))),
      disarm: grant(async () => this.disarm()),
      take: grant(async (wanted) => this.take(parseClasses(Object(wanted).rc))),
    };
  }

  /** Every page of the partition gets an action. */
  show(action) {
    if (this.router.partition) this.router.partition.notify(action);
    this.notice(action);
  }

  /** An action for this page, from whichever frame. What is armed here stays visible everywhere. */
  notice(action) {
    this.tell(action);
    if (action === "unhighlight" && this.armed) this.show(this.armed.highlight);
  }

  async arm({ rc, gen, label }) {
    const classes = parseClasses(rc);
    const isSound = isCapability(gen) && (label === undefined || isText(label));
    if (!isSound) throw failure(400);
    this.giveUp();
    const timer = setTimeout(() => this.disarm(), OFFER_LIFETIME);
    const shown = highlight("belay-cap-target", classes);
    this.armed = { rc: classes, gen, label, timer, highlight: shown };
    this.router.local.set(OFFER_ID, { invoke: (...call) => this.answer(...call) });
    const { partition } = this.router;
    if (partition) await partition.claim(OFFER_ID, { steal: true, onstolen: () => this.drop() });
    this.show(shown);
  }

  disarm() {
    if (!this.armed) return;
    this.giveUp();
    this.show("unhighlight");
  }

  giveUp() {
    this.drop();
    if (this.router.partition) this.router.partition.release(OFFER_ID);
  }

  /** What is armed here is no longer; its page is told. */
  drop() {
    if (!this.armed) return;
    clearTimeout(this.armed.timer);
    this.armed = null;
    this.router.local.delete(OFFER_ID);
    this.tell("disarmed");
  }

  /** What is armed, here or in another frame, if it is of a class that is wanted. */
  async take(rc) {
    const iface = this.router.local.get(OFFER_ID) || (await this.elsewhere());
    if (!iface) throw failure(404);
    const wire = this.server.dataPreProcess(rc);
    const taken = await new Promise((resolve, reject) => {
      iface.invoke(OFFER_ID, "POST", wire, resolve, reject);
    });
    return this.server.dataPostProcess(taken);
  }

  async elsewhere() {
    const { partition } = this.router;
    return partition && (await partition.holds(OFFER_ID)) ? partition.at(OFFER_ID) : null;
  }

  /** Another frame, or this one, takes the offer. */
  answer(_ser, _method, wire, succeed, fail) {
    const wanted = this.server.dataPostProcess(wire);
    const { armed } = this;
    const isWanted = (one) => wanted.includes("*") || wanted.includes(one);
    const rc = armed ? armed.rc.find(isWanted) : undefined;
    if (rc === undefined) {
      fail(failure(404));
      return;
    }
    this.disarm();
    succeed(this.server.dataPreProcess({ rc, gen: armed.gen, label: armed.label }));
  }
}
