// The messages of SimplePush as text. Never here: what a message does.

export const PING = "{}";

export const hello = (uaid, channelIDs) =>
  JSON.stringify({ messageType: "hello", uaid, channelIDs });

export const register = (channelID) => JSON.stringify({ messageType: "register", channelID });

export const unregister = (channelID) => JSON.stringify({ messageType: "unregister", channelID });

export const ack = (updates) => JSON.stringify({ messageType: "ack", updates });

const isUpdate = (update) =>
  typeof update?.channelID === "string" && Number.isFinite(update.version) && update.version > 0;

// What a server said: its type in lower case and the members that mean something. What is no message
// has the type "": it only shows that the server is there.
export function read(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return { type: "" };
  }
  const { messageType, uaid, status = 200, channelID, pushEndpoint, updates, error } = message ?? {};
  if (typeof messageType !== "string") return { type: "" };
  return {
    type: messageType.toLowerCase(),
    uaid: typeof uaid === "string" && uaid.length > 0 && uaid.length <= 128 ? uaid : null,
    status,
    channelID,
    pushEndpoint,
    error,
    // Versions above 2^53 come as the nearest double; a server takes them back as such.
    updates: (Array.isArray(updates) ? updates : [])
      .filter(isUpdate)
      .map(({ channelID, version }) => ({ channelID, version })),
  };
}
