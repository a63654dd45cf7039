// Launch and stations, as a page sees them (Belay §13).

import assert from "node:assert/strict";
import { test } from "node:test";

import { Page, failureOf, settle } from "./page.mjs";

/** A page whose frame writes down what it is asked. */
async function launcher(caps) {
  const page = new Page();
  const asked = [];
  const items = Object.fromEntries(Object.entries(caps).map(([name, answer]) => [name, (data) => {
    asked.push([name, data]);
    return answer(data);
  }]));
  await page.up({}, items);
  return { page, asked, ...(await page.belay.start()) };
}

test("become_instance_describes_the_page_to_a_station", async () => {
  const { asked, util, capServer } = await launcher({ becomeInstance: () => {} });
  const launch = capServer.grant(() => ({}));
  const told = [];
  await util.station.becomeInstance({ launch, name: "Shop", icon: "/i.png", extra: 1 }, (value) => told.push(value));
  await util.station.becomeInstance({ launch: "https://shop.example/cap/x", name: "Shop" });
  assert.deepEqual(told, [undefined]);
  const shown = asked.map(([, { launch: cap, ...rest }]) => ({ ...rest, launch: cap.serialize() }));
  assert.deepEqual(shown, [
    { launch: launch.serialize(), name: "Shop", icon: "/i.png" }, { launch: "https://shop.example/cap/x", name: "Shop" },
  ]);
  for (const wrong of [undefined, {}, { launch: 5 }]) assert.throws(() => util.station.becomeInstance(wrong), TypeError);
});

test("become_instance_fails_where_it_is_not_offered", async () => {
  const launched = await launcher({});
  const description = { launch: "https://shop.example/cap/x", name: "Shop" };
  assert.deepEqual(await failureOf(launched.util.station.becomeInstance(description)), { status: 405, message: "method not allowed" });
  const alone = await launcher({ becomeInstance: async () => { throw { status: 404, message: "no station" }; } });
  assert.deepEqual(await failureOf(alone.util.station.becomeInstance(description)), { status: 404, message: "no station" });
});

test("expect_launch_gives_a_start_id_and_then_the_window", async () => {
  let expected;
  const { page, util } = await launcher({ expectPage: (data) => { expected = data; return data.startId ?? "from-the-gateway"; } });
  const windows = [];
  const ready = (activate) => { windows.push(activate); return "ignored"; };
  const given = await util.launch.expectLaunch({ ready });
  assert.deepEqual(given, { startId: "from-the-gateway", suffix: "#belay-start=from-the-gateway" });
  const activate = page.server.grant((record) => record.pageUrl);
  assert.equal(await expected.ready.post(activate), undefined);
  assert.equal(await windows[0].post({ pageUrl: "https://app.example/" }), "https://app.example/");
  // By the names of the seed, with a start id and a capability of the page's own.
  assert.equal(util.belay.exepctLaunch, util.belay.expectLaunch);
  const told = [];
  util.belay.exepctLaunch({ ready: activate, startId: "mine" }, ({ startId }) => told.push(startId));
  await settle();
  assert.deepEqual(told, ["mine"]);
  assert.equal(expected.ready.serialize(), activate.serialize());
  assert.throws(() => util.launch.expectLaunch({}), TypeError);
  // The legacy way.
  assert.equal(await util.expectPage.post({ ready: activate, startId: "old" }), "old");
});

test("activate_local_cap_turns_this_window_into_an_instance", async () => {
  const { page, asked, util } = await launcher({ activateLocalPage: () => null });
  const instanceId = page.belay.newUUIDv4();
  const record = { instanceId, pageUrl: "https://app.example/", isStation: true, outpostData: { instanceId, info: 5 } };
  assert.equal(await util.station.activateLocalCap(record), null);
  assert.deepEqual(asked, [["activateLocalPage", record]]);
});

test("self_launch_launches_into_this_window", async () => {
  const { asked, util, capServer } = await launcher({ activateLocalPage: () => {} });
  const info = { colour: "blue" };
  await util.belay.selfLaunch(capServer.grant(() => ({ page: { html: "https://app.example/a" }, info })));
  await util.launch.selfLaunch({ pageUrl: "https://app.example/b", info });
  const [first, second] = asked.map(([, record]) => record);
  assert.deepEqual([first.pageUrl, second.pageUrl], ["https://app.example/a", "https://app.example/b"]);
  for (const { instanceId, outpostData } of [first, second]) {
    assert.match(instanceId, /^[0-9a-f-]{36}$/);
    assert.deepEqual(outpostData, { instanceId, info });
  }
  assert.notEqual(first.instanceId, second.instanceId);
  const told = [];
  util.belay.selfLaunch(capServer.grant(null), undefined, ({ status }) => told.push(status));
  await settle();
  assert.deepEqual(told, [404]);
});

test("a_station_finds_its_powers_in_util", async () => {
  const { util } = await launcher({ isRunning: (id) => id === "x", setStationCallbacks: () => {} });
  assert.equal(await util.isRunning.post("x"), true);
  assert.equal(typeof util.setStationCallbacks.put, "function");
});
