//! The certificate of the public listener from an ACME server (RFC 8555), by TLS-ALPN-01 (RFC 8737).
//!
//! | module | does |
//! |---|---|
//! | `plan` | when to order: decided from what is stored and the time |
//! | `rows` | what is stored: account, certificate, who orders, proofs |
//! | `order` | one order at the server |
//! | `client` | the HTTP client of an order |
//! | `challenge` | shows the server the proof that it reached us |
//!
//! Everything that must be known at another gateway is in the store. So any gateway answers the server,
//! whichever of them ordered; one orders for all; and a restart neither orders again nor forgets how
//! long it has to rest. A certificate is read by every gateway soon after it is stored, and the next
//! handshake shows it; connections that are open go on.
//!
//! Never here: a socket, a file.

mod challenge;
mod client;
mod order;
mod plan;
mod rows;

use std::{fmt, sync::Arc, time::Duration};

use buswire_belay::SealKeys;
use buswire_message::{Clock, Entropy, Timestamp, mint_hex};
use buswire_store::{Revision, Store};
use futures::{StreamExt as _, stream};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{select, time};
use tokio_util::sync::CancellationToken;

use self::{
    challenge::Answers,
    client::{Asked, Client, ClientError},
    order::OrderError,
    plan::{Attempt, ORDER_TIME, Step, Validity},
    rows::{KeptCertificate, Rows, RowsError},
};
use crate::{
    config::AcmeConfig,
    listen::{Certificates, TlsError},
    ops::Health,
};

/// How often the store is looked at whatever it tells: hints may be lost.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long to rest when the store fails.
const STORE_REST: Duration = Duration::from_secs(10);

/// An order ends so much before anybody else begins one.
const MARGIN: Duration = Duration::from_secs(30);

/// Why certificates can't be ordered.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The authorities of the server can't be used.
    #[error(transparent)]
    Client(Box<dyn std::error::Error + Send + Sync>),
    /// What the store has can't be read.
    #[error("http.acme: the certificate can't be read from the store")]
    Rows(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What the store has is no certificate.
    #[error("http.acme: the stored certificate can't be used")]
    Tls(#[from] TlsError),
}

impl From<RowsError> for AcmeError {
    fn from(error: RowsError) -> Self {
        Self::Rows(Box::new(error))
    }
}

impl From<ClientError> for AcmeError {
    fn from(error: ClientError) -> Self {
        Self::Client(Box::new(error))
    }
}

/// What an [`Acme`] is made of.
#[derive(Clone, Debug)]
pub struct AcmeParts {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where unpredictable bytes come from.
    pub entropy: Arc<dyn Entropy>,
    /// What seals the account and the certificate.
    pub keys: SealKeys,
}

/// Orders the certificate of a listener and renews it.
pub struct Acme {
    config: AcmeConfig,
    rows: Arc<Rows>,
    client: Client,
    asked: Asked,
    certificates: Arc<Certificates>,
    entropy: Arc<dyn Entropy>,
    /// Names this process in the store.
    id: String,
    shown: Option<(Revision, Validity)>,
}

impl fmt::Debug for Acme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acme").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Acme {
    /// Takes the certificate that the store has for the listener, if it has one. Orders nothing yet.
    ///
    /// # Errors
    ///
    /// [`AcmeError`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn open(
        listener: &'static str,
        config: AcmeConfig,
        parts: AcmeParts,
    ) -> Result<Self, AcmeError> {
        let AcmeParts { store, clock, entropy, keys } = parts;
        let asked = Asked::default();
        let client = Client::new(config.ca.as_deref(), asked.clone())?;
        let rows = Arc::new(Rows::new(store, clock, keys, &config)?);
        let answers = Answers { rows: Arc::clone(&rows), domains: config.domains.clone() };
        let certificates = Arc::new(Certificates::ordered(listener, Arc::new(answers))?);
        let id = mint_hex(&*entropy, 16).expose().clone();
        let mut acme = Self { config, rows, client, asked, certificates, entropy, id, shown: None };
        acme.show().await?;
        Ok(acme)
    }

    /// What the listener shows.
    pub fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates)
    }

    /// Whether there is a certificate.
    pub fn has_certificate(&self) -> bool {
        self.shown.is_some()
    }

    /// Orders and renews, and takes what other gateways ordered, until `stop`. `health` is told of the
    /// first certificate.
    ///
    /// # Cancel safety
    ///
    /// Not safe: an order that is dropped keeps other gateways waiting for five minutes.
    pub async fn run(mut self, health: Health, stop: CancellationToken) {
        // Without hints there is still the timer.
        let mut hints = self.rows.hints().chain(stream::pending());
        while !stop.is_cancelled() {
            let wait = self.turn(&stop).await;
            if self.has_certificate() {
                health.certificate_is_here();
            }
            select! {
                biased;
                () = stop.cancelled() => return,
                _ = hints.next() => {}
                () = time::sleep(wait.min(LOOK_EVERY)) => {}
            }
        }
    }

    /// Looks at the store, orders if it is time, and says how long nothing is due.
    async fn turn(&mut self, stop: &CancellationToken) -> Duration {
        match self.look().await {
            Ok((Step::Wait(wait), ..)) => wait,
            Ok((Step::Order, revision, attempt)) => {
                if let Err(error) = self.order(revision, attempt, stop).await {
                    report_store(&error);
                    return STORE_REST;
                }
                // What comes next is read from the store, as after a start.
                Duration::ZERO
            }
            Err(error) => {
                report_store(&error);
                STORE_REST
            }
        }
    }

    async fn look(&mut self) -> Result<(Step, Option<Revision>, Option<Attempt>), AcmeError> {
        self.show().await?;
        let (revision, attempt) = self.rows.attempt().await?;
        let failures = attempt.as_ref().map_or(0, |attempt| attempt.failures);
        metrics::gauge!("buswire_acme_failures_in_a_row").set(f64::from(failures));
        let validity = self.shown.map(|(_, validity)| validity);
        let step = plan::next(self.rows.now(), validity, attempt.as_ref(), self.rows.is_shared());
        Ok((step, revision, attempt))
    }

    /// Has the listener show what the store has, if that is new.
    async fn show(&mut self) -> Result<(), AcmeError> {
        let Some((revision, kept)) = self.rows.certificate().await? else { return Ok(()) };
        if self.shown.is_some_and(|(shown, _)| shown == revision) {
            return Ok(());
        }
        let validity = install(&self.certificates, &kept)?;
        self.shown = Some((revision, validity));
        let (domains, ends) = (order::names(&self.config.domains), validity.to);
        tracing::info!(domains, %ends, "an ordered certificate is in use");
        Ok(())
    }

    /// Orders a certificate, if no other gateway was faster, and keeps it, or how long to rest.
    async fn order(
        &self,
        revision: Option<Revision>,
        before: Option<Attempt>,
        stop: &CancellationToken,
    ) -> Result<(), AcmeError> {
        let failures = before.as_ref().map_or(0, |attempt| attempt.failures);
        let until = self.rows.now().saturating_add(ORDER_TIME);
        let attempt = Attempt { by: Some(self.id.clone()), until_ms: until.as_millis(), failures };
        let Some(held) = self.rows.replace_attempt(revision, &attempt).await? else {
            return Ok(());
        };
        let obtain = order::obtain(&self.config, self.client.clone(), &self.rows);
        let obtained = select! {
            biased;
            // First, so that a certificate that is here is kept although it is time to end.
            obtained = time::timeout(ORDER_TIME.saturating_sub(MARGIN), obtain) => obtained.unwrap_or(Err(OrderError::Slow)),
            () = stop.cancelled() => {
                // Whoever comes next need not wait for us.
                let free = Attempt { by: None, until_ms: 0, failures };
                self.rows.replace_attempt(Some(held), &free).await?;
                return Ok(());
            }
        };
        match obtained {
            Ok(kept) => match self.keep(held, until, &kept, stop).await {
                Ok(()) => Ok(()),
                Err(error) => self.fail(held, failures.saturating_add(1), &error.into()).await,
            },
            Err(error) => self.fail(held, failures.saturating_add(1), &error).await,
        }
    }

    /// Keeps a certificate. While the store fails it is tried again, as long as the attempt is ours: what
    /// is dropped has to be ordered again, and servers count that.
    async fn keep(
        &self,
        held: Revision,
        until: Timestamp,
        kept: &KeptCertificate,
        stop: &CancellationToken,
    ) -> Result<(), RowsError> {
        loop {
            match self.keep_once(held, kept).await {
                Err(error @ RowsError::Store(_)) => {
                    let again = self.rows.now().saturating_add(STORE_REST);
                    if stop.is_cancelled() || again >= until {
                        return Err(error);
                    }
                    report_store(&error.into());
                }
                kept => return kept,
            }
            select! {
                biased;
                // Then it is tried once more.
                () = stop.cancelled() => {}
                () = time::sleep(STORE_REST) => {}
            }
        }
    }

    async fn keep_once(&self, held: Revision, kept: &KeptCertificate) -> Result<(), RowsError> {
        let is_kept = self.rows.keep_certificate(held, kept).await?
            // A commit that was reported as failed may have been made.
            || self.rows.certificate().await?.is_some_and(|(_, found)| found.chain == kept.chain);
        if is_kept {
            count("issued");
        } else {
            tracing::warn!("another gateway ordered a certificate meanwhile; its own is used");
        }
        Ok(())
    }

    async fn fail(
        &self,
        held: Revision,
        failures: u32,
        error: &OrderError,
    ) -> Result<(), AcmeError> {
        let failure = error.failure();
        count(failure.label());
        let mut chance = [0];
        self.entropy.fill(&mut chance);
        let rest = plan::rest(failure, failures, self.asked.take(), chance[0]);
        let why = order::said(&crate::cli::chain(error));
        let domains = order::names(&self.config.domains);
        let reason = failure.label();
        tracing::error!(domains, reason, why, failures, again_in = ?rest, "no certificate was ordered");
        let until = self.rows.now().saturating_add(rest);
        let attempt = Attempt { by: None, until_ms: until.as_millis(), failures };
        self.rows.replace_attempt(Some(held), &attempt).await?;
        Ok(())
    }
}

fn count(result: &'static str) {
    metrics::counter!("buswire_acme_orders_total", "result" => result).increment(1);
}

fn report_store(error: &AcmeError) {
    let why = crate::cli::chain(error);
    tracing::warn!(why, "the certificate could not be looked after");
}

/// Has the listener show it from the next handshake on.
fn install(certificates: &Certificates, kept: &KeptCertificate) -> Result<Validity, AcmeError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(kept.chain.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(kept.key.as_bytes());
    let (Ok(chain), Ok(key)) = (chain, key) else {
        return Err(RowsError::Sealed("certificate").into());
    };
    let (from, to) = certificates.install(&chain, key)?;
    Ok(Validity { from, to })
}

#[cfg(test)]
mod tests {
    use buswire_message::Secret;
    use buswire_store::memory::MemoryStore;
    use buswire_testkit::{Fault, FaultyStore, SeededEntropy, VirtualClock};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_was_issued_outlives_a_store_that_fails() {
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
        let parts = AcmeParts {
            store: store.clone(),
            clock: Arc::new(VirtualClock::default()),
            entropy: Arc::new(SeededEntropy::new(1)),
            keys: SealKeys::derived(&[Secret::new([1; 32])], "test").unwrap(),
        };
        let acme = Acme::open("http", rows::tests::config(&["a.example"]), parts).await.unwrap();
        let until = acme.rows.now().saturating_add(ORDER_TIME);
        let attempt = Attempt { by: Some("here".to_owned()), until_ms: 1, failures: 0 };
        let held = acme.rows.replace_attempt(None, &attempt).await.unwrap().unwrap();
        let kept = KeptCertificate { chain: "chain".to_owned(), key: "key".to_owned() };
        let stop = CancellationToken::new();

        // Once its attempt is over it is not tried again: another gateway may be at it.
        store.script(Fault::Before);
        let over = acme.keep(held, acme.rows.now(), &kept, &stop).await;
        assert!(matches!(over, Err(RowsError::Store(_))));

        // It fails, then keeps it and says that it did not; the third time there is nothing to do.
        store.script(Fault::Before);
        store.script(Fault::After);
        acme.keep(held, until, &kept, &stop).await.unwrap();
        let (_, found) = acme.rows.certificate().await.unwrap().unwrap();
        assert_eq!(found.chain, "chain");
        assert_eq!(acme.rows.attempt().await.unwrap(), (None, None), "nobody orders");
    }
}
