//! What a server says of itself, and whether that is good enough.
//!
//! Never here: connecting.

use buswire_message::Timestamp;

use super::config::{Durability, RedisOpenError};

/// The oldest version that has all that the scripts use.
const VERSION_MIN: u32 = 7;

/// A server, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    version: String,
    /// Differs after every start of the server and every change of its role.
    pub(super) run: String,
    is_master: bool,
    /// Bytes of its append-only file.
    pub(super) disk_bytes: u64,
    /// What its clock says, if it tells.
    time: Option<Timestamp>,
}

/// Clocks that differ by more are worth a word: what expires is live at one gateway and not at another.
const CLOCKS_DIFFER: u64 = 10_000;

impl Server {
    /// Reads the answer to `INFO`; `None` if it is not one.
    pub(super) fn parse(info: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut lines = info.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
        };
        Some(Self {
            version: field("valkey_version").or_else(|| field("redis_version"))?.to_owned(),
            run: format!("{}/{}", field("run_id")?, field("master_replid")?),
            is_master: field("role")? == "master",
            disk_bytes: field("aof_current_size").and_then(|n| n.parse().ok()).unwrap_or(0),
            time: field("server_time_usec")
                .and_then(|micros| micros.parse::<u64>().ok())
                .map(|micros| Timestamp::from_millis(micros / 1000)),
        })
    }

    /// Says so if its clock and this machine's differ.
    pub(super) fn compare_clocks(&self, address: &str, now: Timestamp) {
        let Some(time) = self.time else { return };
        let apart = time.as_millis().abs_diff(now.as_millis());
        if apart > CLOCKS_DIFFER {
            let seconds = apart / 1000;
            tracing::warn!(address, seconds, "the clocks of this machine and of the server differ");
        }
    }

    /// Whether it can be written to at all.
    ///
    /// # Errors
    ///
    /// [`RedisOpenError::TooOld`], [`RedisOpenError::Replica`].
    pub(super) fn check(&self, address: &str) -> Result<(), RedisOpenError> {
        let major = self.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < VERSION_MIN) {
            let (address, found) = (address.to_owned(), self.version.clone());
            return Err(RedisOpenError::TooOld { address, found });
        }
        if self.is_master {
            Ok(())
        } else {
            Err(RedisOpenError::Replica { address: address.to_owned() })
        }
    }
}

/// The settings that decide what a server keeps; `None` for what it does not tell.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Settings {
    pub(super) policy: Option<String>,
    pub(super) appendonly: Option<String>,
    pub(super) appendfsync: Option<String>,
}

impl Settings {
    /// Whether it keeps all that it acknowledges when it ends, however it ends.
    pub(super) fn keeps_all(&self) -> bool {
        let is = |setting: &Option<String>, value| setting.as_deref() == Some(value);
        is(&self.appendonly, "yes") && is(&self.appendfsync, "always")
    }

    /// Says what is lost, or refuses it.
    ///
    /// # Errors
    ///
    /// [`RedisOpenError::NotDurable`] where `durability` is strict.
    pub(super) fn check(
        &self,
        address: &str,
        durability: Durability,
    ) -> Result<(), RedisOpenError> {
        if self.appendfsync.as_deref().is_some_and(|fsync| fsync != "always") {
            tracing::warn!(
                address,
                "appendfsync is not always: a loss of power may take the last second of \
                 acknowledged writes"
            );
        }
        let problems: Vec<String> = [
            ("maxmemory-policy", &self.policy, "noeviction"),
            ("appendonly", &self.appendonly, "yes"),
        ]
        .into_iter()
        .filter(|(_, found, needed)| found.as_deref() != Some(needed))
        .map(|(name, found, needed)| match found {
            Some(found) => format!("{name} is {found}, set it to {needed}"),
            None => format!("{name} can't be read, allow CONFIG GET or see that it is {needed}"),
        })
        .collect();
        if problems.is_empty() {
            return Ok(());
        }
        if durability == Durability::Strict {
            return Err(RedisOpenError::NotDurable { address: address.to_owned(), problems });
        }
        for problem in problems {
            tracing::warn!(address, problem, "the server may lose what it acknowledged");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, role: &str) -> Server {
        let info = format!(
            "# Server\r\nredis_version:{version}\r\nrun_id:abc\r\n\r\n# Persistence\r\n\
             aof_current_size:12\r\n# Replication\r\nrole:{role}\r\nmaster_replid:def\r\n"
        );
        Server::parse(&info).unwrap()
    }

    #[test]
    fn a_server_is_checked() {
        let server = info("7.0.15", "master");
        assert_eq!((server.run.as_str(), server.disk_bytes), ("abc/def", 12));
        assert_eq!(server.check("h"), Ok(()));
        assert!(matches!(info("6.2.7", "master").check("h"), Err(RedisOpenError::TooOld { .. })));
        assert!(matches!(info("7.2", "slave").check("h"), Err(RedisOpenError::Replica { .. })));
        assert_eq!(Server::parse("# Server\r\n"), None);
    }

    /// What Redis 7.0.15 and Valkey 8.0.1 answer to `INFO`, shortened by lines that are not looked at.
    const REDIS: &str = "# Server\r\nredis_version:7.0.15\r\nredis_git_sha1:00000000\r\n\
        redis_mode:standalone\r\nrun_id:1f6c2a0b5d7e4f3a9b8c7d6e5f4a3b2c1d0e9f8a\r\n\r\n\
        # Persistence\r\nloading:0\r\naof_enabled:1\r\naof_current_size:88\r\n\r\n\
        # Replication\r\nrole:master\r\nconnected_slaves:0\r\n\
        master_replid:8d2f7c0e1b3a495867768594a3b2c1d0e9f8a7b6\r\nmaster_repl_offset:0\r\n";
    const VALKEY: &str = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\n\
        valkey_version:8.0.1\r\nvalkey_release_stage:ga\r\nredis_git_sha1:00000000\r\n\
        server_mode:standalone\r\nrun_id:0a1b2c3d4e5f60718293a4b5c6d7e8f901234567\r\n\r\n\
        # Persistence\r\nloading:0\r\naof_enabled:1\r\naof_current_size:88\r\n\r\n\
        # Replication\r\nrole:master\r\nconnected_slaves:0\r\n\
        master_replid:9e8d7c6b5a4938271605f4e3d2c1b0a998877665\r\nmaster_repl_offset:0\r\n";

    #[test]
    fn redis_and_valkey_are_told_by_their_own_versions() {
        for (info, version) in [(REDIS, "7.0.15"), (VALKEY, "8.0.1")] {
            let server = Server::parse(info).unwrap();
            assert_eq!((server.version.as_str(), server.check("h")), (version, Ok(())));
            assert_eq!(server.disk_bytes, 88);
        }
        // Valkey stands for Redis 7.2 in all of its versions: its own one counts.
        let old = Server::parse(&VALKEY.replace("valkey_version:8.0.1", "valkey_version:6.9.9"));
        let refused = old.unwrap().check("h").unwrap_err();
        assert!(refused.to_string().contains("version 6.9.9; 7.0"), "{refused}");
        for version in ["6.2.14", "5.0.7", "unknown", ""] {
            let info = REDIS.replace("redis_version:7.0.15", &format!("redis_version:{version}"));
            let refused = Server::parse(&info).unwrap().check("h");
            assert!(matches!(refused, Err(RedisOpenError::TooOld { .. })), "{version}");
        }
    }

    #[test]
    fn settings_that_lose_writes_are_refused_or_warned_of() {
        let set = |policy: &str, aof: &str| Settings {
            policy: Some(policy.to_owned()),
            appendonly: Some(aof.to_owned()),
            appendfsync: None,
        };
        assert_eq!(set("noeviction", "yes").check("h", Durability::Strict), Ok(()));
        let RedisOpenError::NotDurable { problems, .. } =
            set("allkeys-lru", "no").check("h", Durability::Strict).unwrap_err()
        else {
            panic!("another error")
        };
        assert_eq!(problems.len(), 2);
        assert_eq!(set("allkeys-lru", "no").check("h", Durability::Warn), Ok(()));
        assert!(Settings::default().check("h", Durability::Strict).is_err());
    }
}
