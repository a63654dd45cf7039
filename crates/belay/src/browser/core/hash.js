// SHA-1 and SHA-256 at once, for `route` gives its CapServer at once (Belay §2.2, §12.5).
// Never here: a secret that must stay one against timing; pre-images are hashed where they are known.

/** The message in blocks of 16 words: padded with one bit, zeros and its length in bits. */
function hashBlocks(bytes) {
  const padded = new Uint8Array(Math.ceil((bytes.length + 9) / 64) * 64);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 4, bytes.length * 8);
  const words = Array.from({ length: padded.length / 4 }, (_, at) => view.getUint32(at * 4));
  return Array.from({ length: words.length / 16 }, (_, at) => words.slice(at * 16, at * 16 + 16));
}

function hexOfWords(words) {
  return words.map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

const rotateLeft = (word, bits) => (word << bits) | (word >>> (32 - bits));
const rotateRight = (word, bits) => (word >>> bits) | (word << (32 - bits));
const add = (words, others) => words.map((word, at) => (word + others[at]) | 0);

/** 40 hex digits (FIPS 180-4, §6.1). */
function sha1(bytes) {
  let state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
  for (const w of hashBlocks(bytes)) {
    let [a, b, c, d, e] = state;
    for (let t = 0; t < 80; t += 1) {
      if (t >= 16) w[t] = rotateLeft(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
      const [f, k] = sha1Round(t, b, c, d);
      const next = (rotateLeft(a, 5) + f + e + k + w[t]) | 0;
      [a, b, c, d, e] = [next, a, rotateLeft(b, 30), c, d];
    }
    state = add(state, [a, b, c, d, e]);
  }
  return hexOfWords(state);
}

function sha1Round(t, b, c, d) {
  if (t < 20) return [(b & c) | (~b & d), 0x5a827999];
  if (t < 40) return [b ^ c ^ d, 0x6ed9eba1];
  if (t < 60) return [(b & c) | (b & d) | (c & d), 0x8f1bbcdc];
  return [b ^ c ^ d, 0xca62c1d6];
}

/** The first 32 bits of what follows the point in a root. */
const fraction = (root) => Math.floor((root % 1) * 2 ** 32) | 0;
const PRIMES = Array.from({ length: 312 }, (_, n) => n).filter(
  (n) => n > 1 && Array.from({ length: n - 2 }, (_, k) => k + 2).every((k) => n % k !== 0),
);
const SHA256_START = PRIMES.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
const SHA256_ROUNDS = PRIMES.slice(0, 64).map((prime) => fraction(Math.cbrt(prime)));

/** 64 hex digits (FIPS 180-4, §6.2). */
function sha256(bytes) {
  let state = SHA256_START;
  for (const w of hashBlocks(bytes)) {
    let [a, b, c, d, e, f, g, h] = state;
    for (let t = 0; t < 64; t += 1) {
      if (t >= 16) w[t] = sha256Word(w, t);
      const sum1 = rotateRight(e, 6) ^ rotateRight(e, 11) ^ rotateRight(e, 25);
      const one = (h + sum1 + ((e & f) ^ (~e & g)) + SHA256_ROUNDS[t] + w[t]) | 0;
      const sum0 = rotateRight(a, 2) ^ rotateRight(a, 13) ^ rotateRight(a, 22);
      const two = (sum0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [a, b, c, d, e, f, g, h] = [(one + two) | 0, a, b, c, (d + one) | 0, e, f, g];
    }
    state = add(state, [a, b, c, d, e, f, g, h]);
  }
  return hexOfWords(state);
}

function sha256Word(w, t) {
  const [before, last] = [w[t - 15], w[t - 2]];
  const sigma0 = rotateRight(before, 7) ^ rotateRight(before, 18) ^ (before >>> 3);
  const sigma1 = rotateRight(last, 17) ^ rotateRight(last, 19) ^ (last >>> 10);
  return (w[t - 16] + sigma0 + w[t - 7] + sigma1) | 0;
}
