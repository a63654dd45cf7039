// Services and workers of the Majordomo broker.

import { get } from "../api.js";
import { badge, el, heading, number, table } from "../dom.js";

export async function services(content, { signal }) {
  const state = await get("broker", signal);
  const rows = state.services.map((service) => [
    el("b", {}, service.name), badge(service.paused ? "paused" : "running"),
    service.workers === null ? "this gateway" : number(service.workers), number(service.busy), number(service.queued),
  ]);
  const workers = state.workers.map((worker) => [
    worker.service, badge(worker.state, "plain"), number(worker.answered),
  ]);
  content.replaceChildren(heading("Services"),
    el("section", { class: "card" }, table("Services",
      ["Service", "State", "Workers", "Busy", "Queued"], rows, "No service is known.")),
    el("section", { class: "card" }, el("h2", {}, "Workers"), table("Workers",
      ["Service", "State", "Answered"], workers, "No worker is connected.")));
}
