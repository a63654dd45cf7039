//! Belay: bcapJson, CapServer, grants, HTTP endpoint.
