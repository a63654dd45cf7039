// The library as a module (Belay §22.6).

import assert from "node:assert/strict";
import { test } from "node:test";

import { Page } from "./page.mjs";

test("the_module_exports_what_the_script_defines", async () => {
  const page = new Page({ isFramed: false, belay: { standIn: [] } });
  // A page that has no library yet: the names that a module finds in its window.
  delete page.window.belay;
  delete page.window.newUUIDv4;
  page.elements.length = 0;
  page.document.currentScript = null;
  const { window, ...names } = page.globals();
  Object.assign(globalThis, names, { window });
  const url = `file://${process.env.BELAY_CLIENT.replace(/\.js$/, ".mjs")}`;
  page.script.src = url;
  page.script.setAttribute("data-belay-frame", "https://gw.example/belay/frame.html");
  const module = await import(url);
  assert.equal(module.default, window.belay);
  const names2 = ["start", "startForOrigin", "startForLaunch", "route", "routeOrigin", "newUUIDv4", "CapServer", "version", "onBelayReady", "internals"];
  for (const name of names2) assert.equal(module[name], window.belay[name], name);
  assert.equal(page.elements[0].src, "https://gw.example/belay/frame.html");
  // Loaded again as a script, the page keeps what it has.
  page.run();
  assert.equal(window.belay, module.default);
  assert.equal(page.elements.length, 1);
});
