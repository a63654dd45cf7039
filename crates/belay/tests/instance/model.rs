//! Random sequences of operations on a server against a plain model of it.

use std::collections::BTreeMap;

use buswire_belay::{
    BcapValue,
    instance::{CapServer, Capability, Failure},
};
use proptest::prelude::*;

use super::{constant, now, restarted, server};

/// One thing that happens. Indexes are taken modulo the number of grants there are.
#[derive(Clone, Debug)]
enum Op {
    Grant(u64),
    /// A plain grant of a capability.
    Pass(usize),
    Wrap(usize),
    Named(u8, u64),
    /// Later items of a name answer their argument plus this times 1000.
    Handler(u8, u64),
    Revoke(usize),
    RevokeNamed(u8, u64),
    RevokeAll,
    Invoke(usize),
    Restart,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0_u64..100).prop_map(Op::Grant),
        2 => any::<usize>().prop_map(Op::Pass),
        3 => any::<usize>().prop_map(Op::Wrap),
        3 => (0_u8..3, 0_u64..3).prop_map(|(name, arg)| Op::Named(name, arg)),
        2 => (0_u8..3, 1_u64..9).prop_map(|(name, version)| Op::Handler(name, version)),
        3 => any::<usize>().prop_map(Op::Revoke),
        1 => (0_u8..3, 0_u64..3).prop_map(|(name, arg)| Op::RevokeNamed(name, arg)),
        1 => Just(Op::RevokeAll),
        4 => any::<usize>().prop_map(Op::Invoke),
        2 => Just(Op::Restart),
    ]
}

#[derive(Clone, Debug)]
enum Kind {
    Plain(u64),
    Passed(usize),
    Wrapped(usize),
    /// Name, argument, and the version of the handler that made its item.
    Named(u8, u64, Option<u64>),
}

/// What each grant ever made is now; `None` if it is gone.
#[derive(Debug, Default)]
struct Model {
    grants: Vec<Option<Kind>>,
    handlers: BTreeMap<u8, u64>,
}

impl Model {
    /// What an invocation gives that may go through `hops` more.
    fn invoke(&mut self, at: usize, hops: usize) -> Option<u64> {
        let hops = hops.checked_sub(1)?;
        match self.grants.get_mut(at)?.as_mut()? {
            Kind::Plain(value) => Some(*value),
            Kind::Passed(inner) | Kind::Wrapped(inner) => {
                let inner = *inner;
                self.invoke(inner, hops)
            }
            Kind::Named(name, arg, made) => {
                let handler = self.handlers.get(name).copied();
                *made = made.or(handler);
                Some(made.as_ref()? * 1000 + *arg)
            }
        }
    }

    fn restart(&mut self) {
        self.handlers.clear();
        for grant in &mut self.grants {
            match grant {
                Some(Kind::Plain(_) | Kind::Passed(_)) => *grant = None,
                Some(Kind::Named(_, _, made)) => *made = None,
                Some(Kind::Wrapped(_)) | None => {}
            }
        }
    }
}

struct World {
    server: CapServer,
    caps: Vec<Capability>,
    seed: u64,
}

impl World {
    /// Does it to the server and to the model.
    fn apply(&mut self, op: &Op, model: &mut Model) {
        let count = self.caps.len();
        let some = |at: usize| at.checked_rem(count);
        match *op {
            Op::Grant(value) => self.push(model, Kind::Plain(value)),
            Op::Pass(at) => some(at).into_iter().for_each(|at| self.push(model, Kind::Passed(at))),
            Op::Wrap(at) => some(at).into_iter().for_each(|at| self.push(model, Kind::Wrapped(at))),
            Op::Named(name, arg) => self.push(model, Kind::Named(name, arg, None)),
            Op::Handler(name, version) => {
                model.handlers.insert(name, version);
                self.server.set_named_handler(name.to_string(), move |_, args| {
                    let arg = args.first().and_then(BcapValue::as_u64).ok_or("no argument")?;
                    Ok::<_, &str>(constant(version * 1000 + arg).into())
                });
            }
            Op::Revoke(at) => {
                if let Some(at) = some(at) {
                    self.server.revoke(&self.caps[at]);
                    model.grants[at] = None;
                }
            }
            Op::RevokeNamed(name, arg) => {
                self.server.revoke_named(&name.to_string(), |args| args == [arg.into()]);
                for grant in &mut model.grants {
                    if matches!(grant, Some(Kind::Named(n, a, _)) if (*n, *a) == (name, arg)) {
                        *grant = None;
                    }
                }
            }
            Op::RevokeAll => {
                self.server.revoke_all();
                model.grants.fill(None);
            }
            Op::Invoke(at) => some(at).into_iter().for_each(|at| self.check(at, model)),
            Op::Restart => {
                self.seed += 1;
                self.server = restarted(&self.server, self.seed);
                let again = |cap: &Capability| self.server.restore(cap.serialize().clone());
                self.caps = self.caps.iter().map(again).collect();
                model.restart();
            }
        }
    }

    fn push(&mut self, model: &mut Model, kind: Kind) {
        let cap = match kind {
            Kind::Plain(value) => self.server.grant(constant(value)),
            Kind::Passed(inner) => self.server.grant(self.caps[inner].clone()),
            Kind::Wrapped(inner) => self.server.wrap(&self.caps[inner]),
            Kind::Named(name, arg, _) => {
                self.server.grant_named(name.to_string(), vec![arg.into()])
            }
        };
        self.caps.push(cap.unwrap());
        model.grants.push(Some(kind));
    }

    fn check(&self, at: usize, model: &mut Model) {
        let expected = match model.invoke(at, 32) {
            Some(value) => Ok(Some(value.into())),
            None => Err(Failure::of_status(404).into()),
        };
        assert_eq!(now(&self.caps[at], "GET", None), expected);
    }
}

proptest! {
    #[test]
    fn a_server_does_what_the_model_says(ops in proptest::collection::vec(any_op(), 1..60)) {
        // Rule: belay 6 — grants, wraps, revocations, names and restarts in any order
        let mut world = World { server: server(1), caps: Vec::new(), seed: 1 };
        let mut model = Model::default();
        for op in &ops {
            world.apply(op, &mut model);
        }
        for at in 0..world.caps.len() {
            world.check(at, &mut model);
        }
    }
}
