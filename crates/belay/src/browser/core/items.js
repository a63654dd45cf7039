// What a grant designates, made into one operation `invoke(method, wire, success, failure)`
// (Belay §6.2–6.8).
// Never here: which grant leads to it.

/** Those that were made here, which are themselves where an item is expected. */
const implementations = new WeakSet();

function implementation(invoke) {
  const made = Object.freeze({ invoke });
  implementations.add(made);
  return made;
}

const DEAD = implementation((method, wire, success, failed) => failed(failure(404)));

/** The implementation of an item that `server` grants; a TypeError if it is unusable. */
function build(server, item) {
  if (item === null) return DEAD;
  if (typeof item === "string" && isURLCap(item)) return urlItem(item);
  if (typeof item === "function") return functionItem(server, item);
  if (isCapability(item)) return proxyItem(server, item);
  if (implementations.has(item)) return item;
  if (typeof item !== "object") throw new TypeError("Unusable handler");
  if (typeof item.invoke === "function" && item.invoke.length === 4) return invokeItem(server, item);
  return handlerItem(server, item);
}

function urlItem(url) {
  return implementation((method, wire, success, failed) => {
    invokeURL(url, method, wire, success, failed);
  });
}

function functionItem(server, call) {
  const isAsync = call.length >= 2;
  const withRequest = (request, ...callbacks) => call(request, ...callbacks);
  const calls = new Map([
    ["GET", isAsync ? withRequest : () => call()],
    ["PUT", withRequest],
    ["POST", withRequest],
  ]);
  return called(server, isAsync, (method) => calls.get(method));
}

/** Members of a handler: the method, the name, and how many parameters make it asynchronous. */
const MEMBERS = [["GET", "get", 1], ["PUT", "put", 2], ["POST", "post", 2], ["DELETE", "remove", 1]];

function handlerItem(server, handler) {
  const present = MEMBERS.filter(([, name]) => typeof handler[name] === "function");
  if (present.length === 0) throw new TypeError("Object with no handlers");
  const [isAsync, ...others] = present.map(([, name, many]) => handler[name].length >= many);
  if (others.some((other) => other !== isAsync)) throw new TypeError("Inconsistent handlers");
  const calls = new Map(present.map(([method, name]) => {
    const takesData = TAKES_DATA.has(method);
    return [method, (request, ...callbacks) => {
      return takesData ? handler[name](request, ...callbacks) : handler[name](...callbacks);
    }];
  }));
  return called(server, isAsync, (method) => calls.get(method));
}

/** Another capability: what comes is decoded here, what it gives is encoded here. */
function proxyItem(server, inner) {
  return called(server, true, (method) => (request, success, failed) => {
    inner.invoke(method, request, success, failed);
  });
}

function invokeItem(server, handler) {
  if (handler.raw === true) return rawItem(handler);
  return called(server, true, (method) => (request, success, failed) => {
    return handler.invoke(method, request, success, failed);
  });
}

/** An invoke handler that gets and gives texts. */
function rawItem(handler) {
  return implementation((method, wire, success, failed) => {
    const settle = new Settlement(success, failed);
    const answer = (text) => {
      if (text === undefined || typeof text === "string") settle.succeed(text);
      else settle.fail(failure(500));
    };
    settle.guard(() => handler.invoke(method, wire, answer, (error) => settle.fail(error)));
  });
}

/** The one answer to an invocation. */
class Settlement {
  constructor(success, failed) {
    Object.assign(this, { success, failed, isOpen: true });
  }

  succeed(text) {
    this.settle(this.success, text);
  }

  fail(error) {
    this.settle(this.failed, standardError(error));
  }

  settle(callback, value) {
    if (!this.isOpen) return;
    this.isOpen = false;
    isolated(callback, value);
  }

  /** An item that throws: 500, and its page is told. */
  thrown(error) {
    report(error);
    this.fail(failure(500));
  }

  /** Calls the item. What it returns is given to `returned`, once it is there. */
  guard(call, returned = () => {}) {
    try {
      const result = call();
      if (!isThenable(result)) returned(result);
      else result.then(returned, (error) => (hasStatus(error) ? this.fail(error) : this.thrown(error)));
    } catch (error) {
      this.thrown(error);
    }
  }
}

/**
 * The rules around every function of an item (Belay §6.5). `callOf(method)` gives what to call, as
 * `(request) => result`, or with `success` and `failure` after the request where it is asynchronous.
 */
function called(server, isAsync, callOf) {
  return implementation((method, wire, success, failed) => {
    const settle = new Settlement(success, failed);
    const call = callOf(method);
    if (!call) return settle.fail(failure(405));
    let request;
    try {
      request = server.dataPostProcess(wire);
    } catch {
      return settle.fail(failure(400));
    }
    if (request !== undefined && !TAKES_DATA.has(method)) return settle.fail(failure(400));
    const answer = (result) => answerWith(server, settle, method, result);
    if (!isAsync) return settle.guard(() => call(request), answer);
    return settle.guard(() => call(request, answer, (error) => settle.fail(error)));
  });
}

function answerWith(server, settle, method, result) {
  if (IS_VOID.has(method) && result !== undefined) {
    settle.thrown(new TypeError(`an item gave a result to ${method}, which has none`));
    return;
  }
  let text;
  try {
    text = server.dataPreProcess(result);
  } catch (error) {
    settle.thrown(error);
    return;
  }
  settle.succeed(text);
}
