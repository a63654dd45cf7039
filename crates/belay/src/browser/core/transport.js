// Invoking a URL by HTTP (Belay §6.6, §16, §21.5).
// Never here: a request header of ours, which would force a preflight on every GET and POST.

/** What is sent from a page: nothing that says who asks. */
const REQUEST = Object.freeze({
  mode: "cors",
  credentials: "omit",
  referrerPolicy: "no-referrer",
  cache: "no-store",
  redirect: "error",
});

function answerHTTP(status, text, reasonPhrase, success, failed) {
  if (status >= 200 && status < 300) success(text);
  else failed(failure(status, bodyMessage(text) || reasonPhrase || undefined));
}

/** The message in the body of a failure, if the body is such. */
function bodyMessage(text) {
  try {
    const { message } = JSON.parse(text).error;
    return typeof message === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}

const unreached = () => failure(0, undefined, "network");

/** The usual transport. */
async function fetchTransport(url, method, wire, success, failed) {
  let response;
  let text;
  try {
    response = await fetch(url, { ...REQUEST, method, body: wire });
    text = await response.text();
  } catch {
    failed(unreached());
    return;
  }
  answerHTTP(response.status, text, response.statusText, success, failed);
}

/** By XMLHttpRequest, which sends the cookies of the page's own origin. */
function xhrTransport(url, method, wire, success, failed) {
  const request = new XMLHttpRequest();
  request.onload = () => {
    answerHTTP(request.status, request.responseText, request.statusText, success, failed);
  };
  request.onerror = request.onabort = request.ontimeout = () => failed(unreached());
  try {
    request.open(method, url);
    request.send(wire);
  } catch {
    failed(unreached());
  }
}

/** How URLs are invoked: `send(url, method, wire, success, failure)`. */
const transport = { send: fetchTransport };

/** Invokes a URL that means the same wherever this runs. */
function invokeURL(text, method, wire, success, failed) {
  let url;
  try {
    url = new URL(text).href;
  } catch {
    failed(unreached());
    return;
  }
  transport.send(url, method, wire, success, failed);
}

function setTransport(send) {
  if (typeof send !== "function") throw new TypeError("a transport must be a function");
  transport.send = send;
}
