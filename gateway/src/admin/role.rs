//! What the holder of a token may do.
//!
//! Never here: who holds which token.

use std::{fmt, str::FromStr};

/// What somebody may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks, and changes nothing. Sees messages with their payloads, never a credential.
    Viewer,
    /// Runs the gateway: buses, routes, messages, workers, and taking rights away. Hands out no
    /// credentials and no capabilities.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The least role that may call a method of `buswire.admin.v1`, `/buswire.admin.v1.X/Method`. What
    /// is not known needs the most.
    pub(super) fn required(path: &str) -> Self {
        let Some((service, method)) =
            path.strip_prefix("/buswire.admin.v1.").and_then(|rest| rest.split_once('/'))
        else {
            return Self::Admin;
        };
        match (service, method) {
            ("AdminTokenService", _) => Self::Admin,
            // It has no secrets, but tells how the gateway can be reached and what it relies on.
            ("SystemService", "GetConfiguration") => Self::Operator,
            (_, method) if is_reading(method) => Self::Viewer,
            (
                "BusService"
                | "RouteService"
                | "DeadLetterService"
                | "MessageService"
                | "BrokerService"
                | "PushService"
                | "SubscriptionService"
                | "AccessService",
                _,
            )
            | ("CapabilityService", "RevokeCapability")
            | ("GrantService", "RevokeGrant")
            | ("InboundService", "RevokeInbound") => Self::Operator,
            _ => Self::Admin,
        }
    }
}

/// Whether a method of `buswire.admin.v1`, by its name alone, changes nothing.
pub(super) fn is_reading(method: &str) -> bool {
    ["Get", "List", "Tail", "Watch"].iter().any(|verb| method.starts_with(verb))
        || matches!(method, "Read" | "Subscribe")
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is viewer, operator or admin")]
pub struct RoleError;

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(RoleError)
    }
}

#[cfg(test)]
mod tests {
    use buswire_proto::FILE_DESCRIPTOR_SET;
    use prost::Message as _;

    use super::*;

    /// Every method of the interface with the role that it needs. A new one does not pass unseen.
    #[test]
    fn every_method_needs_a_role() {
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let ours = set.file.iter().filter(|file| file.package() == "buswire.admin.v1");
        let services = ours.flat_map(|file| &file.service);
        let mut all: [Vec<String>; 3] = Default::default();
        for service in services {
            for method in &service.method {
                let name = format!("{}/{}", service.name(), method.name());
                let role = Role::required(&format!("/buswire.admin.v1.{name}"));
                all[Role::ALL.iter().position(|known| *known == role).unwrap()].push(name);
            }
        }
        let [viewer, operator, admin] = all;
        let reads = |name: &String| is_reading(name.split('/').nth(1).unwrap());
        assert!(viewer.iter().all(reads), "{viewer:?}");
        let configuration = "SystemService/GetConfiguration";
        assert!(operator.iter().all(|name| !reads(name) || name == configuration), "{operator:?}");
        // What makes or shows a credential is for admins.
        for name in [
            "AdminTokenService/CreateAdminToken",
            "ClientService/CreateClient",
            "OwnerService/PutOwner",
            "UserService/PutUser",
            "UserService/SetPermissions",
            "GrantService/CreateGrant",
            "CapabilityService/GrantCapability",
            "InboundService/CreateInbound",
            "SystemService/Drain",
            "SystemService/Undrain",
        ] {
            assert!(admin.iter().any(|known| known == name), "{name} in {admin:?}");
        }
        assert_eq!(Role::required("/buswire.admin.v1.NewService/Make"), Role::Admin);
        assert_eq!(Role::required("/other"), Role::Admin);
    }

    #[test]
    fn roles_are_ordered_and_have_names() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(RoleError));
    }
}
