//! Buses of Buswire: publish, read, subscribe, retention, waiting readers.
