//! `GET /api/v1/network/stats`: how large the network is, for anybody's page to show.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::operation::{Access, Operation};
use crate::app::App;
use crate::error::ApiError;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/network/stats", "getNetworkStats", stats)
            .says(
                "How large the network is",
                "Counted anew every ten seconds at most. Not in `data`, as existing pages read it.",
            )
            .tag("Exchange")
            .access(Access::Public)
            .answers::<NetworkStats>(200, "A few counts."),
    ]
}

/// How large the network is.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct NetworkStats {
    /// Islands that are connected now.
    online_islands: usize,
    /// In how many regions they stand, as far as they say.
    regions: usize,
    /// Jobs that were ever paid for.
    jobs_completed: i64,
}

/// The handler.
///
/// # Errors
/// 503.
pub async fn stats(State(app): State<Arc<App>>) -> Result<Json<NetworkStats>, ApiError> {
    let size = app.market.size.look(&app).await?;
    Ok(Json(NetworkStats {
        online_islands: size.islands,
        regions: size.regions,
        jobs_completed: size.trades,
    }))
}
