//! What Backplane 2.0 has handed out: the commands of `buswire client` and `buswire owner` about it.

use std::io::Write;

use buswire_proto::v1::{self, access_service_client::AccessServiceClient};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{
    connection::{Connection, call, pages},
    error::CliError,
    output,
};

const TOKENS: [&str; 8] =
    ["handle", "kind", "state", "client_id", "scope", "grants", "chain", "expires_at"];
const CODES: [&str; 7] = ["handle", "client_id", "owner", "buses", "state", "grant", "expires_at"];
const SIGN_INS: [&str; 3] = ["handle", "owner", "expires_at"];
const REQUESTS: [&str; 5] = ["handle", "client_id", "redirect_uri", "scope", "expires_at"];
const DECISIONS: [&str; 4] = ["handle", "sign_in", "request", "expires_at"];

/// Which tokens to list.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Only tokens of the client of this id
    #[arg(default_value = "", hide_default_value = true)]
    id: String,
    /// Only tokens that reach the bus of this name
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    bus: String,
    /// Only tokens of this kind
    #[arg(long)]
    kind: Option<Kind>,
}

/// The kinds of token.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// Reads the headers of one channel
    Anonymous,
    /// Gets the next anonymous pair
    AnonymousRefresh,
    /// Privileged, from an authorization code
    Code,
    /// Privileged, from client credentials or refreshed
    Client,
    /// Gets the next privileged pair
    Refresh,
}

impl Kind {
    const fn to_wire(self) -> v1::TokenKind {
        match self {
            Self::Anonymous => v1::TokenKind::AnonymousAccess,
            Self::AnonymousRefresh => v1::TokenKind::AnonymousRefresh,
            Self::Code => v1::TokenKind::CodeAccess,
            Self::Client => v1::TokenKind::ClientAccess,
            Self::Refresh => v1::TokenKind::PrivilegedRefresh,
        }
    }
}

const fn kind(kind: v1::TokenKind) -> &'static str {
    match kind {
        v1::TokenKind::AnonymousAccess => "anonymous",
        v1::TokenKind::AnonymousRefresh => "anonymous-refresh",
        v1::TokenKind::CodeAccess => "code",
        v1::TokenKind::ClientAccess => "client",
        v1::TokenKind::PrivilegedRefresh => "refresh",
        v1::TokenKind::Unspecified => "unknown",
    }
}

fn token_values(token: &v1::Token) -> Vec<Value> {
    let state = match token.state() {
        v1::TokenState::Good => "good",
        v1::TokenState::Expired => "expired",
        v1::TokenState::Void => "void",
        v1::TokenState::Unspecified => "unknown",
    };
    vec![
        json!(token.handle),
        json!(kind(token.kind())),
        json!(state),
        output::text(&token.client_id),
        json!(token.scope),
        json!(token.grants),
        json!(token.chain),
        output::time(token.expires_at),
    ]
}

fn code_values(code: &v1::Code) -> Vec<Value> {
    let state = match code.state() {
        v1::CodeState::Unused => "unused",
        v1::CodeState::Used => "used",
        v1::CodeState::Expired => "expired",
        v1::CodeState::Void => "void",
        v1::CodeState::Unspecified => "unknown",
    };
    vec![
        json!(code.handle),
        json!(code.client_id),
        json!(code.owner),
        json!(code.buses),
        json!(state),
        output::text(&code.grant),
        output::time(code.expires_at),
    ]
}

/// `buswire client tokens`.
pub(super) async fn tokens(
    args: TokenArgs,
    connection: &Connection,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut access = AccessServiceClient::new(connection.open().await?);
    let all = pages(async |page_token| {
        let request = v1::ListTokensRequest {
            client_id: args.id.clone(),
            bus: args.bus.clone(),
            kind: args.kind.map_or(v1::TokenKind::Unspecified, Kind::to_wire).into(),
            page_size: 0,
            page_token,
        };
        let page = access.list_tokens(call(request)).await?.into_inner();
        Ok((page.tokens, page.next_page_token))
    });
    let rows: Vec<_> = all.await?.iter().map(token_values).collect();
    Ok(connection.output().list(out, &TOKENS, &rows)?)
}

/// `buswire client codes`.
pub(super) async fn codes(
    client_id: String,
    connection: &Connection,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut access = AccessServiceClient::new(connection.open().await?);
    let all = pages(async |page_token| {
        let client_id = client_id.clone();
        let request = v1::ListCodesRequest { client_id, page_size: 0, page_token };
        let page = access.list_codes(call(request)).await?.into_inner();
        Ok((page.codes, page.next_page_token))
    });
    let rows: Vec<_> = all.await?.iter().map(code_values).collect();
    Ok(connection.output().list(out, &CODES, &rows)?)
}

/// `buswire owner sign-ins`.
pub(super) async fn sign_ins(
    owner: String,
    connection: &Connection,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut access = AccessServiceClient::new(connection.open().await?);
    let all = pages(async |page_token| {
        let request = v1::ListSignInsRequest { owner: owner.clone(), page_size: 0, page_token };
        let page = access.list_sign_ins(call(request)).await?.into_inner();
        Ok((page.sign_ins, page.next_page_token))
    });
    let values = |sign_in: &v1::SignIn| {
        vec![json!(sign_in.handle), json!(sign_in.owner), output::time(sign_in.expires_at)]
    };
    let rows: Vec<_> = all.await?.iter().map(values).collect();
    Ok(connection.output().list(out, &SIGN_INS, &rows)?)
}

/// `buswire owner requests`.
pub(super) async fn requests(
    client_id: String,
    connection: &Connection,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut access = AccessServiceClient::new(connection.open().await?);
    let all = pages(async |page_token| {
        let client_id = client_id.clone();
        let request = v1::ListAuthorizationRequestsRequest { client_id, page_size: 0, page_token };
        let page = access.list_authorization_requests(call(request)).await?.into_inner();
        Ok((page.requests, page.next_page_token))
    });
    let values = |request: &v1::AuthorizationRequest| {
        vec![
            json!(request.handle),
            json!(request.client_id),
            json!(request.redirect_uri),
            output::text(&request.scope),
            output::time(request.expires_at),
        ]
    };
    let rows: Vec<_> = all.await?.iter().map(values).collect();
    Ok(connection.output().list(out, &REQUESTS, &rows)?)
}

/// `buswire owner decisions`.
pub(super) async fn decisions(
    connection: &Connection,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut access = AccessServiceClient::new(connection.open().await?);
    let all = pages(async |page_token| {
        let request = v1::ListDecisionsRequest { page_size: 0, page_token };
        let page = access.list_decisions(call(request)).await?.into_inner();
        Ok((page.decisions, page.next_page_token))
    });
    let values = |decision: &v1::Decision| {
        vec![
            json!(decision.handle),
            json!(decision.sign_in),
            json!(decision.request),
            output::time(decision.expires_at),
        ]
    };
    let rows: Vec<_> = all.await?.iter().map(values).collect();
    Ok(connection.output().list(out, &DECISIONS, &rows)?)
}

/// What has a handle, as a command names it.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Token,
    Code,
    SignIn,
    Request,
    Decision,
}

/// Ends what has this handle.
pub(super) async fn end(
    what: What,
    handle: String,
    connection: &Connection,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut access = AccessServiceClient::new(connection.open().await?);
    let named = handle.clone();
    let (name, existed) = match what {
        What::Token => {
            let request = call(v1::RevokeTokenRequest { handle });
            ("token", access.revoke_token(request).await?.into_inner().existed)
        }
        What::Code => {
            let request = call(v1::RevokeCodeRequest { handle });
            ("code", access.revoke_code(request).await?.into_inner().existed)
        }
        What::SignIn => {
            let request = call(v1::EndSignInRequest { handle });
            ("sign-in", access.end_sign_in(request).await?.into_inner().existed)
        }
        What::Request => {
            let request = call(v1::DeleteAuthorizationRequestRequest { handle });
            ("request", access.delete_authorization_request(request).await?.into_inner().existed)
        }
        What::Decision => {
            let request = call(v1::DeleteDecisionRequest { handle });
            ("decision", access.delete_decision(request).await?.into_inner().existed)
        }
    };
    CliError::missing_unless(existed, name, &named)?;
    let sentence = format!("{name} {named} ended");
    Ok(connection.output().done(out, &sentence, &["handle"], &[json!(named)])?)
}
