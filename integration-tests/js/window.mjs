// A window at the relay, on the npm package `ws`: registers INSTANCE with PROOF, doubles what is posted
// to it, answers GET 405, and prints every message.
//
// node window.mjs URL INSTANCE PROOF
//
// Each line of the input is sent as a message; the last line printed is {"closed": CODE}.

import { createInterface } from "node:readline";
import WebSocket from "ws";

const [url, id, proof] = process.argv.slice(2);
const socket = new WebSocket(url);
const send = (message) => socket.send(JSON.stringify(message));

function answer({ txId, method, data }) {
  if (method === "POST") {
    const { value } = JSON.parse(data);
    return { op: "response", txId, type: "success", data: JSON.stringify({ value: 2 * value }) };
  }
  const failure = { status: 405, message: "method not allowed" };
  return { op: "response", txId, type: "failure", data: failure };
}

socket.on("open", () => send({ op: "register", id, proof }));
socket.on("message", (text) => {
  console.log(String(text));
  const message = JSON.parse(text);
  if (message.op === "invoke") send(answer(message));
  if (message.op === "ping") send({ op: "pong" });
});
socket.on("close", (code) => {
  console.log(JSON.stringify({ closed: code }));
  process.exit();
});
createInterface({ input: process.stdin }).on("line", (line) => socket.send(line));
