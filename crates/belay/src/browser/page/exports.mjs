export default belay;
export const {
  start, startForOrigin, startForLaunch, route, routeOrigin, newUUIDv4, CapServer, version, onBelayReady,
  internals,
} = belay;
