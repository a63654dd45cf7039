// Numbers, times and names as people read them, and back.

export const number = (value) => Number(value || 0).toLocaleString("en");

export function counted(count, one, many = `${one}s`) {
  return `${number(count)} ${Number(count) === 1 ? one : many}`;
}

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = Number(count);
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function perSecond(rate) {
  if (!rate) return "0/s";
  return `${rate < 0.1 ? "<0.1" : rate < 10 ? rate.toFixed(1) : number(Math.round(rate))}/s`;
}

// Seconds of a length of time on the wire, such as `0.200s`.
export const seconds = (duration) => (duration ? Number(duration.slice(0, -1)) : 0);

export function lasting(time) {
  if (time < 1) return `${number(Math.round(time * 1000))} ms`;
  if (time < 10 && !Number.isInteger(time)) return `${time.toFixed(1)} s`;
  if (time < 90) return `${Math.round(time)} s`;
  if (time < 5400) return `${Math.round(time / 60)} min`;
  if (time < 129600) return `${Math.round(time / 3600)} h`;
  return `${Math.round(time / 86400)} days`;
}

const UNITS = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };

// The length of time that the field `name` of `values` has, such as `10m`, on the wire; `undefined` if
// it has none.
export function duration(values, name) {
  const text = values[name].trim();
  if (!text) return undefined;
  const parts = text.match(/^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/);
  if (!parts) throw new Error(`${name}: “${text}” is no length of time; write 500ms, 30s, 10m, 8h or 7d`);
  return `${Number((Number(parts[1]) * UNITS[parts[2]]).toFixed(9))}s`;
}

// The other way, exactly.
export function written(wire) {
  const time = seconds(wire);
  const unit = ["d", "h", "m", "s"].find((name) => time && time % UNITS[name] === 0);
  return unit ? `${time / UNITS[unit]}${unit}` : `${Math.round(time * 1000)}ms`;
}

// What makes a change fail if somebody else changed the same in the meantime, where the gateway can.
export const expecting = ({ revision }) => (revision === undefined ? {} : { expectedRevision: revision });

export function clock(time) {
  const at = new Date(time);
  return `${at.toLocaleTimeString("en-GB")}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

export function absolute(time) {
  return new Date(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

export function relative(time) {
  const away = (Date.parse(time) - Date.now()) / 1000;
  if (Math.abs(away) < 2) return "now";
  return away < 0 ? `${lasting(-away)} ago` : `in ${lasting(away)}`;
}

// When the message of an id was durable: its first 24 characters say so.
export const published = (id) => id.slice(0, 24);

// The least id of a time.
export const idAt = (millis) => `${new Date(millis).toISOString()}-0000000000`;

// The last part of the name of a value, such as `running` of `ROUTE_STATE_RUNNING`.
export function state(value, prefix) {
  return value.replace(`${prefix}_`, "").toLowerCase().replaceAll("_", " ");
}

const DOORS = {
  "backplane/1": "Backplane 1.x",
  "backplane/2": "Backplane 2.0",
  simplepush: "SimplePush",
  majordomo: "Majordomo",
  belay: "Belay",
  admin: "Administrators",
  route: "Routes",
};

export const doorName = (door) => DOORS[door] || door || "–";

// JSON with line breaks; what is in it stays to the letter, so that no digit of a number is lost.
export function indented(json) {
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  return json.replace(/"(?:[^"\\]|\\.)*"|[{[]\s*[}\]]|[{}[\],:]|\s+/g, (part) => {
    if (/^\s/.test(part)) return "";
    if (part === "{" || part === "[") {
      depth += 1;
      return part + line();
    }
    if (part === "}" || part === "]") {
      depth -= 1;
      return line() + part;
    }
    if (part === ",") return part + line();
    return part === ":" ? ": " : part;
  });
}
