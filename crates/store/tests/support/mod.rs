//! Engines under test, and a medium that fails on purpose.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod disk;

use std::sync::Arc;

use buswire_store::{
    BoxFuture, Store,
    conformance::{Engine, Instance},
    embedded::{EmbeddedConfig, EmbeddedStore},
    memory::MemoryStore,
};

use self::disk::Disk;

/// The memory engine.
pub(crate) struct Memory;

impl Engine for Memory {
    fn fresh(&self) -> BoxFuture<'_, Instance> {
        Box::pin(async { Instance { store: Arc::new(MemoryStore::new()), reopen: None } })
    }
}

/// The embedded engine in a temporary directory.
pub(crate) struct InDirectory;

impl Engine for InDirectory {
    fn fresh(&self) -> BoxFuture<'_, Instance> {
        Box::pin(async {
            let directory = Arc::new(tempfile::tempdir().unwrap());
            let open = move || -> BoxFuture<'static, Arc<dyn Store>> {
                let directory = Arc::clone(&directory);
                Box::pin(async move {
                    let store = EmbeddedStore::open(directory.path(), small()).unwrap();
                    Arc::new(store) as Arc<dyn Store>
                })
            };
            Instance { store: open().await, reopen: Some(Box::new(open)) }
        })
    }

    fn nearly_full(&self) -> Option<BoxFuture<'_, Instance>> {
        Some(Box::pin(async {
            let disk = Disk::default();
            disk.limit(3 * 1024 * 1024);
            let store = Arc::new(EmbeddedStore::open_on(disk.clone(), small()).unwrap());
            let reopen = move || -> BoxFuture<'static, Arc<dyn Store>> {
                let disk = disk.reopened();
                Box::pin(async move {
                    Arc::new(EmbeddedStore::open_on(disk, small()).unwrap()) as Arc<dyn Store>
                })
            };
            Instance { store, reopen: Some(Box::new(reopen)) }
        }))
    }
}

/// The embedded engine on a medium in memory: the same code without the cost of syncing.
pub(crate) struct OnDisk;

impl Engine for OnDisk {
    fn fresh(&self) -> BoxFuture<'_, Instance> {
        Box::pin(async {
            let disk = Disk::default();
            let open = move || -> BoxFuture<'static, Arc<dyn Store>> {
                let disk = disk.clone();
                Box::pin(async move {
                    Arc::new(EmbeddedStore::open_on(disk, small()).unwrap()) as Arc<dyn Store>
                })
            };
            Instance { store: open().await, reopen: Some(Box::new(open)) }
        })
    }
}

/// A configuration whose bounds are reached soon.
pub(crate) fn small() -> EmbeddedConfig {
    EmbeddedConfig {
        resident_bytes: 2000,
        page_cache_bytes: 1024 * 1024,
        waiting: 8,
        ..EmbeddedConfig::default()
    }
}

/// Numbers under a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        // Xorshift: any number but 0 leads to every other.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}
