// A UserAgent as a state machine: no socket, no clock, no randomness, no storage.
//
// Each method takes what happened and the time in milliseconds; then `take()` gives what is to be done, in
// order. What comes after `save` may only be done once the state is saved.

import { ack, hello, PING, read, register, unregister } from "./protocol.mjs";
import { AdaptivePing, Backoff } from "./pace.mjs";

const CONNECT_TIMEOUT = 30_000;
const REPLY_TIMEOUT = 10_000;
// Servers take less than 20 s between two pings for abuse.
const PING_GAP = 25_000;
const CHANNELS_MAX = 1000;
// The server asks not to come back before the network changes.
const CLOSED_UNTIL_WOKEN = 4774;

export const newState = () => ({ uaid: "", lost: false, channels: {} });

export class Agent {
  // state: { uaid, lost, channels: { channelID: { pushEndpoint, version, told } } }. `lost` says that the
  // page must register again and was not told so yet; `told` is the last version that a page took.
  constructor(state, now) {
    this.state = state;
    this.phase = "offline";
    this.due = now;
    this.backoff = new Backoff();
    this.ping = new AdaptivePing();
    this.lastPing = -Infinity;
    this.readySince = 0;
    this.replyDue = Infinity;
    this.asked = new Set();
    this.outputs = [];
  }

  take() {
    return this.outputs.splice(0);
  }

  // When `timeout` is to be called if nothing else happens before.
  get timeoutDue() {
    return Math.min(this.due, this.replyDue);
  }

  timeout(now) {
    if (now < this.timeoutDue) return;
    if (this.phase === "offline") this.#connect(now);
    else if (this.phase === "ready" && now < this.replyDue) this.#sendPing(now);
    else if (this.phase !== "leaving") {
      if (this.phase === "pinged") this.ping.unanswered();
      this.#leave();
    }
  }

  opened(now) {
    if (this.phase !== "opening") return;
    this.phase = "greeting";
    this.due = now + REPLY_TIMEOUT;
    this.#send(hello(this.state.uaid, Object.keys(this.state.channels)));
  }

  // The connection is gone or could not be opened; `random` is from 0 to 1.
  gone(now, code, random) {
    if (this.isReady) this.backoff.connectedFor(now - this.readySince);
    this.phase = "offline";
    this.replyDue = Infinity;
    this.due = code === CLOSED_UNTIL_WOKEN ? Infinity : now + this.backoff.next(random);
  }

  // The network changed: connect now, or find out whether the connection still works.
  networkChanged(now) {
    this.backoff.reset();
    if (this.phase === "offline") this.#connect(now);
    else if (this.phase === "ready") this.due = Math.min(this.due, Math.max(now, this.lastPing + PING_GAP));
  }

  text(now, text) {
    if (this.phase === "pinged") {
      this.phase = "ready";
      this.ping.answered();
    }
    if (this.phase === "ready") this.due = now + this.ping.interval;
    const message = read(text);
    if (message.type === "hello" && this.phase === "greeting") this.#greeted(now, message);
    if (!this.isReady) return;
    if (message.type === "register") this.#registered(now, message);
    if (message.type === "notification") this.#notified(message.updates);
  }

  // A page wants a channel; the name is new. Waits for a connection.
  register(now, channelID) {
    if (Object.keys(this.state.channels).length + this.asked.size >= CHANNELS_MAX) {
      this.outputs.push({ type: "refused", channelID, error: "Too many channels" });
      return;
    }
    this.asked.add(channelID);
    if (this.isReady) this.#sendRegister(now, channelID);
  }

  // A page gives a channel up. False if there is none with this endpoint.
  unregister(pushEndpoint) {
    const channelID = this.#channelOf(pushEndpoint);
    if (!channelID) return false;
    delete this.state.channels[channelID];
    this.outputs.push({ type: "save" });
    // If it is lost, the server finds out from the list of the next hello.
    if (this.isReady) this.#send(unregister(channelID));
    return true;
  }

  registrations() {
    return Object.values(this.state.channels).map(({ pushEndpoint, version }) => ({ pushEndpoint, version }));
  }

  // What no page has taken yet.
  get waiting() {
    return Object.values(this.state.channels)
      .filter(({ version, told }) => version > told)
      .map(({ pushEndpoint, version }) => ({ pushEndpoint, version }));
  }

  // A page has taken a version.
  took(pushEndpoint, version) {
    const channel = this.state.channels[this.#channelOf(pushEndpoint)];
    if (!channel || version <= channel.told) return;
    channel.told = version;
    this.outputs.push({ type: "save" });
  }

  // A page knows that it must register again.
  tookLoss() {
    this.state.lost = false;
    this.outputs.push({ type: "save" });
  }

  get isReady() {
    return this.phase === "ready" || this.phase === "pinged";
  }

  #channelOf(pushEndpoint) {
    const entries = Object.entries(this.state.channels);
    return entries.find(([, channel]) => channel.pushEndpoint === pushEndpoint)?.[0];
  }

  #send(text) {
    this.outputs.push({ type: "send", text });
  }

  #connect(now) {
    this.phase = "opening";
    this.due = now + CONNECT_TIMEOUT;
    this.outputs.push({ type: "connect" });
  }

  #leave() {
    this.phase = "leaving";
    this.due = this.replyDue = Infinity;
    this.outputs.push({ type: "disconnect" });
  }

  #sendPing(now) {
    this.phase = "pinged";
    this.lastPing = now;
    this.due = now + REPLY_TIMEOUT;
    this.#send(PING);
  }

  #sendRegister(now, channelID) {
    this.replyDue = Math.min(this.replyDue, now + REPLY_TIMEOUT);
    this.#send(register(channelID));
  }

  #greeted(now, { uaid, status }) {
    if (status !== 200 || !uaid) {
      this.#leave();
      return;
    }
    if (uaid !== this.state.uaid) {
      // The server knows nothing of us: channels of the old name mean nothing under the new one.
      this.state.lost ||= Object.keys(this.state.channels).length > 0;
      this.state.uaid = uaid;
      this.state.channels = {};
      this.outputs.push({ type: "save" });
      if (this.state.lost) this.outputs.push({ type: "push-register" });
    }
    this.phase = "ready";
    this.readySince = now;
    this.due = now + this.ping.interval;
    for (const channelID of this.asked) this.#sendRegister(now, channelID);
  }

  #registered(now, { channelID, status, pushEndpoint, error }) {
    if (!this.asked.delete(channelID)) return;
    this.replyDue = this.asked.size > 0 ? now + REPLY_TIMEOUT : Infinity;
    if (status !== 200 || typeof pushEndpoint !== "string") {
      this.outputs.push({ type: "refused", channelID, error: error ?? `Status ${status}` });
      return;
    }
    this.state.channels[channelID] = { pushEndpoint, version: 0, told: 0 };
    this.outputs.push({ type: "save" }, { type: "registered", channelID, pushEndpoint });
  }

  #notified(updates) {
    const news = [];
    for (const { channelID, version } of updates) {
      const channel = this.state.channels[channelID];
      if (!channel || version <= channel.version) continue;
      channel.version = version;
      news.push({ type: "push", pushEndpoint: channel.pushEndpoint, version });
    }
    if (news.length > 0) this.outputs.push({ type: "save" });
    if (updates.length > 0) this.#send(ack(updates));
    this.outputs.push(...news);
  }
}
