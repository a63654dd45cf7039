//! The Buswire gateway: one process that composes the doors.

pub mod admin;
pub mod cli;
