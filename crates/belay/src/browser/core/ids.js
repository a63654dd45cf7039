// UUIDs, instance ids and serialisations (Belay §§2, 3).
// Never here: who may use an id.

const UUID_SHAPE = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
const UUID = new RegExp(`^${UUID_SHAPE}$`);
const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const HASHED_ID = /^(?:[0-9a-f]{32}|[0-9a-f]{40})$/;
const URN_CAP = new RegExp(`^urn:x-cap:(.+):(${UUID_SHAPE})$`);
/** What a text decodes to that is no serialisation; never assigned, never routed. */
const NULL_ID = "00000000-0000-0000-0000-000000000000";

/** A fresh UUID; throws where there is no secure randomness, without which nothing is unguessable. */
function newUUIDv4() {
  const n = crypto.getRandomValues(new Uint16Array(8));
  n[3] = (n[3] & 0x0fff) | 0x4000;
  n[4] = (n[4] & 0x3fff) | 0x8000;
  const [a, b, c, d, e, f, g, h] = Array.from(n, (part) => part.toString(16).padStart(4, "0"));
  return `${a}${b}-${c}-${d}-${e}-${f}${g}${h}`;
}

function isUUIDv4(text) {
  return typeof text === "string" && UUID_V4.test(text);
}

/** The pre-image of an instance id. Upper case is refused: one id has one text. */
function checkedPreImage(preImage) {
  if (!isUUIDv4(preImage)) throw new TypeError("a pre-image must be a UUID of version 4");
  return preImage;
}

/** The instance id of a pre-image: SHA-1 of its text, 40 hex digits. */
function sha1InstanceId(preImage) {
  return sha1(Array.from(checkedPreImage(preImage), (char) => char.charCodeAt(0)));
}

/** The instance id that the original made: 128 bits of SHA-256 of the 16 bytes, 32 hex digits. */
function newInstanceId(preImage) {
  const pairs = checkedPreImage(preImage).replace(/-/g, "").match(/../g);
  return sha256(pairs.map((pair) => parseInt(pair, 16))).slice(0, 32);
}

/** An origin in the browser's ASCII form; undefined for anything else. */
function parseOrigin(text) {
  if (typeof text !== "string" || !/^https?:\/\//.test(text)) return undefined;
  try {
    return new URL(text).origin === text ? text : undefined;
  } catch {
    return undefined;
  }
}

function isInstanceId(text) {
  if (typeof text !== "string") return false;
  return isUUIDv4(text) || HASHED_ID.test(text) || parseOrigin(text) !== undefined;
}

function encodeSerialization(instanceId, capId) {
  return `urn:x-cap:${instanceId}:${capId}`;
}

/** `[instanceId, capId]`, read from the right, for origins have colons; null ids if it is none. */
function decodeSerialization(serialization) {
  const [, instanceId, capId] = URN_CAP.exec(serialization) || [];
  const isRead = instanceId && (UUID.test(instanceId) || isInstanceId(instanceId));
  return isRead ? [instanceId, capId] : [NULL_ID, NULL_ID];
}

/** A capability that is invoked by HTTP on exactly this URL. */
function isURLCap(text) {
  return /^https?:/.test(text);
}
