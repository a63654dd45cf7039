import { EventEmitter } from "node:events";

/** A body: nothing, one frame, or any number of them. Text is sent as UTF-8. */
export type Message = string | Uint8Array | ReadonlyArray<string | Uint8Array>;

/** An answer as Backbone gives it: the text of its only frame, else an array of texts. */
export type ShortReply = string | string[];

/** The protocol's version: Backbone speaks 0.1; 0.2 adds answers in parts. */
export type Version = "0.1" | "0.2";

export interface ClientOptions {
  /** Default "0.1". `sendStream` always speaks 0.2. */
  version?: Version;
  /**
   * Whether an id, which the broker returns, goes before each request; default true. Without, for brokers
   * that do not return it: one request at a time, and a new socket after a timeout.
   */
  correlate?: boolean;
}

export interface RequestOptions {
  /** Milliseconds to wait for the whole answer; default 3000. */
  timeout?: number;
  /** Gives the answer up; the promise is rejected with the signal's reason. */
  signal?: AbortSignal;
}

/** Sends requests to services: up to 10 000 at once. */
export class BackboneClient {
  /** Default 127.0.0.1 and 5555. */
  constructor(host?: string, port?: number | string, options?: ClientOptions);
  /**
   * Connects; resolved with the client once the broker has answered the handshake. Afterwards it reconnects
   * by itself. Rejects with `ConnectTimeout` after `timeout` milliseconds, default 3000.
   */
  connect(options?: { timeout?: number }): Promise<this>;
  /** Disconnects; requests in flight are rejected with `Disconnected`. */
  disconnect(): Promise<void>;
  /** `tcp://host:port`. */
  getEndpoint(): string;
  /**
   * Sends a request; resolved with the texts of its answer. Rejects with `RequestTimeout` after `timeout`
   * milliseconds, default 3000: an unknown service, a full queue and a lost worker all look like this.
   */
  send(service: string, message?: Message, timeout?: number): Promise<ShortReply>;
  /** As `send`, but resolved with the frames as they came; at most 64 MiB, else `AnswerTooLarge`. */
  request(service: string, message?: Message, options?: RequestOptions): Promise<Buffer[]>;
  /**
   * Sends a request over MDP/0.2 and yields the frames of each part of its answer as it comes, the final
   * one last. A stream that is 1000 parts behind ends with `AnswerTooLarge`. The request is sent by the first
   * step; leaving the loop gives the answer up.
   */
  sendStream(service: string, message?: Message, options?: RequestOptions): AsyncGenerator<Buffer[], void, void>;
  /** Whether a worker is registered for a service, as the broker says. */
  mmi(service: string): Promise<boolean>;
}

/** A request and its answer as a REQ socket sends and receives them. */
export class BackboneClientMessage {
  constructor(service: string, message?: Message);
  /** The request: header, service, body. A REQ socket adds the delimiter. */
  serialize(): Buffer[];
  /** The texts of an answer. Throws `ProtocolError` for frames that are no answer of this service. */
  parseReply(raw: ReadonlyArray<string | Uint8Array>, options?: { simply_short_reply?: boolean }): ShortReply;
  /** Another name of `parseReply`. */
  parseResponse(raw: ReadonlyArray<string | Uint8Array>, options?: { simply_short_reply?: boolean }): ShortReply;
  /** What `parseReply` returned last. */
  getReply(): ShortReply | undefined;
}

/** Answers one request, now or later; a second answer throws `InvalidStateError`. */
export interface Responder {
  /** The answer, or its last part. Resolved when the socket has taken it. */
  (message?: Message): Promise<void>;
  /** A part of the answer, over MDP/0.2 alone. Await it: 1000 that wait throw `InvalidStateError`. */
  partial(message: Message): Promise<void>;
  /** Hands the request back: the service registers anew, and the broker may ask another worker. */
  reject(): void;
  /** Whether it was answered or rejected. */
  readonly done: boolean;
}

/** Milliseconds between signs of life and between attempts. */
export interface Timing {
  /** Between two HEARTBEATs to the broker, also while a request is in hand; default 1000. */
  heartbeat?: number;
  /** Without a sign of the broker, while idle, until it counts as gone; default 7500. */
  expiry?: number;
  /** Before the first attempt to register again, doubled after each; default 1000. */
  reconnectMin?: number;
  /** The longest wait before an attempt; default 32000. */
  reconnectMax?: number;
}

export interface ServiceOptions {
  /** Default 127.0.0.1. */
  host?: string;
  /** Default 5555. */
  port?: number | string;
  /** Instead of host and port. */
  endpoint?: string;
  /** Default "0.1". */
  version?: Version;
  timing?: Timing;
}

/**
 * Offers a service: `onRequest` is called with the frames of each request, one after another. If it throws or
 * its promise is rejected, the request is handed back.
 *
 * Heartbeats come from a timer: work that blocks the event loop for seconds belongs in a worker thread.
 *
 * Events: `ready` when it registers, `lost` with the reason when it has to register again, `failed` with what
 * `onRequest` threw (a process warning if nobody listens).
 */
export class BackboneService extends EventEmitter<{ ready: []; lost: [reason: string]; failed: [error: unknown] }> {
  constructor(
    service: string,
    onRequest: (message: Buffer[], reply: Responder) => unknown,
    options?: ServiceOptions,
  );
  /** The broker's address. */
  readonly endpoint: string;
  /** Registers and serves until `shutdown`; registers again whenever the broker comes back. */
  connect(): Promise<this>;
  /** Finishes the request in hand, for at most `timeout` milliseconds (10000), signs off and disconnects. */
  shutdown(options?: { timeout?: number }): Promise<void>;
  /** Another name of `shutdown`. */
  disconnect(options?: { timeout?: number }): Promise<void>;
}

export interface CommandSettings extends Omit<ServiceOptions, "host" | "port"> {
  /** Milliseconds that one run may take; default 60000. */
  timeMax?: number;
  /** Bytes of standard output of one run; default 16 MiB. */
  outputMax?: number;
}

/**
 * Runs `command`, a program, with `options` and then one argument for each frame of a request; never through a
 * shell. The answer is one frame, the standard output; after a failure two, `Error` and a text.
 */
export class CmdService extends BackboneService {
  constructor(
    service: string,
    command: string,
    host?: string,
    port?: number | string,
    options?: ReadonlyArray<string>,
    settings?: CommandSettings,
  );
}

/** Parent of every error of this package. */
export class BackboneError extends Error {}
/** No complete answer came in time; its message is "Request Timeout". */
export class RequestTimeout extends BackboneError {}
/** The broker did not answer the handshake in time. */
export class ConnectTimeout extends BackboneError {}
/** The call does not fit the state of the object. */
export class InvalidStateError extends BackboneError {}
/** The client is not connected. */
export class Disconnected extends BackboneError {}
/** The answer exceeds what the client keeps in memory. */
export class AnswerTooLarge extends BackboneError {}
/** The frames are no Majordomo message of the expected kind. */
export class ProtocolError extends BackboneError {}
