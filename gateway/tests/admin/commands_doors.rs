//! The admin commands about what the doors hold.

use crate::{commands::run, support::Server};

#[tokio::test]
async fn a_route_is_made_and_paused() {
    let server = Server::start().await;
    let create =
        ["route", "create", "r", "--scope", "bus:a type:t", "--sink", "mdp:echo", "--reply-type"];
    let create = [&create[..], &["answer", "--from", "beginning", "--timeout", "1500ms"]].concat();
    assert_eq!(run(&server, &create).await.unwrap(), "route r created\n");
    assert_eq!(run(&server, &["route", "pause", "r"]).await.unwrap(), "route r paused\n");
    assert_eq!(
        run(&server, &["route", "list"]).await.unwrap(),
        "NAME  STATE   OWNER  SCOPE         SINK      DELIVERED  PENDING  FAILED ATTEMPTS  DEAD LETTERS\n\
         r     paused  here   bus:a type:t  mdp:echo  0          1        0                0\n"
    );
    assert_eq!(run(&server, &["route", "resume", "r"]).await.unwrap(), "route r resumed\n");
    assert_eq!(
        run(&server, &["route", "show", "r"]).await.unwrap(),
        "name               r\n\
         state              running\n\
         owner              here\n\
         scope              bus:a type:t\n\
         sink               mdp:echo\n\
         delivered          0\n\
         pending            1\n\
         failed attempts    0\n\
         dead letters       0\n\
         dead letters kept  0\n\
         blocked reason     -\n\
         map                -\n\
         reply type         answer\n\
         first delay        200ms\n\
         longest delay      30s\n\
         max attempts       12\n\
         timeout            1s500ms\n"
    );
    assert_eq!(run(&server, &create).await.unwrap_err(), "buswire: there is a route r already\n");
    assert_eq!(run(&server, &["route", "delete", "r"]).await.unwrap(), "route r deleted\n");
    assert_eq!(
        run(&server, &["route", "show", "r"]).await.unwrap_err(),
        "buswire: there is no route r; `buswire route list` shows those there are\n"
    );
}

#[tokio::test]
async fn a_capability_is_granted_as_json() {
    let server = Server::start().await;
    let grant = ["cap", "grant", "bus.publish", "--target", "{\"bus\":\"a\"}", "--limits"];
    let grant = [&grant[..], &["{\"uses\":3}", "--label", "shop front"]].concat();
    assert_eq!(
        run(&server, &grant).await.unwrap(),
        "{\"cap\":\"https://gateway.example/cap/x\",\
         \"control\":\"https://gateway.example/cap/y\",\"handle\":\"g_0\"}\n"
    );
    assert_eq!(
        run(&server, &["cap", "list"]).await.unwrap(),
        "HANDLE  KIND         LABEL       STATE  PARENT  CREATED AT                EXPIRES AT  USES LEFT\n\
         g_0     bus.publish  shop front  live   -       2024-03-09T14:05:21.000Z  -           3\n"
    );
    assert_eq!(run(&server, &["cap", "revoke", "g_0"]).await.unwrap(), "capability g_0 revoked\n");
    assert_eq!(
        run(&server, &["cap", "revoke", "g_0", "--output", "json"]).await.unwrap(),
        "{\"revoked\":\"g_0\",\"was_revoked\":true}\n"
    );
    assert_eq!(
        run(&server, &["cap", "grant", "bus.publish", "--limits", "1"]).await.unwrap_err(),
        "buswire: limits: not a JSON object\n"
    );
}

#[tokio::test]
async fn capabilities_are_shown_as_a_tree_and_changed() {
    let server = Server::start().await;
    let json = async |arguments: &[&str]| run(&server, arguments).await.unwrap();
    json(&["cap", "grant", "bus.publish"]).await;
    json(&["cap", "grant", "bus.publish", "--label", "b"]).await;
    json(&["cap", "wrap", "g_0", "--label", "courier"]).await;
    json(&["cap", "wrap", "g_2"]).await;
    let tree = json(&["cap", "list", "--tree"]).await;
    let handles: Vec<_> = tree.lines().map(|line| line.split("  bus").next().unwrap()).collect();
    assert_eq!(handles[1..], ["g_0    ", "  g_2  ", "    g_3", "g_1    "]);
    assert_eq!(json(&["cap", "suspend", "g_0"]).await, "capability g_0 suspended\n");
    assert!(json(&["cap", "show", "g_0"]).await.contains("state         suspended\n"));
    assert_eq!(json(&["cap", "resume", "g_0"]).await, "capability g_0 resumed\n");
    let labelled = json(&["cap", "label", "g_0", "till", "--output", "json"]).await;
    assert_eq!(labelled, "{\"labelled\":\"g_0\"}\n");
    assert!(json(&["cap", "show", "g_0"]).await.contains("label         till\n"));
    for command in ["suspend", "resume", "show", "wrap"] {
        let refused = run(&server, &["cap", command, "https://gateway.example/cap/x"]).await;
        assert!(!refused.unwrap_err().contains("/cap/x"), "{command}");
    }
    let [kept, followed] =
        [json(&["cap", "audit"]).await, json(&["cap", "audit", "--follow"]).await];
    assert_eq!((kept.lines().count(), followed.lines().count()), (4, 5));
    assert_eq!(
        kept.lines().take(2).collect::<Vec<_>>(),
        [
            r#"{"missed":7,"sequence":8,"at":"2024-03-09T14:05:21.000Z","action":"granted","handle":"g_1","kind":"bus.publish","above":["g_0"],"by":"g_0"}"#,
            r#"{"sequence":9,"at":"2024-03-09T14:05:21.000Z","action":"invoked","handle":"g_1","kind":"bus.publish","above":["g_0"],"control":false,"method":"POST","status":200,"bytes_in":5,"bytes_out":7,"took_ms":3.0,"peer":"public"}"#,
        ]
    );
}

#[tokio::test]
async fn a_client_is_made_and_granted() {
    let server = Server::start().await;
    let create = ["client", "create", "shop", "--source-url", "https://shop.example/"];
    assert_eq!(
        run(&server, &[&create[..], &["--output", "json"]].concat()).await.unwrap(),
        "{\"client_id\":\"shop\",\"secret\":\"minted-secret\",\
         \"source_url\":\"https://shop.example/\",\"redirect_uri\":\"https://shop.example/\"}\n"
    );
    assert_eq!(
        run(&server, &["client", "list"]).await.unwrap(),
        "CLIENT ID  SOURCE URL             REDIRECT URI\n\
         shop       https://shop.example/  https://shop.example/\n"
    );
    assert_eq!(
        run(&server, &["grant", "create", "shop", "a", "b"]).await.unwrap(),
        "id          grant-0\n\
         client id   shop\n\
         buses       a, b\n\
         state       active\n\
         issuer      -\n\
         updated at  2024-03-09T14:05:21.000Z\n"
    );
    assert_eq!(
        run(&server, &["grant", "list", "--client", "x", "--output", "json"]).await.unwrap(),
        "[]\n"
    );
    assert_eq!(
        run(&server, &["grant", "list"]).await.unwrap().lines().count(),
        2,
        "the grant and the header"
    );
    assert_eq!(
        run(&server, &["grant", "revoke", "grant-0"]).await.unwrap(),
        "grant grant-0 revoked\n"
    );
    assert_eq!(run(&server, &["client", "delete", "shop"]).await.unwrap(), "client shop deleted\n");
    assert_eq!(
        run(&server, &["client", "delete", "shop"]).await.unwrap_err(),
        "buswire: there is no client shop; `buswire client list` shows those there are\n"
    );
}

#[tokio::test]
async fn owners_and_users_are_kept() {
    let server = Server::start().await;
    let create = ["owner", "create", "o", "--password", "p"];
    assert_eq!(run(&server, &create).await.unwrap(), "owner o stored\n");
    assert_eq!(run(&server, &create).await.unwrap(), "owner o stored\n");
    assert_eq!(run(&server, &["owner", "assign", "o", "a"]).await.unwrap(), "owner o owns a\n");
    assert_eq!(run(&server, &["owner", "list"]).await.unwrap(), "NAME  BUSES\no     a\n");
    assert_eq!(run(&server, &["owner", "delete", "o"]).await.unwrap(), "owner o deleted\n");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "p\n").unwrap();
    let create = ["user", "create", "u", "--password-file", file.to_str().unwrap()];
    assert_eq!(run(&server, &create).await.unwrap(), "user u stored\n");
    assert_eq!(
        run(&server, &["user", "permit", "u", "example.com", "GETALL", "post"]).await.unwrap(),
        "permissions of user u on example.com set\n"
    );
    assert_eq!(
        run(&server, &["user", "list"]).await.unwrap(),
        "NAME  PERMISSIONS\nu     v1/example.com:GETALL,POST\n"
    );
    assert_eq!(run(&server, &["user", "delete", "u"]).await.unwrap(), "user u deleted\n");
}

#[tokio::test]
async fn services_are_listed_and_called() {
    let server = Server::start().await;
    assert_eq!(
        run(&server, &["service", "list"]).await.unwrap(),
        "NAME       WORKERS  IDLE  BUSY  QUEUED  OLDEST WAIT  COMPLETED  PAUSED  GATEWAYS\n\
         a service  0        0     0     7       1s500ms      2          false   b\n\
         echo       3        1     2     7       1s500ms      2          false   b\n"
    );
    let url = server.url();
    let options = ["--admin", &url, "--token", crate::support::TOKEN];
    let call = ["service", "call", "echo", "--timeout", "2s"];
    let answer =
        crate::commands::execute(&[&call[..], &options, &["--", "a", "b c"]].concat()).await;
    assert_eq!(answer.unwrap(), "a\nb c\n");
    assert_eq!(
        run(&server, &["service", "request", "slow"]).await.unwrap_err(),
        "buswire: no answer in 5000 ms\n"
    );
}

#[tokio::test]
async fn a_service_is_paused_shown_and_resumed() {
    let server = Server::start().await;
    assert_eq!(run(&server, &["service", "pause", "echo"]).await.unwrap(), "service echo paused\n");
    let shown = run(&server, &["service", "show", "echo", "--output", "json"]).await.unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
        serde_json::json!({
            "name": "echo", "workers": 3, "idle": 1, "busy": 2, "queued": 7,
            "oldest_wait": "1s500ms", "paused": true, "gateways": ["b"], "local": false, "accepted": 9,
            "completed": 2, "expired": 0, "requeued": 0, "lost": 0, "cancelled": 0,
            "orphaned": 0, "undelivered": 0, "partials_full": 0, "dropped": [],
        })
    );
    let table = run(&server, &["service", "show", "echo"]).await.unwrap();
    assert!(table.contains("paused         true\n"), "{table}");
    let resumed = run(&server, &["service", "resume", "echo"]).await.unwrap();
    assert_eq!(resumed, "service echo resumed\n");
    assert_eq!(
        run(&server, &["service", "show", "x"]).await.unwrap_err(),
        "buswire: the broker knows no service x\n"
    );
}

#[tokio::test]
async fn workers_are_listed_and_sent_away() {
    let server = Server::start().await;
    let drained = run(&server, &["worker", "drain", "20"]).await.unwrap();
    assert_eq!(drained, "worker 20 draining\n");
    assert_eq!(
        run(&server, &["worker", "disconnect", "1", "--output", "json"]).await.unwrap(),
        "{\"disconnected\":1}\n"
    );
    assert_eq!(
        run(&server, &["worker", "list", "--service", "echo"]).await.unwrap(),
        "ID  SERVICE  STATE     IN STATE FOR  ANSWERED  REGISTERED FOR  SILENT FOR  VERSION  DELIMITED  USER\n\
         3   echo     busy      2s            3         1m              300ms       0.1      true       key\n\
         20  echo     draining  2s            20        1m              300ms       0.1      true       -\n"
    );
    assert_eq!(
        run(&server, &["worker", "drain", "1"]).await.unwrap_err(),
        "buswire: there is no worker 1; `buswire worker list` shows those there are\n"
    );
}

#[tokio::test]
async fn the_status_is_shown() {
    let server = Server::start().await;
    assert_eq!(
        run(&server, &["status"]).await.unwrap(),
        "version                 0.1.0\n\
         state                   serving\n\
         ready                   true\n\
         started at              2024-03-09T14:05:21.000Z\n\
         store                   memory\n\
         http                    127.0.0.1:8080\n\
         buses                   1\n\
         simplepush connections  3\n"
    );
    let shown = run(&server, &["status", "--output", "json"]).await.unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
        serde_json::json!({
            "version": "0.1.0",
            "state": "serving",
            "ready": true,
            "started_at": "2024-03-09T14:05:21.000Z",
            "store": "memory",
            "listeners": [{"name": "http", "address": "127.0.0.1:8080"}],
            "counts": {"buses": 1, "simplepush.connections": 3},
        })
    );
}

#[tokio::test]
async fn what_was_handed_out_is_shown_and_ended() {
    let server = Server::start().await;
    let channels = ["bus", "channels", "shop.example", "--output", "json"];
    let listed = run(&server, &channels).await.unwrap();
    let first = r#"{"name":"c1","messages":3,"expires_at":"2024-03-09T14:05:21.000Z"}"#;
    assert!(listed.contains(first), "{listed}");
    assert_eq!(
        run(&server, &["bus", "channels", "x"]).await.unwrap_err(),
        "buswire: there is no bus x; `buswire bus list` shows those there are\n"
    );
    assert_eq!(
        run(&server, &["client", "revoke-tokens", "shop"]).await.unwrap_err(),
        "buswire: there is no client shop; `buswire client list` shows those there are\n"
    );
    let create = ["client", "create", "shop", "--source-url", "https://shop.example/"];
    run(&server, &create).await.unwrap();
    assert_eq!(
        run(&server, &["client", "revoke-tokens", "shop"]).await.unwrap(),
        "tokens of client shop revoked\n"
    );
    assert_eq!(
        run(&server, &["owner", "sign-out", "nobody"]).await.unwrap(),
        "owner nobody signed out of 0 browsers\n"
    );
}

#[tokio::test]
async fn tokens_and_tickets_are_listed_and_ended_by_their_handles() {
    let server = Server::start().await;
    let refresh = ["client", "tokens", "shop", "--kind", "refresh", "--output", "json"];
    assert_eq!(
        run(&server, &refresh).await.unwrap(),
        "[{\"handle\":\"0000000000000002\",\"kind\":\"refresh\",\"state\":\"good\",\
         \"client_id\":\"shop\",\"scope\":\"bus:shop.example\",\"grants\":[\"g1\"],\
         \"chain\":\"chain\",\"expires_at\":\"2024-03-09T14:05:21.000Z\"}]\n"
    );
    let listings: [(&[&str], &str); 5] = [
        (&["client", "tokens"], r#""kind":"client""#),
        (&["client", "codes", "shop"], r#""state":"used","grant":"g1""#),
        (&["owner", "sign-ins", "ann"], r#""owner":"ann""#),
        (&["owner", "requests", "--client", "shop"], r#""redirect_uri":"https://shop.example/cb""#),
        (&["owner", "decisions"], r#""sign_in":"0000000000000001""#),
    ];
    for (command, expected) in listings {
        let shown = run(&server, &[command, &["--output", "json"]].concat()).await.unwrap();
        assert!(shown.contains(r#""handle":"0000000000000001""#), "{shown}");
        assert!(shown.contains(expected), "{shown}");
    }
    let ends = [
        ("client", "revoke-token", "token"),
        ("client", "revoke-code", "code"),
        ("owner", "end-sign-in", "sign-in"),
        ("owner", "delete-request", "request"),
        ("owner", "delete-decision", "decision"),
    ];
    for (group, command, name) in ends {
        assert_eq!(
            run(&server, &[group, command, "0000000000000001"]).await.unwrap(),
            format!("{name} 0000000000000001 ended\n")
        );
        assert_eq!(
            run(&server, &[group, command, "x"]).await.unwrap_err(),
            format!(
                "buswire: there is no {name} x; `buswire {group} {name}s` shows those there are\n"
            )
        );
    }
}

#[tokio::test]
async fn the_gateway_itself_is_shown_and_taken_out_of_service() {
    let server = Server::start().await;
    assert_eq!(
        run(&server, &["config", "show"]).await.unwrap(),
        "KEY          VALUE     SOURCE\n\
         data_dir     \"x\"       file b.toml\n\
         admin.token  (secret)  environment variable BUSWIRE_ADMIN__TOKEN\n\
         ready_file   -         default\n"
    );
    assert_eq!(
        run(&server, &["version", "--output", "json"]).await.unwrap(),
        "{\"version\":\"0.1.0\",\"build\":null,\"features\":[\"curve\"],\
         \"protocols\":[\"mdp 0.1 0.2\"]}\n"
    );
    assert_eq!(run(&server, &["drain"]).await.unwrap(), "gateway draining\n");
    assert_eq!(run(&server, &["undrain"]).await.unwrap_err(), "buswire: the gateway stops\n");
}
