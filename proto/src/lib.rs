//! Generated types of the `buswire.admin.v1` gRPC interface.
//!
//! The interface is described by `proto/buswire/admin/v1/*.proto`, one service a file. What protox and
//! tonic-prost-build make of it is committed in `src/generated/`, so that nobody who builds Buswire
//! needs a compiler for it; a test compares the two, and `BUSWIRE_REGENERATE=1 cargo test -p
//! buswire-proto` writes it anew.
//!
//! Messages that carry a secret or a payload show neither in `Debug`.
//!
//! Never here: conversions to and from the domain; they are in the gateway.

mod redact;

pub use redact::is_shown;

/// Messages, clients and servers of `buswire.admin.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    unnameable_types,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated; the source is proto/buswire/admin/v1"
)]
pub mod v1 {
    include!("generated/buswire.admin.v1.rs");
}

/// The description of the interface as an encoded `google.protobuf.FileDescriptorSet`, with everything
/// that it imports: what gRPC reflection answers with.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptor.bin");
