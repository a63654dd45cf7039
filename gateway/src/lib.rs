//! The Buswire gateway: one process that composes the doors.
