// What is dragged (Belay §14.1, §14.2): a record `{rc, gen}` in the forms that pages understand.
// Never here: an element, HTML that is parsed.

const RECORD_TYPE = "application/x-belay-bcap+json";
/** Followed by the class in hex, for browsers lower-case types. Every page dragged over reads it. */
const CLASS_TYPE = "application/x-belay-rc-";
/** Characters of what is dropped; more is ignored. */
const DROP_MAX = 16 * 1024;
/** The historic form: base64 in an attribute of an image. A mail program puts `http://` before it. */
const HISTORIC = /<img(?:\s[^>]*)?\sdata\s*=\s*["']?(?:http:\/\/)?([A-Za-z0-9+/]+={0,2})["'\s>]/i;

const bytesOf = (text) => Array.from(new TextEncoder().encode(text));

function classType(rc) {
  return CLASS_TYPE + bytesOf(rc).map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function toBase64(text) {
  return btoa(bytesOf(text).map((byte) => String.fromCharCode(byte)).join(""));
}

function fromBase64(text) {
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
}

/** Puts a record into the data of a drag. */
function writeTransfer(transfer, capServer, record, classes) {
  const text = capServer.dataPreProcess(record);
  transfer.setData(RECORD_TYPE, text);
  for (const rc of classes) transfer.setData(classType(rc), "1");
  transfer.setData("text/html", `<img data="${toBase64(text)}">`);
  transfer.effectAllowed = "copy";
}

/** Whether a drag may be for one of these classes; what it carries is not readable before the drop. */
function mayAccept(transfer, classes) {
  const types = Array.from(transfer.types);
  if (!types.includes(RECORD_TYPE)) return types.includes("text/html");
  return classes.includes("*") || classes.some((rc) => types.includes(classType(rc)));
}

/** The record of a drop, undefined if it is none. Anybody may have written it. */
function readTransfer(transfer, capServer) {
  try {
    const text = transfer.getData(RECORD_TYPE) || historicText(transfer.getData("text/html"));
    return text.length > DROP_MAX ? undefined : parseRecord(capServer.dataPostProcess(text));
  } catch {
    return undefined;
  }
}

function historicText(html) {
  const [, base64] = html.length > DROP_MAX ? [] : HISTORIC.exec(html) || [];
  return base64 === undefined ? "" : fromBase64(base64);
}

/** `{classes, gen, label}` of a record that somebody else made; undefined if it is malformed. */
function parseRecord(record) {
  const { rc, gen, label } = Object(record);
  const classes = [].concat(rc);
  const isRecord = isCapability(gen) && classes.every((name) => typeof name === "string");
  if (!isRecord) return undefined;
  return { classes, gen, label: typeof label === "string" ? label : undefined };
}

/** The class in which an offer and an acceptor agree; undefined if there is none. */
function commonClass(offered, accepted) {
  return accepted.includes("*") ? offered[0] : accepted.find((rc) => offered.includes(rc));
}
