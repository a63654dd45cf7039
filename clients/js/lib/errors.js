"use strict";

// What can go wrong, as classes with one common parent.

class BackboneError extends Error {
  constructor(message) {
    super(message);
    this.name = this.constructor.name;
  }
}

class RequestTimeout extends BackboneError {
  constructor() {
    super("Request Timeout");
  }
}

class ConnectTimeout extends BackboneError {
  constructor() {
    super("Connect Timeout");
  }
}

class Disconnected extends BackboneError {
  constructor() {
    super("the client is not connected");
  }
}

class InvalidStateError extends BackboneError {}

class AnswerTooLarge extends BackboneError {}

class ProtocolError extends BackboneError {}

module.exports = {
  BackboneError,
  RequestTimeout,
  ConnectTimeout,
  Disconnected,
  InvalidStateError,
  AnswerTooLarge,
  ProtocolError,
};
