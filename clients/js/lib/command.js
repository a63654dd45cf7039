"use strict";

// A service that runs a command for each request: never through a shell, and never without limits.

const { spawn } = require("node:child_process");

const { BackboneService } = require("./service");

/** Bytes of standard error kept for the text of a failure. */
const ERROR_TEXT_MAX = 4096;

class CmdService extends BackboneService {
  #words;
  #timeMax;
  #outputMax;
  #child = null;

  constructor(service, command, host, port, options = [], settings = {}) {
    const { timeMax = 60_000, outputMax = 16 * 1024 * 1024, ...rest } = settings;
    super(service, (frames, reply) => this.#answer(frames, reply), { host, port, ...rest });
    this.#words = [command, options].flat();
    this.#timeMax = timeMax;
    this.#outputMax = outputMax;
  }

  async shutdown(options) {
    await super.shutdown(options);
    if (this.#child !== null) {
      killGroup(this.#child);
    }
  }

  async #answer(frames, reply) {
    let answer;
    try {
      // A command line holds text, and no bytes that are none.
      const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
      answer = await this.#output([...this.#words, ...frames.map((frame) => decoder.decode(frame))]);
    } catch (failure) {
      answer = ["Error", failure.message];
    }
    reply(answer);
  }

  /** Runs a command; resolves with its standard output. */
  #output([program, ...words]) {
    return new Promise((resolve, reject) => {
      // In a process group of its own, so that what it started ends with it.
      const child = spawn(program, words, { detached: true, stdio: ["ignore", "pipe", "pipe"] });
      this.#child = child;
      const output = [];
      let [outputSize, complaint] = [0, Buffer.alloc(0)];
      const end = (failure) => {
        clearTimeout(timer);
        child.removeAllListeners().on("error", () => {});
        this.#child = null;
        if (failure === null) {
          resolve(Buffer.concat(output));
        } else {
          reject(new Error(failure));
        }
      };
      const kill = (failure) => {
        killGroup(child);
        child.stdout.destroy();
        child.stderr.destroy();
        end(failure);
      };
      const timer = setTimeout(
        () => kill(`the command took longer than ${this.#timeMax / 1000} s`),
        this.#timeMax,
      );
      child.stdout?.on("data", (chunk) => {
        output.push(chunk);
        outputSize += chunk.length;
        if (outputSize > this.#outputMax) {
          kill(`the command wrote more than ${this.#outputMax} bytes`);
        }
      });
      child.stderr?.on("data", (chunk) => {
        complaint = Buffer.concat([complaint, chunk]).subarray(0, ERROR_TEXT_MAX);
      });
      child.on("error", (error) => end(error.message));
      child.on("close", (status, signal) => {
        const ended = `the command ended with ${signal ?? `status ${status}`}`;
        end(status === 0 ? null : complaint.toString().trim() || ended);
      });
    });
  }
}

/** Kills a command and what it started. */
function killGroup(child) {
  if (child.pid === undefined) {
    return;
  }
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch (error) {
    if (error.code !== "ESRCH") {
      throw error;
    }
  }
}

module.exports = { CmdService };
