//! The bridge of Buswire: routes from buses to sinks.
