// bcapJson: values with capabilities in them, and their texts (Belay §4).
// Never here: what a capability does.

/** Bounds of a text (Belay §4.3, §21.6): what is beyond is refused when written and when read. */
const TEXT_MAX = 1024 * 1024;
const DEPTH_MAX = 64;
const CAPS_MAX = 256;

/** Spends the bounds of one text. */
class Budget {
  constructor(ErrorType) {
    Object.assign(this, { ErrorType, caps: CAPS_MAX });
  }

  deeper(depth) {
    if (depth >= DEPTH_MAX) throw new this.ErrorType("nested too deeply");
    return depth + 1;
  }

  cap(depth) {
    this.deeper(depth);
    this.caps -= 1;
    if (this.caps < 0) throw new this.ErrorType("too many capabilities");
  }

  text(text) {
    if (text.length > TEXT_MAX) throw new this.ErrorType("too large");
    return text;
  }
}

/** No data, where bcapJson is expected. */
function isNoData(text) {
  return text === undefined || text === null || /^[ \t\r\n]*$/.test(text);
}

/**
 * The text of a value; `undefined` for no data. A TypeError says what bcapJson is not. `strict` also
 * refuses `undefined` inside, which JSON drops from objects and makes `null` in arrays.
 */
function encodeData(value, { strict = false } = {}) {
  if (value === undefined) return undefined;
  const budget = new Budget(TypeError);
  const plain = new Encoder(budget, strict).plain(value, "", 0);
  return plain === undefined ? undefined : budget.text(JSON.stringify({ value: plain }));
}

/** What stands for a value in JSON; a capability, whose `toJSON` throws, for itself. */
function jsonForm(value, key) {
  const isOwn = Object(value) === value && !isCapability(value);
  return isOwn && typeof value.toJSON === "function" ? value.toJSON(key) : value;
}

/** Makes a copy of a value that JSON says as it is meant. */
class Encoder {
  constructor(budget, strict) {
    Object.assign(this, { budget, strict, open: new Set() });
  }

  plain(given, key, depth) {
    const value = jsonForm(given, key);
    if (isCapability(value)) {
      this.budget.cap(depth);
      return { "@": value.serialize() };
    }
    switch (typeof value) {
      case "function":
        throw new TypeError("Passing a function");
      case "symbol":
      case "bigint":
        throw new TypeError(`Passing a ${typeof value}`);
      case "number":
        if (!Number.isFinite(value)) throw new TypeError("Passing a number that is not finite");
        return value;
      case "undefined":
        if (this.strict) throw new TypeError("Passing undefined");
        return value;
      case "object":
        return value === null ? null : this.container(value, this.budget.deeper(depth));
      default:
        return value;
    }
  }

  container(value, depth) {
    if (this.open.has(value)) throw new TypeError("Passing a cycle");
    this.open.add(value);
    const copy = Array.isArray(value) ? this.array(value, depth) : this.object(value, depth);
    this.open.delete(value);
    return copy;
  }

  array(value, depth) {
    return Array.from(value, (item, index) => this.plain(item, String(index), depth));
  }

  object(value, depth) {
    // Regular expressions, maps, elements: JSON would make them `{}`.
    const kind = Object.prototype.toString.call(value);
    if (kind !== "[object Object]") throw new TypeError(`Passing ${kind}`);
    const members = Object.entries(value).map(([name, item]) => [name, this.plain(item, name, depth)]);
    const kept = members.filter(([, item]) => item !== undefined);
    if (kept.some(([name]) => name === "@")) throw new TypeError("forged reference");
    return Object.fromEntries(kept);
  }
}

/** The value of a text, each capability made by `restore(serialization)`; a SyntaxError if it is none. */
function decodeData(text, restore) {
  if (isNoData(text)) return undefined;
  const budget = new Budget(SyntaxError);
  const outer = JSON.parse(budget.text(text));
  const isObject = typeof outer === "object" && outer !== null && !Array.isArray(outer);
  if (!isObject || !Object.prototype.hasOwnProperty.call(outer, "value")) {
    throw new SyntaxError("bcapJson is an object with a member \"value\"");
  }
  return decoded(outer.value, restore, budget, 0);
}

/** Puts capabilities into what was just parsed, which nobody else has. */
function decoded(value, restore, budget, depth) {
  if (typeof value !== "object" || value === null) return value;
  const names = Object.keys(value);
  if (!Array.isArray(value) && names.includes("@")) {
    if (names.length > 1 || typeof value["@"] !== "string") {
      throw new SyntaxError("malformed reference");
    }
    budget.cap(depth);
    return restore(value["@"]);
  }
  const inner = budget.deeper(depth);
  for (const name of names) value[name] = decoded(value[name], restore, budget, inner);
  return value;
}
