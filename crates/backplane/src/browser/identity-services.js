// A filter for 1.x pages: which of the messages before a page load still tell who is logged in.
// It is given to init: Backplane.init({ …, initFrameFilter: Backplane.identityServices.init }).

(() => {
"use strict";
if (!window.Backplane) {
  console.error("Backplane: identity-services.js comes after backplane.js");
  return;
}

/** The identity that a message is about; its entry is an object, or an array of one. */
function identity({ payload }) {
  const { entry } = (payload && payload.identities) || {};
  const { id, accounts } = (Array.isArray(entry) ? entry[0] : entry) || {};
  const [account] = Array.isArray(accounts) ? accounts : [];
  return id || (account && account.identityUrl);
}

/** Keeps the last sticky message of each type and identity; a logout ends the login before it. */
function init(frames) {
  const kept = new Map();
  for (const frame of frames) {
    const { type, sticky } = frame.message;
    const id = identity(frame.message);
    if (!id || sticky !== true) continue;
    const key = JSON.stringify([id, type]);
    kept.delete(key);
    kept.set(key, frame);
    if (type === "identity/logout") kept.delete(JSON.stringify([id, "identity/login"]));
  }
  return [...kept.values()];
}

window.Backplane.identityServices = { init };
})();
