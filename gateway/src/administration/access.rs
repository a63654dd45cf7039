//! What Backplane 2.0 has handed out: channels, tokens, codes, sign-ins, requests for authorization.

use buswire_backplane::{
    AuthorizationRequestInfo, ChannelInfo, ClientId, CodeInfo, CodeState as BackplaneCodeState,
    DecisionInfo, IssuedKind, Listing, OwnerName, SignInInfo, TokenFilter as Filter, TokenHolder,
    TokenInfo, TokenKind as BackplaneKind, TokenState as BackplaneState, Wanted,
};
use buswire_message::BusName;
use futures::future::BoxFuture;

use super::people::{BackplanePort, failure, parsed};
use crate::admin::ports::{
    AccessAdmin, AdminError, AuthorizationRequestView, ChannelView, CodeState, CodeView,
    DecisionView, Issued, Page, PageRequest, SignInView, TokenFilter, TokenKind, TokenState,
    TokenView,
};

impl AccessAdmin for BackplanePort {
    fn channels<'a>(
        &'a self,
        bus: &'a BusName,
        wanted: PageRequest,
    ) -> BoxFuture<'a, Result<Page<ChannelView>, AdminError>> {
        Box::pin(async move {
            let after = wanted.after.as_deref().map(parsed).transpose()?;
            // One more than is wanted tells whether there is another page.
            let found = self.backplane.channels(bus, after.as_ref(), wanted.limit + 1).await;
            let view = |channel: ChannelInfo| ChannelView {
                name: channel.name,
                expires_at: channel.expires_at,
                messages: channel.messages,
            };
            let mut items: Vec<_> = found.map_err(failure)?.into_iter().map(view).collect();
            let has_more = items.len() > wanted.limit;
            items.truncate(wanted.limit);
            let last = items.last().filter(|_| has_more);
            Ok(Page { next: last.map(|channel| channel.name.to_string()), items })
        })
    }

    fn revoke_tokens<'a>(&'a self, client_id: &'a str) -> BoxFuture<'a, Result<bool, AdminError>> {
        Box::pin(async move {
            let Ok(id) = client_id.parse::<ClientId>() else { return Ok(false) };
            self.backplane.revoke_tokens(&id).await.map_err(failure)
        })
    }

    fn end_sign_ins<'a>(&'a self, owner: &'a str) -> BoxFuture<'a, Result<usize, AdminError>> {
        Box::pin(async move {
            let Ok(name) = owner.parse::<OwnerName>() else { return Ok(0) };
            self.backplane.sign_out_everywhere(&name).await.map_err(failure)
        })
    }
    fn tokens(
        &self,
        filter: TokenFilter,
        wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<TokenView>, AdminError>> {
        Box::pin(async move {
            let filter = Filter {
                client: filter.client_id.as_deref().map(parsed).transpose()?,
                bus: filter.bus,
                kind: filter.kind.map(kind),
            };
            let found = self.backplane.tokens(&filter, part(&wanted)?).await;
            Ok(page(found.map_err(failure)?, token_view))
        })
    }

    fn codes(
        &self,
        client_id: Option<String>,
        wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<CodeView>, AdminError>> {
        Box::pin(async move {
            let client = client_id.as_deref().map(parsed).transpose()?;
            let found = self.backplane.codes(client.as_ref(), part(&wanted)?).await;
            Ok(page(found.map_err(failure)?, code_view))
        })
    }

    fn sign_ins(
        &self,
        owner: Option<String>,
        wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<SignInView>, AdminError>> {
        Box::pin(async move {
            let owner = owner.as_deref().map(parsed).transpose()?;
            let found = self.backplane.sign_ins(owner.as_ref(), part(&wanted)?).await;
            Ok(page(found.map_err(failure)?, |info: SignInInfo| SignInView {
                handle: info.handle.to_string(),
                owner: info.owner.to_string(),
                expires_at: info.expires_at,
            }))
        })
    }

    fn authorization_requests(
        &self,
        client_id: Option<String>,
        wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<AuthorizationRequestView>, AdminError>> {
        Box::pin(async move {
            let client = client_id.as_deref().map(parsed).transpose()?;
            let wanted = part(&wanted)?;
            let found = self.backplane.authorization_requests(client.as_ref(), wanted).await;
            let view = |info: AuthorizationRequestInfo| AuthorizationRequestView {
                handle: info.handle.to_string(),
                client_id: info.client.to_string(),
                redirect_uri: info.redirect_uri.as_str().to_owned(),
                scope: info.scope.to_string(),
                expires_at: info.expires_at,
            };
            Ok(page(found.map_err(failure)?, view))
        })
    }

    fn decisions(
        &self,
        wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<DecisionView>, AdminError>> {
        Box::pin(async move {
            let found = self.backplane.decisions(part(&wanted)?).await;
            Ok(page(found.map_err(failure)?, |info: DecisionInfo| DecisionView {
                handle: info.handle.to_string(),
                sign_in: info.sign_in.to_string(),
                request: info.request.to_string(),
                expires_at: info.expires_at,
            }))
        })
    }

    fn end<'a>(&'a self, kind: Issued, handle: &'a str) -> BoxFuture<'a, Result<bool, AdminError>> {
        let kind = match kind {
            Issued::Token => IssuedKind::Token,
            Issued::Code => IssuedKind::Code,
            Issued::SignIn => IssuedKind::SignIn,
            Issued::AuthorizationRequest => IssuedKind::AuthorizationRequest,
            Issued::Decision => IssuedKind::Decision,
        };
        Box::pin(async move { self.backplane.end(kind, parsed(handle)?).await.map_err(failure) })
    }
}

fn part(wanted: &PageRequest) -> Result<Wanted, AdminError> {
    let after = wanted.after.as_deref().map(parsed).transpose()?;
    Ok(Wanted { after, limit: wanted.limit })
}

fn page<T, V>(found: Listing<T>, view: impl Fn(T) -> V) -> Page<V> {
    let next = found.next.map(|end| end.to_string());
    Page { items: found.items.into_iter().map(view).collect(), next }
}

fn token_view(info: TokenInfo) -> TokenView {
    let (client_id, grants, chain) = match info.holder {
        TokenHolder::Visit { channel, .. } => (None, Vec::new(), channel.to_string()),
        TokenHolder::Client { client, grants, chain } => {
            let grants = grants.iter().map(|grant| grant.as_str().to_owned()).collect();
            (Some(client.to_string()), grants, chain)
        }
    };
    TokenView {
        handle: info.handle.to_string(),
        kind: match info.kind {
            BackplaneKind::AnonymousAccess => TokenKind::AnonymousAccess,
            BackplaneKind::AnonymousRefresh => TokenKind::AnonymousRefresh,
            BackplaneKind::CodeAccess => TokenKind::CodeAccess,
            BackplaneKind::ClientAccess => TokenKind::ClientAccess,
            BackplaneKind::PrivilegedRefresh => TokenKind::PrivilegedRefresh,
        },
        state: match info.state {
            BackplaneState::Good => TokenState::Good,
            BackplaneState::Expired => TokenState::Expired,
            BackplaneState::Void => TokenState::Void,
        },
        scope: info.scope.to_string(),
        expires_at: info.expires_at,
        client_id,
        grants,
        chain,
    }
}

const fn kind(kind: TokenKind) -> BackplaneKind {
    match kind {
        TokenKind::AnonymousAccess => BackplaneKind::AnonymousAccess,
        TokenKind::AnonymousRefresh => BackplaneKind::AnonymousRefresh,
        TokenKind::CodeAccess => BackplaneKind::CodeAccess,
        TokenKind::ClientAccess => BackplaneKind::ClientAccess,
        TokenKind::PrivilegedRefresh => BackplaneKind::PrivilegedRefresh,
    }
}

fn code_view(info: CodeInfo) -> CodeView {
    CodeView {
        handle: info.handle.to_string(),
        client_id: info.client.to_string(),
        owner: info.owner.to_string(),
        buses: info.buses,
        state: match info.state {
            BackplaneCodeState::Unused => CodeState::Unused,
            BackplaneCodeState::Used(grant) => CodeState::Used(grant.as_str().to_owned()),
            BackplaneCodeState::Expired => CodeState::Expired,
            BackplaneCodeState::Void => CodeState::Void,
        },
        expires_at: info.expires_at,
    }
}
