#!/usr/bin/env node
"use strict";

// The command line: one request, or a command as a service.

const { parseArgs } = require("node:util");

const { BackboneClient, CmdService } = require("..");
const { toService } = require("../lib/protocol");

const [DONE, FAILED, BAD_USAGE] = [0, 1, 2];

const USAGE = `\
usage: buswire-backbone request NAME [--host H] [--port P] [--timeout MS] [--] [ARG...]
       buswire-backbone cmd-service NAME [--host H] [--port P] [--] COMMAND [ARG...]

request sends one request, each ARG a frame, and prints each frame of the answer,
followed by a newline. cmd-service offers a command as a service until SIGINT or
SIGTERM: each frame of a request is one more argument, no shell sees it.
Words that begin with a dash go behind --. Defaults: 127.0.0.1, 5555, 3000 ms.
Exit status: 0 done, 1 failed (no answer in time), 2 bad usage.
`;

class BadUsage extends Error {}

const PLACE = {
  host: { type: "string", default: "127.0.0.1" },
  port: { type: "string", default: "5555" },
  help: { type: "boolean", short: "h" },
};

async function request(name, words, { host, port, timeout }) {
  const milliseconds = Number(timeout);
  if (!(milliseconds >= 0)) {
    throw new BadUsage(`not a number of milliseconds: ${timeout}`);
  }
  const client = new BackboneClient(host, port);
  const deadline = performance.now() + milliseconds;
  try {
    await client.connect({ timeout: milliseconds });
    const frames = await client.request(name, words, { timeout: deadline - performance.now() });
    const [only] = frames;
    const isLine = frames.length === 1 && only.at(-1) === 0x0a;
    process.stdout.write(isLine ? only : Buffer.concat(frames.flatMap((frame) => [frame, Buffer.from("\n")])));
  } finally {
    await client.disconnect();
  }
}

async function cmdService(name, words, { host, port }) {
  const [command, ...options] = words;
  if (command === undefined) {
    throw new BadUsage("a command is missing");
  }
  const service = new CmdService(name, command, host, port, options);
  const stopped = new Promise((resolve) => {
    process.once("SIGINT", resolve);
    process.once("SIGTERM", resolve);
  });
  console.log("Create Stream");
  console.log(`Command Service: ${name} ${JSON.stringify(words)}`);
  console.log(`Starting Service: ${service.endpoint} ${name}`);
  await service.connect();
  await stopped;
  await service.shutdown();
}

const COMMANDS = {
  request: { run: request, options: { ...PLACE, timeout: { type: "string", default: "3000" } } },
  "cmd-service": { run: cmdService, options: PLACE },
};

/** What the words ask for: `run` with the service's name, bare words and options; or nothing, for help. */
function parse([word, ...rest]) {
  if (word === "--help" || word === "-h") {
    return null;
  }
  if (word === undefined || !Object.hasOwn(COMMANDS, word)) {
    throw new BadUsage(word === undefined ? "a command is missing" : `no such command: ${word}`);
  }
  const { run, options } = COMMANDS[word];
  try {
    const { values, positionals } = parseArgs({ args: rest, options, allowPositionals: true });
    if (values.help) {
      return null;
    }
    const [name, ...words] = positionals;
    if (name === undefined) {
      throw new BadUsage("the name of the service is missing");
    }
    if (!/^[0-9]{1,5}$/.test(values.port)) {
      throw new BadUsage(`not a port: ${values.port}`);
    }
    toService(name);
    return { run, name, words, values };
  } catch (error) {
    throw new BadUsage(error.message);
  }
}

async function main(words) {
  let name = "buswire-backbone";
  try {
    const asked = parse(words);
    if (asked === null) {
      process.stdout.write(USAGE);
    } else {
      ({ name } = asked);
      await asked.run(name, asked.words, asked.values);
    }
    return DONE;
  } catch (error) {
    const isUsage = error instanceof BadUsage;
    process.stderr.write(isUsage ? `${error.message}\n\n${USAGE}` : `${name}: ${error.message}\n`);
    return isUsage ? BAD_USAGE : FAILED;
  }
}

main(process.argv.slice(2)).then((status) => {
  process.exitCode = status;
});
