//! Exchanging an authorization code for tokens (Backplane §10.2, §11.1).
//!
//! The grant behind a code is made here, so a code that nobody redeems leaves none behind. A code
//! that is shown again ends the grant, in whatever order the two showings arrive.

use buswire_message::Scope;

use super::{
    v2_error::{V2Error, echo},
    v2_token::of_privileged,
};
use crate::{
    Backplane, RedirectUri,
    state::{
        clients::Client,
        codes::{Burned, Showing},
        tokens::Issued,
    },
};

/// Uses a code up. One that is not good ends what came of it.
pub(super) async fn burn(
    backplane: &Backplane,
    client: &Client,
    code: &str,
) -> Result<Burned, V2Error> {
    let showing = backplane.state.show_code(client, code).await;
    match showing.map_err(|error| V2Error::unavailable(&error))? {
        Showing::Burned(burned) => Ok(burned),
        Showing::Refused(grant) => {
            if let Some(grant) = grant {
                backplane
                    .revoke_grant(&grant, None)
                    .await
                    .map_err(|error| V2Error::unavailable(&error))?;
            }
            Err(V2Error::Code(echo(code)))
        }
    }
}

/// Whether a redirect URI is the registered one.
pub(super) fn check_redirect_uri(client: &Client, text: &str) -> Result<(), V2Error> {
    match text.parse::<RedirectUri>() {
        Ok(uri) if uri == client.redirect_uri => Ok(()),
        Ok(_) => Err(V2Error::OtherRedirectUri(echo(text))),
        Err(_) => Err(V2Error::RedirectUri(echo(text))),
    }
}

/// Makes the grant of a used code and issues tokens that it backs alone. The buses are those that
/// the owner still has.
pub(super) async fn redeem(
    backplane: &Backplane,
    client: &Client,
    code: &str,
    burned: Burned,
    verifier: Option<&str>,
    requested: &Scope,
) -> Result<Issued, V2Error> {
    let state = &backplane.state;
    let refused = || V2Error::Code(echo(code));
    let is_proven = match (&burned.challenge, verifier) {
        (Some(challenge), Some(verifier)) => challenge.is_met_by(verifier),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let owned = state.owned_buses(&burned.owner).await;
    let owned = owned.map_err(|error| V2Error::unavailable(&error))?;
    let buses: Vec<_> = burned.buses.iter().filter(|bus| owned.contains(bus)).cloned().collect();
    if !is_proven || buses.is_empty() {
        return Err(refused());
    }
    backplane
        .grant_as(&burned.grant, &client.id, &buses)
        .await
        .map_err(|error| V2Error::unavailable(&error))?;
    let issued = issue(backplane, client, &burned, requested).await;
    // Whoever showed the code meanwhile may have looked for the grant before it was there.
    let is_void = state.is_void(&burned).await.map_err(|error| V2Error::unavailable(&error))?;
    if is_void || issued.is_err() {
        backplane
            .revoke_grant(&burned.grant, None)
            .await
            .map_err(|error| V2Error::unavailable(&error))?;
    }
    if is_void { Err(refused()) } else { issued }
}

async fn issue(
    backplane: &Backplane,
    client: &Client,
    burned: &Burned,
    requested: &Scope,
) -> Result<Issued, V2Error> {
    let state = &backplane.state;
    let client = state.client(&client.id).await.map_err(|error| V2Error::unavailable(&error))?;
    let client = client.ok_or(V2Error::ClientAuthentication)?;
    let issued = state.issue_from_grant(&client, &burned.grant, requested).await;
    issued.map_err(of_privileged)
}
