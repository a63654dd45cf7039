/**
 * The browser library of Belay: `/belay/client.js` defines `window.belay`, `/belay/client.mjs` exports the same.
 *
 * Every function that calls back also returns a promise of the same, except those that return something at
 * once. A callback is called later, once, and its exceptions are its own.
 */

/** What an invocation fails with. */
export interface BcapError {
  /** An HTTP status; 0 if none was ever received. */
  readonly status: number;
  readonly message: string;
  /** `"network"` with status 0. */
  readonly reason?: string;
}

/** JSON with capabilities in it. `undefined` as the whole value is no data. */
export type BcapValue =
  | null
  | boolean
  | number
  | string
  | Capability
  | readonly BcapValue[]
  | { readonly [member: string]: BcapValue | undefined }
  | { toJSON(key: string): unknown };

export type Success<T> = (result: T) => void;
export type Failure = (error: BcapError) => void;
export type Method = "GET" | "PUT" | "POST" | "DELETE";

/** A capability. Holding one, or its serialization, is the right to use it. */
export interface Capability {
  /**
   * Invokes it. `data` is for `PUT` and `POST`, and throws with any other method; data that is no bcapJson
   * throws too. The results of `PUT` and `DELETE` are `undefined`.
   */
  invoke(method: string, data?: unknown, success?: Success<any>, failure?: Failure): Promise<any>;
  get(success?: Success<any>, failure?: Failure): Promise<any>;
  put(data?: unknown, success?: Success<void>, failure?: Failure): Promise<void>;
  post(data?: unknown, success?: Success<any>, failure?: Failure): Promise<any>;
  /** `DELETE`. */
  remove(success?: Success<void>, failure?: Failure): Promise<void>;
  /** The text that is the capability: a secret. */
  serialize(): string;
}

export type SyncFunction = (request?: any) => unknown;
/** Any function with two parameters or more. `GET` calls it with `undefined` as request. */
export type AsyncFunction = (request: any, success: (response?: unknown) => void, failure: Failure) => void;

/** Methods that are not there fail 405. `put` and `remove` give nothing. */
export interface SyncHandler {
  get?(): unknown;
  put?(request: any): void | Promise<void>;
  post?(request: any): unknown;
  remove?(): void | Promise<void>;
}

/** The functions of a handler are all synchronous or all asynchronous; the number of parameters says which. */
export interface AsyncHandler {
  get?(success: (response: unknown) => void, failure: Failure): void;
  put?(request: any, success: () => void, failure: Failure): void;
  post?(request: any, success: (response?: unknown) => void, failure: Failure): void;
  remove?(success: () => void, failure: Failure): void;
}

/** Gets every method. With `raw`, requests and responses are bcapJson texts. */
export interface InvokeHandler {
  raw?: boolean;
  invoke(method: string, request: any, success: (response?: any) => void, failure: Failure): void;
}

/** What a grant designates: `null` is dead, a string an http(s) URL, a capability is stood for. */
export type Item = null | string | Capability | SyncFunction | AsyncFunction | SyncHandler | AsyncHandler | InvokeHandler;

/** What routes are made of. */
export interface BcapInterface {
  invoke(
    serialization: string,
    method: string,
    wire: string | undefined,
    success: (wire: string | undefined) => void,
    failure: Failure,
  ): void;
}

export type Resolver = (instanceId: string) => BcapInterface | null | undefined;

/** Grants capabilities of one instance. */
export interface CapServer {
  readonly instanceId: string | undefined;
  /** A new capability for an item; a TypeError if that is unusable. It lives as long as this object. */
  grant(item: InvokeHandler): Capability;
  grant(item: AsyncHandler): Capability;
  grant(item: SyncHandler): Capability;
  grant(item: Item): Capability;
  /** A new capability that stands for another, and is in the snapshot. */
  wrap(capability: Capability): Capability;
  /** A new capability described by a name and bcapJson arguments, which is in the snapshot. */
  grantNamed(name: string, ...args: unknown[]): Capability;
  /** `handler(...args)` gives the item of grants of this name, when they are first invoked. */
  setNamedHandler(name: string, handler: (...args: any[]) => Item): void;
  /** After this no new invocation succeeds. One of another server changes nothing. */
  revoke(capability: Capability | string): void;
  revokeAll(): void;
  /** Revokes the grants of a name for whose arguments `validator` is true. */
  revokeNamed(name: string, validator: (...args: any[]) => boolean): void;
  /** A capability for any serialization; what it is worth shows when it is invoked. */
  restore(serialization: string): Capability;
  /** The snapshot: named grants and wraps, as secret as they are. */
  serialize(): string;
  /**
   * Has `saver` called within `maxInterval` milliseconds (0: at the end of the task) after the snapshot
   * changed. While a promise that it returned is pending it is not called again; a failure is tried again.
   */
  setPersistifier(saver: (snapshot: string) => unknown, maxInterval?: number): void;
  /** Legacy: `notifier` is called inside each change. */
  setSyncNotifier(notifier: (snapshot: string) => void): void;
  setResolver(resolver: Resolver): void;
  /** bcapJson: `undefined` for no data, a TypeError for what it is not. `strict` refuses `undefined` inside. */
  readonly dataPreProcessor: (value: unknown, options?: { strict?: boolean }) => string | undefined;
  /** The value of a text, its capabilities bound to this server; a SyntaxError if it is no bcapJson. */
  readonly dataPostProcessor: (text: string | null | undefined) => any;
  readonly dataPreProcess: CapServer["dataPreProcessor"];
  readonly dataPostProcess: CapServer["dataPostProcessor"];
  readonly publicInterface: BcapInterface;
  readonly privateInterface: BcapInterface;
}

export interface CapServerConstructor {
  /** A TypeError for a bad id, a SyntaxError for a bad snapshot. Without an id it can't grant. */
  new (instanceId?: string, snapshot?: string): CapServer;
}

/** One end of a tunnel over a message port. */
export interface CapTunnel {
  readonly sendInterface: BcapInterface;
  readonly isClosed: boolean;
  onclosed?: (tunnel: CapTunnel) => void;
  remoteResolverProxy(instanceId: string): BcapInterface;
  setLocalResolver(resolver: Resolver): void;
  setOutpostHandler(handler: (record: any) => void): void;
  sendOutpost(record: unknown): void;
  /** Fails what is under way with 504. */
  handleClose(): void;
  /** Closes both ends. */
  bye(): void;
}

export interface ErrorOf<T extends string> extends BcapError {
  readonly type: T;
}

/** Why a page could not start. */
export type StartError =
  | ErrorOf<"CommunicationError">
  | (ErrorOf<"NoLaunchInfo" | "NoSuchKey" | "BadSecret"> & { readonly key: string })
  | (ErrorOf<"OriginError"> & { readonly origin: string; readonly pageUrl: string })
  | (ErrorOf<"AlreadyRouted"> & { readonly instanceId: string });

export interface Started {
  readonly capServer: CapServer;
  readonly util: Util;
  readonly launchInfo: any;
}

export type StartHandler = (capServer: CapServer, util: Util, launchInfo: any) => void;
export type StartFailure = (error: StartError) => void;

export interface Offered {
  /** Resource class or classes. */
  rc: string | readonly string[];
  /** Called at most once for each introduction, with the class that is wanted. */
  generate?(rc: string): Item | object | Promise<Item | object>;
  /** Handed over instead of what `generate` gives. */
  cap?: Capability;
  label?: string;
  /** Shown while dragging: a URL. */
  image?: string | (() => string);
}

export interface Accepted {
  /** Resource class or classes; `"*"` is any. */
  rc: string | readonly string[];
  /** `given` is what the generator of the offer gave: untrusted. */
  accept(given: any, info: { readonly rc: string; readonly label?: string; readonly generator: Capability }): void;
  label?: string;
}

export interface Cancellable {
  /** Undoes the offer or the acceptor. */
  cancel(): void;
}

/** An element, or a jQuery object of one. */
export type Node = Element | ArrayLike<Element>;

export interface Description {
  launch: Capability | string;
  name: string;
  icon?: string;
}

export interface ActivateRecord {
  instanceId: string;
  pageUrl: string;
  isStation?: boolean;
  relaunch?: Capability;
  outpostData: { instanceId: string; info?: unknown; [member: string]: unknown };
}

export interface LaunchRecord {
  page?: { html: string; window?: { width: number; height: number } };
  pageUrl?: string;
  info?: unknown;
}

export interface Expected {
  readonly startId: string;
  /** `#belay-start=…`, to be put after the address that the window opens. */
  readonly suffix: string;
}

export interface ExpectLaunch {
  /** `ready` gets a capability that activates the window which brings the start id. */
  (
    expected: { ready: Capability | ((activate: Capability) => void); startId?: string },
    success?: Success<Expected>,
    failure?: Failure,
  ): Promise<Expected>;
}

export interface SelfLaunch {
  /** Launches into this window what a launch capability, or its record, describes. */
  (launch: Capability | LaunchRecord, success?: Success<any>, failure?: Failure): Promise<any>;
}

/** What a page may do with others. Members of the outpost are beside these. */
export interface Util {
  readonly exchange: {
    offer(element: Node, offered: Offered): Cancellable;
    offer(element: Node, rc: string, generator: Capability, image?: string | (() => string)): Cancellable;
    accept(element: Node, accepted: Accepted): Cancellable;
    accept(element: Node, rc: string, accept: (generator: Capability, rc: string) => void): Cancellable;
  };
  readonly station: {
    /** Has the user's station keep this page; 404 without a station, 405 on a launched page. */
    becomeInstance(description: Description, success?: Success<any>, failure?: Failure): Promise<any>;
    /** Turns this window into an instance. */
    activateLocalCap(record: ActivateRecord, success?: Success<any>, failure?: Failure): Promise<any>;
  };
  readonly launch: { readonly expectLaunch: ExpectLaunch; readonly selfLaunch: SelfLaunch };
  readonly belay: {
    readonly exepctLaunch: ExpectLaunch;
    readonly expectLaunch: ExpectLaunch;
    readonly selfLaunch: SelfLaunch;
  };
  readonly [member: string]: any;
}

export type Transport = (
  url: string,
  method: string,
  wire: string | undefined,
  success: (text: string) => void,
  failure: Failure,
) => void;

export interface Internals {
  readonly CapServer: CapServerConstructor;
  readonly CapTunnel: new (port: MessagePort) => CapTunnel;
  encodeSerialization(instanceId: string, capId: string): string;
  /** `[instanceId, capId]`; null ids for what is none. */
  decodeSerialization(serialization: string): [string, string];
  /** The original's form: 32 hex digits. */
  newInstanceId(preImage: string): string;
  /** The seed's form: 40 hex digits. */
  sha1InstanceId(preImage: string): string;
  /** How URLs are invoked by all CapServers of the page. */
  setTransport(transport: Transport): void;
  readonly fetchTransport: Transport;
  readonly xhrTransport: Transport;
}

export interface Belay {
  readonly version: string;
  start(handler?: StartHandler, failure?: StartFailure): Promise<Started>;
  startForOrigin(claim: { origin: string; pageUrl: string }, handler?: StartHandler, failure?: StartFailure): Promise<Started>;
  startForOrigin(origin: string, pageUrl: string, handler?: StartHandler, failure?: StartFailure): Promise<Started>;
  startForLaunch(key: string, handler?: StartHandler, failure?: StartFailure): Promise<Started>;
  /** A TypeError unless the pre-image is a v4 UUID in lower case. Grants at once, receives after `success`. */
  route(preImage: string, success?: Success<CapServer>, failure?: StartFailure): CapServer;
  /** An origin is no secret: any script of it can take its place. */
  routeOrigin(origin: string, pageUrl: string, success?: Success<CapServer>, failure?: StartFailure): CapServer;
  newUUIDv4(): string;
  readonly CapServer: CapServerConstructor;
  /** Legacy. */
  onBelayReady(ready: () => void): void;
  /** What the frame gave this page, once it has. */
  readonly outpost: any;
  /** Whether the frame is there to be seen. */
  DEBUG: boolean;
  readonly internals: Internals;
}

declare const belay: Belay;
export default belay;
export const start: Belay["start"];
export const startForOrigin: Belay["startForOrigin"];
export const startForLaunch: Belay["startForLaunch"];
export const route: Belay["route"];
export const routeOrigin: Belay["routeOrigin"];
export const newUUIDv4: Belay["newUUIDv4"];
export const CapServer: CapServerConstructor;
export const version: string;
export const onBelayReady: Belay["onBelayReady"];
export const internals: Internals;

declare global {
  interface Window {
    belay: Belay;
  }
}
