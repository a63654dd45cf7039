//! Listing grants, those that were revoked not long ago included.
//!
//! Never here: what of a grant is shown to whom.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use buswire_message::Timestamp;
use buswire_store::{Direction, Key, KeyRange, StoreError};

use crate::{
    grants::{Chain, Grants, keys, record::Grant},
    names::Handle,
};

/// A grant in a listing.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) grant: Grant,
    /// It is revoked.
    pub(crate) retired: bool,
}

/// What only a listing wants to know of a grant.
#[derive(Clone, Debug)]
pub(crate) struct Details {
    /// The chain; `None` if something above is revoked.
    pub(crate) chain: Option<Chain>,
    pub(crate) uses_left: Option<u64>,
    pub(crate) children: u32,
}

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    root: Key,
    // The last key of the root's tree that was listed.
    after: Option<Key>,
}

impl Cursor {
    pub(crate) fn to_text(&self) -> String {
        let root = self.root.as_bytes();
        let mut bytes = vec![u8::try_from(root.len()).unwrap_or_default()];
        bytes.extend_from_slice(root);
        if let Some(after) = &self.after {
            bytes.extend_from_slice(after.as_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (length, rest) = bytes.split_first()?;
        let (root, after) = rest.split_at_checked(usize::from(*length))?;
        keys::root_handle(&Key::new(root.to_vec()).ok()?)?;
        let after = (!after.is_empty()).then(|| Key::new(after.to_vec()).ok());
        Some(Self { root: Key::new(root.to_vec()).ok()?, after: after.flatten() })
    }
}

impl Grants {
    /// At most `limit` grants after `cursor`, oldest tree first, and where to go on.
    pub(crate) async fn list(
        &self,
        cursor: Option<Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<(Vec<Listed>, Option<Cursor>), StoreError> {
        let mut listed = Vec::new();
        let mut range = KeyRange::all();
        let mut after = None;
        if let Some(cursor) = cursor {
            range.start = Some(cursor.root.as_bytes().clone());
            after = cursor.after;
        }
        loop {
            let page = self
                .store
                .scan(&keys::roots(), range.clone(), 64, Direction::Ascending, now)
                .await?;
            for (root, _) in &page.rows {
                let Some(handle) = keys::root_handle(root) else { continue };
                let left = limit.saturating_sub(listed.len());
                let (more, next) = self.list_tree(&handle, after.take(), left, now).await?;
                listed.extend(more);
                if let Some(next) = next {
                    let cursor = Cursor { root: root.clone(), after: next };
                    return Ok((listed, Some(cursor)));
                }
            }
            match page.rows.last() {
                Some((key, _)) if page.more => range = range.after(key),
                _ => return Ok((listed, None)),
            }
        }
    }

    // The grants of a tree, and `Some` of where to go on if the limit ended the listing.
    async fn list_tree(
        &self,
        root: &Handle,
        mut after: Option<Key>,
        limit: usize,
        now: Timestamp,
    ) -> Result<(Vec<Listed>, Option<Option<Key>>), StoreError> {
        let partition = keys::tree(root);
        let mut listed = Vec::new();
        loop {
            if listed.len() >= limit {
                return Ok((listed, Some(after)));
            }
            let mut range = KeyRange::prefix(keys::LISTED);
            if let Some(key) = &after {
                range = range.after(key);
            }
            let left = limit - listed.len();
            let page = self.store.scan(&partition, range, left, Direction::Ascending, now).await?;
            for (key, row) in &page.rows {
                if let (Some(handle), Some(bytes)) = (keys::grant_handle(key), row.value.as_bytes())
                {
                    let grant = self.decode(&handle, bytes)?;
                    let retired = !key.as_bytes().starts_with(keys::GRANTS);
                    listed.push(Listed { grant, retired });
                }
            }
            if !page.more {
                return Ok((listed, None));
            }
            after = page.rows.last().map(|(key, _)| key.clone());
        }
    }

    /// The fewest uses that a counting level of a chain has left; `None` if uses are not limited.
    pub(crate) async fn uses_left(
        &self,
        chain: &Chain,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let tree = chain.grant().root();
        let above = chain.above.iter().zip(&chain.grant().ancestors);
        let counting = above.filter(|(_, ancestor)| ancestor.counts).map(|(loaded, _)| loaded);
        let mut least = None;
        for loaded in std::iter::once(&chain.leaf).chain(counting) {
            let Some(most) = loaded.grant.limits.uses() else { continue };
            let used = self.account(tree, loaded, now).await?.account.used;
            let left = most.get().saturating_sub(used);
            least = Some(least.map_or(left, |least: u64| least.min(left)));
        }
        Ok(least)
    }

    /// What is listed of a grant besides itself.
    pub(crate) async fn details(
        &self,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<Details, StoreError> {
        let tree = grant.root();
        let chain = self.chain(tree, &grant.handle, now).await?;
        let uses_left = match (&chain, grant.limits.uses()) {
            (Some(chain), Some(uses)) => {
                let account = self.account(tree, &chain.leaf, now).await?.account;
                Some(uses.get().saturating_sub(account.used))
            }
            (None, Some(_)) => Some(0),
            (_, None) => None,
        };
        let children = self.count(&keys::tree(tree), &keys::children(&grant.handle), now).await?;
        Ok(Details { chain, uses_left, children })
    }
}
