// The station capability of this page: from the link, from a launch, or kept over a reload
// (Belay §21.7). It leaves the address bar before anything else happens, and is kept in the state of the
// history entry, which no other page reads. Never here: using it.

/** An id as the gateway takes them (Belay §21.2). */
const ID = /^[A-Za-z0-9_-]{22,128}$/;

function keepSecret(id) {
  history.replaceState({ station: id }, "", location.pathname);
  return id;
}

/** The id in the address, or the one that was kept; empty if there is none. */
function takeSecret() {
  const id = location.hash.slice(1);
  if (ID.test(id)) return keepSecret(id);
  const { station = "" } = Object(history.state);
  return station;
}

let secret = takeSecret();
// Another link, pasted into the same tab, is another station.
window.addEventListener("hashchange", () => {
  if (ID.test(location.hash.slice(1))) {
    takeSecret();
    location.reload();
  }
});
