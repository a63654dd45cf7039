//! The buswire command.
fn main() {}
