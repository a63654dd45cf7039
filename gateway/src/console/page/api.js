// What the page asks the gateway for. The token is kept here and nowhere else: a reload forgets it.

let token = "";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function useToken(text) {
  token = text;
}

async function ask(method, path, signal) {
  const headers = { "X-Buswire-Console": "1" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const reply = await fetch(`api/${path}`, { method, headers, signal, credentials: "same-origin" });
  if (!reply.ok) {
    const text = await reply.text();
    let message = text;
    try {
      message = JSON.parse(text).error;
    } catch {
      // It was not JSON: the text is the message.
    }
    throw new Refused(reply.status, message || `The gateway answered ${reply.status}.`);
  }
  return reply;
}

export const get = async (path, signal) => (await ask("GET", path, signal)).json();
export const post = async (path) => (await ask("POST", path)).json();
export const remove = async (path) => (await ask("DELETE", path)).json();

export const part = encodeURIComponent;

export function query(values) {
  return new URLSearchParams(values).toString();
}

// Server-sent events by fetch, since an EventSource can't carry the token.
export async function stream(path, signal, onEvent) {
  const reply = await ask("GET", path, signal);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length) onEvent(JSON.parse(data.map((line) => line.slice(5)).join("\n")));
    }
  }
}

// Does something again and again while the page is looked at, until the view is left. A failure is told
// and tried again: the gateway may come back.
export function repeat(deed, every, signal, failed) {
  const again = async () => {
    if (signal.aborted) return;
    try {
      if (!document.hidden) await deed();
    } catch (error) {
      failed(error);
    }
    setTimeout(again, every);
  };
  setTimeout(again, every);
}
