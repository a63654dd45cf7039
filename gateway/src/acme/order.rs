//! One order: account, names, challenges, certificate (RFC 8555 §7).
//!
//! Never here: when, and by which gateway.

use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};

use super::{
    client::Client,
    plan::Failure,
    rows::{KeptAccount, KeptCertificate, Rows, RowsError},
};
use crate::config::{AcmeConfig, AcmeDomain, Contact};

/// How long the server may take to look at a challenge, and to make the certificate.
const PATIENCE: Duration = Duration::from_secs(90);

/// How much of what the server says goes to the log.
const SAID_MAX: usize = 400;

/// Why an order did not end in a certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// The server refused it, can't be reached, or does not keep to the protocol.
    #[error("the ACME server gave no certificate")]
    Server(#[from] Error),
    /// What the server says of a name that it could not check, or will not.
    #[error("the ACME server refused {name}: {said}")]
    Name {
        /// The name.
        name: String,
        /// What it says.
        said: String,
    },
    /// The server offers no challenge that can be answered at a TLS listener.
    #[error("the ACME server does not check {0} by tls-alpn-01")]
    NoChallenge(String),
    /// The store failed.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// What is kept of the account is none.
    #[error("the stored account can't be used")]
    Account(#[source] serde_json::Error),
    /// It took too long.
    #[error("the order was not done in time")]
    Slow,
}

impl OrderError {
    /// Which kind of failure it is.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Server(Error::Api(problem)) => of_problem(problem),
            Self::Server(Error::KeyRejected | Error::Crypto) | Self::Account(_) => {
                Failure::Internal
            }
            // An answer that is no JSON comes from a proxy before the server, as a rule.
            Self::Server(_) | Self::Slow => Failure::Unreachable,
            Self::Name { .. } | Self::NoChallenge(_) => Failure::Refused,
            Self::Rows(_) => Failure::Store,
        }
    }

    /// Whether the server does not know the account any more.
    fn is_account_gone(&self) -> bool {
        matches!(self, Self::Server(Error::Api(problem)) if is(problem, "accountDoesNotExist"))
    }
}

/// RFC 8555 §6.7.
fn of_problem(problem: &Problem) -> Failure {
    if is(problem, "rateLimited") {
        Failure::RateLimited
    } else if is(problem, "serverInternal") || problem.status.is_some_and(|status| status >= 500) {
        Failure::Unreachable
    } else {
        Failure::Refused
    }
}

fn is(problem: &Problem, kind: &str) -> bool {
    let name =
        problem.r#type.as_deref().and_then(|it| it.strip_prefix("urn:ietf:params:acme:error:"));
    name == Some(kind)
}

/// Orders a certificate for all domains, with the account that is kept or a new one.
///
/// # Errors
///
/// [`OrderError`].
///
/// # Cancel safety
///
/// Dropping it gives the order up; the server forgets it in time.
pub(super) async fn obtain(
    config: &AcmeConfig,
    client: Client,
    rows: &Rows,
) -> Result<KeptCertificate, OrderError> {
    let account = account(config, client, rows).await?;
    let obtained = with(&account, config, rows).await;
    if obtained.as_ref().is_err_and(OrderError::is_account_gone) {
        rows.forget_account().await?;
    }
    obtained
}

async fn with(
    account: &Account,
    config: &AcmeConfig,
    rows: &Rows,
) -> Result<KeptCertificate, OrderError> {
    let names = config.domains.iter().map(|domain| Identifier::Dns(domain.as_str().to_owned()));
    let names: Vec<_> = names.collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    prove(&mut order, rows).await?;
    let patience = RetryPolicy::new().initial_delay(Duration::from_millis(250)).timeout(PATIENCE);
    let status = order.poll_ready(&patience).await;
    if !matches!(status, Ok(OrderStatus::Ready)) {
        if let Some(refused) = refused(&mut order).await {
            return Err(refused);
        }
        status?;
        return Err(Error::Str("the order became invalid").into());
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&patience).await?;
    Ok(KeptCertificate { chain, key })
}

/// Makes the proof for every name that the server wants to check, and says that it is there.
async fn prove(order: &mut Order, rows: &Rows) -> Result<(), OrderError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        // The server may remember that it has checked a name.
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
            return Err(OrderError::NoChallenge(name));
        };
        let digest = challenge.key_authorization().digest();
        // Any gateway may be asked from the next line on, so the proof is stored before.
        rows.keep_challenge(&name, digest.as_ref()).await?;
        challenge.set_ready().await?;
    }
    Ok(())
}

/// What the server says of the first name that it refused.
async fn refused(order: &mut Order) -> Option<OrderError> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else { continue };
        let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            return Some(OrderError::Name { name, said: said(&problem.to_string()) });
        }
    }
    None
}

/// A text of the server as a line of the log may hold it.
pub(super) fn said(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_MAX).collect()
}

async fn account(config: &AcmeConfig, client: Client, rows: &Rows) -> Result<Account, OrderError> {
    let contact: Vec<&str> = config.contact.iter().map(Contact::as_str).collect();
    let builder = Account::builder_with_http(Box::new(client));
    let Some(kept) = rows.account().await? else {
        // The configuration has said so, or there would be none.
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, made) = builder.create(&new, config.directory.to_string(), None).await?;
        keep(rows, &made, &contact).await?;
        return Ok(account);
    };
    let credentials = || serde_json::from_value(kept.credentials.clone());
    let credentials: AccountCredentials = credentials().map_err(OrderError::Account)?;
    let account = builder.from_credentials(credentials).await?;
    if kept.contact != contact {
        account.update_contacts(&contact).await?;
        let contact = contact.into_iter().map(str::to_owned).collect();
        rows.keep_account(&KeptAccount { contact, ..kept }).await?;
    }
    Ok(account)
}

async fn keep(
    rows: &Rows,
    credentials: &AccountCredentials,
    contact: &[&str],
) -> Result<(), OrderError> {
    let credentials = serde_json::to_value(credentials).map_err(OrderError::Account)?;
    let contact = contact.iter().map(|&uri| uri.to_owned()).collect();
    Ok(rows.keep_account(&KeptAccount { credentials, contact }).await?)
}

/// The names of a set, for the log.
pub(super) fn names(domains: &[AcmeDomain]) -> String {
    domains.iter().map(AcmeDomain::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_how_soon_it_may_be_tried_again() {
        let problem = |text: &str| {
            let error = Error::Api(serde_json::from_str(text).unwrap());
            OrderError::from(error)
        };
        let of = |kind: &str, status: u16| {
            let kind = format!("urn:ietf:params:acme:error:{kind}");
            problem(&format!(r#"{{"type":"{kind}","detail":"d","status":{status}}}"#))
        };
        assert_eq!(of("rateLimited", 429).failure(), Failure::RateLimited);
        assert_eq!(of("rejectedIdentifier", 400).failure(), Failure::Refused);
        assert_eq!(of("unauthorized", 403).failure(), Failure::Refused);
        assert_eq!(of("serverInternal", 500).failure(), Failure::Unreachable);
        assert_eq!(problem(r#"{"status":503}"#).failure(), Failure::Unreachable);
        assert!(of("accountDoesNotExist", 400).is_account_gone());
        assert!(!of("malformed", 400).is_account_gone());
        assert_eq!(OrderError::Slow.failure(), Failure::Unreachable);
    }

    #[test]
    fn what_a_server_says_is_one_short_line() {
        assert_eq!(said("a\nb\u{1b}[31m"), "a b [31m");
        assert_eq!(said(&"x".repeat(10_000)).len(), SAID_MAX);
    }
}
