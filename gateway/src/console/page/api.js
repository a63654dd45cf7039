// What the page asks the gateway for: calls of buswire.admin.v1 as JSON. The token is kept here and
// nowhere else: a reload forgets it.

let token = "";
let permitted = new Set();

export class Refused extends Error {
  constructor(status, { code = "", error }) {
    super(error || `The gateway answered ${status}.`);
    this.status = status;
    this.code = code;
  }
}

// Nobody answered: the gateway is not there, or the way to it.
export class Unreachable extends Error {
  constructor() {
    super("The gateway does not answer. The page goes on as soon as it does.");
  }
}

async function ask(method, path, body, signal) {
  const headers = { "X-Buswire-Console": "1" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const options = { method, headers, body: body && JSON.stringify(body), signal, credentials: "same-origin" };
  const reply = await fetch(`api/${path}`, options).catch((error) => {
    throw error.name === "AbortError" ? error : new Unreachable();
  });
  if (reply.ok) return reply;
  const text = await reply.text();
  let told;
  try {
    told = JSON.parse(text);
  } catch {
    told = { error: text };
  }
  throw new Refused(reply.status, told);
}

// Who is signed in with this token, or with a certificate if it is empty: `{ role, calls }`.
export async function enter(text) {
  token = text;
  try {
    const session = await (await ask("GET", "session")).json();
    permitted = new Set(session.calls);
    return session;
  } catch (error) {
    token = "";
    throw error;
  }
}

export function leave() {
  token = "";
  permitted = new Set();
}

// Whether whoever is signed in may make a call, and the gateway knows it.
export const may = (name) => permitted.has(name);

// Makes a call, such as `RouteService/ListRoutes`.
export async function call(name, body = {}, signal = undefined) {
  return (await ask("POST", name, body, signal)).json();
}

// The same; `null` if this gateway has no such door.
export async function callIfThere(name, body, signal) {
  try {
    return await call(name, body, signal);
  } catch (error) {
    if (error.code === "Unimplemented") return null;
    throw error;
  }
}

// Gives `onAnswers` what a call streams, a few answers at a time, until it ends: then it throws why.
export async function stream(name, body, signal, onAnswers) {
  const reply = await ask("POST", name, body, signal);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Unreachable();
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:"));
      if (!data.length) continue;
      const told = JSON.parse(data.map((line) => line.slice(5)).join("\n"));
      if (event.startsWith("event: end")) throw new Refused(0, told);
      onAnswers(told);
    }
  }
}
