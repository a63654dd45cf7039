//! Generated types of the buswire.admin.v1 gRPC interface.
