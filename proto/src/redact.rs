//! `Debug` of messages that carry a secret or a payload: it shows what they are about, never those.

use std::fmt;

use crate::v1;

/// Shows the fields that are listed; what else there is stays hidden.
macro_rules! shows {
    ($($message:ident { $($field:ident),* })+) => {
        /// Whether a field of a message of `buswire.admin.v1` may be shown, in a log or to whoever may look
        /// and no more; both by the names that they have in the interface, without the package.
        pub fn is_shown(message: &str, field: &str) -> bool {
            let listed: &[&str] = match message {
                $(stringify!($message) => &[$(stringify!($field)),*],)+
                _ => return true,
            };
            listed.iter().any(|name| name.trim_start_matches("r#") == field)
        }

        $(impl fmt::Debug for v1::$message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($field), &self.$field))*
                    .finish_non_exhaustive()
            }
        })+
    };
}

shows! {
    Message { id, bus, r#type, sticky, expires_at }
    PublishRequest { bus, r#type, sticky, expires_at }
    CreateRouteRequest { name, scope, reply_type, from, retry, map, request_id }
    UpdateRouteRequest { name, scope, reply_type, retry, map, update_mask, expected_revision }
    GrantCapabilityRequest { kind, limits, label, form, request_id }
    GrantCapabilityResponse { handle }
    WrapCapabilityResponse { handle }
    NotifyRequest { version, agent, channel }
    CreateInboundResponse { id }
    CreateAdminTokenResponse {}
    RequestRequest { service, timeout }
    RequestResponse {}
    Channel { expires_at, messages }
    ListChannelsRequest { bus, page_size }
    ListChannelsResponse { channels }
    Token { handle, kind, state, expires_at, client_id, grants }
    PutOwnerRequest { name, expected_revision }
    PutUserRequest { name, expected_revision }
    CreateClientRequest { client_id, source_url, redirect_uri, request_id }
    CreateClientResponse { client }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prints_may_be_shown() {
        assert!(is_shown("Message", "type") && is_shown("Bus", "name"));
        assert!(!is_shown("PutOwnerRequest", "password") && !is_shown("Message", "payload"));
        assert!(!is_shown("CreateAdminTokenResponse", "token"));
        assert!(is_shown("GrantCapabilityRequest", "limits"));
        assert!(is_shown("UpdateRouteRequest", "expected_revision"));
    }

    #[test]
    fn secrets_and_payloads_do_not_print() {
        let hidden = || "hunter2".to_owned();
        let texts = [
            format!(
                "{:?}",
                v1::Message { payload: hidden(), channel: hidden(), ..v1::Message::default() }
            ),
            format!("{:?}", v1::PublishRequest { payload: hidden(), ..Default::default() }),
            format!("{:?}", v1::CreateRouteRequest { sink: hidden(), ..Default::default() }),
            format!("{:?}", v1::UpdateRouteRequest { sink: hidden(), ..Default::default() }),
            format!("{:?}", v1::GrantCapabilityRequest { target: hidden(), ..Default::default() }),
            format!("{:?}", v1::GrantCapabilityResponse { cap: hidden(), ..Default::default() }),
            format!("{:?}", v1::WrapCapabilityResponse { cap: hidden(), ..Default::default() }),
            format!(
                "{:?}",
                v1::GrantCapabilityResponse { control: hidden(), ..Default::default() }
            ),
            format!("{:?}", v1::NotifyRequest { endpoint: hidden(), ..Default::default() }),
            format!("{:?}", v1::CreateInboundResponse { endpoint: hidden(), ..Default::default() }),
            format!(
                "{:?}",
                v1::RequestRequest { frames: vec![hidden().into()], ..Default::default() }
            ),
            format!("{:?}", v1::RequestResponse { frames: vec![hidden().into()] }),
            format!("{:?}", v1::CreateAdminTokenResponse { token: hidden() }),
            format!("{:?}", v1::Channel { name: hidden(), ..Default::default() }),
            format!("{:?}", v1::ListChannelsRequest { page_token: hidden(), ..Default::default() }),
            format!(
                "{:?}",
                v1::ListChannelsResponse { next_page_token: hidden(), ..Default::default() }
            ),
            format!("{:?}", v1::Token { scope: hidden(), chain: hidden(), ..Default::default() }),
            format!("{:?}", v1::PutOwnerRequest { password: hidden(), ..Default::default() }),
            format!("{:?}", v1::PutUserRequest { password: hidden(), ..Default::default() }),
            format!("{:?}", v1::CreateClientRequest { secret: hidden(), ..Default::default() }),
            format!("{:?}", v1::CreateClientResponse { secret: hidden(), ..Default::default() }),
        ];
        for text in texts {
            assert!(text.ends_with("..}") || text.ends_with(".. }"), "{text}");
            assert!(
                !text.contains("hunter2") && !text.contains(&format!("{:?}", b"hunter2")),
                "{text}"
            );
        }
    }
}
