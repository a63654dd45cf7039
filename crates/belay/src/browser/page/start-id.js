// The start id in the address (Belay §22.5).
// Never here: anything that may run after somebody else has seen it.

/** Takes `belay-start=…` out of the fragment, and so out of the history and of what others read. */
function takeStartId() {
  const [address, fragment = ""] = location.href.split(/#(.*)/s);
  const parts = fragment.split("&");
  const isStart = (part) => part.startsWith("belay-start=");
  const found = parts.find(isStart);
  if (found === undefined) return null;
  const rest = parts.filter((part) => !isStart(part)).join("&");
  history.replaceState(history.state, "", rest ? `${address}#${rest}` : address);
  return found.slice("belay-start=".length);
}

const startId = takeStartId();
