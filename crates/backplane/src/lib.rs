//! Backplane 1.x and 2.0 over a Buswire bus.
