//! Grants that were decoded a moment ago, so that a chain that is invoked again is not decoded again.
//!
//! Nothing is remembered of what the store holds: every reading asks it, and what was decoded stands
//! only for the very bytes that it came from. So a change counts at once, whoever made it. Never here:
//! whether a grant is alive, what limits have counted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use buswire_store::StoreError;
use bytes::Bytes;

use crate::{
    grants::record::{Grant, decode_grant},
    names::Handle,
    seal::SealKeys,
};

/// How many grants each of the two generations holds, about 2 KiB each. When the young one is full it
/// becomes the old one, and the old one is forgotten.
const GENERATION_MAX: usize = 8192;

/// The grants that were decoded last.
#[derive(Debug, Default)]
pub(super) struct Decoded(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Handle, Entry>,
    old: HashMap<Handle, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    row: Bytes,
    grant: Arc<Grant>,
}

impl Decoded {
    /// The grant that a row is of, and whether its target is to be sealed anew; such a row is about to
    /// change and is not remembered.
    pub(super) fn grant(
        &self,
        handle: &Handle,
        row: &Bytes,
        keys: Option<&SealKeys>,
    ) -> Result<(Arc<Grant>, bool), StoreError> {
        if let Some(grant) = self.generations(|all| all.find(handle, row)) {
            return Ok((grant, false));
        }
        let (grant, is_stale) = decode_grant(handle, row, keys)?;
        let grant = Arc::new(grant);
        if !is_stale {
            let entry = Entry { row: row.clone(), grant: Arc::clone(&grant) };
            self.generations(|all| all.keep(handle.clone(), entry));
        }
        Ok((grant, is_stale))
    }

    // Held for a few map operations; a panic in between leaves the maps usable.
    fn generations<T>(&self, work: impl FnOnce(&mut Generations) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Generations {
    fn find(&mut self, handle: &Handle, row: &Bytes) -> Option<Arc<Grant>> {
        if !self.young.contains_key(handle) {
            let entry = self.old.remove(handle)?;
            self.keep(handle.clone(), entry);
        }
        let entry = self.young.get(handle).filter(|entry| entry.row == row)?;
        Some(Arc::clone(&entry.grant))
    }

    fn keep(&mut self, handle: Handle, entry: Entry) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(handle, entry);
    }
}

#[cfg(test)]
mod tests {
    use buswire_message::Timestamp;
    use buswire_testkit::SeededEntropy;

    use super::*;
    use crate::{
        grants::record::{Link, encode_grant},
        wire::BcapValue,
    };

    fn grant(handle: Handle, suspended: bool) -> Grant {
        Grant {
            handle,
            kind: "bus.read".parse().unwrap(),
            link: Link::Root,
            ancestors: Vec::new(),
            target: Arc::new(BcapValue::Null),
            limits: crate::limits::Limits::default(),
            bounds: Arc::default(),
            label: "".parse().unwrap(),
            created: Timestamp::from_secs(1),
            suspended,
            id_hash: buswire_message::SecretHash::of("id"),
            control_hash: buswire_message::SecretHash::of("control"),
            seeds: None,
            fingerprint: None,
        }
    }

    #[test]
    fn another_row_is_decoded_anew() {
        let decoded = Decoded::default();
        let handle = Handle::mint(&SeededEntropy::new(1));
        let row = |suspended| encode_grant(&grant(handle.clone(), suspended), None).unwrap();
        let read = |row: &Bytes| decoded.grant(&handle, row, None).map(|(grant, _)| grant);
        let first = read(&row(false)).unwrap();
        assert!(Arc::ptr_eq(&first, &read(&row(false)).unwrap()));
        assert!(read(&row(true)).unwrap().suspended);
        assert!(!read(&row(false)).unwrap().suspended);
        assert!(read(&Bytes::from_static(b"{}")).is_err());
    }

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let (decoded, entropy) = (Decoded::default(), SeededEntropy::new(1));
        let used = Handle::mint(&entropy);
        let row = encode_grant(&grant(used.clone(), false), None).unwrap();
        let read = |handle: &Handle| decoded.grant(handle, &row, None).unwrap().0;
        let first = read(&used);
        for _ in 0..3 * GENERATION_MAX {
            let other = Handle::mint(&entropy);
            read(&other);
            assert!(Arc::ptr_eq(&first, &read(&used)));
        }
        let held = decoded.generations(|all| all.young.len() + all.old.len());
        assert!(held <= 2 * GENERATION_MAX, "{held}");
    }
}
