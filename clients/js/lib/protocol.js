"use strict";

// The frames of Majordomo (MDP) 0.1 and 0.2 as a DEALER socket sends and receives them. Pure functions.
// Never here: a socket, a clock.

const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_PORT = 5555;

/** Bytes of one frame, and of one answer that is collected in memory. */
const BYTES_MAX = 64 * 1024 * 1024;

const EMPTY = Buffer.alloc(0);
const CLIENT_01 = Buffer.from("MDPC01");
const CLIENT_02 = Buffer.from("MDPC02");
const [REQUEST, PARTIAL, FINAL] = [1, 2, 3].map((code) => Buffer.of(code));

/** Header, command codes and delimiter of the worker's side, by version. */
const WORKER = {
  "0.1": {
    header: Buffer.from("MDPW01"),
    ready: 1,
    request: 2,
    final: 3,
    heartbeat: 4,
    disconnect: 5,
    delimiter: [EMPTY],
  },
  "0.2": {
    header: Buffer.from("MDPW02"),
    ready: 1,
    request: 2,
    partial: 3,
    final: 4,
    heartbeat: 5,
    disconnect: 6,
    delimiter: [],
  },
};

/** The address of a broker as ZeroMQ writes it. */
function endpointOf(host, port) {
  const isBareIpv6 = String(host).includes(":") && !host.startsWith("[");
  return isBareIpv6 ? `tcp://[${host}]:${port}` : `tcp://${host}:${port}`;
}

/** The frames of a body: none, one for a string or bytes, one for each element of an array. */
function toFrames(message = []) {
  const parts = Array.isArray(message) ? message : [message];
  return parts.map((part) => Buffer.from(part));
}

/** A service name as a frame; throws a `TypeError` for one that no broker accepts. */
function toService(name) {
  const frame = Buffer.from(name);
  if (frame.length < 1 || frame.length > 255 || /[\u0000-\u001f\u007f-\u009f]/.test(name)) {
    throw new TypeError("a service name has 1 to 255 bytes and no control characters");
  }
  return frame;
}

/** A request. The id goes in front of the delimiter; without one it has the version's plain form. */
function encodeRequest(version, service, body, id = EMPTY) {
  const head = version === "0.1" ? [CLIENT_01] : [CLIENT_02, REQUEST];
  if (id.length > 0) {
    head.unshift(id, EMPTY);
  } else if (version === "0.1") {
    head.unshift(EMPTY);
  }
  return [...head, service, ...body];
}

/** An answer as `{ id, service, body, final }`, or `null` for anything else: a client ignores it. */
function decodeReply(frames) {
  const at = frames.slice(0, 2).findIndex((frame) => frame.length === 0);
  const id = at > 0 ? frames[0] : EMPTY;
  const [header, ...rest] = frames.slice(at + 1);
  if (header === undefined) {
    return null;
  }
  if (header.equals(CLIENT_01) && at >= 0 && rest.length >= 1) {
    const [service, ...body] = rest;
    return { id, service, body, final: true };
  }
  if (header.equals(CLIENT_02) && rest.length >= 2) {
    const [code, service, ...body] = rest;
    if (code.equals(PARTIAL) || code.equals(FINAL)) {
      return { id, service, body, final: code.equals(FINAL) };
    }
  }
  return null;
}

module.exports = {
  BYTES_MAX,
  CLIENT_01,
  DEFAULT_HOST,
  DEFAULT_PORT,
  EMPTY,
  WORKER,
  decodeReply,
  encodeRequest,
  endpointOf,
  toFrames,
  toService,
};
