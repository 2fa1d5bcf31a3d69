//! `/api/v1/hosts`: Islands that are online; and what an owner can do with their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use types::id::IslandId;
use types::island_protocol::Offer;

use super::extract::{ApiUser, Fields, id};
use crate::api::operation::{Access, Operation, Repeat};
use crate::app::App;
use crate::error::ApiError;
use crate::islands::owner::{self, IslandOverview};
use crate::islands::standing::{self, Change};
use crate::islands::{self, IslandRecord, MAX_GRACE_SECS};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/hosts", "listHosts", list)
            .says("Islands", "")
            .tag("Islands")
            .answers::<Value>(200, "Islands."),
        Operation::get("/hosts/{id}", "getHost", show)
            .says("An Island", "")
            .tag("Islands")
            .in_path::<String>("id", "")
            .answers::<Value>(200, "An Island."),
        Operation::post("/hosts/{id}/suspend", "suspendHost", suspend)
            .says("Take an Island of yours out of the market", "")
            .tag("Islands")
            .access(Access::Manage)
            .in_path::<String>("id", "")
            .answers::<Value>(200, "Take an Island of yours out of the market."),
        Operation::post("/hosts/{id}/resume", "resumeHost", resume)
            .says("Put an Island of yours back", "")
            .tag("Islands")
            .access(Access::Manage)
            .in_path::<String>("id", "")
            .answers::<Value>(200, "Put an Island of yours back."),
        Operation::post("/hosts/{id}/token", "replaceHostToken", replace_token)
            .says("Replace the token of an Island of yours", "")
            .tag("Islands")
            .access(Access::Manage)
            .repeat(Repeat::Sealed)
            .in_path::<String>("id", "")
            .answers::<Value>(200, "Replace the token of an Island of yours."),
        Operation::delete("/hosts/{id}/token", "revokeHostToken", revoke_token)
            .says("Revoke the token of an Island of yours", "")
            .tag("Islands")
            .access(Access::Manage)
            .in_path::<String>("id", "")
            .answers::<Value>(200, "Revoke the token of an Island of yours."),
    ]
}

/// `GET /api/v1/hosts`.
///
/// # Errors
/// 401, 403, 429.
pub async fn list(State(app): State<Arc<App>>, _: ApiUser) -> Result<Json<Value>, ApiError> {
    let records = islands::online(&app).await?;
    Ok(Json(json!({"data": shown(&app, records).await?})))
}

/// `GET /api/v1/hosts/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    _: ApiUser,
    Path(island): Path<String>,
) -> Result<Json<Value>, ApiError> {
    one(&app, id(&island, "Island")?).await
}

/// `POST /api/v1/hosts/{id}/suspend`: the owner's Island gets no new jobs.
///
/// # Errors
/// 401, 403, 404, 429, 503.
pub async fn suspend(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(island): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let change = Change::ByOwner { owner: caller.user.id, suspended: true };
    change_standing(&app, id(&island, "Island")?, change).await
}

/// `POST /api/v1/hosts/{id}/resume`: and gets some again.
///
/// # Errors
/// 401, 403, 404, 429, 503.
pub async fn resume(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(island): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let change = Change::ByOwner { owner: caller.user.id, suspended: false };
    change_standing(&app, id(&island, "Island")?, change).await
}

/// `POST /api/v1/hosts/{id}/token`: another token, shown this once. The one before is good for `grace_seconds` more (an hour
/// if nothing is said); 0 ends it, and the connection made with it, at once.
///
/// # Errors
/// 401, 403, 404, 422, 429, 503.
pub async fn replace_token(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(island): Path<String>,
    fields: Fields,
) -> Result<Json<Value>, ApiError> {
    let island: IslandId = id(&island, "Island")?;
    let grace = fields.whole("grace_seconds", 0, i64::from(MAX_GRACE_SECS))?;
    let grace = grace.and_then(|grace| u32::try_from(grace).ok()).unwrap_or(islands::GRACE_SECS);
    let token = islands::rotate(&app, &caller.user, island, grace).await?;
    let token = token.ok_or_else(|| ApiError::not_found("Island"))?;
    Ok(Json(json!({"data": {"id": island, "token": token, "old_token_good_for_seconds": grace}})))
}

/// `DELETE /api/v1/hosts/{id}/token`: the Island is revoked.
///
/// # Errors
/// 401, 403, 404, 429, 503.
pub async fn revoke_token(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(island): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let island: IslandId = id(&island, "Island")?;
    if !islands::revoke(&app, &caller.user, island).await? {
        return Err(ApiError::not_found("Island"));
    }
    Ok(Json(json!({"data": {"id": island, "revoked": true}})))
}

async fn change_standing(app: &App, island: IslandId, change: Change) -> Result<Json<Value>, ApiError> {
    standing::change(app, island, change).await?.ok_or_else(|| ApiError::not_found("Island"))?;
    one(app, island).await
}

async fn one(app: &App, island: IslandId) -> Result<Json<Value>, ApiError> {
    let record = islands::find(app, island).await?;
    let record = record.ok_or_else(|| ApiError::not_found("Island"))?;
    Ok(Json(json!({"data": shown(app, vec![record]).await?.pop()})))
}

async fn shown(app: &App, records: Vec<IslandRecord>) -> Result<Vec<Value>, ApiError> {
    let overviews = owner::overview_of(app, records).await?;
    Ok(overviews.iter().map(|overview| host_json(app, overview)).collect())
}

fn host_json(app: &App, overview: &IslandOverview) -> Value {
    let record = &overview.record;
    let offers = app.islands.get(record.id).map(|session| session.offers()).unwrap_or_default();
    // What is in force: what the owner set here stands in place of what the agent says.
    let in_force = |slug: &str| {
        let market = app.market.get(slug)?;
        app.market.overrides.get(record.id, market.workload.id).map(|(ask, _)| ask.to_string())
    };
    let ask = |offer: &Offer| in_force(&offer.workload).unwrap_or_else(|| offer.ask.clone());
    let asks: BTreeMap<&str, String> =
        offers.iter().map(|offer| (offer.workload.as_str(), ask(offer))).collect();
    let standing = overview.standing;
    // A suspended one says so; otherwise whether it is there is what existing clients show.
    let suspended = standing.owner_suspended || standing.operator_suspended;
    let status = if suspended {
        "suspended"
    } else if overview.online {
        "online"
    } else {
        "offline"
    };
    let karma = overview.karma;
    json!({
        "id": record.id, "name": record.name, "status": status, "online": overview.online,
        "approved": standing.approved, "region": record.capabilities.region,
        "capabilities": record.capabilities, "last_heartbeat_at": record.last_seen_at,
        "online_since": overview.since.filter(|_| overview.online),
        "asking_prices": asks, "active_jobs": overview.running,
        "karma": karma.karma, "karma_score": karma.karma,
        "karma_parts": {"success": karma.success, "latency": karma.latency, "uptime": karma.uptime},
        "success_percent": overview.success_percent, "latency_ms": overview.latency_ms,
    })
}
