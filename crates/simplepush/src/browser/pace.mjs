// When to connect again and when to ping. Times are in milliseconds.

const RETRY_FIRST = 5_000;
const RETRY_MAX = 300_000;
// A connection that lasted so long shows that the server is well.
const STABLE = 60_000;

// Waits that double up to a bound; half of each is random, so that those who lost their server together
// do not come back together.
export class Backoff {
  #next = RETRY_FIRST;

  // The next wait; `random` is from 0 to 1.
  next(random) {
    const wait = this.#next;
    this.#next = Math.min(wait * 2, RETRY_MAX);
    return wait / 2 + (wait / 2) * random;
  }

  connectedFor(lasted) {
    if (lasted >= STABLE) this.reset();
  }

  reset() {
    this.#next = RETRY_FIRST;
  }
}

const PING_FIRST = 180_000;
const PING_MIN = 60_000;
const PING_MAX = 1_740_000;

// The longest silence that the network between here and the server bears is found by trying: a ping that
// is answered makes the next one later, one that is not makes it earlier.
export class AdaptivePing {
  interval = PING_FIRST;
  // A silence this long was not borne.
  #fatal = Infinity;

  answered() {
    const longer = Math.min(this.interval * 1.5, PING_MAX);
    if (longer < this.#fatal) this.interval = longer;
  }

  unanswered() {
    this.#fatal = this.interval;
    this.interval = Math.max(this.interval / 2, PING_MIN);
  }
}
