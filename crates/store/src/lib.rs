//! The store of Buswire: the Store trait, its engines and the conformance suite.
