//! What is stored of who runs a route: owner rows, what owners tell, member rows.
//!
//! The partition of a route has the row `owner`, and `owner/status`, in which its owner tells the other
//! gateways what the route is doing. The partition `route-gateways` has a row for each gateway. Never
//! here: who is to own what; that is `lease`'s.

use std::sync::atomic::{AtomicU64, Ordering};

use buswire_message::{RouteName, Timestamp};
use buswire_store::{
    Ack, Applied, Batch, Direction, Expectation, Key, KeyRange, Operation, Outcome, Partition,
    Revision, Row,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::RouteError,
    lease::{GatewayId, MemberRow},
    ledger::{Ledger, PAGE, key, route_partition},
    runner::Counters,
};

const OWNER: &[u8] = b"owner";
const STATUS: &[u8] = b"owner/status";

/// The partition of member rows.
pub(crate) const MEMBERS: &str = "route-gateways";

/// Who runs a route, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// `None` if it was given up.
    pub(crate) gateway: Option<GatewayId>,
    /// What the gateway is called.
    pub(crate) called: String,
    /// Which of the routes that had this name the partition is of, see `StoredRoute::created`.
    pub(crate) created: u64,
    pub(crate) revision: Revision,
}

/// The right to store what becomes of a route: every change expects the owner row as it was written
/// when the route was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) name: RouteName,
    pub(crate) created: u64,
    revision: Revision,
}

/// What an owner tells of its route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// The revision of the description that is in force.
    pub(crate) description: u64,
    /// Why the sink can't be opened there.
    #[serde(default)]
    pub(crate) blocked: Option<String>,
    pub(crate) delivered: u64,
    pub(crate) failed_attempts: u64,
    pub(crate) dead: u64,
    pub(crate) dead_letters: u64,
    pub(crate) pending: u64,
}

impl Told {
    /// What these counters say.
    pub(crate) fn of(counters: &Counters, description: Revision, blocked: Option<&String>) -> Self {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            description: description.0,
            blocked: blocked.cloned(),
            delivered: count(&counters.delivered),
            failed_attempts: count(&counters.failed_attempts),
            dead: count(&counters.dead),
            dead_letters: count(&counters.letters),
            pending: count(&counters.pending),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct WrittenOwner {
    gateway: Option<String>,
    called: String,
    created: u64,
}

#[derive(Serialize, Deserialize)]
struct WrittenMember {
    called: String,
    has_left: bool,
}

impl Owned {
    /// A batch that is applied only as long as the route is owned.
    pub(crate) fn batch(&self) -> Result<Batch, RouteError> {
        let expected = Expectation::Unchanged(key(OWNER)?, self.revision);
        Ok(Batch::new(route_partition(&self.name)?).expect(expected))
    }
}

impl Ledger {
    /// Who owns a route; `None` if nobody ever did.
    pub(crate) async fn owner(
        &self,
        name: &RouteName,
        now: Timestamp,
    ) -> Result<Option<Owner>, RouteError> {
        let row = self.store().get(&route_partition(name)?, &key(OWNER)?, now).await?;
        row.map(|row| read_owner(name, &row)).transpose()
    }

    /// Who owns a route, and what the owner told last.
    pub(crate) async fn told(
        &self,
        name: &RouteName,
        now: Timestamp,
    ) -> Result<(Option<Owner>, Told), RouteError> {
        let (partition, range) = (route_partition(name)?, KeyRange::prefix(OWNER));
        let page = self.store().scan(&partition, range, 2, Direction::Ascending, now).await?;
        let (mut owner, mut told) = (None, Told::default());
        for (key, row) in &page.rows {
            if key.as_bytes() == OWNER {
                owner = Some(read_owner(name, row)?);
            } else if key.as_bytes() == STATUS {
                told = decode(name, row)?;
            }
        }
        Ok((owner, told))
    }

    /// Takes a route whose owner row was read as `before`; `None` if it has changed since.
    pub(crate) async fn take(
        &self,
        name: &RouteName,
        before: Option<&Owner>,
        gateway: GatewayId,
        called: &str,
        now: Timestamp,
    ) -> Result<Option<Owned>, RouteError> {
        let expected = match before {
            Some(owner) => Expectation::Unchanged(key(OWNER)?, owner.revision),
            None => Expectation::Absent(key(OWNER)?),
        };
        let created = before.map_or(0, |owner| owner.created);
        let batch = Batch::new(route_partition(name)?).expect(expected);
        self.write_owner(batch, name, Some((gateway, called)), created, now).await
    }

    /// Makes the partition that of a new route: whatever another one of its name left is gone.
    /// `None` if the route is not owned any more.
    pub(crate) async fn renew(
        &self,
        owned: &Owned,
        created: u64,
        gateway: GatewayId,
        called: &str,
        now: Timestamp,
    ) -> Result<Option<Owned>, RouteError> {
        if !self.purge(owned, now).await? {
            return Ok(None);
        }
        self.write_owner(owned.batch()?, &owned.name, Some((gateway, called)), created, now).await
    }

    /// Gives a route up, so that others may take it at once.
    pub(crate) async fn free(&self, owned: &Owned, now: Timestamp) -> Result<(), RouteError> {
        self.write_owner(owned.batch()?, &owned.name, None, owned.created, now).await.map(drop)
    }

    /// Removes everything of a route but its owner row; `false` if the route is not owned any more.
    pub(crate) async fn purge(&self, owned: &Owned, now: Timestamp) -> Result<bool, RouteError> {
        let partition = route_partition(&owned.name)?;
        let mut range = KeyRange::all();
        loop {
            let scanned = range.clone();
            let page =
                self.store().scan(&partition, scanned, PAGE, Direction::Ascending, now).await?;
            let mut batch = owned.batch()?;
            let keys = page.rows.iter().map(|(key, _)| key);
            let others = keys.filter(|key| key.as_bytes() != OWNER).cloned();
            batch.operations.extend(others.map(|key| Operation::Delete { key }));
            if !batch.operations.is_empty() && !self.commit_if(batch, now).await? {
                return Ok(false);
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range = range.after(last),
                _ => return Ok(true),
            }
        }
    }

    /// Removes everything of a route.
    pub(crate) async fn erase(&self, owned: &Owned, now: Timestamp) -> Result<(), RouteError> {
        if self.purge(owned, now).await? {
            let gone = Operation::Delete { key: key(OWNER)? };
            self.commit_if(owned.batch()?.then(gone), now).await?;
        }
        Ok(())
    }

    /// Tells the other gateways what the route is doing.
    pub(crate) async fn tell(
        &self,
        owned: &Owned,
        told: &Told,
        now: Timestamp,
    ) -> Result<(), RouteError> {
        let put =
            Operation::Put { key: key(STATUS)?, value: encode(&owned.name, told)?, expires: None };
        self.commit_if(owned.batch()?.then(put), now).await.map(drop)
    }

    /// Stores a batch; `false` if what it expects does not hold, as when the route is not owned any more.
    pub(crate) async fn commit_if(&self, batch: Batch, now: Timestamp) -> Result<bool, RouteError> {
        let outcome = self.store().commit(batch, Ack::Safe, now).await?;
        Ok(matches!(outcome, Outcome::Committed(_)))
    }

    async fn write_owner(
        &self,
        batch: Batch,
        name: &RouteName,
        owner: Option<(GatewayId, &str)>,
        created: u64,
        now: Timestamp,
    ) -> Result<Option<Owned>, RouteError> {
        let written = WrittenOwner {
            gateway: owner.map(|(gateway, _)| gateway.to_string()),
            called: owner.map(|(_, called)| called.to_owned()).unwrap_or_default(),
            created,
        };
        let put =
            Operation::Put { key: key(OWNER)?, value: encode(name, &written)?, expires: None };
        match self.store().commit(batch.then(put), Ack::Safe, now).await? {
            Outcome::Conflict(_) => Ok(None),
            Outcome::Committed(applied) => match applied.last() {
                Some(Applied::Row(revision)) => {
                    Ok(Some(Owned { name: name.clone(), created, revision: *revision }))
                }
                _ => Err(RouteError::Damaged(name.to_string())),
            },
        }
    }

    /// The member rows of every gateway.
    pub(crate) async fn members(&self, now: Timestamp) -> Result<Vec<MemberRow>, RouteError> {
        let rows = self.rows(&members()?, KeyRange::all(), now).await?;
        let member = |(key, row): &(Key, Row)| {
            let id = GatewayId(key.as_bytes().as_ref().try_into().ok()?);
            let written: WrittenMember = serde_json::from_slice(row.value.as_bytes()?).ok()?;
            Some(MemberRow { id, revision: row.revision, has_left: written.has_left })
        };
        // A row that can't be read keeps nobody alive.
        Ok(rows.iter().filter_map(member).collect())
    }

    /// Says that a gateway lives, or has stopped everything.
    pub(crate) async fn beat(
        &self,
        id: GatewayId,
        called: &str,
        has_left: bool,
        now: Timestamp,
    ) -> Result<(), RouteError> {
        let written = WrittenMember { called: called.to_owned(), has_left };
        let value = serde_json::to_vec(&written)
            .map_err(|_| RouteError::Damaged(MEMBERS.to_owned()))?
            .into();
        let put = Operation::Put { key: key(&id.0)?, value, expires: None };
        // Not to be lost by a crash of the store: who looks again sees whether it came back.
        self.store().commit(Batch::new(members()?).then(put), Ack::Accepted, now).await?;
        Ok(())
    }

    /// Removes the row of a dead gateway, unless it was written again.
    pub(crate) async fn bury(
        &self,
        id: GatewayId,
        revision: Revision,
        now: Timestamp,
    ) -> Result<(), RouteError> {
        let key = key(&id.0)?;
        let batch = Batch::new(members()?)
            .expect(Expectation::Unchanged(key.clone(), revision))
            .then(Operation::Delete { key });
        self.store().commit(batch, Ack::Accepted, now).await?;
        Ok(())
    }
}

fn members() -> Result<Partition, RouteError> {
    Partition::new(MEMBERS).map_err(|error| RouteError::Damaged(error.to_string()))
}

fn read_owner(name: &RouteName, row: &Row) -> Result<Owner, RouteError> {
    let WrittenOwner { gateway, called, created } = decode(name, row)?;
    let gateway = gateway.map(|id| id.parse()).transpose();
    let gateway = gateway.map_err(|_| RouteError::Damaged(name.to_string()))?;
    Ok(Owner { gateway, called, created, revision: row.revision })
}

fn encode(name: &RouteName, written: &impl Serialize) -> Result<Bytes, RouteError> {
    serde_json::to_vec(written).map(Bytes::from).map_err(|_| RouteError::Damaged(name.to_string()))
}

fn decode<T: DeserializeOwned>(name: &RouteName, row: &Row) -> Result<T, RouteError> {
    let read = row.value.as_bytes().and_then(|bytes| serde_json::from_slice(bytes).ok());
    read.ok_or_else(|| RouteError::Damaged(name.to_string()))
}
