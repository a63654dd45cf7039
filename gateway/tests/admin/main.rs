//! The admin interface over a real connection, and the admin commands against it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod access;
mod audit;
mod buses;
mod commands;
mod commands_doors;
mod dead_letters;
mod doors;
mod fake_push;
mod fake_system;
mod fakes;
mod messages;
mod push;
mod support;
mod tls;
