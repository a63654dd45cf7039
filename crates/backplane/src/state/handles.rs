//! Names for what the door has handed out, and finding it again by them.
//!
//! Tokens, codes and tickets are rows whose keys end in the hash of a secret. Never here: what the
//! rows mean, a secret.

use std::{fmt, str::FromStr};

use buswire_store::{Key, KeyRange, Partition, StoreError};
use serde::de::DeserializeOwned;

use super::rows::{Rows, Stored};
use crate::rules::names::AccountNameError;

/// The most rows that one call of [`Rows::list`] looks at. What it then has is its page.
const EXAMINED_MAX: usize = 100_000;

/// The public name of a token, a code or a ticket: the first 16 hexadecimal digits of the SHA-256 of
/// its text. Whoever holds the text can compute it, nobody gets the text from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(u64);

impl Handle {
    /// The one of what has this hash.
    pub(crate) fn of(hash: &[u8; 32]) -> Self {
        Self(hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The one of the row of this key; `None` for a key that does not end in a hash.
    fn of_key(key: &Key) -> Option<Self> {
        key.as_bytes().last_chunk().map(Self::of)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Handle {
    type Err = AccountNameError;

    fn from_str(text: &str) -> Result<Self, AccountNameError> {
        let is_form = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_form.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(AccountNameError::Handle)
    }
}

/// Where a page of a listing ended: to be handed back for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageEnd {
    shard: u8,
    handle: Handle,
}

impl fmt::Display for PageEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{}", self.shard, self.handle)
    }
}

impl FromStr for PageEnd {
    type Err = AccountNameError;

    fn from_str(text: &str) -> Result<Self, AccountNameError> {
        let (shard, handle) = text.split_at_checked(2).ok_or(AccountNameError::Handle)?;
        let is_form = shard.bytes().all(|byte| byte.is_ascii_hexdigit());
        let shard = is_form.then(|| u8::from_str_radix(shard, 16).ok()).flatten();
        let shard = shard.ok_or(AccountNameError::Handle)?;
        Ok(Self { shard, handle: handle.parse()? })
    }
}

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// The items, in an order of their own.
    pub items: Vec<T>,
    /// Where the next part begins; `None` if this is the last. Few items, or none, do not mean that.
    pub next: Option<PageEnd>,
}

/// Which part of a listing is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `next` of the part before; `None` for the first.
    pub after: Option<PageEnd>,
    /// The most items.
    pub limit: usize,
}

impl Rows {
    /// What `view` makes of the rows of `kind` in all partitions, behind `wanted.after`.
    pub(crate) async fn list<T: DeserializeOwned, I>(
        &self,
        kind: &str,
        wanted: Wanted,
        view: impl Fn(Handle, Stored<T>) -> Result<Option<I>, StoreError>,
    ) -> Result<Listing<I>, StoreError> {
        let (mut items, mut examined) = (Vec::new(), 0);
        let first = wanted.after.map_or(0, |end| end.shard);
        for (number, shard) in (0..=u8::MAX).zip(self.shards()).skip(first.into()) {
            let after = wanted.after.filter(|_| number == first).map(|end| end.handle);
            let mut range = Some(range(kind, after));
            while let Some(part) = range {
                let page = self.page::<T>(shard, part).await?;
                range = page.rest;
                for stored in page.rows {
                    let Some(handle) = Handle::of_key(&stored.key) else { continue };
                    items.extend(view(handle, stored)?);
                    examined += 1;
                    if items.len() >= wanted.limit || examined >= EXAMINED_MAX {
                        let next = Some(PageEnd { shard: number, handle });
                        return Ok(Listing { items, next });
                    }
                }
            }
        }
        Ok(Listing { items, next: None })
    }

    /// The row of `kind` with this handle, and the partition that it is in.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        kind: &str,
        handle: Handle,
    ) -> Result<Option<(&Partition, Stored<T>)>, StoreError> {
        for shard in self.shards() {
            let range = KeyRange::prefix(&prefix(kind, &handle.0.to_be_bytes()));
            if let Some(stored) = self.page::<T>(shard, range).await?.rows.into_iter().next() {
                return Ok(Some((shard, stored)));
            }
        }
        Ok(None)
    }
}

/// The keys of `kind` whose hashes are greater than those of `after`.
fn range(kind: &str, after: Option<Handle>) -> KeyRange {
    let all = KeyRange::prefix(&prefix(kind, &[]));
    let behind =
        after.and_then(|handle| KeyRange::prefix(&prefix(kind, &handle.0.to_be_bytes())).end);
    KeyRange { start: behind.or(all.start), end: all.end }
}

fn prefix(kind: &str, hash: &[u8]) -> Vec<u8> {
    [kind.as_bytes(), &[0], hash].concat()
}

#[cfg(test)]
mod tests {
    use buswire_message::SecretHash;

    use super::*;

    #[test]
    fn handles_and_page_ends_are_read_back() {
        let hash = SecretHash::of("AA7kQe20XmWz9LbT4vYc1RnHs6PdUo3J");
        let handle = Handle::of(hash.as_bytes());
        assert_eq!(handle.to_string().parse(), Ok(handle));
        let end = PageEnd { shard: 10, handle };
        assert_eq!(end.to_string(), format!("0a{handle}"));
        assert_eq!(end.to_string().parse(), Ok(end));
        for bad in ["", "0", "é0123456789abcdef", "+123456789abcdef", "0123456789abcdeg"] {
            assert_eq!(bad.parse::<Handle>(), Err(AccountNameError::Handle), "{bad}");
            assert!(bad.parse::<PageEnd>().is_err(), "{bad}");
        }
        assert!("+00123456789abcdef".parse::<PageEnd>().is_err());
    }

    #[test]
    fn a_page_begins_behind_the_one_before() {
        let key = |hash: &[u8]| prefix("code", hash);
        let behind = range("code", Some(Handle(0x0102_0304_0506_0708)));
        assert!(!behind.contains(&key(&[1, 2, 3, 4, 5, 6, 7, 8, 255])));
        assert!(behind.contains(&key(&[1, 2, 3, 4, 5, 6, 7, 9])));
        assert!(!behind.contains(b"codf\0"));
        // Behind the last that there can be is nothing.
        let last = range("code", Some(Handle(u64::MAX)));
        assert!(!last.contains(&key(&[255; 32])));
    }
}
