//! A site with accounts, as a vendor would make it: its pages use the library of Belay, its back end
//! answers one launch capability.

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    response::{Html, IntoResponse as _},
    routing::get,
};
use serde_json::json;

use crate::{belay::named, gateway::Gateway, website::Website};

const CORS: [(&str, &str); 1] = [("access-control-allow-origin", "*")];

/// Every path is the same page; `/cap/launch` launches it as `/app`.
#[derive(Debug)]
pub struct Shop(Website);

impl Shop {
    /// Opens it.
    pub async fn start(gateway: &Gateway) -> Self {
        let page = include_str!("shop.html").replace("{gateway}", &gateway.url(""));
        let script = ([("content-type", "text/javascript")], include_str!("shop.js"));
        let router = Router::new()
            .route("/shop.js", get(async move || script.into_response()))
            .route("/cap/launch", get(launch))
            .route("/cap/none", get(async || (StatusCode::NOT_FOUND, CORS)))
            .fallback(get(async move || Html(page.clone())));
        Self(Website::start(router).await)
    }

    /// The URL of a path; `""` is the host of the gateway, another name is a site of its own.
    pub fn url(&self, name: &str, path: &str) -> String {
        let url = self.0.url(path);
        if name.is_empty() { url } else { named(name, &url) }
    }
}

async fn launch(headers: HeaderMap) -> impl axum::response::IntoResponse {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let record =
        json!({"page": {"html": format!("http://{host}/app")}, "info": {"account": "ann"}});
    let text = json!({ "value": record }).to_string();
    (CORS, text)
}
