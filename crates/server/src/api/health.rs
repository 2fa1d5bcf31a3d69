//! `/health`, `/ready`, `/metrics`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::extract::{Address, bearer};
use super::words::TextFile;
use crate::api::operation::{Access, Operation};
use crate::app::App;
use crate::error::ApiError;
use crate::islands;
use crate::secrets;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        at_root(Operation::get("/health", "getHealth", health))
            .says("Whether the process is there", "")
            .answers::<Health>(200, "It is."),
        at_root(Operation::get("/ready", "getReady", ready))
            .says("Whether it can serve", "Looks whether the database answers.")
            .answers::<Ready>(200, "It can."),
        at_root(Operation::get("/metrics", "getMetrics", metrics))
            .says(
                "What it measures, for Prometheus",
                "In the text format that Prometheus reads. Open to the machine that the server runs on, and to whoever sends the \
                 token of the configuration (`metrics.token`) as `Authorization: Bearer …`.",
            )
            .answers_as::<TextFile>(200, "text/plain", "Samples.")
            .errors(&["unauthenticated"]),
    ]
}

fn at_root(operation: Operation) -> Operation {
    operation.tag("Server").at_root().access(Access::Public)
}

/// That the process is there.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Health {
    /// `ok`.
    status: &'static str,
    /// The version of the program.
    version: &'static str,
}

/// That it can serve.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Ready {
    /// `ready`.
    status: &'static str,
    /// Islands that are connected here.
    islands: usize,
    /// Jobs that wait or run here.
    jobs: usize,
}

/// `GET /health`: the process is there.
pub async fn health() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// `GET /ready`: the database answers.
///
/// # Errors
/// 503.
pub async fn ready(State(app): State<Arc<App>>) -> Result<Json<Ready>, ApiError> {
    let answered = app.db.read("ready", async |tx| tx.query_one("SELECT 1", &[]).await.map(drop)).await;
    answered.map_err(|_| ApiError::unavailable("The database does not answer."))?;
    Ok(Json(Ready { status: "ready", islands: app.islands.all().len(), jobs: app.jobs.count() }))
}

/// `GET /metrics`, in the text format Prometheus reads: for this machine, and for whoever has the token.
///
/// # Errors
/// 401.
pub async fn metrics(
    State(app): State<Arc<App>>,
    address: Address,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let token = &app.config.metrics.token;
    let known = !token.is_empty() && bearer(&headers).is_some_and(|given| secrets::equal(token, given));
    if !known && !is_from_here(&address, &headers) {
        return Err(ApiError::unauthenticated(
            "Metrics are for the machine that the server runs on, and for whoever sends the token that is set as metrics.token.",
        ));
    }
    islands::offers::gauge(&app);
    let mut response = app.metrics.render().into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Whether somebody on this very machine asks, and not a proxy here for somebody elsewhere.
fn is_from_here(Address(address): &Address, headers: &HeaderMap) -> bool {
    let handed_on = ["x-forwarded-for", "x-real-ip", "x-forwarded-host", "forwarded", "via"];
    let here = address.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    here && !handed_on.iter().any(|name| headers.contains_key(*name))
}
