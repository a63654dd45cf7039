//! The whole way from layers to a configuration.

use std::{fs, path::Path, time::Duration};

use buswire_store::redis::{Durability, RedisAddress, RedisIdentity, RedisTls};

use super::*;

fn arguments(pairs: &[(&str, &str)]) -> Inputs {
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Inputs { arguments: pairs.collect(), ..Inputs::default() }
}

fn from_file(text: &str) -> Result<Loaded, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("buswire.toml");
    fs::write(&path, text).unwrap();
    load(&Inputs { file: Some(path), ..Inputs::default() })
}

fn keys(error: &ConfigError) -> Vec<&str> {
    error.problems().iter().map(|problem| problem.key.as_str()).collect()
}

#[test]
fn the_defaults_are_those_of_the_architecture() {
    let config = load(&Inputs::default()).unwrap().config;
    assert_eq!(config.data_dir, Path::new("./buswire-data"));
    assert_eq!(config.store, StoreConfig::Embedded(None));
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert!(!config.http.require_tls, "the listener is loopback");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.ops.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.mdp.listen[0].as_str(), "tcp://127.0.0.1:5555");
    assert_eq!(config.shutdown_grace, Duration::from_secs(10));
    assert!(config.ready_file.is_none() && config.admin.token.is_none());
}

#[test]
fn every_described_setting_is_read() {
    let (raw, problems) = layers::merge(&Inputs::default());
    let (_, problems, read) = extract(&raw, problems);
    assert_eq!(problems, []);
    let described: BTreeSet<&str> = schema::all().map(|setting| setting.key).collect();
    assert_eq!(read, described);
}

#[test]
fn all_problems_come_at_once_with_key_and_source() {
    let error = from_file(
        "nonsense = 1\nshutdown_grace = 10\n[http]\nlisten = \"8080\"\nconnections_max = 0\n\
         trusted_proxies = [\"10.0.0.0/8\", \"proxy\"]\nrequire_tls = \"yes\"\n[http.tls]\ncert = \"a.pem\"\n\
         [store]\nurl = \"postgres:\"\n[log]\nformat = \"xml\"\nfilter = \"buswire=loud\"\n",
    )
    .unwrap_err();
    assert_eq!(
        keys(&error),
        [
            "http.connections_max",
            "http.listen",
            "http.require_tls",
            "http.tls.key",
            "http.trusted_proxies[1]",
            "log.filter",
            "log.format",
            "nonsense",
            "shutdown_grace",
            "store.url",
        ]
    );
    let text = error.problems().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(text.contains("http.listen: \"8080\" is not HOST:PORT"), "{text}");
    assert!(text.contains("buswire.toml)"), "{text}");
    assert!(text.contains("write \"10s\""), "{text}");
}

#[test]
fn tls_is_required_unless_the_listener_is_loopback() {
    for (listen, asked, expect) in [
        ("127.0.0.1:0", None, false),
        ("[::1]:0", None, false),
        ("localhost:0", None, false),
        ("0.0.0.0:0", None, true),
        ("0.0.0.0:0", Some("false"), false),
        ("127.0.0.1:0", Some("true"), true),
    ] {
        let mut pairs = vec![("http.listen", listen)];
        pairs.extend(asked.map(|asked| ("http.require_tls", asked)));
        let config = load(&arguments(&pairs)).unwrap().config;
        assert_eq!(config.http.require_tls, expect, "{pairs:?}");
    }
}

#[test]
fn an_open_broker_must_be_asked_for() {
    let open = ("mdp.listen", "tcp://0.0.0.0:5555,tcp://127.0.0.1:5556");
    let error = load(&arguments(&[open])).unwrap_err();
    assert_eq!(keys(&error), ["mdp.listen"]);
    assert!(load(&arguments(&[open, ("mdp.insecure", "true")])).is_ok());
    assert!(load(&arguments(&[open, ("mdp.curve.secret_key_file", "k")])).is_ok());
    let error = load(&arguments(&[("mdp.listen", "5555")])).unwrap_err();
    assert_eq!(keys(&error), ["mdp.listen[0]"]);
    assert!(load(&arguments(&[("mdp.listen", "")])).unwrap().config.mdp.listen.is_empty());
}

#[test]
fn a_public_url_is_an_origin() {
    for (url, ok) in [
        ("https://bus.example.com", true),
        ("http://bus.example.com:8080/", true),
        ("bus.example.com", false),
        ("https://bus.example.com/path", false),
        ("https://user@bus.example.com", false),
        ("ftp://bus.example.com", false),
    ] {
        assert_eq!(load(&arguments(&[("http.public_url", url)])).is_ok(), ok, "{url}");
    }
}

#[test]
fn buses_and_routes_are_declared() {
    let config = from_file(
        "[[buses]]\nname = \"example.com\"\n[[buses]]\nname = \"v1/old\"\nretention = \"5m\"\n\
         sticky_retention = \"1h\"\nmax_messages = 7\n[[routes]]\nname = \"r\"\n\
         scope = \"bus:example.com type:x\"\nsink = \"mdp:echo\"\nreply_type = \"reply\"\nfrom = \"beginning\"\n",
    )
    .unwrap()
    .config;
    assert_eq!(config.buses[0].retention, buswire_message::Retention::default());
    assert_eq!(config.buses[1].name.qualified(), "v1/old");
    assert_eq!(config.buses[1].retention.messages_per_channel_max(), 7);
    let route = &config.routes[0];
    assert_eq!((route.sink.expose(), route.from), ("mdp:echo", RouteStart::Beginning));
    assert_eq!(route.reply_type.as_ref().unwrap().as_str(), "reply");
}

#[test]
fn wrong_declarations_are_all_named() {
    let error = from_file(
        "[[buses]]\nretention = \"1s\"\n[[buses]]\nname = \"a b\"\ncolour = 1\n[[buses]]\nname = \"x\"\n\
         [[buses]]\nname = \"v2/x\"\n[[routes]]\nname = \"r\"\nscope = \"channel:c\"\nsink = \"smtp:x\"\nfrom = \"then\"\n",
    )
    .unwrap_err();
    assert_eq!(
        keys(&error),
        [
            "buses",
            "buses[0]",
            "buses[0].name",
            "buses[1].colour",
            "buses[1].name",
            "routes[0].from",
            "routes[0].scope",
            "routes[0].sink",
        ]
    );
}

#[test]
fn roles_of_certificates_and_the_delay_make_sense_or_are_refused() {
    let roles = |text: &str| load(&arguments(&[("admin.tls.roles", text), ("data_dir", "x")]));
    let error = roles(r#"[{name = "a", role = "root"}, {role = "admin"}]"#).unwrap_err();
    assert_eq!(keys(&error), ["admin.tls.roles[0].role", "admin.tls.roles[1].name"]);
    let twice = r#"[{name = "a", role = "viewer"}, {name = "a", role = "admin"}]"#;
    // Without an authority nobody has a certificate; the other problem is the double name.
    assert_eq!(keys(&roles(twice).unwrap_err()), ["admin.tls.roles", "admin.tls.roles"]);
    let delay = load(&arguments(&[("shutdown_delay", "11s")])).unwrap_err();
    assert_eq!(keys(&delay), ["shutdown_delay"]);
}

#[test]
fn titanic_has_room_for_a_message_or_is_refused() {
    let room = |bytes_max| {
        let set = [("mdp.titanic.bytes_max", bytes_max), ("mdp.titanic.message_max", "4MiB")];
        load(&arguments(&set))
    };
    assert_eq!(keys(&room("7MiB").unwrap_err()), ["mdp.titanic.bytes_max"]);
    assert!(room("8MiB").unwrap().config.mdp.titanic.is_some());
    let off = load(&arguments(&[("mdp.titanic.enabled", "false")])).unwrap();
    assert!(off.config.mdp.titanic.is_none());
}

#[test]
fn no_secret_is_printed() {
    let loaded = load(&arguments(&[
        ("admin.token", "open-sesame"),
        ("routes", r#"[{name = "r", scope = "bus:b", sink = "cap:https://h/cap/sesame"}]"#),
    ]))
    .unwrap();
    for text in [loaded.print(), format!("{loaded:?}")] {
        assert!(!text.contains("open-sesame"), "{text}");
    }
    assert!(!loaded.print().contains("sesame"));
    assert!(!format!("{:?}", loaded.config).contains("sesame"));
    for url in ["x://u:sesame@h", "redis://u:sesame@h:0"] {
        let error = load(&arguments(&[("admin.token", "open sesame"), ("store.url", url)]));
        assert!(!format!("{:?}", error.unwrap_err()).contains("sesame"));
    }
    for url in ["redis://u:sesame@h", "redis+cluster://u:sesame@a:1,b:2"] {
        let loaded = load(&arguments(&[("store.url", url)])).unwrap();
        assert!(!format!("{:?} {}", loaded.config, loaded.print()).contains("sesame"));
    }
}

#[test]
fn a_store_on_redis_is_configured_and_shared() {
    let loaded = load(&arguments(&[
        ("store.url", "redis://:old@h"),
        ("store.redis.password", "new"),
        ("store.redis.durability", "warn"),
        ("store.redis.prefix", "other"),
    ]));
    let config = loaded.unwrap().config;
    let StoreConfig::Redis(redis) = config.store else { panic!("another store") };
    let address = RedisAddress::parse("redis://:new@h").unwrap();
    assert_eq!((&redis.address, redis.durability), (&address, Durability::Warn));
    assert_eq!((&*redis.prefix, redis.patience), ("other", Duration::from_secs(10)));
    assert_eq!((redis.waiting_max, redis.waiting_bytes_max), (65_536, 256 << 20));
    assert_eq!(redis.tls, RedisTls::default());
    assert!(config.simplepush.several_gateways);
    let error = load(&arguments(&[("store.url", "redis://h"), ("store.redis.prefix", "a{b}")]));
    assert_eq!(keys(&error.unwrap_err()), ["store.redis.prefix"]);
    let tls = [("store.url", "rediss://h"), ("store.redis.tls.ca", "/ca")];
    let identity = [("store.redis.tls.cert", "/cert"), ("store.redis.tls.key", "/key")];
    let StoreConfig::Redis(redis) =
        load(&arguments(&[tls, identity].concat())).unwrap().config.store
    else {
        panic!("another store")
    };
    let files = RedisIdentity { certificate: "/cert".into(), key: "/key".into() };
    assert_eq!(redis.tls, RedisTls { ca: Some("/ca".into()), identity: Some(files) });
    let error = load(&arguments(&[&tls[..], &identity[..1]].concat()));
    assert_eq!(keys(&error.unwrap_err()), ["store.redis.tls.key"]);
}

#[test]
fn what_is_printed_has_the_same_effect() {
    let loaded =
        load(&arguments(&[("http.listen", "127.0.0.1:1"), ("log.format", "json")])).unwrap();
    let again = from_file(&loaded.print()).unwrap();
    assert_eq!(loaded.changed(&again), Vec::<&str>::new());
    assert!(loaded.print().contains("http.listen = \"127.0.0.1:1\" # command line\n"));
    assert!(loaded.print().contains("data_dir = \"./buswire-data\" # default\n"));
    assert_eq!(load(&Inputs::default()).unwrap().changed(&again), ["http.listen", "log.format"]);
}

#[test]
fn the_reference_in_the_repository_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let generated = reference();
    if std::env::var_os("BUSWIRE_REGENERATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "docs/configuration.md is old: BUSWIRE_REGENERATE=1 cargo test -p buswire writes it"
    );
}

#[test]
fn services_and_users_of_the_broker_are_declared() {
    let config = from_file(
        "[mdp]\ncurve.secret_key_file = \"k\"\n[[mdp.services]]\nname = \"pay\"\nmax_attempts = 1\n\
         busy_timeout = \"5s\"\nqueue_limit = 7\nerror_reply = \"sorry\"\n[[mdp.services]]\nname = \"echo\"\n\
         [[mdp.access]]\nuser = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\"\nregister = [\"pay\"]\n\
         [[mdp.access]]\ncall = [\"pay\", \"shop.*\"]\n",
    )
    .unwrap()
    .config;
    let [pay, echo] = &config.mdp.services[..] else { panic!("two services") };
    assert_eq!((pay.name.as_str(), pay.max_attempts, pay.queue_limit), ("pay", Some(1), Some(7)));
    assert_eq!(
        (pay.busy_timeout, pay.error_reply.as_deref()),
        (Some(Duration::from_secs(5)), Some("sorry"))
    );
    assert_eq!((echo.max_attempts, &echo.error_reply), (None, &None));
    let [user, others] = &config.mdp.access[..] else { panic!("two rules") };
    assert!(user.user.is_some() && user.register[0].covers(b"pay") && user.call.is_empty());
    assert!(others.user.is_none() && others.call[1].covers(b"shop.eu"));
}

#[test]
fn wrong_settings_of_the_broker_are_all_named() {
    let error = from_file(
        "[mdp]\ndialects = [\"zproto\", \"klingon\"]\naddress_mode = \"name\"\n\
         worker_listen = [\"tcp://0.0.0.0:1\"]\n[[mdp.services]]\nmax_attempts = -1\n\
         [[mdp.access]]\nuser = \"short\"\ncall = [1]\n[[mdp.access]]\n[[mdp.access]]\n",
    )
    .unwrap_err();
    assert_eq!(
        keys(&error),
        [
            "mdp.access",
            "mdp.access",
            "mdp.access[0].call",
            "mdp.access[0].user",
            "mdp.address_mode",
            "mdp.dialects[1]",
            "mdp.services[0].max_attempts",
            "mdp.services[0].name",
            "mdp.worker_listen",
        ]
    );
}
