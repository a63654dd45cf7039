// SimplePush user agents on the npm package `ws` that come back whenever their connection ends.
//
// node push_rehome.mjs URL COUNT
//
// It prints and is asked what ../py/push_rehome.py prints and is asked.

import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import WebSocket from "ws";

// Milliseconds before one tries again.
const PAUSE = 100;
const [url, count] = process.argv.slice(2);

class Agent {
  channel = randomUUID();
  uaid = "";
  endpoint = null;
  latest = 0;
  hellos = 0;
  lost = 0;

  live() {
    const socket = new WebSocket(url, "push-notification");
    const say = (message) => socket.send(JSON.stringify(message));
    socket.on("open", () => {
      const channelIDs = this.endpoint ? [this.channel] : [];
      say({ messageType: "hello", uaid: this.uaid, channelIDs });
    });
    socket.on("message", (text) => this.hear(JSON.parse(text), say));
    socket.on("error", () => {});
    socket.on("close", () => setTimeout(() => this.live(), PAUSE));
  }

  hear({ messageType, uaid, pushEndpoint, updates }, say) {
    if (messageType === "hello") {
      this.hellos += 1;
      if (this.uaid && this.uaid !== uaid) this.lost += 1;
      this.uaid = uaid;
      if (!this.endpoint) say({ messageType: "register", channelID: this.channel });
    } else if (messageType === "register") {
      this.endpoint = pushEndpoint;
      if (agents.every(({ endpoint }) => endpoint)) print({ endpoints: agents.map(({ endpoint }) => endpoint) });
    } else if (messageType === "notification") {
      this.latest = Math.max(this.latest, ...updates.map(({ version }) => version));
      say({ messageType: "ack", updates });
    }
  }
}

const print = (report) => console.log(JSON.stringify(report));
const agents = Array.from({ length: Number(count) }, () => new Agent());
for (const agent of agents) agent.live();
const input = createInterface({ input: process.stdin });
input.on("line", () => {
  const [latest, hellos] = ["latest", "hellos"].map((name) => agents.map((agent) => agent[name]));
  print({ latest, hellos, lost: agents.reduce((sum, agent) => sum + agent.lost, 0) });
});
input.on("close", () => process.exit(0));
