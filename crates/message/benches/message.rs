//! Ids as texts, scopes against messages.
#![allow(missing_docs, reason = "criterion makes undocumented items")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use buswire_message::{BusName, MessageId, Scope, Sequence, Subject, Timestamp};
use criterion::{Criterion, criterion_group, criterion_main};

fn ids(criterion: &mut Criterion) {
    let at = Timestamp::parse("2024-03-09T14:05:21.337Z").unwrap();
    let id = MessageId::from_sequence(Sequence::at(at).next(at).unwrap());
    let text = id.to_string();
    let mut group = criterion.benchmark_group("id");
    group.bench_function("print", |bencher| bencher.iter(|| black_box(id).to_string()));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| black_box(text.as_str()).parse::<MessageId>().unwrap());
    });
    group.finish();
}

fn scopes(criterion: &mut Criterion) {
    let bus: BusName = "example.com".parse().unwrap();
    let subject = Subject {
        bus: &bus,
        channel: "Zr4uQm81yTnE0aWc6XkLp3GdVb7JhS2o",
        kind: "identity/login",
        source: "https://s.example/",
        sticky: true,
        message_url: None,
    };
    let mut group = criterion.benchmark_group("scope");
    for (label, text) in [
        ("match bus and channel", "bus:example.com channel:Zr4uQm81yTnE0aWc6XkLp3GdVb7JhS2o"),
        (
            "match four fields",
            "bus:example.com type:identity/login sticky:true source:https://s.example/",
        ),
        ("refuse a type", "bus:example.com type:chat/message"),
    ] {
        let scope: Scope = text.parse().unwrap();
        group.bench_function(label, |bencher| {
            bencher.iter(|| black_box(&scope).matches(black_box(&subject)));
        });
    }
    group.bench_function("parse", |bencher| {
        bencher.iter(|| black_box("bus:example.com channel:abc type:x").parse::<Scope>().unwrap());
    });
    group.finish();
}

criterion_group!(benches, ids, scopes);
criterion_main!(benches);
