//! A person who drags something from one window into another.
//!
//! Chromium without a screen has no drags of its own; it hands what is dragged to whoever debugs it, who
//! drops it into any window (the DevTools protocol's `Input.setInterceptDrags`).

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use thirtyfour::{By, WebDriver, WindowHandle};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::wait::DEADLINE;

/// A connection to one window as its debugger.
struct Debugger {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last: u64,
}

impl Debugger {
    async fn attach(page: &WebDriver, window: &WindowHandle) -> Self {
        let browser = page.handle().capabilities().get("goog:chromeOptions");
        let address = browser.and_then(|options| options.get("debuggerAddress"));
        let address = address.and_then(Value::as_str).expect("Chromium can be debugged");
        // What WebDriver calls a window DevTools calls a target.
        let url = format!("ws://{address}/devtools/page/{window}");
        let (socket, _) = connect_async(url).await.expect("a debugger");
        Self { socket, last: 0 }
    }

    /// The next message that `find` takes.
    async fn receive(&mut self, find: impl Fn(&Value) -> Option<Value>) -> Value {
        let look = async {
            loop {
                let message = self.socket.next().await.expect("an answer").expect("a message");
                let Message::Text(text) = message else { continue };
                if let Some(found) = serde_json::from_str(&text).ok().as_ref().and_then(&find) {
                    return found;
                }
            }
        };
        tokio::time::timeout(DEADLINE, look).await.expect("the browser says it")
    }

    async fn send(&mut self, method: &str, params: &Value) {
        self.last += 1;
        let command = json!({"id": self.last, "method": method, "params": params});
        self.socket.send(Message::text(command.to_string())).await.expect("a command");
    }

    async fn call(&mut self, method: &str, params: Value) {
        self.send(method, &params).await;
        let id = self.last;
        let answer = self.receive(|it| (it["id"] == id).then(|| it.clone())).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
    }

    async fn mouse(&mut self, kind: &str, (x, y): (f64, f64)) {
        let params =
            json!({"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1});
        self.call("Input.dispatchMouseEvent", params).await;
    }

    async fn dispatch(&mut self, kinds: [&str; 3], (x, y): (f64, f64), data: &Value) {
        for kind in kinds {
            let params = json!({"type": kind, "x": x, "y": y, "data": data});
            self.call("Input.dispatchDragEvent", params).await;
        }
    }
}

/// Where the middle of an element is, in a window that is then before the person.
async fn middle(page: &WebDriver, (window, css): (&WindowHandle, &str)) -> (f64, f64) {
    page.switch_to_window(window.clone()).await.expect("the window");
    page.cdp().send_raw("Page.bringToFront", json!({})).await.expect("it comes to the front");
    let element = page.find(By::Css(css)).await.expect("the element");
    element.scroll_into_view().await.expect("it is seen");
    let script = "const { x, y, width, height } = arguments[0].getBoundingClientRect(); \
                  return [x + width / 2, y + height / 2];";
    let at = page.execute(script, vec![element.to_json().expect("an element")]).await;
    at.expect("a place").convert().expect("two numbers")
}

/// Drags the element `from` onto the element `to`, each in a window.
///
/// # Panics
///
/// If nothing begins to be dragged within [`DEADLINE`].
pub async fn drag(page: &WebDriver, from: (&WindowHandle, &str), to: (&WindowHandle, &str)) {
    let (x, y) = middle(page, from).await;
    let mut source = Debugger::attach(page, from.0).await;
    source.call("Input.setInterceptDrags", json!({"enabled": true})).await;
    source.mouse("mouseMoved", (x, y)).await;
    source.mouse("mousePressed", (x, y)).await;
    // Answered only when the drag has ended, so nobody waits for it.
    let moved =
        json!({"type": "mouseMoved", "x": x + 20.0, "y": y + 10.0, "button": "left", "buttons": 1});
    source.send("Input.dispatchMouseEvent", &moved).await;
    let is_drag = |it: &Value| {
        (it["method"] == "Input.dragIntercepted").then(|| it.pointer("/params/data").cloned())?
    };
    let data = source.receive(is_drag).await;

    let (x, y) = middle(page, to).await;
    let mut target = Debugger::attach(page, to.0).await;
    target.dispatch(["dragEnter", "dragOver", "drop"], (x, y), &data).await;
    if from.0 != to.0 {
        // Without a screen nobody tells the window that it came from that it was dropped in another:
        // it ends where nothing takes it.
        source.dispatch(["dragEnter", "dragOver", "drop"], (1.0, 1.0), &data).await;
    }
    source.mouse("mouseReleased", (1.0, 1.0)).await;
    source.call("Input.setInterceptDrags", json!({"enabled": false})).await;
}
