// What the frame asks of the window (Belay §11.3).
// Never here: an address that is not of the web, a script.

/** Obeys the frame; `onDisarmed` is called when an offer of this page is no longer armed. */
function obey(element, onDisarmed) {
  const words = {
    close: () => window.close(),
    showButterBar: () => showBar(element, true),
    hideButterBar: () => showBar(element, false),
    unhighlight,
    disarmed: onDisarmed,
  };
  const operations = { highlight, navigate };
  return (event) => {
    const { op, args } = Object(event.data);
    const table = typeof event.data === "string" ? words : operations;
    const name = typeof event.data === "string" ? event.data : op;
    if (Object.keys(table).includes(name)) table[name](Object(args));
    else console.warn("belay: the frame asks for something unknown");
  };
}

function unhighlight() {
  for (const element of document.querySelectorAll(".belay-possible")) {
    element.classList.remove("belay-possible");
  }
}

/** Marks the elements of a class of whose resource classes, which `data-rc` lists, one is in `rc`. */
function highlight({ className, rc }) {
  unhighlight();
  const wanted = [].concat(rc);
  for (const element of document.getElementsByClassName(String(className))) {
    const classes = (element.getAttribute("data-rc") || "").split(" ");
    if (commonClass(classes, wanted) !== undefined || classes.includes("*")) {
      element.classList.add("belay-possible");
    }
  }
}

function navigate({ url, startId: nextStartId }) {
  const target = new URL(String(url), location.href);
  if (!/^https?:$/.test(target.protocol)) return;
  const isHere = withoutFragment(target.href) === withoutFragment(location.href);
  if (nextStartId) target.hash += `${target.hash ? "&" : "#"}belay-start=${nextStartId}`;
  location.assign(target.href);
  // Another fragment alone would leave this document where it is.
  if (isHere) location.reload();
}

function withoutFragment(href) {
  return href.split("#")[0];
}
