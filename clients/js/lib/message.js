"use strict";

// A request and its answer as a REQ socket sends and receives them, under the Backbone document's names.

const { ProtocolError } = require("./errors");
const { CLIENT_01, toFrames, toService } = require("./protocol");

class BackboneClientMessage {
  #service;
  #body;
  #reply;

  constructor(service, message) {
    this.#service = toService(service);
    this.#body = toFrames(message);
  }

  serialize() {
    return [CLIENT_01, this.#service, ...this.#body];
  }

  parseReply(raw, { simply_short_reply = true } = {}) {
    const [header, service, ...body] = raw.map((frame) => Buffer.from(frame));
    if (!header?.equals(CLIENT_01) || !service?.equals(this.#service)) {
      throw new ProtocolError("not an answer of this service");
    }
    const texts = body.map(String);
    this.#reply = simply_short_reply && texts.length === 1 ? texts[0] : texts;
    return this.#reply;
  }

  parseResponse(raw, options) {
    return this.parseReply(raw, options);
  }

  getReply() {
    return this.#reply;
  }
}

module.exports = { BackboneClientMessage };
