"use strict";

// Clients and services of a Majordomo broker, such as Buswire's or Dispatchr Backbone's.

const { BackboneClient } = require("./lib/client");
const { CmdService } = require("./lib/command");
const errors = require("./lib/errors");
const { BackboneClientMessage } = require("./lib/message");
const { BackboneService } = require("./lib/service");

module.exports = {
  BackboneClient,
  BackboneClientMessage,
  BackboneService,
  CmdService,
  BackboneError: errors.BackboneError,
  RequestTimeout: errors.RequestTimeout,
  ConnectTimeout: errors.ConnectTimeout,
  InvalidStateError: errors.InvalidStateError,
  Disconnected: errors.Disconnected,
  AnswerTooLarge: errors.AnswerTooLarge,
  ProtocolError: errors.ProtocolError,
};
