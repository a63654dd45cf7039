// How the page includes the library (Belay §11.1, §22.6).
// Never here: what is done with it.

/** The script element of the library, if it has one: a module that another imports has none. */
const scriptElement =
  document.currentScript || [...document.scripts].find((script) => script.src === libraryURL);

function attribute(name) {
  return scriptElement ? scriptElement.getAttribute(name) : null;
}

/** Milliseconds in which the frame must have answered: `data-belay-timeout`, or 10 s. */
const frameTimeout = Number(attribute("data-belay-timeout")) || 10000;

/** The URL of the frame: an attribute, or beside the library. */
function frameURL() {
  const given = attribute("data-belay-frame") || attribute("data-belayframe") || "frame.html";
  const url = new URL(given, libraryURL || location.href);
  if (!/^https?:$/.test(url.protocol)) throw new TypeError("the frame of Belay must be on the web");
  return url;
}

/** Milliseconds, pixels, and whether the frame is there to be seen. */
const BAR_HEIGHT = 40;
const DEBUG_HEIGHT = 300;
let isDebugging = false;
