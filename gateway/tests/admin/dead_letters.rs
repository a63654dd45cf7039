//! Dead letters whose sink hangs, from the command line.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use buswire::admin::{
    AdminLimits,
    ports::{AdminError, DeadLetterAdmin, DeadLetterPage, DeadLetterView, Ports},
};
use buswire_message::{Message, MessageId};
use futures::future::BoxFuture;

use crate::{
    commands::run,
    fakes::{AT, Fake, done},
    support::Server,
};

const FIRST: &str = "2024-03-09T14:05:21.337Z-0000000000";
const HANGS: &str = "2024-03-09T14:05:21.338Z-0000000000";
const LAST: &str = "2024-03-09T14:05:21.339Z-0000000000";

/// Three dead letters. The sink takes the first and the last, and never answers the one between.
struct Letters(BTreeMap<MessageId, DeadLetterView>);

impl Letters {
    fn new() -> Self {
        let letter = |id: &str| DeadLetterView {
            message: Message {
                id: id.parse().unwrap(),
                bus: "shop.example".parse().unwrap(),
                channel: "c".parse().unwrap(),
                source: "https://shop.example/".parse().unwrap(),
                kind: "t".parse().unwrap(),
                sticky: false,
                expires_at: AT,
                payload: buswire_message::Payload::parse(&"1".into()).unwrap(),
                headers: buswire_message::Headers::default(),
            },
            attempts: 1,
            failures: Vec::new(),
            given_up_at: AT,
        };
        let letters = [FIRST, HANGS, LAST].map(letter);
        Self(letters.into_iter().map(|letter| (letter.message.id, letter)).collect())
    }
}

impl DeadLetterAdmin for Letters {
    fn list<'a>(
        &'a self,
        _route: &'a str,
        _after: Option<MessageId>,
        _limit: usize,
    ) -> BoxFuture<'a, Result<DeadLetterPage, AdminError>> {
        let letters = self.0.values().cloned().collect();
        done(Ok(DeadLetterPage { letters, ..DeadLetterPage::default() }))
    }

    fn get<'a>(
        &'a self,
        _route: &'a str,
        id: MessageId,
    ) -> BoxFuture<'a, Result<DeadLetterView, AdminError>> {
        done(Ok(self.0[&id].clone()))
    }

    fn replay<'a>(
        &'a self,
        _route: &'a str,
        id: MessageId,
    ) -> BoxFuture<'a, Result<Option<String>, AdminError>> {
        if id.to_string() == HANGS { Box::pin(std::future::pending()) } else { done(Ok(None)) }
    }

    fn drop_one<'a>(
        &'a self,
        _route: &'a str,
        _id: MessageId,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        done(Ok(()))
    }
}

#[tokio::test]
async fn a_sink_that_hangs_costs_one_answer_of_a_replay() {
    let limits =
        AdminLimits { call_time_max: Duration::from_millis(200), ..AdminLimits::default() };
    let ports = Ports { dead_letters: Some(Arc::new(Letters::new())), ..Fake::ports() };
    let server = Server::with(limits, ports).await;
    let create = ["route", "create", "r", "--scope", "bus:shop.example", "--sink", "mdp:s"];
    run(&server, &create).await.unwrap();
    let url = server.url();
    let token = crate::support::TOKEN;
    let replay = ["dead-letter", "replay", "r", "--all", "--admin", &url, "--token", token];
    let (told, code) = crate::commands::told(&replay).await;
    assert_eq!(code, std::process::ExitCode::from(1));
    assert_eq!(
        told,
        format!(
            "{FIRST} delivered\n{HANGS} took too long; it may have been delivered\n\
             {LAST} delivered\n2 delivered, 1 failed again\n"
        )
    );
}
