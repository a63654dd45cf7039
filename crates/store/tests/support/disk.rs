//! A medium in memory that can be full, fail, or lose its power.

use std::{
    io,
    sync::{Arc, Mutex},
};

use redb::StorageBackend;

/// A medium. Clones are the same medium.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// What a reader sees.
    live: Vec<u8>,
    /// What is left after a loss of power, but for writes that happened to arrive.
    durable: Vec<u8>,
    /// Changes since the last sync, in order.
    pending: Vec<Change>,
    /// No longer than this, if given.
    limit: Option<u64>,
    /// Writes, resizes and syncs that still work, if given.
    left: Option<u64>,
    /// Writes, resizes and syncs so far.
    done: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Disk {
    /// The medium takes no more than `bytes`.
    pub(crate) fn limit(&self, bytes: u64) {
        self.0.lock().unwrap().limit = Some(bytes);
    }

    /// Every change fails after `operations` more.
    pub(crate) fn fail_after(&self, operations: u64) {
        self.0.lock().unwrap().left = Some(operations);
    }

    /// How many changes there were.
    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().unwrap().done
    }

    /// The same content on a medium without limits, as after a restart of the process.
    pub(crate) fn reopened(&self) -> Self {
        let live = self.0.lock().unwrap().live.clone();
        Self(Arc::new(Mutex::new(Inner { durable: live.clone(), live, ..Inner::default() })))
    }

    /// What a loss of power leaves: everything synced, and of the changes since then those for which
    /// `arrived` says so, some of them torn.
    pub(crate) fn after_power_loss(&self, mut arrived: impl FnMut(usize) -> usize) -> Self {
        let inner = self.0.lock().unwrap();
        let mut image = inner.durable.clone();
        for change in &inner.pending {
            match change {
                Change::Length(length) => {
                    if arrived(1) > 0 {
                        image.resize(*length, 0);
                    }
                }
                Change::Bytes(at, bytes) => {
                    let kept = &bytes[..arrived(bytes.len()).min(bytes.len())];
                    if image.len() < at + kept.len() {
                        image.resize(at + kept.len(), 0);
                    }
                    image[*at..at + kept.len()].copy_from_slice(kept);
                }
            }
        }
        Self(Arc::new(Mutex::new(Inner {
            durable: image.clone(),
            live: image,
            ..Inner::default()
        })))
    }
}

impl Inner {
    fn step(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or_else(|| io::Error::other("the medium is gone"))?;
        }
        self.done += 1;
        Ok(())
    }

    fn apply(&mut self, change: Change) {
        match &change {
            Change::Length(length) => self.live.resize(*length, 0),
            Change::Bytes(at, bytes) => self.live[*at..at + bytes.len()].copy_from_slice(bytes),
        }
        self.pending.push(change);
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let inner = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let bytes = inner.live.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut inner = self.0.lock().unwrap();
        inner.step()?;
        if inner.limit.is_some_and(|limit| len > limit) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.apply(Change::Length(usize::try_from(len).unwrap()));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut inner = self.0.lock().unwrap();
        inner.step()?;
        inner.pending.clear();
        let Inner { live, durable, .. } = &mut *inner;
        durable.clone_from(live);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut inner = self.0.lock().unwrap();
        inner.step()?;
        inner.apply(Change::Bytes(usize::try_from(offset).unwrap(), data.to_vec()));
        Ok(())
    }
}
