//! Ids of requests: a request that comes again is answered as the first time, and changes nothing.
//!
//! A row `request/HASH` of the caller and the id says what the request was and what was answered. Rows are
//! kept for [`KEPT`], and only for what was made, or may have been: there are no more than an administrator
//! may make in that time. Never here: committing.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use buswire_message::{SecretHash, Timestamp};
use buswire_store::{Batch, Expectation, Key, Operation, Row, StoreError};
use serde::{Deserialize, Serialize};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(86_400);

/// The id of a request, and what the request was. Holds hashes only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    id: String,
    request: String,
}

/// Why an id can't be taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// The same request was answered so.
    Answered(Vec<u8>),
    /// The same request was answered with a secret, which is not kept.
    Secret,
    /// The same request is under way.
    UnderWay,
    /// The same request was made, and nobody knows what came of it.
    Unknown,
    /// Another request has this id.
    ByAnother,
}

/// What is kept for whoever sends a request again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept<'a> {
    /// Its answer.
    Answer(&'a [u8]),
    /// That its answer held a secret.
    Secret,
    /// That nobody knows what came of it.
    Unknown,
    /// Nothing: it changed nothing, and its id is free again.
    Nothing,
}

/// What is stored of an id.
#[derive(Serialize, Deserialize)]
struct Taken {
    request: String,
    state: State,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    UnderWay,
    Secret,
    Unknown,
    /// Base64.
    Answered(String),
}

impl Claim {
    /// The id `id` of `caller`, for a request of `method`.
    pub(crate) fn new(caller: &str, id: &str, method: &str, request: &[u8]) -> Self {
        let hash = |parts: [&[u8]; 2]| {
            let [first, second] = parts.map(|part| BASE64.encode(part));
            BASE64.encode(SecretHash::of(&format!("{first}.{second}")).as_bytes())
        };
        let id = hash([caller.as_bytes(), id.as_bytes()]);
        Self { id, request: hash([method.as_bytes(), request]) }
    }

    pub(super) fn key(&self) -> Result<Key, StoreError> {
        super::key(&format!("request/{}", self.id))
    }

    fn put(&self, state: State, now: Timestamp) -> Result<Operation, StoreError> {
        let value = super::json(&Taken { request: self.request.clone(), state })?;
        Ok(Operation::Put { key: self.key()?, value, expires: Some(now.saturating_add(KEPT)) })
    }

    /// `batch`, which is not committed if the id is taken.
    pub(super) fn take(&self, batch: Batch, now: Timestamp) -> Result<Batch, StoreError> {
        let batch = batch.expect(Expectation::Absent(self.key()?));
        Ok(batch.then(self.put(State::UnderWay, now)?))
    }

    /// `batch`, which keeps the answer, or frees the id if there is none.
    pub(super) fn settle(
        &self,
        batch: Batch,
        answer: Kept<'_>,
        now: Timestamp,
    ) -> Result<Batch, StoreError> {
        Ok(batch.then(match answer {
            Kept::Answer(answer) => self.put(State::Answered(BASE64.encode(answer)), now)?,
            Kept::Secret => self.put(State::Secret, now)?,
            Kept::Unknown => self.put(State::Unknown, now)?,
            Kept::Nothing => Operation::Delete { key: self.key()? },
        }))
    }

    /// Why the id is taken, by what is stored of it.
    pub(super) fn found(&self, row: Option<&Row>) -> Result<Claimed, StoreError> {
        // It was freed a moment ago.
        let Some(row) = row else { return Ok(Claimed::UnderWay) };
        let taken: Taken = super::parsed(row)?;
        if taken.request != self.request {
            return Ok(Claimed::ByAnother);
        }
        Ok(match taken.state {
            State::UnderWay => Claimed::UnderWay,
            State::Secret => Claimed::Secret,
            State::Unknown => Claimed::Unknown,
            State::Answered(text) => {
                Claimed::Answered(BASE64.decode(text).map_err(super::damaged)?)
            }
        })
    }
}
