//! The settings of the gateway itself. Never here: those of a door.

use super::schema::{Group, Kind, Setting, count, size, time};

/// The process and its state.
pub(crate) const PROCESS: Group = Group {
    title: "Process and state",
    about: "Where the gateway keeps what it must not forget, and how it starts and stops.",
    settings: &[
        Setting::new(
            "data_dir",
            Kind::Path,
            "\"./buswire-data\"",
            "Directory of the embedded store and of the generated `admin.token`. Made at first start, readable by its owner only.",
        ),
        Setting::unset(
            "ready_file",
            Kind::Path,
            "File that gets one JSON object with every bound address once all listeners are bound. The same as `--ready-file`.",
        ),
        Setting::unset(
            "gateway_name",
            Kind::Text,
            "What this gateway is called where several share a store and it is shown which of them does what: 1 to 64 printable ASCII characters. If it is not set, the name of the host and the port of `http.listen`.",
        ),
        Setting::new(
            "shutdown_grace",
            time(0, 3600),
            "\"10s\"",
            "How long the gateway may take to stop after SIGTERM or SIGINT, `shutdown_delay` included: requests and connections finish. What is left then is closed and counted in the log.",
        ),
        Setting::new(
            "shutdown_delay",
            time(0, 3600),
            "\"0s\"",
            "How long the gateway, once it stops or is drained, still takes new connections and requests while `/readyz` says already that it is not ready. Behind a proxy set it to more than the proxy takes to notice, as `5s`: its interval of checks times the failures that it waits for. Then no request fails. Meanwhile HTTP/1.1 answers say `Connection: close`. A part of `shutdown_grace`.",
        ),
        Setting::new(
            "store.url",
            Kind::Text,
            "\"embedded:\"",
            "The engine of the store: `embedded:` (one directory, nothing to install; `embedded:PATH` puts it elsewhere than `data_dir`), `memory:` (forgets everything at exit), or a Redis or Valkey server that any number of gateways share: `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, `rediss://…` with TLS, `redis+cluster://HOST:PORT,…[?tls=true]`, `redis+sentinel://HOST:PORT,…/MASTER[?tls=true]`. A password in it is never shown.",
        )
        .hidden_password(),
    ],
};

/// A store on Redis.
pub(crate) const REDIS: Group = Group {
    title: "Store on Redis",
    about: "Only looked at where `store.url` names a Redis or Valkey server; see `docs/redis.md`.",
    settings: &[
        Setting::unset(
            "store.redis.password",
            Kind::Text,
            "The password, in place of the one in `store.url`.",
        )
        .hidden(),
        Setting::new(
            "store.redis.prefix",
            Kind::Text,
            "\"buswire\"",
            "What every key begins with: 1 to 64 of `a-zA-Z0-9._-`. Gateways of one prefix share everything, those of different ones nothing.",
        ),
        Setting::new(
            "store.redis.durability",
            Kind::Choice(&["strict", "warn"]),
            "\"strict\"",
            "What is done with a server that would lose what it acknowledged, because it has no append-only file or may evict keys: the gateway does not start, or warns in the log.",
        ),
        Setting::new(
            "store.redis.connect_timeout",
            time(10, 600),
            "\"2s\"",
            "How long a connection may take.",
        ),
        Setting::new(
            "store.redis.response_timeout",
            time(10, 600),
            "\"5s\"",
            "How long one answer may take before the connection is taken for dead.",
        ),
        Setting::new(
            "store.redis.patience",
            time(10, 600),
            "\"10s\"",
            "How long a request may take with everything, connecting and trying again included; then the store is unavailable to it.",
        ),
        Setting::new(
            "store.redis.concurrency",
            count(1, 100_000),
            "1024",
            "How many requests are under way at a time. Others wait for their place, at most as long as `store.redis.patience`.",
        ),
        Setting::new(
            "store.redis.waiting",
            count(1, 1_000_000),
            "65536",
            "How many requests wait or are under way together, as while the server is away. More are refused at once.",
        ),
        Setting::new(
            "store.redis.waiting_bytes",
            size(16 << 20, 4095 << 20),
            "\"256MiB\"",
            "How many bytes those requests have together. More are refused at once.",
        ),
        Setting::unset(
            "store.redis.tls.ca",
            Kind::Path,
            "PEM file with the certificates of the authorities that sign those of the servers and sentinels, in place of those of the system. Read again at every connection.",
        ),
        Setting::unset(
            "store.redis.tls.cert",
            Kind::Path,
            "PEM file with the certificate chain that is shown to servers and sentinels which ask for one (`tls-auth-clients`). Read again at every connection.",
        ),
        Setting::unset(
            "store.redis.tls.key",
            Kind::Path,
            "PEM file with the private key of that certificate. Read again at every connection.",
        ),
    ],
};

/// The public listener.
pub(crate) const HTTP: Group = Group {
    title: "Public HTTP listener",
    about: "Backplane, SimplePush and Belay are served here, over HTTP/1.1 and HTTP/2, with TLS if a certificate is given.",
    settings: &[
        Setting::new(
            "http.listen",
            Kind::Address,
            "\"127.0.0.1:8080\"",
            "Address and port. Port 0 takes a free one.",
        ),
        Setting::unset(
            "http.public_url",
            Kind::Url,
            "How the world reaches the listener, as `https://bus.example.com`. Used in every URL that the gateway hands out. Derived from the listener if it is not set.",
        ),
        Setting::unset(
            "http.tls.cert",
            Kind::Path,
            "PEM file with the certificate chain. Read again when it changes, and on SIGHUP.",
        ),
        Setting::unset(
            "http.tls.key",
            Kind::Path,
            "PEM file with the private key of the certificate. Read again when it changes, and on SIGHUP.",
        ),
        Setting::new(
            "http.hsts",
            time(0, 2 * 365 * 24 * 3600),
            "\"365d\"",
            "How long browsers that came over TLS are told never to come without it (`Strict-Transport-Security: max-age=…`). `0s` says nothing of it.",
        ),
        Setting::unset(
            "http.require_tls",
            Kind::Flag,
            "Whether requests that did not come over TLS are refused with 403 (Backplane §3.2). `true` unless the listener is loopback. A request counts as secure if the listener has TLS, or if a trusted proxy says `X-Forwarded-Proto: https`.",
        ),
        Setting::new(
            "http.trusted_proxies",
            Kind::Texts,
            "[]",
            "Addresses or networks (`10.0.0.0/8`) of reverse proxies. Only their `X-Forwarded-Proto` and `X-Forwarded-For` are believed.",
        ),
        Setting::new(
            "http.connections_max",
            count(1, 1_000_000),
            "50000",
            "Connections open at once, WebSockets included. Further ones wait in the accept queue of the operating system. Each needs a file descriptor and a few KiB.",
        ),
        Setting::new(
            "http.address_connections_max",
            count(0, 1_000_000),
            "0",
            "Connections open at once from one address (of IPv6: from one network of 64 bits); further ones are closed at once and counted in `buswire_connections_refused_total`. `0` is no limit. The addresses of `http.trusted_proxies` have none: there the proxy has to keep it.",
        ),
        Setting::new(
            "http.header_timeout",
            time(10, 600),
            "\"10s\"",
            "How long a new connection may take to send its first whole request head, TLS handshake not counted.",
        ),
        Setting::new(
            "http.idle_timeout",
            time(10, 3600),
            "\"75s\"",
            "How long an HTTP/1.1 connection may take from the end of a response to the end of the next request head. An HTTP/2 client that begins nothing for so long is told to go (GOAWAY); if it takes nothing of its answers for as long again, it is disconnected.",
        ),
        Setting::new(
            "http.body_timeout",
            time(10, 3600),
            "\"30s\"",
            "How long a request may take to send its body.",
        ),
        Setting::new(
            "http.write_timeout",
            time(10, 3600),
            "\"60s\"",
            "How long a client may take nothing of what is written to it; then it is disconnected. Also of the admin and the operations listener, and of WebSockets, for which a door may have a shorter time.",
        ),
        Setting::new(
            "http.body_max",
            size(1024, 1 << 30),
            "\"4MiB\"",
            "The longest request body on any path. Doors have lower limits of their own; beyond this one the answer is 413 without reading on.",
        ),
        Setting::new(
            "http.bodies_max",
            size(1024, 1 << 40),
            "\"256MiB\"",
            "The bytes of all request bodies that are in memory at once, of each listener by itself. A request that finds no room is answered 503 with `Retry-After`. At least `http.body_max`.",
        ),
        Setting::new(
            "http.head_max",
            size(8192, 1 << 20),
            "\"16KiB\"",
            "The longest request head. A longer one is answered 431 (Belay §21.6).",
        ),
        Setting::new(
            "http.tls.handshake_timeout",
            time(10, 600),
            "\"10s\"",
            "How long a TLS handshake may take.",
        ),
        Setting::new(
            "http.streams_max",
            count(1, 100_000),
            "200",
            "Requests at once on one HTTP/2 connection.",
        ),
    ],
};

/// The admin listener.
pub(crate) const ADMIN: Group = Group {
    title: "Admin listener",
    about: "gRPC `buswire.admin.v1` and the console.",
    settings: &[
        Setting::new("admin.listen", Kind::Address, "\"127.0.0.1:50051\"", "Address and port. Port 0 takes a free one."),
        Setting::unset(
            "admin.token",
            Kind::Text,
            "The bearer token of administrators. If it is not set, one is generated at first start into `data_dir/admin.token`, readable by its owner only.",
        )
        .hidden(),
        Setting::unset("admin.tls.cert", Kind::Path, "PEM file with the certificate chain. Read again when it changes, and on SIGHUP."),
        Setting::unset("admin.tls.key", Kind::Path, "PEM file with the private key of the certificate. Read again when it changes, and on SIGHUP."),
        Setting::unset(
            "admin.tls.client_ca",
            Kind::Path,
            "PEM file with the authorities of client certificates. One that another authority signed is refused; who shows none sends a token.",
        ),
        Setting::unset(
            "admin.tls.client_crl",
            Kind::Path,
            "PEM file with lists of revoked client certificates (RFC 5280), one of every authority in `admin.tls.client_ca`. A certificate on one of them is refused, and so is one whose authority has no list here, or one that is out of date. Read again when it changes, and on SIGHUP; connections that are open go on.",
        ),
        Setting::new(
            "admin.tls.roles",
            Kind::Tables,
            "[]",
            "What holders of client certificates may do without a token: `[[admin.tls.roles]]` with `name` and `role` (`viewer`, `operator` or `admin`). The name is compared with the DNS names, URIs and mail addresses in the subject's alternative names, or, if there are none of these, with the common name: exactly, without patterns. A certificate whose names are not here needs a token; a token that is sent goes before the certificate. Read again on SIGHUP.",
        ),
        Setting::new("admin.connections_max", count(1, 100_000), "256", "Connections open at once. Further ones wait."),
        Setting::new(
            "admin.audit_kept",
            time(3_600_000, 3650 * 86_400),
            "\"90d\"",
            "How long the audit log keeps a record of what an administrator changed.",
        ),
        Setting::new(
            "admin.audit_records",
            count(100, 10_000_000),
            "100000",
            "The most records of the audit log; the oldest go first. Refusals for lack of a role are kept besides, 1000 of them. A record has a few hundred bytes, at most 100 KiB of text.",
        ),
    ],
};

/// The operations listener.
pub(crate) const OPS: Group = Group {
    title: "Operations listener",
    about: "`/healthz`, `/readyz` and `/metrics`, without authentication: keep it private.",
    settings: &[
        Setting::new(
            "ops.listen",
            Kind::Address,
            "\"127.0.0.1:9090\"",
            "Address and port. Port 0 takes a free one.",
        ),
        Setting::unset(
            "ops.tls.cert",
            Kind::Path,
            "PEM file with the certificate chain. Read again when it changes, and on SIGHUP.",
        ),
        Setting::unset(
            "ops.tls.key",
            Kind::Path,
            "PEM file with the private key of the certificate. Read again when it changes, and on SIGHUP.",
        ),
        Setting::new(
            "ops.connections_max",
            count(1, 100_000),
            "64",
            "Connections open at once. Further ones wait.",
        ),
    ],
};

/// The log.
pub(crate) const LOG: Group = Group {
    title: "Log",
    about: "The log goes to standard error. It never holds tokens, capability URLs or payloads.",
    settings: &[
        Setting::new(
            "log.format",
            Kind::Choice(&["text", "json"]),
            "\"text\"",
            "`text` for people, `json` for one JSON object a line.",
        ),
        Setting::new(
            "log.filter",
            Kind::Text,
            "\"info\"",
            "What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module as in `info,buswire=debug`. `info,buswire::access=debug` turns the access log on; its lines have the template of the route and never the path. Below `info` only Buswire itself is heard: libraries would log the contents of what they carry.",
        ),
    ],
};

/// What the file declares.
pub(crate) const DECLARED: Group = Group {
    title: "Declared buses and routes",
    about: "Applied at start. What was made by hand is never deleted or changed.",
    settings: &[
        Setting::new(
            "buses",
            Kind::Tables,
            "[]",
            "Buses that must exist: `[[buses]]` with `name`, and optionally `retention` (`\"10m\"`), `sticky_retention` (`\"8h\"`), `max_messages` per channel (100).",
        ),
        Setting::new(
            "routes",
            Kind::Tables,
            "[]",
            "Routes that must exist: `[[routes]]` with `name`, `scope`, `sink` (`bus:…`, `mdp:…`, `push:…`, `cap:…`), and optionally `map` (a list of `\"type:NEW\"`, `\"channel:NEW\"`, `\"field:NAME=POINTER\"`), `reply_type`, `from` (`\"beginning\"`, `\"now\"` or a message id; `\"now\"` if it is not given).",
        ),
    ],
};
