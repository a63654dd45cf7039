//! Tokens, grants, clients, buses and channels against a model, under any sequence of operations.
//!
//! [`Op`] is the one vocabulary; [`exercise`] runs it against the door, or two, over a store in memory and
//! against [`Model`], which says from first principles which tokens are good. After every operation
//! every token that was ever issued is checked.

mod model;
mod world;

use proptest::prelude::*;

use self::{model::Model, world::World};

/// How many clients and buses there are; indices are taken modulo these.
const CLIENTS: usize = 2;
const BUSES: usize = 2;

/// What can happen to the state of the door. Tokens, grants and channels are counted back from the
/// newest, see [`back`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// Mints a channel on a bus with its tokens.
    OpenVisit { bus: usize },
    /// Presents any token as an anonymous refresh token.
    RefreshVisit { token: usize },
    /// Issues tokens to a client.
    IssueClient { client: usize },
    /// Presents any token as a refresh token of a client.
    RefreshClient { client: usize, token: usize },
    /// Grants a client one bus, or both.
    Grant { client: usize, bus: usize, both: bool },
    /// Revokes a grant.
    RevokeGrant { grant: usize },
    /// Removes a bus from a client's grants.
    RevokeBus { client: usize, bus: usize },
    /// Creates a bus or keeps it.
    PutBus { bus: usize },
    /// Deletes a bus.
    DeleteBus { bus: usize },
    /// Creates or replaces a client.
    PutClient { client: usize },
    /// Deletes a client.
    DeleteClient { client: usize },
    /// Lets a channel live longer, as a post does.
    KeepChannel { channel: usize, seconds: u64 },
    /// Lets time pass.
    Advance { seconds: u64 },
}

/// The default of [`Limits::cached_for`](crate::Limits::cached_for), in seconds.
const CACHED_FOR: u64 = 5;

/// Which of `len` things is meant by `at`, counted back from the newest and around among the newest
/// eight, so that operations meet; `None` if there is none.
fn back(at: usize, len: usize) -> Option<usize> {
    let newest = len.checked_sub(1)?;
    Some(newest - at % len.min(8))
}

/// Two buses and two clients with grants: without them nothing much can happen.
const BEGINNING: [Op; 6] = [
    Op::PutBus { bus: 0 },
    Op::PutBus { bus: 1 },
    Op::PutClient { client: 0 },
    Op::PutClient { client: 1 },
    Op::Grant { client: 0, bus: 0, both: true },
    Op::Grant { client: 1, bus: 1, both: false },
];

fn any_op() -> impl Strategy<Value = Op> {
    let (client, bus) = (0..CLIENTS, 0..BUSES);
    let token = 0_usize..8;
    prop_oneof![
        4 => bus.clone().prop_map(|bus| Op::OpenVisit { bus }),
        6 => token.clone().prop_map(|token| Op::RefreshVisit { token }),
        4 => client.clone().prop_map(|client| Op::IssueClient { client }),
        9 => (client.clone(), token).prop_map(|(client, token)| Op::RefreshClient { client, token }),
        3 => (client.clone(), bus.clone(), any::<bool>())
            .prop_map(|(client, bus, both)| Op::Grant { client, bus, both }),
        1 => (0_usize..8).prop_map(|grant| Op::RevokeGrant { grant }),
        1 => (client.clone(), bus.clone()).prop_map(|(client, bus)| Op::RevokeBus { client, bus }),
        2 => bus.clone().prop_map(|bus| Op::PutBus { bus }),
        1 => bus.prop_map(|bus| Op::DeleteBus { bus }),
        2 => client.clone().prop_map(|client| Op::PutClient { client }),
        1 => client.prop_map(|client| Op::DeleteClient { client }),
        3 => (0_usize..8, 0_u64..20_000)
            .prop_map(|(channel, seconds)| Op::KeepChannel { channel, seconds }),
        3 => prop_oneof![0_u64..10, 0_u64..8000].prop_map(|seconds| Op::Advance { seconds }),
    ]
}

/// Runs operations against the door and the model and compares them after each. A door remembers what it
/// has read for `cached_for`: what was done at another one counts after that.
async fn exercise(seed: u64, doors: usize, ops: &[Op]) {
    let (mut world, mut model) = (World::new(seed, doors).await, Model::default());
    for op in ops {
        let expected = model.apply(*op);
        world.apply(*op, expected).await;
        if doors > 1 {
            let settle = Op::Advance { seconds: CACHED_FOR };
            let expected = model.apply(settle);
            world.apply(settle, expected).await;
        }
        world.check_against(&model).await;
    }
}

fn run(seed: u64, doors: usize, ops: &[Op]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(exercise(seed, doors, ops));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn tokens_are_good_exactly_as_long_as_what_they_depend_on(
        seed: u64,
        ops in proptest::collection::vec(any_op(), 1..80),
    ) {
        // Rule: backplane §8.4 — a token is good exactly while its client, grants, bus and chain are
        run(seed, 1, &[BEGINNING.as_slice(), &ops].concat());
    }

    #[test]
    fn tokens_are_good_at_every_gateway_whichever_did_what_they_depend_on(
        seed: u64,
        ops in proptest::collection::vec(any_op(), 1..60),
    ) {
        // Rule: backplane §8.4 — with several gateways on one store, a token is as good at each after 5 s
        run(seed, 2, &[BEGINNING.as_slice(), &ops].concat());
    }
}

#[test]
fn a_used_refresh_token_ends_the_chain_for_good() {
    let (client, bus) = (0, 0);
    run(
        1,
        1,
        &[
            Op::PutBus { bus },
            Op::PutClient { client },
            Op::Grant { client, bus, both: false },
            Op::IssueClient { client },
            Op::RefreshClient { client, token: 0 },
            // The one that was used, then the one that came from it.
            Op::RefreshClient { client, token: 2 },
            Op::RefreshClient { client, token: 0 },
        ],
    );
}
