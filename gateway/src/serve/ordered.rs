//! The certificate that the public listener orders for itself, if the configuration says so.
//!
//! Without the feature `acme` there is none: the configuration refuses to ask for one. Never here: an
//! order.

#[cfg(feature = "acme")]
mod with {
    use std::sync::Arc;

    use buswire_message::Secret;
    use buswire_store::{
        Store,
        system::{SystemClock, SystemEntropy},
    };

    use crate::{
        acme::{Acme, AcmeParts},
        app,
        config::{Config, HttpTls},
        listen::Certificates,
        ops::Health,
        serve::ServeError,
        tasks::Tasks,
    };

    /// Orders the certificate of the public listener.
    pub(in crate::serve) struct Ordered(Acme);

    /// Takes the certificate that the store has, if one is to be ordered.
    pub(in crate::serve) async fn open(
        config: &Config,
        store: &Arc<dyn Store>,
        belay_keys: &Secret<String>,
    ) -> Result<Option<Ordered>, ServeError> {
        let Some(HttpTls::Acme(acme)) = &config.http.tls else { return Ok(None) };
        let parts = AcmeParts {
            store: Arc::clone(store),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            keys: app::seal_keys(belay_keys, "buswire acme")?,
        };
        Ok(Some(Ordered(Acme::open("http", acme.clone(), parts).await?)))
    }

    impl Ordered {
        pub(in crate::serve) fn certificates(&self) -> Arc<Certificates> {
            self.0.certificates()
        }

        pub(in crate::serve) fn spawn(self, health: &Health, tasks: &Tasks) {
            if !self.0.has_certificate() {
                health.certificate_is_ordered();
            }
            // An order that is under way when the process ends is given up, and written down as such.
            tasks.spawn("acme", self.0.run(health.clone(), tasks.draining()));
        }
    }
}

#[cfg(not(feature = "acme"))]
mod with {
    use std::{convert::Infallible, sync::Arc};

    use buswire_message::Secret;
    use buswire_store::Store;

    use crate::{
        config::Config, listen::Certificates, ops::Health, serve::ServeError, tasks::Tasks,
    };

    /// There is none.
    pub(in crate::serve) struct Ordered(Infallible);

    #[expect(clippy::unused_async, reason = "it is awaited where there is one")]
    pub(in crate::serve) async fn open(
        _config: &Config,
        _store: &Arc<dyn Store>,
        _belay_keys: &Secret<String>,
    ) -> Result<Option<Ordered>, ServeError> {
        Ok(None)
    }

    impl Ordered {
        pub(in crate::serve) fn certificates(&self) -> Arc<Certificates> {
            match self.0 {}
        }

        pub(in crate::serve) fn spawn(self, _health: &Health, _tasks: &Tasks) {
            match self.0 {}
        }
    }
}

pub(super) use with::{Ordered, open};
