//! `push.notify`: PUT or POST a version, or nothing to let the gateway choose one.

use buswire_belay::{
    BcapError, BcapValue, Invocation, Members, Method, MethodSet, Operation, PushNotifyTarget,
    TargetError,
};
use buswire_message::Version;
use buswire_simplepush::{NotifyError, SimplePush};
use futures::future::BoxFuture;

/// Notifies a push endpoint.
#[derive(Debug)]
pub(crate) struct PushNotify {
    push: SimplePush,
}

impl PushNotify {
    pub(crate) const fn new(push: SimplePush) -> Self {
        Self { push }
    }

    async fn notify(
        &self,
        target: &BcapValue,
        method: Method,
        data: Option<&BcapValue>,
    ) -> Result<Option<BcapValue>, BcapError> {
        let target = PushNotifyTarget::parse(target).map_err(|_| BcapError::Internal)?;
        let version = version_of(data)?;
        let notified =
            self.push.notify(target.endpoint.expose(), version).await.map_err(failure)?;
        let result = Members::new().with("version", notified.version.to_string());
        Ok((method == Method::Post).then(|| result.into()))
    }
}

impl Operation for PushNotify {
    fn check_target(&self, target: &BcapValue) -> Result<(), TargetError> {
        PushNotifyTarget::parse(target).map(|_| ())
    }

    fn methods(&self, _: &BcapValue) -> MethodSet {
        MethodSet::of(&[Method::Put, Method::Post])
    }

    fn reading_methods(&self) -> MethodSet {
        MethodSet::NONE
    }

    fn public_target(&self, _: &BcapValue) -> BcapValue {
        Members::new().with("endpoint", "…").into()
    }

    fn invoke(
        &self,
        cx: Invocation,
        method: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async move { self.notify(cx.target(), method, data.as_ref()).await })
    }
}

/// A version as a whole number, as a text, or in a member `version` (Belay §20.2).
fn version_of(data: Option<&BcapValue>) -> Result<Option<Version>, BcapError> {
    let data = match data {
        Some(BcapValue::Object(members)) if members.len() == 1 => {
            Some(members.get("version").ok_or(BcapError::BadRequest)?)
        }
        other => other,
    };
    match data {
        None => Ok(None),
        Some(value) => {
            let text = match (value.as_u64(), value.as_str()) {
                (Some(number), _) => number.to_string(),
                (None, Some(text)) => text.to_owned(),
                (None, None) => return Err(BcapError::BadRequest),
            };
            Version::parse(&text).map_err(|_| BcapError::BadRequest)
        }
    }
}

fn failure(error: NotifyError) -> BcapError {
    match error {
        NotifyError::NotAnEndpoint | NotifyError::Gone => BcapError::NotFound,
        _ => BcapError::unavailable(),
    }
}
