// `window.belay` (Belay §22.6).
// Never here: what its functions do.

const belay = Object.freeze({
  newUUIDv4,
  CapServer,
  internals: Object.freeze({
    CapServer,
    CapTunnel,
    encodeSerialization,
    decodeSerialization,
    newInstanceId,
    sha1InstanceId,
    setTransport,
    xhrTransport,
    fetchTransport,
  }),
});
window.belay = belay;
return belay;
