//! What Backplane 2.0 has handed out.

use buswire_proto::v1;
use tonic::Status;

use super::{Fields, non_empty, to_wire_time};
use crate::admin::ports::{
    AuthorizationRequestView, ChannelView, CodeState, CodeView, DecisionView, SignInView,
    TokenFilter, TokenKind, TokenState, TokenView,
};

/// Which tokens a request asks for.
pub(crate) fn token_filter(request: v1::ListTokensRequest) -> Result<TokenFilter, Status> {
    let kind = token_kind(request.kind());
    let mut fields = Fields::default();
    let bus = fields.parse_optional("bus", &request.bus);
    if v1::TokenKind::try_from(request.kind).is_err() {
        fields.take("kind", Err::<(), _>("unknown"));
    }
    fields.check()?;
    Ok(TokenFilter { client_id: non_empty(request.client_id), bus, kind })
}

const fn token_kind(kind: v1::TokenKind) -> Option<TokenKind> {
    match kind {
        v1::TokenKind::Unspecified => None,
        v1::TokenKind::AnonymousAccess => Some(TokenKind::AnonymousAccess),
        v1::TokenKind::AnonymousRefresh => Some(TokenKind::AnonymousRefresh),
        v1::TokenKind::CodeAccess => Some(TokenKind::CodeAccess),
        v1::TokenKind::ClientAccess => Some(TokenKind::ClientAccess),
        v1::TokenKind::PrivilegedRefresh => Some(TokenKind::PrivilegedRefresh),
    }
}

/// A channel on the wire.
pub(crate) fn channel_to_wire(channel: &ChannelView) -> v1::Channel {
    v1::Channel {
        name: channel.name.to_string(),
        expires_at: Some(to_wire_time(channel.expires_at)),
        messages: channel.messages as u64,
    }
}

/// A token on the wire.
pub(crate) fn token_to_wire(token: TokenView) -> v1::Token {
    let kind = match token.kind {
        TokenKind::AnonymousAccess => v1::TokenKind::AnonymousAccess,
        TokenKind::AnonymousRefresh => v1::TokenKind::AnonymousRefresh,
        TokenKind::CodeAccess => v1::TokenKind::CodeAccess,
        TokenKind::ClientAccess => v1::TokenKind::ClientAccess,
        TokenKind::PrivilegedRefresh => v1::TokenKind::PrivilegedRefresh,
    };
    let state = match token.state {
        TokenState::Good => v1::TokenState::Good,
        TokenState::Expired => v1::TokenState::Expired,
        TokenState::Void => v1::TokenState::Void,
    };
    v1::Token {
        handle: token.handle,
        kind: kind.into(),
        state: state.into(),
        scope: token.scope,
        expires_at: token.expires_at.map(to_wire_time),
        client_id: token.client_id.unwrap_or_default(),
        grants: token.grants,
        chain: token.chain,
    }
}

/// A code on the wire.
pub(crate) fn code_to_wire(code: CodeView) -> v1::Code {
    let (state, grant) = match code.state {
        CodeState::Unused => (v1::CodeState::Unused, String::new()),
        CodeState::Used(grant) => (v1::CodeState::Used, grant),
        CodeState::Expired => (v1::CodeState::Expired, String::new()),
        CodeState::Void => (v1::CodeState::Void, String::new()),
    };
    v1::Code {
        handle: code.handle,
        client_id: code.client_id,
        owner: code.owner,
        buses: code.buses.iter().map(ToString::to_string).collect(),
        state: state.into(),
        grant,
        expires_at: Some(to_wire_time(code.expires_at)),
    }
}

/// A sign-in on the wire.
pub(crate) fn sign_in_to_wire(sign_in: SignInView) -> v1::SignIn {
    v1::SignIn {
        handle: sign_in.handle,
        owner: sign_in.owner,
        expires_at: sign_in.expires_at.map(to_wire_time),
    }
}

/// A request for authorization on the wire.
pub(crate) fn authorization_request_to_wire(
    request: AuthorizationRequestView,
) -> v1::AuthorizationRequest {
    v1::AuthorizationRequest {
        handle: request.handle,
        client_id: request.client_id,
        redirect_uri: request.redirect_uri,
        scope: request.scope,
        expires_at: request.expires_at.map(to_wire_time),
    }
}

/// The key of a decision on the wire.
pub(crate) fn decision_to_wire(decision: DecisionView) -> v1::Decision {
    v1::Decision {
        handle: decision.handle,
        sign_in: decision.sign_in,
        request: decision.request,
        expires_at: decision.expires_at.map(to_wire_time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_every_problem() {
        let filter = token_filter(v1::ListTokensRequest::default()).unwrap();
        assert_eq!(filter, TokenFilter::default());
        let kind = v1::TokenKind::CodeAccess.into();
        let filter = token_filter(v1::ListTokensRequest { kind, ..Default::default() }).unwrap();
        assert_eq!(filter.kind, Some(TokenKind::CodeAccess));
        let wrong = v1::ListTokensRequest { bus: "a b".into(), kind: 9, ..Default::default() };
        let problem = token_filter(wrong).unwrap_err();
        assert!(problem.message().starts_with("bus: "), "{}", problem.message());
        assert!(problem.message().ends_with("; kind: unknown"), "{}", problem.message());
    }
}
