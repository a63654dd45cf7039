// Why a page could not start (Belay §12.4).
// Never here: who is told.

/** An error with the members of the seed and those of the original code. */
function startError(type, status, message, details) {
  return Object.freeze({ type, ...details, status, message });
}

const communicationError = () =>
  startError("CommunicationError", 504, "the frame of Belay did not answer");

const noLaunchInfo = (key) =>
  startError("NoLaunchInfo", 404, "startForLaunch: this page was not launched.", { key });

const noSuchKey = (key) =>
  startError("NoSuchKey", 404, `startForLaunch: Key ${key} not found.`, { key });

const badSecret = (key) =>
  startError("BadSecret", 400, `startForLaunch: Key ${key} holds no pre-image.`, { key });

const originError = (origin, pageUrl) =>
  startError("OriginError", 403, "the page is not of this origin", { origin, pageUrl });

const alreadyRouted = (instanceId) =>
  startError("AlreadyRouted", 500, `route: ${instanceId} already has a route.`, { instanceId });
