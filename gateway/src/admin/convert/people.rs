//! Owners, clients, grants and users.

use buswire_message::{BusName, Realm, Secret};
use buswire_proto::v1;
use tonic::Status;
use url::Url;

use super::{Fields, non_empty, to_wire_time};
use crate::admin::{
    ports::{ClientView, GrantState, GrantView, NewClient, OwnerView, Permission, UserView},
    status,
};

/// A name and a password, of an owner or a user.
pub(crate) fn credentials(
    name: String,
    password: String,
) -> Result<(String, Secret<String>), Status> {
    let password = Secret::new(password);
    let mut fields = Fields::default();
    let name = fields.take("name", without_colon(name));
    let problem = if password.expose().is_empty() { Err("must not be empty") } else { Ok(()) };
    match (name, fields.take("password", problem)) {
        (Some(name), Some(())) => Ok((name, password)),
        _ => Err(fields.status()),
    }
}

/// HTTP Basic separates name and password by the first colon (Backplane §6.2).
fn without_colon(name: String) -> Result<String, &'static str> {
    if name.is_empty() || name.contains(':') { Err("not empty, without a colon") } else { Ok(name) }
}

/// The client that a request describes.
pub(crate) fn new_client(request: v1::CreateClientRequest) -> Result<NewClient, Status> {
    let secret = non_empty(request.secret).map(Secret::new);
    let mut fields = Fields::default();
    let client_id =
        non_empty(request.client_id).and_then(|id| fields.take("client_id", without_colon(id)));
    let source_url = fields.parse("source_url", &request.source_url);
    let redirect_uri = non_empty(request.redirect_uri).unwrap_or(request.source_url);
    let redirect_uri = fields.take("redirect_uri", redirect(&redirect_uri));
    fields.check()?;
    match (source_url, redirect_uri) {
        (Some(source_url), Some(redirect_uri)) => {
            Ok(NewClient { client_id, secret, source_url, redirect_uri })
        }
        _ => Err(fields.status()),
    }
}

/// RFC 6749 §3.1.2: an absolute URI without a fragment.
fn redirect(uri: &str) -> Result<Url, &'static str> {
    Url::parse(uri)
        .ok()
        .filter(|url| url.has_host() && url.fragment().is_none())
        .ok_or("an absolute URL without a fragment")
}

/// The buses of a grant; at least one.
pub(crate) fn granted_buses(names: &[String]) -> Result<Vec<BusName>, Status> {
    let mut fields = Fields::default();
    let buses: Vec<_> = names.iter().filter_map(|name| fields.parse("buses", name)).collect();
    if buses.is_empty() {
        fields.take("buses", Err::<(), _>("name at least one"));
    }
    fields.check().map(|()| buses)
}

/// A bus of Backplane 1.x, with or without its realm.
pub(crate) fn v1_bus(name: &str) -> Result<BusName, Status> {
    let bare = name.strip_prefix("v1/").unwrap_or(name);
    BusName::new(Realm::V1, bare).map_err(|e| status::invalid([format!("bus: {e}")]))
}

/// What a user is to be allowed.
pub(crate) fn permissions(wanted: &[i32]) -> Result<Vec<Permission>, Status> {
    let one = |number: &i32| match v1::Permission::try_from(*number) {
        Ok(v1::Permission::Getall) => Ok(Permission::GetAll),
        Ok(v1::Permission::Post) => Ok(Permission::Post),
        Ok(v1::Permission::Getpayload) => Ok(Permission::GetPayload),
        Ok(v1::Permission::Identity) => Ok(Permission::Identity),
        Ok(v1::Permission::Unspecified) | Err(_) => Err(status::invalid(["permissions: unknown"])),
    };
    wanted.iter().map(one).collect()
}

fn permission_to_wire(permission: Permission) -> i32 {
    match permission {
        Permission::GetAll => v1::Permission::Getall,
        Permission::Post => v1::Permission::Post,
        Permission::GetPayload => v1::Permission::Getpayload,
        Permission::Identity => v1::Permission::Identity,
    }
    .into()
}

fn bus_names(mut buses: Vec<BusName>) -> Vec<String> {
    buses.sort();
    buses.iter().map(ToString::to_string).collect()
}

/// An owner on the wire.
pub(crate) fn owner_to_wire(owner: OwnerView) -> v1::Owner {
    v1::Owner { name: owner.name, buses: bus_names(owner.buses), revision: owner.revision }
}

/// A client on the wire.
pub(crate) fn client_to_wire(client: ClientView) -> v1::Client {
    v1::Client {
        client_id: client.client_id,
        source_url: client.source_url,
        redirect_uri: client.redirect_uri,
        revision: client.revision,
    }
}

/// A grant on the wire.
pub(crate) fn grant_to_wire(grant: GrantView) -> v1::Grant {
    let state = match grant.state {
        GrantState::Inactive => v1::GrantState::Inactive,
        GrantState::Active => v1::GrantState::Active,
        GrantState::Revoked => v1::GrantState::Revoked,
    };
    v1::Grant {
        id: grant.id,
        client_id: grant.client_id,
        buses: bus_names(grant.buses),
        state: state.into(),
        issuer: grant.issuer.unwrap_or_default(),
        updated_at: Some(to_wire_time(grant.updated_at)),
        revision: grant.revision,
    }
}

/// A user on the wire.
pub(crate) fn user_to_wire(mut user: UserView) -> v1::User {
    user.buses.sort();
    let on_wire = |(bus, permissions): (BusName, Vec<Permission>)| v1::BusPermissions {
        bus: bus.to_string(),
        permissions: permissions.into_iter().map(permission_to_wire).collect(),
    };
    v1::User {
        name: user.name,
        buses: user.buses.into_iter().map(on_wire).collect(),
        revision: user.revision,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_http_basic_can_carry() {
        // Rule: backplane §6.2 — user and password are split at the first colon
        let problem = credentials("a:b".into(), String::new()).unwrap_err();
        assert_eq!(
            problem.message(),
            "name: not empty, without a colon; password: must not be empty"
        );
        let (name, password) = credentials("a".into(), "b:c".into()).unwrap();
        assert_eq!((name.as_str(), password.expose().as_str()), ("a", "b:c"));
    }

    #[test]
    fn a_redirect_uri_is_absolute_and_has_no_fragment() {
        // Rule: backplane §13.3 — REDIRECT_URI absolute, no fragment; SOURCE_URL absolute; no colon in the id
        let request = v1::CreateClientRequest {
            client_id: "a:b".into(),
            source_url: "x".into(),
            redirect_uri: "https://a.example/#x".into(),
            ..v1::CreateClientRequest::default()
        };
        let problem = new_client(request).unwrap_err();
        assert_eq!(problem.message().matches(": ").count(), 3, "{}", problem.message());
        let request = v1::CreateClientRequest {
            source_url: "https://a.example/".into(),
            ..v1::CreateClientRequest::default()
        };
        let client = new_client(request).unwrap();
        assert!(client.client_id.is_none() && client.secret.is_none());
        assert_eq!(client.redirect_uri.as_str(), "https://a.example/");
    }

    #[test]
    fn a_grant_is_for_a_bus_at_least() {
        let ok = granted_buses(&["a".into(), "v2/b".into()]).unwrap();
        assert_eq!(bus_names(ok), ["a", "b"]);
        assert_eq!(granted_buses(&[]).unwrap_err().message(), "buses: name at least one");
        assert!(granted_buses(&["a".into(), "b c".into()]).is_err());
    }

    #[test]
    fn permissions_are_known_ones() {
        // Rule: backplane §13.3 — an unknown permission name is refused
        assert_eq!(permissions(&[2, 1]).unwrap(), [Permission::Post, Permission::GetAll]);
        for unknown in [0, 5, -1] {
            assert!(permissions(&[1, unknown]).is_err());
        }
        assert_eq!(v1_bus("x").unwrap(), v1_bus("v1/x").unwrap());
        assert!(v1_bus("v2/x").is_err());
    }
}
