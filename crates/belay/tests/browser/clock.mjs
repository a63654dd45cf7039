// A clock that only moves when told, and a way to let everything happen that is due: what both pages and
// frames without a browser are run by.

/** Lets what is due, ports included, happen. */
export async function settle() {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** A clock for `setTimeout` and `setInterval`. */
export class Clock {
  now = 0;
  timers = new Set();

  start(callback, delay = 0, every) {
    const timer = { at: this.now + delay, every, callback };
    this.timers.add(timer);
    return timer;
  }

  /** Moves on; between two timers, whatever else is due happens. */
  async pass(milliseconds) {
    const end = this.now + milliseconds;
    for (;;) {
      const [next] = [...this.timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.now = next.at;
      if (next.every === undefined) this.timers.delete(next);
      else next.at += next.every;
      next.callback();
      await settle();
    }
    this.now = end;
    await settle();
  }
}
