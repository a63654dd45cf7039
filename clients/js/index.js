"use strict";

// Clients and services of a Majordomo broker, such as Buswire's or Dispatchr Backbone's.

const { BackboneClient } = require("./lib/client");
const { CmdService } = require("./lib/command");
const {
  AnswerTooLarge,
  BackboneError,
  ConnectTimeout,
  Disconnected,
  InvalidStateError,
  ProtocolError,
  RequestTimeout,
} = require("./lib/errors");
const { BackboneClientMessage } = require("./lib/message");
const { BackboneService } = require("./lib/service");

module.exports = {
  AnswerTooLarge,
  BackboneClient,
  BackboneClientMessage,
  BackboneError,
  BackboneService,
  CmdService,
  ConnectTimeout,
  Disconnected,
  InvalidStateError,
  ProtocolError,
  RequestTimeout,
};
