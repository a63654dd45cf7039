// The error structure of Belay §7, and what becomes of errors in code that is not ours.
// Never here: a rule for one kind of item.

/** The message of each status where nobody gave another (Belay §7.2, §21.5). */
const STATUS_TEXTS = new Map([
  [0, ""],
  [400, "bad request"],
  [403, "forbidden"],
  [404, "not found"],
  [405, "method not allowed"],
  [409, "ambiguous regrant"],
  [413, "too large"],
  [415, "unsupported media type"],
  [429, "too many requests"],
  [500, "internal server error"],
  [502, "bad gateway"],
  [503, "unavailable"],
  [504, "timeout"],
]);

/** A frozen error; `reason` is there only where it is given. */
function failure(status, message = STATUS_TEXTS.get(status) || "", reason = undefined) {
  return Object.freeze(reason === undefined ? { status, message } : { status, message, reason });
}

function hasStatus(error) {
  return typeof error === "object" && error !== null && Number.isInteger(error.status);
}

/** Whatever an item or a peer calls an error, without members that could carry secrets (Belay §6.5). */
function standardError(error) {
  const { message, reason } = Object(error);
  const text = (value) => (typeof value === "string" ? value : undefined);
  return failure(hasStatus(error) ? error.status : 500, text(message), text(reason));
}

/** An error of somebody else's code: uncaught, as it would be without us. */
function report(error) {
  if (typeof reportError === "function") reportError(error);
  else setTimeout(() => { throw error; });
}

/** Calls what belongs to somebody else: its errors are its own. */
function isolated(callback, value) {
  try {
    callback(value);
  } catch (error) {
    report(error);
  }
}

function isThenable(value) {
  return Object(value) === value && typeof value.then === "function";
}

/**
 * Tells callbacks what a promise comes to, and gives the promise back. A missing callback is ignored;
 * with one, a rejection that nobody else handles does not surface.
 */
function withCallbacks(promise, success, failed) {
  const listener = (callback) => (value) => { if (callback) isolated(callback, value); };
  if (success || failed) promise.then(listener(success), listener(failed));
  return promise;
}
