// Where the script begins: in a shared worker it is the hub of all pages, in a page it finds one.

import { Hub } from "./hub.mjs";
import { install, PushManager } from "./page.mjs";
import { memory, open } from "./storage.mjs";

const SLOTS_MAX = 64;

// Without a shared worker every page is a UserAgent of its own, since two that share a name displace each
// other. A page keeps the first name that no other page holds.
async function ownStorage(server) {
  for (let slot = 0; navigator.locks && slot < SLOTS_MAX; slot++) {
    const key = `${server} ${slot}`;
    const isMine = await new Promise((resolve) =>
      navigator.locks.request(`simplepush ${key}`, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        // Held until the page is gone.
        return lock && new Promise(() => {});
      }),
    );
    if (isMine) return open(key);
  }
  return memory;
}

async function startInPage(manager, server) {
  const { port1, port2 } = new MessageChannel();
  new Hub(server, await ownStorage(server)).attach(port2);
  manager.attach(port1);
}

function startInWorker(manager, script, server) {
  const worker = new SharedWorker(script, { name: server });
  worker.onerror = () => startInPage(manager, server);
  manager.attach(worker.port);
}

function startPage({ src, dataset }) {
  const server = new URL(dataset.server ?? "push", src);
  server.protocol = server.protocol.replace("http", "ws");
  const manager = new PushManager();
  install(manager);
  try {
    if (dataset.worker === "off") throw new Error("it is not wanted");
    startInWorker(manager, dataset.worker ?? src, server.href);
  } catch {
    // There are no shared workers here, or not for scripts of another origin.
    startInPage(manager, server.href);
  }
  for (const type of ["online", "offline"]) {
    globalThis.addEventListener(type, () => manager.post({ type: "network" }));
  }
  globalThis.addEventListener("pagehide", () => manager.post({ type: "bye" }));
  // The user came back to a page that the browser had kept.
  globalThis.addEventListener("pageshow", ({ persisted }) => persisted && manager.listen());
}

function startWorker(scope) {
  const hub = open(`${scope.name} shared`).then((storage) => new Hub(scope.name, storage));
  scope.onconnect = ({ ports: [port] }) => hub.then((hub) => hub.attach(port));
}

if (typeof SharedWorkerGlobalScope !== "undefined") startWorker(globalThis);
else if (typeof document !== "undefined") startPage(document.currentScript);
