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
use buswire_message::{Clock, Entropy, mint_hex};
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
        loop {
            let wait = self.turn(&stop).await;
            if self.has_certificate() {
                health.certificate_is_here();
            }
            select! {
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
            obtained = time::timeout(ORDER_TIME.saturating_sub(MARGIN), obtain) => obtained.unwrap_or(Err(OrderError::Slow)),
            () = stop.cancelled() => {
                // Whoever comes next need not wait for us.
                let free = Attempt { by: None, until_ms: 0, failures };
                self.rows.replace_attempt(Some(held), &free).await?;
                return Ok(());
            }
        };
        match obtained {
            Ok(kept) => self.keep(held, &kept).await,
            Err(error) => self.fail(held, failures.saturating_add(1), &error).await,
        }
    }

    async fn keep(&self, held: Revision, kept: &KeptCertificate) -> Result<(), AcmeError> {
        count("issued");
        if !self.rows.keep_certificate(held, kept).await? {
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
