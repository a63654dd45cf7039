//! Where grants are in the store.
//!
//! | partition | key | row |
//! |---|---|---|
//! | `cap/id/XX` | hash of an id, whose first byte is XX | tree, handle and role |
//! | `cap/handle/XX` | handle of a child, whose first characters are XX | tree |
//! | `cap/roots` | time of creation and handle of a root | – |
//! | `cap/tree/ROOT` | `g/HANDLE` | the grant; a tombstone once it is revoked |
//! | | `gx/HANDLE` | what is still listed of a revoked grant |
//! | | `c/PARENT/CHILD` | a live child |
//! | | `d/HEAD/HANDLE` | a live grant that was derived from HEAD, at any depth |
//! | | `n/PARENT`, `nd/HEAD` | how many of them |
//! | | `u/HANDLE`, `r/HANDLE` | uses taken; the token bucket |
//! | | `i/HANDLE` | how often and when it was last invoked |
//! | | `f/FINGERPRINT` | changes with every grant that a regrant may refer to |
//! | | `m/FINGERPRINT` and HANDLE | such a grant that is alive |
//!
//! The id of a capability is nowhere, only its SHA-256 (Belay §20.4). A check of a chain of depth *d*
//! is 1 + *d* reads, of which *d* go to one partition; revoking is one row, whatever hangs below it.
//! Never here: what the rows contain.

use buswire_message::{SecretHash, Timestamp};
use buswire_store::{Key, Partition};

use crate::names::Handle;

#[expect(clippy::expect_used, reason = "handles and hex digits are printable ASCII")]
fn partition(name: &str) -> Partition {
    Partition::new(name).expect("a short name of printable ASCII")
}

#[expect(clippy::expect_used, reason = "handles and hashes are short")]
fn key(bytes: impl Into<Vec<u8>>) -> Key {
    Key::new(bytes.into()).expect("a short key that is not empty")
}

pub(super) fn ids(hash: &SecretHash) -> (Partition, Key) {
    let first = hash.as_bytes().first().copied().unwrap_or_default();
    (partition(&format!("cap/id/{first:02x}")), key(hash.as_bytes().as_slice()))
}

pub(super) fn handles(handle: &Handle) -> (Partition, Key) {
    let shard = handle.as_str().get(2..4).unwrap_or_default();
    (partition(&format!("cap/handle/{shard}")), key(handle.as_str()))
}

pub(super) fn roots() -> Partition {
    partition("cap/roots")
}

pub(super) fn root(created: Timestamp, handle: &Handle) -> Key {
    let mut bytes = created.as_millis().to_be_bytes().to_vec();
    bytes.extend_from_slice(handle.as_str().as_bytes());
    key(bytes)
}

/// The handle in a key that [`root`] made.
pub(super) fn root_handle(key: &Key) -> Option<Handle> {
    std::str::from_utf8(key.as_bytes().get(8..)?).ok()?.parse().ok()
}

pub(crate) const TREES: &str = "cap/tree/";

pub(super) fn tree(root: &Handle) -> Partition {
    partition(&format!("{TREES}{root}"))
}

/// The handle of the root whose tree a partition is.
pub(crate) fn tree_of(partition: &Partition) -> Option<Handle> {
    partition.as_str().strip_prefix(TREES)?.parse().ok()
}

pub(super) fn grant(handle: &Handle) -> Key {
    key(format!("g/{handle}"))
}

pub(super) fn retired(handle: &Handle) -> Key {
    key(format!("gx/{handle}"))
}

/// The handle in a key that [`grant`] or [`retired`] made.
pub(super) fn grant_handle(key: &Key) -> Option<Handle> {
    let text = std::str::from_utf8(key.as_bytes()).ok()?;
    text.strip_prefix("g/").or_else(|| text.strip_prefix("gx/"))?.parse().ok()
}

/// Begins every key of [`grant`], and of no other.
pub(super) const GRANTS: &[u8] = b"g/";

/// Begins every key of [`grant`] and [`retired`].
pub(super) const LISTED: &[u8] = b"g";

pub(super) fn child(parent: &Handle, child: &Handle) -> Key {
    key(format!("c/{parent}/{child}"))
}

pub(super) fn children(parent: &Handle) -> Vec<u8> {
    format!("c/{parent}/").into_bytes()
}

pub(super) fn child_count(parent: &Handle) -> Key {
    key(format!("n/{parent}"))
}

pub(super) fn derived(head: &Handle, handle: &Handle) -> Key {
    key(format!("d/{head}/{handle}"))
}

pub(super) fn all_derived(head: &Handle) -> Vec<u8> {
    format!("d/{head}/").into_bytes()
}

pub(super) fn derived_count(head: &Handle) -> Key {
    key(format!("nd/{head}"))
}

pub(super) fn uses(handle: &Handle) -> Key {
    key(format!("u/{handle}"))
}

pub(super) fn bucket(handle: &Handle) -> Key {
    key(format!("r/{handle}"))
}

pub(super) fn usage(handle: &Handle) -> Key {
    key(format!("i/{handle}"))
}

pub(super) fn fingerprint(digest: &SecretHash) -> Key {
    let mut bytes = b"f/".to_vec();
    bytes.extend_from_slice(digest.as_bytes());
    key(bytes)
}

/// Begins the keys of [`matching`] for a fingerprint.
pub(super) fn all_matching(digest: &SecretHash) -> Vec<u8> {
    let mut bytes = b"m/".to_vec();
    bytes.extend_from_slice(digest.as_bytes());
    bytes
}

pub(super) fn matching(digest: &SecretHash, handle: &Handle) -> Key {
    let mut bytes = all_matching(digest);
    bytes.extend_from_slice(handle.as_str().as_bytes());
    key(bytes)
}

/// The handle in a key that [`matching`] made.
pub(super) fn matching_handle(key: &Key) -> Option<Handle> {
    std::str::from_utf8(key.as_bytes().get(2 + 32..)?).ok()?.parse().ok()
}
