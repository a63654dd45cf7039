//! Grantors: capabilities that mint capabilities (Belay §20.2, §20.5).
//!
//! Never here: making the grant; see `grant`.

use std::{collections::BTreeSet, sync::Arc};

use buswire_message::SecretHash;

use crate::{
    error::BcapError,
    grants::{Chain, Link, Regrant},
    limits::{Bounds, Limits, NameSet, texts},
    method::Method,
    names::Kind,
    request::{GrantRequest, GrantorRequest, IdForm, RequestError},
    server::{
        CapServer, Designated, Inner,
        grant::{GrantError, Granted},
    },
    target::{TargetError, closed},
    wire::{Bcap, BcapValue, Members, WireLimits, encode_bare},
};

/// What a grantor may grant.
///
/// `{"kinds", "targets"?, "channels"?, "limits"?, "detached"?, "regrant"?, "form"?}`. `kinds` lists
/// kinds, or `"*"` for all but `grantor`; `targets` fixes target members per kind; `channels` confines
/// to channels; `limits` is a ceiling for every grant; `detached` allows grants that outlive the
/// grantor; `regrant` says what a regrant gives: `"rotate"` (the default) a new URL, `"stable"` the
/// same; `form` what ids look like: `"token"` (the default) or `"uuid"`, which can't be stable.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GrantorTarget {
    kinds: BTreeSet<String>,
    targets: Members,
    channels: Option<NameSet>,
    limits: Limits,
    detached: bool,
    stable: bool,
    form: IdForm,
}

const MEMBERS: [&str; 7] =
    ["kinds", "targets", "channels", "limits", "detached", "regrant", "form"];

const EVERY_KIND: &str = "*";

impl GrantorTarget {
    pub(super) fn parse(target: &BcapValue) -> Result<Self, TargetError> {
        let members = closed(target, &MEMBERS)?;
        let kinds = members.get("kinds").ok_or(TargetError::Missing("kinds"))?;
        let is_kind = |text: &&str| *text == EVERY_KIND || text.parse::<Kind>().is_ok();
        let kinds = texts(kinds).filter(|kinds| kinds.iter().all(is_kind));
        let kinds = kinds.ok_or(TargetError::BadMember("kinds"))?;
        let targets = match members.get("targets") {
            None => Members::new(),
            Some(value) => {
                let targets = value
                    .as_object()
                    .filter(|targets| targets.iter().all(|(_, fixed)| fixed.as_object().is_some()));
                targets.ok_or(TargetError::BadMember("targets"))?.clone()
            }
        };
        let channels = match members.get("channels") {
            None => None,
            Some(value) => {
                let names = texts(value).and_then(NameSet::parse);
                Some(names.ok_or(TargetError::BadMember("channels"))?)
            }
        };
        let limits = members.get("limits").map(Limits::parse).transpose();
        let detached = members.get("detached").map_or(Some(false), BcapValue::as_bool);
        let stable = match members.get("regrant").map(BcapValue::as_str) {
            None | Some(Some("rotate")) => false,
            Some(Some("stable")) => true,
            Some(_) => return Err(TargetError::BadMember("regrant")),
        };
        let form = members.get("form");
        let form = form.map_or(Some(IdForm::Token), |form| IdForm::parse(form.as_str()?));
        let form = form.filter(|form| !stable || *form == IdForm::Token);
        Ok(Self {
            kinds: kinds.into_iter().map(str::to_owned).collect(),
            targets,
            channels,
            limits: limits.map_err(|_| TargetError::BadMember("limits"))?.unwrap_or_default(),
            detached: detached.ok_or(TargetError::BadMember("detached"))?,
            stable,
            form: form.ok_or(TargetError::BadMember("form"))?,
        })
    }

    fn to_value(&self) -> BcapValue {
        let texts = |texts: Vec<String>| {
            BcapValue::from(texts.into_iter().map(BcapValue::from).collect::<Vec<_>>())
        };
        let mut members = Members::new().with("kinds", texts(self.kinds.iter().cloned().collect()));
        if !self.targets.is_empty() {
            members.set("targets", self.targets.clone());
        }
        if let Some(channels) = &self.channels {
            members.set("channels", texts(channels.to_texts()));
        }
        members.set("limits", self.limits.to_value());
        let regrant = if self.stable { "stable" } else { "rotate" };
        if self.form != IdForm::default() {
            members.set("form", self.form.as_str());
        }
        members.with("detached", self.detached).with("regrant", regrant).into()
    }

    /// Whether a regrant gives the same URL again.
    pub(super) const fn is_stable(&self) -> bool {
        self.stable
    }

    fn admits_kind(&self, kind: &str) -> bool {
        let by_star = kind != Kind::GRANTOR && self.kinds.contains(EVERY_KIND);
        by_star || self.kinds.contains(kind)
    }

    // Members that the grantor fixes for a kind must be as it says.
    fn admits_target(&self, kind: &str, target: &BcapValue) -> bool {
        let Some(fixed) = self.targets.get(kind).and_then(BcapValue::as_object) else {
            return true;
        };
        let Some(members) = target.as_object() else { return false };
        fixed.iter().all(|(name, value)| members.get(name) == Some(value))
    }

    /// A grantor that this one may grant: what was asked for, under the ceilings of this one; `None`
    /// if it goes beyond.
    fn narrowed(&self, asked: &Self) -> Option<Self> {
        let kinds_within = asked.kinds.iter().all(|kind| match kind.as_str() {
            EVERY_KIND => self.kinds.contains(EVERY_KIND),
            kind => self.admits_kind(kind),
        });
        let mut targets = asked.targets.clone();
        for (kind, fixed) in self.targets.iter() {
            let mut merged = fixed.as_object().cloned().unwrap_or_default();
            let own = asked.targets.get(kind).and_then(BcapValue::as_object);
            for (name, value) in own.into_iter().flat_map(Members::iter) {
                if merged.get(name).is_some_and(|fixed| fixed != value) {
                    return None;
                }
                merged.set(name, value.clone());
            }
            targets.set(kind, merged);
        }
        let channels = match (&self.channels, &asked.channels) {
            (Some(own), Some(asked)) if !own.covers(asked) => return None,
            (_, Some(asked)) => Some(asked.clone()),
            (own, None) => own.clone(),
        };
        let within = kinds_within && (self.detached || !asked.detached);
        within.then(|| Self {
            kinds: asked.kinds.clone(),
            targets,
            channels,
            limits: asked.limits.under(&self.limits),
            detached: asked.detached,
            stable: asked.stable,
            form: asked.form,
        })
    }
}

impl Inner {
    /// Serves an invocation of a grantor.
    pub(super) async fn invoke_grantor(
        self: &Arc<Self>,
        chain: &Chain,
        bounds: &Bounds,
        method: Method,
        data: Option<BcapValue>,
    ) -> Result<Option<BcapValue>, BcapError> {
        let target =
            GrantorTarget::parse(&chain.grant().target).map_err(|_| BcapError::Internal)?;
        if method == Method::Get {
            return Ok(Some(target.to_value()));
        }
        let request = data.as_ref().ok_or(BcapError::BadRequest)?;
        let request = GrantorRequest::parse(request).map_err(|_| BcapError::BadRequest)?;
        let granted = self.grant_below(chain, bounds, &target, request).await;
        granted.map(|granted| Some(granted.into_value())).map_err(|error| {
            if let GrantError::Store(error) = &error {
                tracing::warn!(error = %error, "a grant could not be stored");
            }
            error.to_bcap_error()
        })
    }

    async fn grant_below(
        self: &Arc<Self>,
        chain: &Chain,
        bounds: &Bounds,
        ceiling: &GrantorTarget,
        request: GrantorRequest,
    ) -> Result<Granted, GrantError> {
        let GrantorRequest { mut grant, regrant, detached } = request;
        self.check_request(&mut grant).await?;
        self.check_within(ceiling, &mut grant)?;
        if detached && regrant {
            // What hangs on nothing has no grantor that could know it again.
            return Err(RequestError::BadMember("regrant").into());
        }
        if detached && !ceiling.detached {
            return Err(GrantError::Forbidden);
        }
        grant.limits = grant.limits.under(&ceiling.limits);
        grant.form = ceiling.form;
        let bounds = bounds.reach().intersection(grant.limits.bounds());
        if detached {
            // It outlives the grantor but not what the grantor was limited to.
            grant.limits = grant.limits.under(&Limits::from(bounds));
            return CapServer(Arc::clone(self)).grant(grant).await;
        }
        self.grant_child(chain, grant, bounds, Again { regrant, stable: ceiling.stable }).await
    }

    /// Makes a capability that forwards to `cap`, for whoever holds `chain` (Belay §23.7).
    pub(super) async fn forward(
        self: &Arc<Self>,
        chain: &Chain,
        bounds: &Bounds,
        name: &str,
        cap: &Bcap,
        fresh: bool,
    ) -> Result<Granted, GrantError> {
        let grant = GrantRequest {
            kind: Kind::url(),
            target: Members::new().with("url", cap.clone()).into(),
            // As what was asked for, so that a stable one is found again only within the same limits.
            limits: Limits::from(bounds.through()),
            label: name.parse().unwrap_or_default(),
            form: IdForm::default(),
        };
        self.grant_child(chain, grant, bounds.through(), Again { regrant: !fresh, stable: !fresh })
            .await
    }

    async fn grant_child(
        self: &Arc<Self>,
        chain: &Chain,
        grant: GrantRequest,
        bounds: Bounds,
        Again { regrant, stable }: Again,
    ) -> Result<Granted, GrantError> {
        let fingerprint = fingerprint(chain, &grant)?;
        let (above, link) = (Self::below_grantor(chain), Link::Granted);
        let key = self.config.regrant_key.as_ref().filter(|_| stable);
        let (mut new, reuse) = if let Some(key) = key {
            let seeds = key.mint(&*self.entropy);
            let ids = (key.id(&seeds.cap), key.id(&seeds.control));
            let mut new = self.new_grant(grant, link, above, bounds, ids);
            new.grant.seeds = Some(seeds);
            (new, Regrant::Reuse { version: key.version() })
        } else {
            (self.mint(grant, link, above, bounds), Regrant::Rotate)
        };
        let regrant = if regrant { reuse } else { Regrant::No };
        new.grant.fingerprint = Some(fingerprint);
        self.insert_child(new, regrant, &chain.grant().handle).await
    }

    fn check_within(
        &self,
        ceiling: &GrantorTarget,
        grant: &mut GrantRequest,
    ) -> Result<(), GrantError> {
        let kind = grant.kind.as_str();
        if !ceiling.admits_kind(kind) || !ceiling.admits_target(kind, &grant.target) {
            return Err(GrantError::Forbidden);
        }
        if kind == Kind::GRANTOR {
            let asked = GrantorTarget::parse(&grant.target)
                .map_err(|error| GrantError::Request(error.into()))?;
            let narrowed = ceiling.narrowed(&asked).ok_or(GrantError::Forbidden)?;
            grant.target = narrowed.to_value();
            return Ok(());
        }
        let Some(channels) = &ceiling.channels else { return Ok(()) };
        let designated = self.designated(&grant.kind, &Arc::new(grant.target.clone()));
        let Designated { operation, target } = designated.ok_or(GrantError::UnknownKind)?;
        let reach = operation.reach(&target);
        if reach.is_some_and(|reach| channels.covers(&reach)) {
            Ok(())
        } else {
            Err(GrantError::Forbidden)
        }
    }
}

/// What becomes of a grant that was made for the same before.
#[derive(Clone, Copy)]
struct Again {
    /// It is answered again, or dies.
    regrant: bool,
    /// The URL stays the same.
    stable: bool,
}

// Names what a regrant replaces: the same grantor, kind, target, limits and label (Belay §20.7).
fn fingerprint(chain: &Chain, grant: &GrantRequest) -> Result<SecretHash, GrantError> {
    let parts = Members::new()
        .with("grantor", chain.grant().handle.as_str())
        .with("kind", grant.kind.as_str())
        .with("target", grant.target.clone())
        .with("limits", grant.limits.to_value())
        .with("label", grant.label.as_str());
    let limits = WireLimits { depth_max: 100, caps_max: usize::MAX };
    let text = encode_bare(&parts.into(), limits).map_err(|_| GrantError::Forbidden)?;
    Ok(SecretHash::of(&text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(json: serde_json::Value) -> GrantorTarget {
        GrantorTarget::parse(&BcapValue::from_json(json).unwrap()).unwrap()
    }

    #[test]
    fn a_grantor_of_a_grantor_is_within_it() {
        // Rule: belay 20.5 — requested authority must be within the grantor's
        let outer = target(json!({
            "kinds": ["bus.read", "grantor"], "channels": ["a.*"],
            "targets": {"bus.read": {"bus": "b1"}}, "limits": {"maxBytes": 10},
        }));
        let inner = outer.narrowed(&target(json!({"kinds": ["bus.read"]}))).unwrap();
        assert_eq!(inner.channels, outer.channels);
        assert_eq!(inner.targets, outer.targets);
        assert_eq!(inner.limits, outer.limits);
        for beyond in [
            json!({"kinds": ["bus.publish"]}),
            json!({"kinds": ["*"]}),
            json!({"kinds": ["bus.read"], "channels": ["b"]}),
            json!({"kinds": ["bus.read"], "detached": true}),
            json!({"kinds": ["bus.read"], "targets": {"bus.read": {"bus": "b2"}}}),
        ] {
            assert_eq!(outer.narrowed(&target(beyond.clone())), None, "{beyond}");
        }
    }

    #[test]
    fn every_kind_does_not_mean_grantors() {
        let all = target(json!({"kinds": ["*"]}));
        assert!(all.admits_kind("bus.read") && !all.admits_kind("grantor"));
    }
}
