// The frame in the page, and the handshake with it (Belay §11.1, §22.2).
// Never here: what goes over the ports.

/** The iframe just above the page; set through CSSOM, which a strict policy allows. */
function frameElement(url) {
  const element = document.createElement("iframe");
  Object.assign(element, { id: "belay-frame", title: "Belay", src: url.href });
  element.referrerPolicy = "no-referrer";
  Object.assign(element.style, {
    position: "absolute",
    left: "0",
    width: "100%",
    border: "0",
    zIndex: "2000",
  });
  showBar(element, false);
  return element;
}

/** Shows the frame as a bar at the top of the page, or hides it above. */
function showBar(element, isShown) {
  const height = isDebugging ? DEBUG_HEIGHT : BAR_HEIGHT;
  const isSeen = isShown || isDebugging;
  Object.assign(element.style, {
    height: `${height}px`,
    top: isSeen ? `${window.scrollY || 0}px` : `${-height}px`,
    visibility: isSeen ? "visible" : "hidden",
  });
}

/** Resolves with the two ports; rejects if the page's own policy keeps the frame out. */
function openFrame(element, { origin }) {
  return new Promise((resolve, reject) => {
    const hello = () => element.contentWindow.postMessage({ belay: "hello", v: 1 }, origin);
    const onMessage = (event) => {
      const { belay: word, v } = Object(event.data);
      const isFrame = event.source !== null && event.source === element.contentWindow;
      if (!isFrame || event.origin !== origin) return;
      if (word !== "init" || v !== 1 || event.ports.length !== 2) return;
      stop();
      resolve(event.ports);
    };
    const onViolation = (event) => {
      const isFrames = /^(?:frame|child|default)-src$/.test(event.effectiveDirective);
      if (isFrames && String(event.blockedURI).startsWith(origin)) reject(new Error("blocked"));
    };
    const stop = () => {
      removeEventListener("message", onMessage);
      document.removeEventListener("securitypolicyviolation", onViolation);
      element.removeEventListener("load", hello);
    };
    addEventListener("message", onMessage);
    document.addEventListener("securitypolicyviolation", onViolation);
    // Again for each document that the element loads, until one answers.
    element.addEventListener("load", hello);
    whenBody(() => document.body.appendChild(element));
  });
}

/** A script in the head runs before there is a body; the rest of a long page is not waited for. */
function whenBody(then) {
  if (document.body) {
    then();
    return;
  }
  const observer = new MutationObserver(() => {
    if (!document.body) return;
    observer.disconnect();
    then();
  });
  observer.observe(document.documentElement, { childList: true });
}
