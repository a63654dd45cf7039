// Services and workers of the Majordomo broker.

import { action } from "../dialog.js";
import { badge, card, el, heading, table } from "../dom.js";
import { lasting, number, seconds, state } from "../format.js";
import { finder, list, live } from "../listing.js";

const ago = (duration) => `${lasting(seconds(duration))} ago`;

function pausing({ name, paused }, look, failed) {
  const [text, call, done] = paused
    ? ["Resume", "BrokerService/ResumeService", "is resumed"] : ["Pause", "BrokerService/PauseService", "is paused: its requests wait"];
  return action(text, call, { name }, { label: `${text} ${name}`, done: `Service ${name} ${done}.`, then: look, failed });
}

export async function services(content, context) {
  const { signal, failed } = context;
  const found = {};
  const load = async () => {
    const [all, workers] = await Promise.all([
      list("BrokerService/ListServices", "services", {}, signal), list("BrokerService/ListWorkers", "workers", {}, signal)]);
    return { all, workers };
  };
  await live(content, context, load, ({ all, workers }, { look, redraw }) => {
    const find = finder(found, "Find a service", redraw);
    const dismiss = (text, call, ask) => ({ id, service }) => action(text, call, { id },
      { label: `${text} worker ${id} of ${service}`, ask, done: `Worker ${id}: ${text.toLowerCase()}.`, then: look, failed });
    const drain = dismiss("Drain", "BrokerService/DrainWorker", "It finishes what it has in hand and gets nothing more.");
    const disconnect = dismiss("Disconnect", "BrokerService/DisconnectWorker", "What it has in hand goes to another worker, if it may be tried again.");
    return [
      heading("Services", { actions: [find.input] }),
      card("What is offered", table("Services", [
        { name: "Service", cell: ({ name }) => el("b", {}, name) },
        { name: "State", cell: ({ paused, local, workers: count, gateways = [] }) =>
          (paused ? badge("paused") : local ? badge("this gateway") : count ? badge("ready", "good")
            : gateways.length ? badge(`at ${gateways.join(", ")}`, "good") : badge("no worker", "warn")) },
        { name: "Workers", number: true, cell: ({ local, workers: count }) => (local ? "–" : number(count)) },
        { name: "Busy", number: true, cell: ({ busy }) => number(busy) },
        { name: "Queued", number: true, cell: ({ queued }) => number(queued) },
        { name: "Oldest waits", number: true, cell: ({ oldestWait }) => (seconds(oldestWait) ? lasting(seconds(oldestWait)) : "–") },
        { name: "Answered", number: true, cell: ({ counts }) => number(counts.completed) },
        { name: "Expired", number: true, cell: ({ counts }) => number(counts.expired) },
        { name: "", cell: (service) => (service.local ? " " : pausing(service, look, failed)) },
      ], all.filter(({ name }) => find.stays(name)), all.length ? "No service is like that." : "No service is known.", ({ name }) => name)),
      card("Workers", table("Workers", [
        { name: "Service", cell: ({ service }) => el("b", {}, service) },
        { name: "Worker", cell: ({ id }) => id },
        { name: "State", cell: (worker) => badge(state(worker.state, "WORKER_STATE")) },
        { name: "MDP", cell: ({ version }) => version },
        { name: "Registered", cell: ({ registeredFor }) => ago(registeredFor) },
        { name: "Heard", cell: ({ silentFor }) => ago(silentFor) },
        { name: "Answered", number: true, cell: ({ answered }) => number(answered) },
        { name: "", cell: (worker) => el("span", { class: "row" }, drain(worker), disconnect(worker)) },
      ], workers.filter(({ service }) => find.stays(service)), "No worker is connected.", ({ id }) => id)),
    ];
  });
}
