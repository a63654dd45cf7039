//! The console in a real browser, by what a person reads there and what a screen reader is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use buswire_integration_tests::{
    Gateway, Running, Single, binary, chromium, curl, look, press, screenshot, text_when, until,
    value_when,
};
use serde_json::{Value, json};
use thirtyfour::{TypingData, components::SelectElement, prelude::*};

/// A window on a desk, and a telephone.
const WIDTHS: [u32; 2] = [1280, 390];
/// Asks for messages as they come.
const A_STREAM: &str = r#"{"scope":"bus:a.example"}"#;

struct Console {
    gateway: Gateway,
    page: WebDriver,
    _driver: Running,
}

impl Console {
    async fn open() -> Self {
        Self::of(Gateway::spawn()).await
    }

    /// One whose pages show what one process has counted lately.
    async fn of_one_process() -> Self {
        Self::of(Gateway::single(Single::Counts).start()).await
    }

    async fn of(gateway: Gateway) -> Self {
        let (driver, page) = chromium().await;
        page.goto(&address(&gateway, "/console/")).await.unwrap();
        Self { gateway, page, _driver: driver }
    }

    async fn sign_in(&self, token: &str) {
        self.fill("Token", token).await;
        press(&self.page, "Sign in").await;
        self.reads("h1", "Overview").await;
    }

    /// The field with this label.
    async fn field(&self, label: &str) -> WebElement {
        let named = format!("//*[@id=//label[normalize-space()=\"{label}\"]/@for]");
        self.page.query(By::XPath(named)).first().await.unwrap()
    }

    async fn fill(&self, label: &str, text: &str) {
        let field = self.field(label).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    async fn follow(&self, link: &str) {
        self.page.query(By::LinkText(link)).first().await.unwrap().click().await.unwrap();
    }

    /// What is found by `css` as soon as it says `text` somewhere.
    async fn reads(&self, css: &str, text: &str) -> String {
        text_when(&self.page, css, |shown| shown.contains(text)).await
    }

    async fn keys(&self, keys: impl Into<TypingData>) {
        self.page.action_chain().send_keys(keys).perform().await.unwrap();
    }

    async fn names(&self, css: &str) -> Vec<String> {
        let mut names = Vec::new();
        for element in self.page.find_all(By::Css(css)).await.unwrap() {
            names.push(element.text().await.unwrap());
        }
        names
    }

    async fn value(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        self.page.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// Looks at the page with axe, light and dark, and takes pictures of it, wide and narrow.
    async fn inspect(&self, name: &str) {
        for scheme in ["light", "dark"] {
            for width in WIDTHS {
                look(&self.page, width, scheme).await;
                let overflow = "document.documentElement.scrollWidth - innerWidth";
                let overflow = self.value(overflow).await.as_i64().unwrap();
                assert!(overflow <= 0, "{name} is {overflow} px too wide at {width}");
                screenshot(&self.page, &format!("console-{name}-{width}-{scheme}.png")).await;
                // Both widths and both schemes, but not each with each: it takes its time.
                if (width == WIDTHS[0]) == (scheme == "light") {
                    let found = self.violations().await;
                    assert_eq!(found, json!([]), "{name} at {width} px, {scheme}");
                }
            }
        }
        look(&self.page, WIDTHS[0], "light").await;
    }

    /// What axe-core finds that keeps somebody out.
    async fn violations(&self) -> Value {
        let source = format!("{}/js/node_modules/axe-core/axe.min.js", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(source).expect("npm ci in integration-tests/js");
        if self.value("typeof window.axe").await == "undefined" {
            self.page.execute(source, Vec::new()).await.unwrap();
        }
        let run = "const done = arguments[0]; window.axe.run().then(({violations}) => done(violations
            .filter(({impact}) => impact === 'serious' || impact === 'critical')
            .map(({id, nodes}) => [id, nodes.slice(0, 3).map(({html, failureSummary}) => [html, failureSummary])])))";
        self.page.execute_async(run, Vec::new()).await.unwrap().json().clone()
    }
}

fn address(gateway: &Gateway, path: &str) -> String {
    format!("http://{}{path}", gateway.bound().admin)
}

fn publish(gateway: &Gateway, payload: &str) -> String {
    let message = ["--bus", "shop.example", "--channel", "orders", "--type", "order/new"];
    gateway.admin(&[&["message", "publish", "--payload", payload], &message[..]].concat())
}

/// What the tour has failed: a route to a bus that is not there any more.
fn fail_as_in_the_tour(gateway: &Gateway) -> String {
    gateway.admin(&["bus", "create", "shop.example"]);
    gateway.admin(&["bus", "create", "archive.example"]);
    let route = ["route", "create", "copy", "--scope", "bus:shop.example type:order/new"];
    let hard = ["--sink", "bus:archive.example", "--max-attempts", "3", "--first-delay", "1ms"];
    gateway.admin(&[&route[..], &hard].concat());
    gateway.admin(&["bus", "delete", "archive.example"]);
    let id = publish(gateway, r#"{"tickets":2}"#);
    until("the message is given up", || {
        gateway.admin(&["dead-letter", "list", "copy"]).contains(&id).then_some(())
    });
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_failed_is_found_understood_and_replayed() {
    let console = Console::of_one_process().await;
    fail_as_in_the_tour(&console.gateway);
    console.sign_in(&console.gateway.admin_token()).await;

    // Found: the first page says what is wrong and leads there.
    let trouble = console.reads("main", "gave up 1 message").await;
    assert!(trouble.contains("Needs attention"), "{trouble}");
    console.follow("1 message").await;
    console.reads("h1", "copy").await;
    console.reads("main", "Mend what the errors name, then replay them").await;
    console.follow("order/new").await;

    // Understood: why, when, how often, and what became of it on the way.
    let shown = console.reads("main", "Why it was given up").await;
    for told in ["there is no such bus", "Tried 3 times", "Route copy → bus:archive.example"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    assert!(shown.contains(r#""tickets": 2"#), "{shown}");
    press(&console.page, "Replay").await;
    console.reads("[role=status]", "failed again: bus archive.example: there is no such bus").await;

    // Mended and replayed: in the console too.
    console.follow("Buses").await;
    press(&console.page, "New bus").await;
    console.fill("Name", "archive.example").await;
    press(&console.page, "Create").await;
    console.reads("main", "archive.example").await;
    console.follow("Routes").await;
    console.follow("copy").await;
    press(&console.page, "Replay").await;
    console.reads("[role=status]", "1 message delivered.").await;
    let copies = ["message", "tail", "--scope", "bus:archive.example", "--count", "1"];
    assert!(console.gateway.admin(&copies).contains("tickets"));
    text_when(&console.page, "main", |shown| !shown.contains("Dead letters")).await;
    console.follow("Overview").await;
    console.reads("main", "Nothing needs attention.").await;
    console.page.quit().await.unwrap();
}

/// Ends a program when dropped.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(|_| ()).unwrap_or_default();
    }
}

fn run(arguments: &[&str]) -> Ending {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ending(command.spawn().unwrap())
}

/// Something on every view.
fn fill(gateway: &Gateway) -> Vec<Ending> {
    fail_as_in_the_tour(gateway);
    let answer = ["route", "create", "answer", "--scope", "bus:shop.example type:order/new"];
    let answered = ["--sink", "mdp:orders", "--reply-type", "order/answer"];
    gateway.admin(&[&answer[..], &answered].concat());
    gateway.admin(&["bus", "create", "v1/old.example"]);
    let kinds = [("desk", "bus.read"), ("press", "bus.publish")];
    let target = r#"{"bus":"shop.example","channel":"orders"}"#;
    for (label, kind) in kinds {
        gateway.admin(&["cap", "grant", kind, "--target", target, "--label", label]);
    }
    gateway.admin(&["admin-token", "create", "grafana", "--role", "viewer"]);
    let mdp = gateway.bound().mdp.trim_start_matches("tcp://").to_owned();
    let (host, port) = mdp.split_once(':').unwrap();
    let push = format!("ws://{}/push", gateway.bound().http);
    let worker = ["mdp", "cmd-service", "orders", "--host", host, "--port", port];
    let programs = vec![
        run(&[&worker[..], &["--", "/bin/echo", r#"{"sold":true}"#]].concat()),
        run(&["push", "listen", "--url", &push]),
    ];
    until("the worker and the device are there", || {
        let services = gateway.admin(&["service", "list"]);
        let agents = gateway.admin(&["push", "list"]);
        (services.contains("orders") && agents.lines().count() > 1).then_some(())
    });
    for number in 0..12 {
        publish(gateway, &format!(r#"{{"tickets":{number},"to":"row 7"}}"#));
    }
    programs
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_is_there_for_everybody() {
    let console = Console::of_one_process().await;
    let _programs = fill(&console.gateway);
    console.inspect("sign-in").await;
    console.sign_in(&console.gateway.admin_token()).await;
    for (view, heading, text) in [
        ("overview", "Overview", "Busiest routes"),
        ("map", "Live map", "From doors to buses"),
        ("messages", "Messages", "order/answer"),
        ("routes", "Routes", "bus:archive.example"),
        ("route/copy", "copy", "Dead letters"),
        ("buses", "Buses", "v1/old.example"),
        ("bus/shop.example", "shop.example", "Routes that take from it"),
        ("push", "Push", "connected"),
        ("services", "Services", "orders"),
        ("access", "Access", "No client"),
        ("access/users", "Access", "No user"),
        ("capabilities", "Capabilities", "desk"),
        ("administrators", "Administrators", "grafana"),
        ("audit", "Audit", "AdminTokenService/CreateAdminToken"),
        ("configuration", "Configuration", "http.listen"),
    ] {
        console.value(&format!("location.hash = '#/{view}'")).await;
        console.reads("h1", heading).await;
        console.reads("main", text).await;
        console.inspect(&view.replace('/', "-")).await;
    }
    // Twelve orders were answered, and that took its time.
    console.follow("Overview").await;
    let row = console.reads("tr[data-key=answer]", " 12 0 ").await;
    assert!(row.ends_with('s') && !row.contains('–'), "{row}");
    console.follow("Live map").await;
    console.reads("main", "From doors to buses").await;
    // A box of the drawing can be reached by keyboard and says what it is.
    let boxes = console.value("[...document.querySelectorAll('.map [aria-label]')].map((it) => it.getAttribute('aria-label'))").await;
    let boxes = boxes.to_string();
    for name in ["Administrators", "shop.example", "copy 13 dead letters, route", "mdp:orders"] {
        assert!(boxes.contains(name), "{name}: {boxes}");
    }
    console.page.quit().await.unwrap();
}

/// What an owner's browser keeps.
struct Cookies<'g>(&'g Gateway, Vec<String>);

impl Cookies<'_> {
    /// Asks for a page, or sends a form, and keeps the cookie that comes with the answer.
    fn send(&mut self, path: &str, form: &[&str]) -> String {
        let fields = form.iter().flat_map(|field| ["--data-urlencode", field]).collect::<Vec<_>>();
        let cookies = format!("Cookie: {}", self.1.join("; "));
        let reply = curl(&self.0.url(path)).header(&cookies).args(&fields).send();
        assert!([200, 303].contains(&reply.status), "{path}: {}", reply.body);
        let set = reply.header("set-cookie").and_then(|line| line.split(';').next());
        self.1.extend(set.map(str::to_owned));
        reply.body
    }

    /// Has a client ask, signs in as the owner, and opens the page of the decision. Gives its key.
    fn decide(&mut self) -> String {
        self.send("/v2/authorize?client_id=comments&response_type=code&state=x", &[]);
        self.send("/v2/authenticate", &["busOwner=anna", "password=paper-and-ink"]);
        let page = self.send("/v2/authorize", &[]);
        let (_, key) = page.split_once("name=\"auth_key\" value=\"").unwrap();
        key.split('"').next().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_owners_are_with_what_clients_ask_is_there_for_everybody() {
    let console = Console::open().await;
    let gateway = &console.gateway;
    let source = ["client", "create", "comments", "--source-url", "https://comments.example/"];
    gateway.admin(&source);
    let password = gateway.path("password");
    std::fs::write(&password, "paper-and-ink").unwrap();
    gateway.admin(&["owner", "create", "anna", "--password-file", password.to_str().unwrap()]);
    gateway.admin(&["bus", "create", "shop.example"]);
    gateway.admin(&["owner", "assign", "anna", "shop.example"]);
    let mut agreed = Cookies(gateway, Vec::new());
    let key = agreed.decide();
    agreed.send("/v2/authorize", &[&format!("auth_key={key}"), "authorize=Authorize"]);
    let mut undecided = Cookies(gateway, Vec::new());
    let key = undecided.decide();
    console.sign_in(&gateway.admin_token()).await;
    for (view, text) in [
        ("requests", "all buses of whoever decides"),
        ("decisions", "By the sign-in"),
        ("sign-ins", "anna"),
        ("codes", "shop.example"),
    ] {
        console.value(&format!("location.hash = '#/access/{view}'")).await;
        let shown = console.reads("main table", text).await;
        assert!(!shown.contains(&key), "a key that decides is shown to nobody: {shown}");
        console.inspect(&format!("access-{view}")).await;
        // What is looked at here is ended by the command line.
        let buttons = console.names("main button").await;
        assert!(view == "sign-ins" || buttons.is_empty(), "{view}: {buttons:?}");
    }
    console.page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_and_its_trace_are_there_for_everybody() {
    let console = Console::open().await;
    let id = fail_as_in_the_tour(&console.gateway);
    console.sign_in(&console.gateway.admin_token()).await;
    console.follow("copy").await;
    console.follow("order/new").await;
    console.reads("main", "Why it was given up").await;
    console.inspect("letter").await;
    console.gateway.admin(&["bus", "create", "archive.example"]);
    console.gateway.admin(&["dead-letter", "replay", "copy", "--all"]);
    console.value(&format!("location.hash = '#/message/{id}'")).await;
    let trace = console.reads("main", "on archive.example").await;
    assert!(trace.contains("by Administrators") && trace.contains("delivered"), "{trace}");
    console.inspect("message").await;

    // A form with every problem, each at its field.
    console.follow("Routes").await;
    press(&console.page, "New route").await;
    console.reads("dialog", "A route hands every message").await;
    console.fill("Name", "no/name").await;
    console.fill("Takes (scope)", "type:x").await;
    console.fill("Leads to", "nowhere").await;
    press(&console.page, "Create").await;
    value_when(&console.page, "document.querySelectorAll('dialog [role=alert] li').length", |n| {
        n.as_u64() >= Some(3)
    })
    .await;
    let wrong =
        console.value("[...document.querySelectorAll('[aria-invalid]')].map((it) => it.name)");
    assert_eq!(wrong.await, json!(["name", "scope", "sink"]));
    console.inspect("form").await;
    console.page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_in_live_and_can_be_filtered_and_held() {
    let mut console = Console::of(Gateway::builder().steady_admin().start()).await;
    console.gateway.admin(&["bus", "create", "shop.example"]);
    publish(&console.gateway, r#"{"old":1}"#);
    console.sign_in(&console.gateway.admin_token()).await;
    console.follow("Messages").await;
    console.reads("[role=table]", "order/new").await;
    press(&console.page, "Publish a message").await;
    console.fill("Type", "order/paid").await;
    console.fill("Payload", r#"{"large":12345678901234567890}"#).await;
    press(&console.page, "Publish").await;
    console.reads("tbody tr:first-child", "order/paid").await;
    console.follow("order/paid").await;
    // Not a digit is lost on the way.
    console.reads("pre", "12345678901234567890").await;
    console.follow("Messages").await;

    console.fill("Scope", "bus:shop.example type:order/new").await;
    press(&console.page, "Show").await;
    value_when(&console.page, "document.querySelectorAll('tbody tr').length", |n| n == 1).await;
    press(&console.page, "Pause").await;
    publish(&console.gateway, r#"{"held":1}"#);
    console.reads("main", "Paused.").await;
    press(&console.page, "Go on").await;
    console.reads("tbody tr:first-child", "held").await;
    assert_eq!(console.names("tbody tr").await.len(), 2);

    console.fill("Scope", "colour:red").await;
    press(&console.page, "Show").await;
    let problem = text_when(&console.page, "[role=alert]#scope-problem", |it| !it.is_empty()).await;
    assert!(problem.contains("scope"), "{problem}");
    assert_eq!(console.value("document.activeElement.getAttribute('aria-invalid')").await, "true");

    // The gateway goes away and comes back: nothing has to be done, and nothing is missing.
    console.fill("Scope", "bus:shop.example").await;
    press(&console.page, "Show").await;
    console.reads("tbody tr:first-child", "held").await;
    console.gateway.kill();
    console.reads("main", "The gateway does not answer").await;
    console.gateway.start();
    publish(&console.gateway, r#"{"after":1}"#);
    console.reads("tbody tr:first-child", "after").await;
    assert_eq!(console.names("tbody tr").await.len(), 4);
    console.page.quit().await.unwrap();
}

/// Suspends and revokes a capability, after a question.
async fn steer_a_capability(console: &Console) {
    let target = r#"{"bus":"shop.example","channel":"orders"}"#;
    console.gateway.admin(&["cap", "grant", "bus.read", "--target", target, "--label", "desk"]);
    console.follow("Capabilities").await;
    console.reads("main", "desk").await;
    press(&console.page, "Suspend").await;
    console.reads("main", "suspended").await;
    press(&console.page, "Revoke").await;
    console.reads("dialog", "everything below it").await;
    console
        .page
        .find(By::XPath("//dialog//button[normalize-space()='Revoke']"))
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
    console.reads("main", "revoked").await;
}

/// A new token of a viewer, which is shown once.
async fn make_a_viewer(console: &Console) -> String {
    console.follow("Administrators").await;
    press(&console.page, "New token").await;
    console.fill("Name", "looker").await;
    let role = SelectElement::new(&console.field("Role").await).await.unwrap();
    role.select_by_value("ADMIN_ROLE_VIEWER").await.unwrap();
    press(&console.page, "Create").await;
    console.reads("dialog", "shown this once").await;
    let token = console.field("Token").await.prop("value").await.unwrap().unwrap();
    press(&console.page, "Close").await;
    token
}

/// A viewer sees everything but credentials, and no button that changes something.
async fn look_as_a_viewer(console: &Console) {
    let views = console.names("nav a").await;
    assert!(views.contains(&"Capabilities".to_owned()), "{views:?}");
    assert!(!views.contains(&"Administrators".to_owned()), "{views:?}");
    for (view, text) in [
        ("overview", "Busiest routes"),
        ("messages", "Newest first"),
        ("route/copy", "order/new"),
        ("buses", "archive.example"),
        ("services", "bus.publish"),
        ("push", "No user agent"),
        ("access", "No client"),
        ("capabilities", "desk"),
    ] {
        console.value(&format!("location.hash = '#/{view}'")).await;
        console.reads("main", text).await;
        let buttons = console.names("main button").await;
        let harmless = |name: &String| ["Show", "Pause", "Go on"].contains(&name.as_str());
        assert!(buttons.iter().all(harmless), "{view}: {buttons:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyboard_is_enough_and_a_viewer_is_offered_nothing_else() {
    let console = Console::open().await;
    fail_as_in_the_tour(&console.gateway);
    let gateway = &console.gateway;
    gateway.admin(&["bus", "create", "archive.example"]);
    let focused = "document.activeElement.textContent";

    console.sign_in(&gateway.admin_token()).await;
    console.keys(Key::Tab).await;
    value_when(&console.page, "document.activeElement.tagName", |it| it != "BODY").await;
    console.keys("gr").await;
    console.reads("h1", "Routes").await;
    value_when(&console.page, focused, |it| it == "Routes").await;
    console.keys("/").await;
    value_when(&console.page, "document.activeElement.type", |it| it == "search").await;
    console.keys("nothing").await;
    console.reads("main", "No route is like that.").await;
    console.follow("Buses").await;
    console.reads("main", "archive.example").await;
    press(&console.page, "New bus").await;
    value_when(&console.page, "document.activeElement.name", |it| it == "name").await;
    console.keys(Key::Escape).await;
    value_when(&console.page, focused, |it| it == "New bus").await;
    console.keys("?").await;
    console.reads("dialog", "Use shortcuts").await;
    console.inspect("shortcuts").await;
    console.keys(Key::Escape).await;

    steer_a_capability(&console).await;
    let token = make_a_viewer(&console).await;
    press(&console.page, "Sign out").await;
    console.sign_in(&token).await;
    look_as_a_viewer(&console).await;

    // The token is in memory only.
    console.page.refresh().await.unwrap();
    console.fill("Token", "wrong").await;
    press(&console.page, "Sign in").await;
    console.reads("[role=alert].wrong", "This is not a token of this gateway.").await;
    let kept = "[localStorage.length, sessionStorage.length, document.cookie]";
    assert_eq!(console.value(kept).await, json!([0, 0, ""]));
    console.page.quit().await.unwrap();
}

/// The first line of the answer to who asks for a stream.
fn begun(url: &str, headers: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--include", "--no-buffer", url, "--data", A_STREAM]);
    command.args(headers.iter().flat_map(|header| ["--header", header]));
    let mut curl = Ending(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(curl.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line
}

/// So many and no more; those that are left make room.
fn only_so_many_streams(url: &str, headers: &[&str]) {
    let mut many = Command::new("curl");
    many.args(["--silent", "--parallel", "--parallel-immediate", "--parallel-max", "80"]);
    many.args([&format!("{url}?[1-80]"), "--data", A_STREAM, "--write-out", "%{http_code}\n"]);
    many.args(headers.iter().flat_map(|header| ["--header", header])).stderr(Stdio::null());
    let mut many = Ending(many.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(many.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    // What several answers say may be mixed on a line.
    let mut is_told = false;
    let is_refused = lines.any(|line| {
        is_told |= line.contains("too many streams are open");
        is_told && line.ends_with("429")
    });
    assert!(is_refused, "more are refused");
    drop(many);
    until("there is room again", || begun(url, headers).contains("200").then_some(()));
}

#[test]
fn nothing_but_the_page_is_given_without_a_token() {
    let gateway = Gateway::single(Single::Counts).start();
    let page = curl(&address(&gateway, "/console/")).send();
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(policy.contains("require-trusted-types-for 'script'"), "{policy}");
    assert!(!page.body.contains(&gateway.admin_token()));
    let ask = |call: &str, headers: &[&str], body: &str| {
        let url = address(&gateway, &format!("/console/api/{call}"));
        headers.iter().fold(curl(&url).json(body), |curl, header| curl.header(header)).send()
    };
    let own = "x-buswire-console: 1";
    let bearer = format!("authorization: Bearer {}", gateway.admin_token());
    let (wrong, right) = ([own, "authorization: Bearer wrong"], [own, bearer.as_str()]);
    for call in ["BusService/ListBuses", "MessageService/Subscribe", "SystemService/GetStatus"] {
        assert_eq!(ask(call, &[own], "{}").status, 401, "{call}");
        assert_eq!(ask(call, &wrong, "{}").status, 401, "{call}");
        // What another site makes a browser send has no such header.
        assert_eq!(ask(call, &[&bearer], "{}").status, 403, "{call}");
    }
    let buses = ask("BusService/ListBuses", &right, "{}");
    assert_eq!((buses.status, buses.header("cache-control")), (200, Some("no-store")));
    assert_eq!(buses.json(), json!({"buses": [], "nextPageToken": ""}));
    for (call, body, status) in [
        ("BusService/CreateBus", r#"{"name":"a.example"}"#, 200),
        ("BusService/CreateBus", r#"{"name":"a b"}"#, 400),
        ("BusService/CreateBus", r#"{"nom":"a.example"}"#, 400),
        ("BusService/CreateBus", "{", 400),
        ("BusService/GetBus", r#"{"name":"b.example"}"#, 404),
        ("MessageService/Subscribe", r#"{"scope":"type:x"}"#, 400),
        ("BusService/Make", "{}", 501),
        ("Nothing/Make", "{}", 501),
    ] {
        let reply = ask(call, &right, body);
        assert_eq!(reply.status, status, "{call} {body}: {}", reply.body);
        assert!(status == 200 || !reply.json()["error"].as_str().unwrap().is_empty(), "{call}");
    }
    // What moves is counted by bus and door.
    let message = r#"{"bus":"a.example","channel":"c","type":"t","payload":"1"}"#;
    assert_eq!(ask("MessageService/Publish", &right, message).status, 200);
    let activity = ask("ActivityService/GetActivity", &right, "{}").json();
    let doors = json!([{"door": "admin", "published": "1"}]);
    assert_eq!(activity["buses"], json!([{"bus": "a.example", "doors": doors}]));
    let streams = address(&gateway, "/console/api/MessageService/Subscribe");
    only_so_many_streams(&streams, &right);
    // The public listener knows no console.
    assert_eq!(curl(&gateway.url("/console/")).send().status, 404);
}
