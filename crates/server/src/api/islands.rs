//! `GET /api/v1/islands/connect`: where Islands connect, by WebSocket, with their token.

use std::sync::Arc;

use axum::extract::{State, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::Response;
use types::island_protocol::MAX_FRAME_BYTES;

use super::extract::bearer;
use crate::api::operation::{Access, Operation};
use crate::app::App;
use crate::error::ApiError;
use crate::islands::{self, connection};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/islands/connect", "connectIsland", connect)
            .says(
                "Where Islands connect",
                "By WebSocket, with the token of an Island as a bearer. What is said then is the protocol of Islands, which the \
                 program `island` speaks.",
            )
            .tag("Islands")
            .access(Access::Island)
            .switches("The connection is a WebSocket from now on.")
            .errors(&["no_websocket"]),
    ]
}

/// Every connected Island costs this much memory, in bytes; most of what they say is far shorter.
const READ_BUFFER: usize = 8 * 1024;

/// The handler.
///
/// # Errors
/// 401 for a bad or revoked token, 400/426 for what is no WebSocket.
pub async fn connect(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let token = bearer(&headers).ok_or_else(|| {
        ApiError::unauthenticated("An Island token is needed: \"Authorization: Bearer it_…\".")
    })?;
    let island = islands::by_token(&app, token).await?;
    let island = island.ok_or_else(|| {
        ApiError::unauthenticated("This Island token is not valid. It may have been revoked.")
    })?;
    let upgrade = upgrade.map_err(|rejection| {
        ApiError::new(rejection.status(), "no_websocket", "Islands connect by WebSocket.")
    })?;
    Ok(upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .on_upgrade(move |socket| connection::serve(app, island, socket)))
}
