// Types of /simplepush.js: the SimplePush web API.

/** A request: `onsuccess` and `onerror` as the web API had them, or `await`. */
interface SimplePushRequest<T> extends EventTarget, PromiseLike<T> {
  readonly readyState: "pending" | "done";
  readonly result: T | undefined;
  readonly error: DOMException | null;
  onsuccess: ((event: Event) => void) | null;
  onerror: ((event: Event) => void) | null;
  catch<R>(onError: (error: DOMException) => R | PromiseLike<R>): Promise<T | R>;
  finally(onEnd: () => void): Promise<T>;
}

/** The endpoint goes to the application server; the version is the last one that arrived, 0 if none. */
interface SimplePushRegistration {
  pushEndpoint: string;
  version: number;
}

interface SimplePushManager {
  /** Makes an endpoint. Waits until the server can be reached. */
  register(): SimplePushRequest<string>;
  /** Gives an endpoint up. Fails with `NotRegisteredError` if there is none such. */
  unregister(pushEndpoint: string): SimplePushRequest<string>;
  /** The endpoints of all pages of this origin. */
  registrations(): SimplePushRequest<SimplePushRegistration[]>;
}

interface Navigator {
  readonly push: SimplePushManager;
  /** Called for every version that arrives. What it does not take, by failing, comes again. */
  setMessageHandler(
    type: "push",
    handler: ((message: SimplePushRegistration) => void | Promise<void>) | null,
  ): void;
  /** Called when the server has forgotten every registration: register again. */
  setMessageHandler(type: "push-register", handler: ((message: {}) => void | Promise<void>) | null): void;
}
