//! The settings of the doors and of the bridge. Never here: those of the gateway itself.

use super::schema::{Group, Kind, Setting, count, size, time};

const WEEK: u32 = 604_800;

/// Backplane (§20 of its reference).
pub(crate) const BACKPLANE: Group = Group {
    title: "Backplane",
    about: "The names are those of the Backplane reference, §20.",
    settings: &[
        Setting::new("backplane.enable_v1", Kind::Flag, "true", "Whether Backplane 1.x is served."),
        Setting::new("backplane.enable_v2", Kind::Flag, "true", "Whether Backplane 2.0 is served."),
        Setting::new(
            "backplane.max_messages_per_channel",
            count(1, 1_000_000),
            "100",
            "Live messages per channel of a bus that does not say otherwise. Further posts are refused.",
        ),
        Setting::new("backplane.page_size", count(1, 1000), "25", "Messages per answer of 2.0."),
        Setting::new(
            "backplane.max_block_seconds",
            count(0, 60),
            "25",
            "The longest long poll of 2.0, in seconds.",
        ),
        Setting::new(
            "backplane.anonymous_token_seconds",
            count(60, 31_536_000),
            "3600",
            "Life of an anonymous token, in seconds.",
        ),
        Setting::new(
            "backplane.privileged_token_seconds",
            count(60, 315_360_000),
            "31536000",
            "Life of a privileged token, in seconds.",
        ),
        Setting::new(
            "backplane.retention_seconds",
            count(60, WEEK),
            "600",
            "How long a bus keeps a message that is not sticky, if the bus does not say otherwise, in seconds.",
        ),
        Setting::new(
            "backplane.sticky_retention_seconds",
            count(60, WEEK),
            "28800",
            "How long a bus keeps a sticky message, if the bus does not say otherwise, in seconds.",
        ),
        Setting::new(
            "backplane.jsonp_prefix",
            Kind::Text,
            "\"\"",
            "Written before every JSONP answer; `/**/` for hardened sites without old server-side clients.",
        ),
        Setting::new(
            "backplane.sticky_as_string_v2",
            Kind::Flag,
            "false",
            "Whether 2.0 writes `sticky` as `\"true\"` instead of `true`.",
        ),
        Setting::new(
            "backplane.allow_unbound_channels",
            Kind::Flag,
            "false",
            "Whether a page of the twelfth draft gets a channel without naming a bus; the first post binds it.",
        ),
        Setting::new(
            "backplane.admin_name",
            Kind::Text,
            "\"bpadmin\"",
            "Name, beside `admin`, that provisioning over HTTP takes together with the admin token.",
        ),
        Setting::new(
            "backplane.cors_origins",
            Kind::Texts,
            "[]",
            "Origins whose pages may read answers (CORS).",
        ),
        Setting::new(
            "backplane.max_body_bytes",
            size(1024, 1 << 30),
            "\"1MiB\"",
            "The longest request body.",
        ),
        Setting::new(
            "backplane.cleanup_interval_seconds",
            count(1, 86_400),
            "120",
            "How often what has expired leaves memory and disk, in seconds; it is never shown.",
        ),
    ],
};

/// SimplePush (§16 of its reference).
pub(crate) const SIMPLEPUSH: Group = Group {
    title: "SimplePush",
    about: "Limits and timers of the SimplePush reference, §5.3 and §16.",
    settings: &[
        Setting::new("simplepush.enabled", Kind::Flag, "true", "Whether SimplePush is served."),
        Setting::new(
            "simplepush.connections_max",
            count(1, 1_000_000),
            "40000",
            "WebSocket connections at once. Further ones are refused.",
        ),
        Setting::new(
            "simplepush.address_connections_max",
            count(0, 1_000_000),
            "0",
            "WebSocket connections at once from one address; `0` is any number.",
        ),
        Setting::new(
            "simplepush.channels_max",
            count(1, 1300),
            "1000",
            "Channels per user agent, at hello and at register.",
        ),
        Setting::new(
            "simplepush.message_max",
            size(1024, 16 << 20),
            "\"128KiB\"",
            "The longest WebSocket message from a client. A longer one closes with 1009.",
        ),
        Setting::new(
            "simplepush.body_max",
            size(64, 1 << 20),
            "\"16KiB\"",
            "The longest body of a `PUT`.",
        ),
        Setting::new(
            "simplepush.max_data_len",
            size(0, 1 << 20),
            "\"4KiB\"",
            "The longest `data` of a `PUT`, after decoding; `0` ignores it (R-DATA-1).",
        ),
        Setting::new(
            "simplepush.hello_timeout",
            time(10, 3600),
            "\"30s\"",
            "From the connection to a valid `hello`. Pings do not extend it.",
        ),
        Setting::new(
            "simplepush.message_timeout",
            time(10, 3600),
            "\"30s\"",
            "From the first byte of a message to its last (§19.4).",
        ),
        Setting::new(
            "simplepush.ping_interval_min",
            time(0, 3600),
            "\"20s\"",
            "The shortest time between two client pings; `0s` is off.",
        ),
        Setting::new(
            "simplepush.probe_interval",
            time(1000, 86_400),
            "\"300s\"",
            "Silence after which the server sends a WebSocket PING.",
        ),
        Setting::new(
            "simplepush.probe_timeout",
            time(10, 3600),
            "\"30s\"",
            "Silence after that PING which closes the connection.",
        ),
        Setting::new(
            "simplepush.resend_interval",
            time(10, 86_400),
            "\"60s\"",
            "After how long an update that was not acknowledged is sent again.",
        ),
        Setting::new(
            "simplepush.resend_limit",
            count(1, 1_000_000),
            "10",
            "How often without any `ack` before the connection is closed (R-DEL-8).",
        ),
        Setting::new(
            "simplepush.write_timeout",
            time(10, 3600),
            "\"60s\"",
            "How long a write may make no progress before the connection is closed.",
        ),
        Setting::new(
            "simplepush.ua_lifetime",
            time(60_000, 31_536_000),
            "\"30d\"",
            "How long a user agent that does not connect is remembered.",
        ),
        Setting::new(
            "simplepush.updates_max",
            count(1, 10_000),
            "200",
            "Updates per notification.",
        ),
        Setting::new(
            "simplepush.channel_puts_per_minute",
            count(0, 1_000_000),
            "0",
            "`PUT`s to one channel within a minute; more are answered 429. `0` is off.",
        ),
        Setting::new(
            "simplepush.refused_puts_per_minute",
            count(0, 1_000_000),
            "6000",
            "`PUT`s from one address within a minute that are answered 404 or 410; after that every `PUT` from there is answered 429. `0` is off.",
        ),
        Setting::new(
            "simplepush.refused_uaids_per_minute",
            count(0, 1_000_000),
            "1000",
            "UAIDs from one address within a minute that are not honoured; after that upgrades from there are answered 429. `0` is off.",
        ),
        Setting::new(
            "simplepush.takeovers_per_minute",
            count(0, 1_000_000),
            "5",
            "How often the connection of a user agent may be displaced by another within a minute; after that a `hello` waits for 5 s. `0` is off.",
        ),
        Setting::new(
            "simplepush.version_policy",
            Kind::Choice(&["greatest", "strict", "last"]),
            "\"greatest\"",
            "Which version stays: the greatest while one is pending, the greatest ever (`strict`), or the last that came (`last`, which can hide a newer version) (R-VER-7).",
        ),
        Setting::new(
            "simplepush.extra_channels",
            Kind::Choice(&["prune_if_listed", "keep", "prune"]),
            "\"prune_if_listed\"",
            "What `hello` does with channels that are not listed (R-SYNC-1).",
        ),
        Setting::new(
            "simplepush.missing_channels",
            Kind::Choice(&["reset", "ignore"]),
            "\"reset\"",
            "What `hello` does if it lists channels that are not registered (R-SYNC-2).",
        ),
        Setting::new(
            "simplepush.always_200",
            Kind::Flag,
            "false",
            "Whether a `PUT` is answered 200 also if the user agent is away (§12.3).",
        ),
        Setting::new(
            "simplepush.cors",
            Kind::Flag,
            "false",
            "Whether pages of other origins may `PUT` (R-HTTP-3).",
        ),
        Setting::new(
            "simplepush.require_subprotocol",
            Kind::Flag,
            "false",
            "Whether an upgrade without the subprotocol `push-notification` is answered 400 (R-WS-2).",
        ),
        Setting::new(
            "simplepush.allowed_origins",
            Kind::Texts,
            "[]",
            "Origins that may connect; all if the list is empty (R-WS-3).",
        ),
        Setting::unset(
            "simplepush.several_gateways",
            Kind::Flag,
            "Whether other gateways use the same store: each then learns of what the others accept (§15). `true` if `store.url` names a Redis server, otherwise `false`.",
        ),
        Setting::new(
            "simplepush.redirect",
            Kind::Text,
            "\"\"",
            "The `wss:` URL of another gateway, where user agents are sent when there are many here; empty is off (§15.4).",
        ),
        Setting::new(
            "simplepush.redirect_threshold",
            count(1, 100),
            "95",
            "How many are many, in percent of `connections_max`.",
        ),
        Setting::unset(
            "simplepush.token_key_file",
            Kind::Path,
            "File with keys of endpoint tokens, one a line as `ID HEX` with an ID from 2 to 255 and 64 hexadecimal digits, the newest first. The newest makes endpoints; all of them, and the gateway's own key, open them (R-EP-2). Empty lines and those with `#` do not count.",
        ),
        Setting::new(
            "simplepush.wakeup_networks",
            Kind::Texts,
            "[]",
            "Mobile networks whose relays wake user agents, each as `MCC-MNC RELAY:PORT NETWORK…`: a relay is sent `wake IP:PORT` by UDP for addresses within its networks (§13, §19.6).",
        ),
        Setting::new(
            "simplepush.wakeup_idle",
            time(1000, 3600),
            "\"10s\"",
            "Silence after which a user agent that can be woken is disconnected with 4774.",
        ),
    ],
};

/// Majordomo (§12.6 and §14 of its reference).
pub(crate) const MDP: Group = Group {
    title: "Majordomo (MDP)",
    about: "The broker and its limits, §12.6 of the MDP reference.",
    settings: &[
        Setting::new(
            "mdp.listen",
            Kind::Texts,
            "[\"tcp://127.0.0.1:5555\"]",
            "ZeroMQ endpoints. TCP port 0 takes a free one. An empty list turns the broker off.",
        ),
        Setting::new(
            "mdp.worker_listen",
            Kind::Texts,
            "[]",
            "Endpoints for workers. If there are any, workers are refused at `mdp.listen` and clients here.",
        ),
        Setting::unset(
            "mdp.curve.secret_key_file",
            Kind::Path,
            "File with the broker's CURVE secret key in Z85, readable by its owner only. Turns CURVE on for every endpoint.",
        ),
        Setting::new(
            "mdp.curve.allowed_keys",
            Kind::Texts,
            "[]",
            "Public keys in Z85 of the clients and workers that may connect; with CURVE on, nobody else may. Read again on SIGHUP.",
        ),
        Setting::new(
            "mdp.curve.allow_any",
            Kind::Flag,
            "false",
            "Whether everybody may connect who knows the broker's public key, whatever `mdp.curve.allowed_keys` says. Read again on SIGHUP.",
        ),
        Setting::new(
            "mdp.access",
            Kind::Tables,
            "[]",
            "Who may do what: `[[mdp.access]]` with `user` (a public key in Z85; without it, everybody else), and lists of services, `register` and `call`; `billing.*` is all that begin so. Without any such table everybody may do everything. Read again on SIGHUP.",
        ),
        Setting::new(
            "mdp.services",
            Kind::Tables,
            "[]",
            "Services with settings of their own: `[[mdp.services]]` with `name`, and optionally `max_attempts`, `busy_timeout`, `queue_limit`, and `error_reply`, a text that answers requests that fail.",
        ),
        Setting::new(
            "mdp.key_rights",
            Kind::Tables,
            "[]",
            "Clients that use `bus.publish` and `bus.read` without a capability. Each table has `key` (one of `mdp.curve.allowed_keys`), `publish` and `read` (scopes that name a bus, such as `\"bus:shop.example channel:orders\"`; without one the right is not given). Read again on SIGHUP.",
        ),
        Setting::new(
            "mdp.insecure",
            Kind::Flag,
            "false",
            "Must be `true` to listen on an address that is not loopback without CURVE.",
        ),
        Setting::new(
            "mdp.heartbeat_interval",
            time(10, 3600),
            "\"1s\"",
            "How often a silent worker gets a heartbeat.",
        ),
        Setting::new(
            "mdp.worker_expiry",
            time(10, 3600),
            "\"7500ms\"",
            "Silence after which a worker is taken for lost.",
        ),
        Setting::new(
            "mdp.busy_timeout",
            time(10, 86_400),
            "\"900s\"",
            "How long a worker may work on one request.",
        ),
        Setting::new(
            "mdp.request_ttl",
            time(10, 86_400),
            "\"60s\"",
            "How long a request waits for a worker before it is dropped.",
        ),
        Setting::new(
            "mdp.max_attempts",
            count(1, 100),
            "2",
            "Workers that a request is tried with, when they are lost.",
        ),
        Setting::new(
            "mdp.queue_limit",
            count(1, 10_000_000),
            "10000",
            "Requests that wait per service. Further ones are dropped and counted.",
        ),
        Setting::new(
            "mdp.queue_bytes",
            size(1 << 10, 1 << 40),
            "\"256MiB\"",
            "Bytes that wait in all queues.",
        ),
        Setting::new(
            "mdp.client_limit",
            count(1, 10_000_000),
            "10000",
            "Requests in flight per client.",
        ),
        Setting::new("mdp.max_frames", count(4, 1_000_000), "1024", "Frames per message."),
        Setting::new("mdp.max_frame_size", size(64, 1 << 31), "\"64MiB\"", "Bytes per frame."),
        Setting::new(
            "mdp.max_services",
            count(1, 1_000_000),
            "10000",
            "Services that are known at once.",
        ),
        Setting::new(
            "mdp.max_workers",
            count(1, 1_000_000),
            "100000",
            "Workers that are registered at once. Further ones are sent away.",
        ),
        Setting::new(
            "mdp.partial_bytes",
            size(1 << 10, 1 << 30),
            "\"16MiB\"",
            "Bytes of partial replies kept for one client of MDP/0.1. Beyond them its request fails.",
        ),
        Setting::new(
            "mdp.partial_to_01",
            Kind::Choice(&["concatenate", "drop"]),
            "\"concatenate\"",
            "What becomes of partial replies to a client of MDP/0.1.",
        ),
        Setting::new(
            "mdp.address_mode",
            Kind::Choice(&["token", "identity"]),
            "\"token\"",
            "What a worker sees as the client's address: a token, or the client's own id.",
        ),
        Setting::new(
            "mdp.duplicate_ready",
            Kind::Choice(&["disconnect", "refresh"]),
            "\"disconnect\"",
            "What the second READY of a worker for the same service is: a violation, or a sign of life.",
        ),
        Setting::new(
            "mdp.dialects",
            Kind::Texts,
            "[]",
            "Dialects beside the published protocol: `majortomo` (clients of that Python package), `zproto` (the C library majordomo).",
        ),
        Setting::new(
            "mdp.mmi_extensions",
            Kind::Flag,
            "false",
            "Whether `mmi.services`, `mmi.workers` and `mmi.stats` are answered; otherwise they are 501.",
        ),
        Setting::new(
            "mdp.io_threads",
            count(1, 64),
            "1",
            "Threads of libzmq. One is enough for about a gigabyte a second.",
        ),
        Setting::new(
            "mdp.service_idle",
            time(1000, 86_400),
            "\"300s\"",
            "After how long a service without workers and requests is forgotten.",
        ),
        Setting::new(
            "mdp.drain",
            time(0, 3600),
            "\"5s\"",
            "How long replies may still come in at shutdown.",
        ),
        Setting::new(
            "mdp.metrics_services",
            Kind::Texts,
            "[]",
            "Services whose queues and workers are metrics of their own, with the name as a label; at most 100.",
        ),
        Setting::new(
            "mdp.trace_services",
            Kind::Texts,
            "[]",
            "Services whose workers want to go on with a trace: requests of routes and of `rpc.call` capabilities have the W3C `traceparent` as a frame behind the body.",
        ),
    ],
};

/// Titanic (§17 of the MDP reference).
pub(crate) const TITANIC: Group = Group {
    title: "Titanic",
    about: "Majordomo requests that are stored before they are acknowledged, §17 of the MDP reference.",
    settings: &[
        Setting::new(
            "mdp.titanic.enabled",
            Kind::Flag,
            "true",
            "Whether the gateway offers `titanic.request`, `titanic.reply` and `titanic.close`. If not, workers may.",
        ),
        Setting::new(
            "mdp.titanic.requests_max",
            count(1, 10_000_000),
            "100000",
            "Requests and replies kept at once, each with about 300 bytes of memory beside its own. Further requests are answered `500`.",
        ),
        Setting::new(
            "mdp.titanic.bytes_max",
            size(2048, 1 << 40),
            "\"256MiB\"",
            "Bytes of all that is kept; the embedded store has them in memory too. Further requests are answered `500`. At least twice `mdp.titanic.message_max`.",
        ),
        Setting::new(
            "mdp.titanic.message_max",
            size(1024, 8 << 20),
            "\"1MiB\"",
            "Bytes of one request or reply. A longer request is answered `500`; for a longer reply `titanic.reply` answers `500`, and the request is not sent again.",
        ),
        Setting::new(
            "mdp.titanic.request_ttl",
            time(1000, 31_536_000),
            "\"7d\"",
            "How long a request is kept that nobody serves.",
        ),
        Setting::new(
            "mdp.titanic.reply_ttl",
            time(1000, 31_536_000),
            "\"7d\"",
            "How long a reply is kept that nobody closes.",
        ),
        Setting::new(
            "mdp.titanic.attempt_timeout",
            time(10, 86_400),
            "\"900s\"",
            "How long one attempt may take; then the request is sent again.",
        ),
        Setting::new("mdp.titanic.in_flight_max", count(1, 10_000), "64", "Attempts at once."),
        Setting::new(
            "mdp.titanic.service_in_flight_max",
            count(1, 10_000),
            "16",
            "Attempts at once at one service. There are never more than two for each of its workers.",
        ),
        Setting::new(
            "mdp.titanic.backoff",
            time(1, 3600),
            "\"1s\"",
            "How long a service rests after a failed attempt; it doubles, with jitter, up to `mdp.titanic.backoff_max`.",
        ),
        Setting::new(
            "mdp.titanic.backoff_max",
            time(1, 86_400),
            "\"60s\"",
            "The longest rest of a service.",
        ),
    ],
};

/// Belay (§20.8 and §21.6 of its reference).
pub(crate) const BELAY: Group = Group {
    title: "Belay",
    about: "Limits of the Belay reference, §20.8 and §21.6.",
    settings: &[
        Setting::new(
            "belay.enabled",
            Kind::Flag,
            "true",
            "Whether capabilities are served under `/cap/` and `/belay/`.",
        ),
        Setting::new(
            "belay.body_max",
            size(1024, 1 << 30),
            "\"1MiB\"",
            "The longest request body. A grant may lower it.",
        ),
        Setting::new("belay.json_depth_max", count(1, 128), "64", "How deep JSON may be nested."),
        Setting::new("belay.bcaps_max", count(1, 100_000), "256", "Capabilities per message."),
        Setting::new("belay.block_max", time(0, 300), "\"60s\"", "The longest read that waits."),
        Setting::new("belay.children_max", count(1, 1_000_000), "1000", "Live children per grant."),
        Setting::new(
            "belay.unknown_rate",
            count(1, 1_000_000),
            "50",
            "Answers 404 per second and client address; more are answered 429.",
        ),
        Setting::new(
            "belay.frame.ancestors",
            Kind::Texts,
            "[]",
            "Sites that may embed the frame, such as `https://app.example` or \
             `https://*.app.example`. Empty: all.",
        ),
        Setting::new(
            "belay.frame.original_clients",
            Kind::Flag,
            "true",
            "Whether the frame serves pages with the original library, whose origin it does not \
             learn: they can neither route an origin nor call a station.",
        ),
        Setting::new(
            "belay.frame.opaque_origins",
            Kind::Flag,
            "false",
            "Whether the frame serves pages without an origin, such as those of `data:` URLs; \
             `belay.frame.ancestors` then does not count.",
        ),
        Setting::unset(
            "belay.keys",
            Kind::Text,
            "The keys that seal what grants hold in the store and that ids which can be computed again come from: 32 bytes in base64url a line, the oldest first; a line that is added takes over. If they are not set, one is generated at first start into `data_dir/belay.keys`. Gateways that share a store share them, and a backup of the store is of no use without them.",
        )
        .hidden(),
        Setting::new(
            "belay.egress.allow",
            Kind::Texts,
            "[]",
            "What capabilities of kind `url` and sinks `cap:` may reach beyond public addresses: ranges such as `10.0.0.0/8`, and hosts by name, whatever they resolve to.",
        ),
        Setting::new(
            "belay.egress.allow_http",
            Kind::Flag,
            "false",
            "Whether they may use `http:` too, which shows the links to everybody on the way.",
        ),
        Setting::new(
            "belay.egress.timeout",
            time(1, 600),
            "\"30s\"",
            "How long a request to another server may take.",
        ),
        Setting::new(
            "belay.egress.answer_max",
            size(1024, 1 << 30),
            "\"1MiB\"",
            "The longest answer of another server.",
        ),
        Setting::new(
            "belay.egress.in_flight_max",
            count(1, 65_536),
            "256",
            "Requests to other servers at once; one more fails with 503.",
        ),
    ],
};

/// The bridge (§6 of the architecture).
pub(crate) const BRIDGE: Group = Group {
    title: "Bridge",
    about: "How routes deliver, unless the route says otherwise.",
    settings: &[
        Setting::new(
            "bridge.max_attempts",
            count(1, 10_000),
            "10",
            "Attempts to deliver a message before it becomes a dead letter.",
        ),
        Setting::new(
            "bridge.backoff",
            time(1, 3600),
            "\"200ms\"",
            "The wait before the second attempt; it doubles, with jitter, up to `bridge.backoff_max`.",
        ),
        Setting::new(
            "bridge.backoff_max",
            time(1, 86_400),
            "\"60s\"",
            "The longest wait between two attempts.",
        ),
        Setting::new(
            "bridge.attempt_timeout",
            time(10, 3600),
            "\"30s\"",
            "How long one attempt may take.",
        ),
        Setting::new(
            "bridge.in_flight_max",
            count(1, 100_000),
            "256",
            "Channels of a route that deliver at once.",
        ),
        Setting::new(
            "bridge.dead_letters_max",
            count(1, 1_000_000),
            "10000",
            "Dead letters kept per route; the oldest go first.",
        ),
        Setting::new(
            "bridge.dead_letters_kept",
            time(1000, 31_536_000),
            "\"7d\"",
            "How long a dead letter is kept. What ages out is in the log and in a metric.",
        ),
    ],
};
