// Offers and acceptors (Belay §14, §25.6).

import assert from "node:assert/strict";
import { test } from "node:test";

import { Page, failureOf, settle } from "./page.mjs";

const RECORD = "application/x-belay-bcap+json";
const HEX = { "note/é": "6e6f74652fc3a9", a: "61" };

/** What is dragged, as browsers keep it. */
class Transfer {
  data = new Map();
  setData(type, text) { this.data.set(type.toLowerCase(), text); }
  getData(type) { return this.data.get(type.toLowerCase()) ?? ""; }
  get types() { return [...this.data.keys()]; }
  setDragImage(...given) { this.image = given; }
}

/** Services of a frame with one page. */
function services(page, asked) {
  let armed;
  const note = (name, answer = () => {}) => (data) => { asked.push([name, data]); return answer(data); };
  return {
    highlightByRC: note("highlightByRC"),
    unhighlight: note("unhighlight"),
    offer: note("offer", (offer) => { armed = offer; }),
    disarm: note("disarm", () => { armed = undefined; page.action.postMessage("disarmed"); }),
    take: note("take", () => {
      if (!armed) throw Object.assign(new Error("none"), { status: 404 });
      const taken = { ...armed, rc: armed.rc[0] };
      armed = undefined;
      page.action.postMessage("disarmed");
      return taken;
    }),
  };
}

async function exchange() {
  const page = new Page();
  const asked = [];
  await page.init();
  const { CapServer, CapTunnel } = page.belay.internals;
  const server = new CapServer(page.belay.newUUIDv4());
  const far = new CapTunnel(page.tunnel);
  far.setLocalResolver((id) => (id === server.instanceId ? server.publicInterface : undefined));
  server.setResolver(far.remoteResolverProxy);
  const granted = Object.entries(services(page, asked)).map(([name, item]) => [name, server.grant(item)]);
  far.sendOutpost({ instanceId: page.belay.newUUIDv4(), services: Object.fromEntries(granted) });
  const { util, capServer } = await page.belay.start();
  const names = () => asked.splice(0).map(([name]) => name);
  return { page, asked, names, util, capServer, far: new CapServer(page.belay.newUUIDv4()) };
}

async function drag(element, transfer = new Transfer()) {
  element.fire("dragstart", { dataTransfer: transfer });
  await settle();
  return transfer;
}

async function drop(element, transfer) {
  const over = element.fire("dragover", { dataTransfer: transfer });
  const dropped = element.fire("drop", { dataTransfer: transfer });
  await settle();
  return [over.isPrevented === true, dropped.isPrevented === true];
}

const classesOf = (element) => element.classes.sort();

test("a_drag_carries_a_generator_in_three_forms", async () => {
  const { page, asked, util, capServer } = await exchange();
  const element = page.element("div", { class: "chit" });
  const served = [];
  util.exchange.offer(element, { rc: "note/é", generate: (rc) => { served.push(rc); return () => "granted"; }, image: "/chit.png" });
  assert.deepEqual(classesOf(element), ["belay-cap-source", "chit"]);
  assert.equal(element.getAttribute("data-rc"), "note/é");
  assert.equal(element.getAttribute("draggable"), "true");

  const transfer = await drag(element);
  assert.deepEqual(served, []);
  assert.deepEqual(transfer.types, [RECORD, `application/x-belay-rc-${HEX["note/é"]}`, "text/html"]);
  assert.equal(transfer.image[0].src, "/chit.png");
  const { rc, gen } = capServer.dataPostProcess(transfer.getData(RECORD));
  assert.equal(rc, "note/é");
  const [, base64] = /^<img data="([A-Za-z0-9+/=]+)">$/.exec(transfer.getData("text/html"));
  assert.ok(base64.startsWith("eyJ2YWx1ZSI6eyJyYyI6Im5vdGUvw6ki"));
  assert.equal(Buffer.from(base64, "base64").toString(), transfer.getData(RECORD));
  assert.ok(element.classes.includes("belay-selected"));
  assert.deepEqual(asked, [["highlightByRC", { className: "belay-cap-target", rc: "note/é" }]]);
  element.fire("dragend");
  await settle();
  assert.ok(!element.classes.includes("belay-selected"));
  assert.equal(asked[1][0], "unhighlight");

  // The second step; once.
  const cap = await gen.post("note/é");
  assert.equal(await cap.get(), "granted");
  assert.deepEqual(served, ["note/é"]);
  assert.equal((await failureOf(gen.post("note/é"))).status, 404);
});

test("the_drag_data_of_the_worked_example", async () => {
  const { page, util, capServer } = await exchange();
  const element = page.element();
  const gen = capServer.restore("https://shop.example/cap/7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936");
  // The positional call of the original: its generator is handed over as it is.
  util.exchange.offer([element], "belay/generate", gen, () => "/chit.png");
  const transfer = await drag(element);
  assert.equal(transfer.getData(RECORD),
    '{"value":{"rc":"belay/generate","gen":{"@":"https://shop.example/cap/7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936"}}}');
  assert.equal(transfer.getData("text/html"), '<img data="eyJ2YWx1ZSI6eyJyYyI6ImJlbGF5L2dlbmVyYXRlIiwiZ2VuIjp7IkAiOiJodHRwczovL3Nob3AuZXhhbXBsZS9jYXAvN2Q5ZjFjNTItM2I2ZS00ZjA4LWExZDQtMmM4NWUwN2I5OTM2In19fQ==">');
  const seen = [];
  const target = page.element();
  util.exchange.accept([target], "belay/generate", (cap, rc) => seen.push([cap.serialize(), rc]));
  await drop(target, transfer);
  assert.deepEqual(seen, [[gen.serialize(), "belay/generate"]]);
});

test("a_drop_completes_the_introduction", async () => {
  const { page, util, capServer } = await exchange();
  const [source, target] = [page.element(), page.element()];
  const accepted = [];
  util.exchange.offer(source, { rc: ["a", "b"], label: "Letters", generate: (rc) => ({ post: capServer.grant(() => rc), name: rc }) });
  util.exchange.accept(target, { rc: ["c", "b"], accept: (given, info) => accepted.push([given, info]) });
  assert.deepEqual(classesOf(target), ["belay-cap-target"]);
  const transfer = await drag(source);
  target.fire("dragenter", { dataTransfer: transfer });
  assert.ok(target.classes.includes("belay-over"));
  assert.deepEqual(await drop(target, transfer), [true, true]);
  assert.ok(!target.classes.includes("belay-over"));
  const [[record, info]] = accepted;
  assert.equal(record.name, "b");
  assert.equal(await record.post.get(), "b");
  assert.deepEqual([info.rc, info.label], ["b", "Letters"]);
  // Dropped once more it is worth nothing.
  await drop(target, transfer);
  assert.equal(accepted.length, 1);
  assert.equal(page.errors.length, 1);
});

test("generate_offers_are_asked_with_get", async () => {
  const { page, util, capServer } = await exchange();
  const [source, target] = [page.element(), page.element()];
  const launch = capServer.grant(() => ({}));
  const accepted = [];
  util.exchange.offer(source, { rc: "belay/generate", generate: () => ({ launch, name: "Shop", icon: "/i" }) });
  util.exchange.accept(target, { rc: "*", accept: ({ name }, { rc }) => accepted.push([name, rc]) });
  await drop(target, await drag(source));
  assert.deepEqual(accepted, [["Shop", "belay/generate"]]);
});

test("what_does_not_fit_is_not_accepted", async () => {
  const { page, util, capServer } = await exchange();
  const target = page.element();
  const accepted = [];
  util.exchange.accept(target, { rc: "a", accept: (given) => accepted.push(given) });
  const carrying = (entries) => Object.assign(new Transfer(), { data: new Map(Object.entries(entries)) });
  const gen = capServer.grant({ post: () => "given" });
  const text = (record) => capServer.dataPreProcess(record);
  const marker = { [`application/x-belay-rc-${HEX.a}`]: "1" };
  const refused = [
    [{ "text/plain": "hello" }, false], [{ [RECORD]: text({ rc: "b", gen }), "application/x-belay-rc-62": "1" }, false],
    // The marker lies, or what is inside is none.
    [{ [RECORD]: text({ rc: "b", gen }), ...marker }, true], [{ [RECORD]: "{", ...marker }, true],
    [{ [RECORD]: text({ rc: "a", gen: "https://x.example" }), ...marker }, true], [{ [RECORD]: text({ gen }), ...marker }, true],
    [{ [RECORD]: text({ rc: { a: 1 }, gen }), ...marker }, true], [{ [RECORD]: `{"value":{"rc":"a","gen":{"@":"x","y":1}}}`, ...marker }, true],
    [{ [RECORD]: text({ rc: "a", gen, label: "x".repeat(20000) }), ...marker }, true],
    [{ "text/html": "<b>bold</b>" }, true], [{ "text/html": '<img data="!!!!">' }, true], [{ "text/html": '<img data="AAAA">' }, true],
    [{ "text/html": "<img ".repeat(20000) }, true],
  ];
  for (const [entries, isOver] of refused) {
    assert.deepEqual(await drop(target, carrying(entries)), [isOver, isOver], JSON.stringify(entries).slice(0, 100));
  }
  assert.deepEqual(accepted, []);
  assert.deepEqual(page.errors, []);
  await drop(target, carrying({ [RECORD]: text({ rc: "a", gen }), ...marker }));
  assert.deepEqual(accepted, ["given"]);
});

test("the_historic_image_is_read", async () => {
  const { page, util, capServer } = await exchange();
  const target = page.element();
  const accepted = [];
  util.exchange.accept(target, { rc: "note/é", accept: (given) => accepted.push(given) });
  const gen = capServer.grant({ post: () => "given" });
  const base64 = Buffer.from(capServer.dataPreProcess({ rc: "note/é", gen })).toString("base64");
  const forms = [`<img data="${base64}">`, `<meta charset='utf-8'><p><img src="x" data="http://${base64}" alt=""></p>`, `<IMG data='${base64}'/>`];
  for (const html of forms) {
    const transfer = new Transfer();
    transfer.setData("text/html", html);
    await drop(target, transfer);
  }
  assert.deepEqual(accepted, ["given", "given", "given"]);
});

test("only_what_a_person_does_counts", async () => {
  const { page, util, names } = await exchange();
  const [source, target] = [page.element(), page.element()];
  const accepted = [];
  util.exchange.offer(source, { rc: "a", generate: () => () => 1 });
  util.exchange.accept(target, { rc: "a", accept: (given) => accepted.push(given) });
  const transfer = await drag(source);
  names();
  const pretended = { isTrusted: false, dataTransfer: transfer, key: "Enter" };
  for (const type of ["dragstart", "click", "keydown"]) source.fire(type, pretended);
  for (const type of ["drop", "dragover", "click", "keydown", "mouseenter"]) target.fire(type, pretended);
  await settle();
  assert.deepEqual([names(), accepted], [[], []]);
});

test("hovering_shows_where_it_could_come_from", async () => {
  const { page, util, asked } = await exchange();
  const target = page.element();
  util.exchange.accept(target, { rc: ["a", "b"], accept() {} });
  target.fire("mouseenter");
  target.fire("mouseleave");
  await settle();
  assert.deepEqual(asked, [["highlightByRC", { className: "belay-cap-source", rc: ["a", "b"] }], ["unhighlight", undefined]]);
});

test("a_click_arms_and_another_completes", async () => {
  const { page, util, asked, names } = await exchange();
  const [source, target, button] = [page.element(), page.element(), page.element("button")];
  const accepted = [];
  util.exchange.offer(source, { rc: ["a", "b"], generate: (rc) => () => rc, label: "Letters" });
  util.exchange.accept(target, { rc: "a", accept: (cap, { label }) => cap.get().then((value) => accepted.push([value, label])) });
  util.exchange.accept(button, { rc: "a", accept() {} });
  // Both are reached by keyboard; a button is a button already.
  assert.deepEqual([source.getAttribute("role"), source.getAttribute("tabindex")], ["button", "0"]);
  assert.deepEqual([button.getAttribute("role"), button.getAttribute("tabindex")], [null, null]);
  target.fire("click");
  await settle();
  assert.deepEqual([names(), accepted], [["take"], []]);
  const space = source.fire("keydown", { key: " " });
  await settle();
  assert.ok(space.isPrevented);
  assert.equal(source.getAttribute("aria-pressed"), "true");
  assert.ok(source.classes.includes("belay-selected"));
  assert.deepEqual([asked[0][0], asked[0][1].rc, asked[0][1].label], ["offer", ["a", "b"], "Letters"]);
  target.fire("click");
  await settle();
  assert.deepEqual(accepted, [["a", "Letters"]]);
  assert.equal(source.getAttribute("aria-pressed"), "false");
});

test("escape_disarms", async () => {
  const { page, util, asked, names } = await exchange();
  const source = page.element();
  util.exchange.offer(source, { rc: "a", generate: () => () => 1 });
  page.document.fire("keydown", { key: "Escape" });
  source.fire("click");
  await settle();
  const { gen } = asked[0][1];
  page.document.fire("keydown", { key: "Escape" });
  await settle();
  assert.deepEqual(names(), ["offer", "disarm"]);
  assert.equal(source.getAttribute("aria-pressed"), "false");
  assert.equal((await failureOf(gen.post("a"))).status, 404);
});

test("generators_are_for_their_classes_once_and_a_minute", async () => {
  const { page, util, capServer } = await exchange();
  const element = page.element();
  let failing = true;
  let finish;
  util.exchange.offer(element, { rc: ["a", "b"], generate: (rc) => {
    if (failing) throw new Error("not now");
    return new Promise((resolve) => { finish = () => resolve(() => rc); });
  } });
  const generator = async () => capServer.dataPostProcess((await drag(element)).getData(RECORD)).gen;
  const gen = await generator();
  assert.equal((await failureOf(gen.post("c"))).status, 400);
  assert.equal((await failureOf(gen.post("a"))).status, 500);
  failing = false;
  const [first, second] = [gen.post("b"), gen.post("b")];
  assert.equal((await failureOf(second)).status, 404);
  finish();
  assert.equal(await (await first).get(), "b");
  assert.equal((await failureOf(gen.post("b"))).status, 404);
  const late = await generator();
  await page.clock.pass(59999);
  const inTime = late.post("a");
  await settle();
  finish();
  assert.equal(await (await inTime).get(), "a");
  const tooLate = await generator();
  await page.clock.pass(60000);
  assert.equal((await failureOf(tooLate.post("a"))).status, 404);
});

test("a_capability_is_offered_by_a_generator_too", async () => {
  const { page, util, capServer } = await exchange();
  const [source, target] = [page.element(), page.element()];
  const cap = capServer.grant(() => "live");
  const accepted = [];
  util.exchange.offer(source, { rc: "a", cap });
  util.exchange.accept(target, { rc: "a", accept: (given) => accepted.push(given) });
  const transfer = await drag(source);
  assert.ok(!transfer.getData(RECORD).includes(cap.serialize()));
  await drop(target, transfer);
  assert.equal(await accepted[0].get(), "live");
});

test("cancelling_undoes_everything", async () => {
  const { page, util, capServer } = await exchange();
  const [source, target] = [page.element("div", { "data-rc": "mine" }), page.element()];
  const offer = util.exchange.offer(source, { rc: "a", generate: () => () => 1 });
  const acceptor = util.exchange.accept(target, { rc: "a", accept() {} });
  const { gen } = capServer.dataPostProcess((await drag(source)).getData(RECORD));
  offer.cancel();
  acceptor.cancel();
  assert.equal((await failureOf(gen.post("a"))).status, 404);
  for (const element of [source, target]) {
    assert.deepEqual([element.classes, element.listeners], [[], []]);
    for (const name of ["draggable", "role", "tabindex", "aria-pressed"]) assert.equal(element.getAttribute(name), null);
  }
  assert.equal(source.getAttribute("data-rc"), "mine");
  assert.deepEqual(page.document.listeners.filter(([type]) => type === "keydown"), []);
});

test("offers_and_acceptors_are_checked", async () => {
  const { page, util, capServer } = await exchange();
  const element = page.element();
  const generate = () => () => 1;
  const wrong = [
    () => util.exchange.offer(undefined, { rc: "a", generate }), () => util.exchange.offer({}, { rc: "a", generate }),
    () => util.exchange.offer(element, { rc: "*", generate }), () => util.exchange.offer(element, { rc: [], generate }),
    () => util.exchange.offer(element, { rc: "a b", generate }), () => util.exchange.offer(element, { rc: 5, generate }),
    () => util.exchange.offer(element, { rc: "a" }), () => util.exchange.offer(element, { rc: "a", cap: "urn:x" }),
    () => util.exchange.accept(element, { rc: "a" }), () => util.exchange.accept(element, { rc: [] , accept() {} }),
  ];
  for (const call of wrong) assert.throws(call, TypeError);
  assert.deepEqual(element.classes, []);
  assert.ok(capServer);
});
