//! Backplane's provisioning, written down in the audit log as calls of the admin interface are.
//!
//! Never here: what provisioning changes; how the log is kept.

use buswire_backplane::{Denied, Journal, Provisioned, Provisioning, Recording};
use buswire_store::{BoxFuture, StoreError};
use tonic::Code;

use crate::admin::audit::{AuditLog, Begun, Kept, Record};

/// How an administrator of the provisioning interface shows who it is.
const VIA: &str = "provisioning";

/// The journal of the Backplane door.
#[derive(Clone, Debug)]
pub(crate) struct ProvisioningJournal(pub(crate) AuditLog);

/// A change that is under way.
struct UnderWay {
    log: AuditLog,
    begun: Begun,
    record: Record,
}

fn record_of(change: Provisioning) -> Record {
    let Provisioning { administrator, address, call, resource, request } = change;
    Record {
        caller: administrator,
        via: VIA.to_owned(),
        address: address.map(|address| address.to_string()).unwrap_or_default(),
        method: call,
        resource,
        request,
        ..Record::default()
    }
}

impl Journal for ProvisioningJournal {
    fn begin(&self, change: Provisioning) -> BoxFuture<'_, Result<Box<dyn Recording>, StoreError>> {
        Box::pin(async move {
            let record = record_of(change);
            let Ok(begun) = self.0.begin(&record, None).await? else {
                return Err(StoreError::Corrupt("nothing was claimed".to_owned()));
            };
            let recording = UnderWay { log: self.0.clone(), begun, record };
            Ok(Box::new(recording) as Box<dyn Recording>)
        })
    }

    fn refused(&self, tried: Provisioning, denied: Denied) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut record = record_of(tried);
            let recorded = match denied {
                Denied::Secret => {
                    record.code = Code::Unauthenticated.into();
                    "the secret is wrong".clone_into(&mut record.error);
                    self.0.stranger(record).await
                }
                Denied::Request(why) => {
                    record.code = Code::InvalidArgument.into();
                    record.error = why;
                    self.0.note(record).await
                }
            };
            if let Err(error) = recorded {
                tracing::warn!(%error, "a refusal could not be recorded");
            }
        })
    }
}

impl Recording for UnderWay {
    fn end(self: Box<Self>, ended: Provisioned) -> BoxFuture<'static, Result<(), StoreError>> {
        let Self { log, begun, mut record } = *self;
        let (code, error) = match ended {
            Provisioned::Made { before, after } => {
                record.before = before.unwrap_or_default();
                record.after = after.unwrap_or_default();
                (Code::Ok, String::new())
            }
            Provisioned::NotFound(why) => (Code::NotFound, why),
            Provisioned::Refused(why) => (Code::InvalidArgument, why),
            Provisioned::Failed(why) => (Code::Unavailable, why),
        };
        record.code = code.into();
        record.error = error;
        Box::pin(async move { log.end(begun, record, Kept::Nothing).await })
    }
}
