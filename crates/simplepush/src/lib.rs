//! SimplePush: session core, registry, HTTP endpoint.
