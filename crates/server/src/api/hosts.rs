//! `/api/v1/hosts`: Islands that are online; and what an owner can do with their own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use types::id::IslandId;
use types::island_protocol::{Capabilities, Offer};
use types::time::Timestamp;

use super::extract::{ApiUser, Fields, id};
use super::shapes::Data;
use crate::api::operation::{Access, Operation, Repeat, Repeatable};
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::{Answer, Claim, Once};
use crate::islands::owner::{self, IslandOverview};
use crate::islands::standing::{self, Change};
use crate::islands::{self, IslandRecord, MAX_GRACE_SECS};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let mut operations = vec![
        Operation::get("/hosts", "listHosts", list)
            .says("Islands", "Those of everybody that are connected to this coordinator; or all of your own.")
            .tag("Islands")
            .query::<bool>("mine", "`true`: your own Islands, oldest first, whether they are online or not.")
            .answers::<Data<Vec<Host>>>(200, "The Islands."),
        Operation::post("/hosts", "createHost", create)
            .says(
                "Make an Island",
                "Makes an Island of yours and the token it connects with, which is shown in this answer and never again. A \
                 machine can also be paired without anybody copying a token.",
            )
            .tag("Islands")
            .access(Access::Manage)
            .repeat(Repeat::Sealed)
            .body::<HostWish>(json!({"name": "Palma"}))
            .answers::<Data<NewHost>>(201, "The Island and its token.")
            .errors(&["too_many_islands"]),
        Operation::get("/hosts/{id}", "getHost", show)
            .says("An Island", "")
            .tag("Islands")
            .in_path::<IslandId>("id", "The Island.")
            .answers::<Data<Host>>(200, "The Island."),
    ];
    operations.extend(of_owners());
    operations
}

fn of_owners() -> Vec<Operation> {
    let own = |operation: Operation| {
        operation.tag("Islands").access(Access::Manage).in_path::<IslandId>("id", "One of your Islands.")
    };
    vec![
        own(Operation::post("/hosts/{id}/suspend", "suspendHost", suspend))
            .says(
                "Take an Island of yours out of the market",
                "It stays connected and gets no new jobs; what it runs is finished.",
            )
            .answers::<Data<Host>>(200, "The Island, suspended."),
        own(Operation::post("/hosts/{id}/resume", "resumeHost", resume))
            .says("Put an Island of yours back", "It gets jobs again.")
            .answers::<Data<Host>>(200, "The Island."),
        own(Operation::post("/hosts/{id}/token", "replaceHostToken", replace_token))
            .says(
                "Replace the token of an Island of yours",
                "The new token is shown in this answer and never again. Put it on the machine while the one before is still good.",
            )
            .repeat(Repeat::Sealed)
            .body::<TokenWish>(json!({"grace_seconds": 600}))
            .answers::<Data<NewToken>>(200, "The new token."),
        own(Operation::delete("/hosts/{id}/token", "revokeHostToken", revoke_token))
            .says("Revoke the token of an Island of yours", "Its connection is closed, and the Island is gone for good.")
            .answers::<Data<Revoked>>(200, "The Island is revoked."),
    ]
}

/// A new Island.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct HostWish {
    /// What it is called: 1 to 64 letters, digits, spaces or `.-_`.
    name: String,
}

/// How a token is replaced.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct TokenWish {
    /// How long the token before is still good, in seconds, 0 to 86,400; an hour if it is not given. 0 ends it, and the
    /// connection made with it, at once.
    #[schemars(range(max = 86_400))]
    grace_seconds: Option<u32>,
}

/// An Island.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Host {
    /// Its id.
    id: IslandId,
    /// What its owner calls it.
    name: String,
    /// `online`, `offline` or `suspended`.
    #[schemars(with = "super::words::HostStatus")]
    status: &'static str,
    /// Whether it is connected.
    online: bool,
    /// Whether the operator of the network has approved it.
    approved: bool,
    /// Where it stands, such as `eu-west`.
    region: Option<String>,
    /// What it is.
    capabilities: Machine,
    /// When it was last heard of.
    last_heartbeat_at: Option<Timestamp>,
    /// Since when it has been online, if it is.
    online_since: Option<Timestamp>,
    /// What it asks for each Cargo it serves, in credits for a unit, as text.
    asking_prices: BTreeMap<String, String>,
    /// How many jobs it works on.
    active_jobs: usize,
    /// How good it is, 0 to 100.
    karma: u8,
    /// The same, for older clients.
    karma_score: u8,
    /// What that is made of.
    karma_parts: KarmaParts,
    /// The share of its last attempts that succeeded, in percent; null before the first.
    success_percent: Option<u8>,
    /// How long it lately took to its first output, in milliseconds.
    latency_ms: Option<u32>,
}

/// What a machine is, as it says itself.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Machine {
    /// The graphics card.
    gpu_model: Option<String>,
    /// Its memory, in MiB.
    gpu_vram_mb: Option<u32>,
    /// Processor cores.
    cpu_cores: Option<u32>,
    /// Memory, in MiB.
    ram_mb: Option<u32>,
    /// Where it stands, such as `eu-west`.
    region: Option<String>,
}

/// What karma is made of; each 0 to 100.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct KarmaParts {
    /// How many attempts succeed.
    success: u8,
    /// How fast the first output comes.
    latency: u8,
    /// How much of the last week it was online.
    uptime: u8,
}

/// An Island that was made.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NewHost {
    /// The Island.
    id: IslandId,
    /// What it is called.
    name: String,
    /// The token it connects with, which is not shown again.
    token: String,
}

/// A new token.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NewToken {
    /// The Island.
    id: IslandId,
    /// The token, which is not shown again.
    token: String,
    /// How long the token before is still good, in seconds.
    old_token_good_for_seconds: u32,
}

/// An Island that is revoked.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Revoked {
    /// The Island.
    id: IslandId,
    /// Always true.
    revoked: bool,
}

/// `GET /api/v1/hosts?mine=`.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn list(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Data<Vec<Host>>>, ApiError> {
    let records = match query.get("mine").map(String::as_str) {
        None | Some("false") => islands::online(&app).await?,
        Some("true") => {
            islands::mine(&app, &caller.user).await?.into_iter().map(|(record, _)| record).collect()
        }
        Some(_) => return Err(ApiError::invalid("mine", "must be true or false")),
    };
    Ok(Json(Data { data: shown(&app, records).await? }))
}

/// `GET /api/v1/hosts/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    _: ApiUser,
    Path(island): Path<String>,
) -> Result<Json<Data<Host>>, ApiError> {
    Ok(Json(Data { data: one(&app, id(&island, "Island")?).await? }))
}

/// `POST /api/v1/hosts` with `{name}`.
///
/// # Errors
/// 401, 403, 409, 422, 429, 503.
pub async fn create(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["name"])?;
    let name = fields.need_text("name")?;
    let called = name.trim().to_owned();
    let once = Once::new(claim, move |(id, token): &(IslandId, String)| {
        let data = NewHost { id: *id, name: called.clone(), token: token.clone() };
        Answer::created(&Data { data })
    });
    Ok(once.respond(&islands::create(&app, &caller.user, &name, false, &once).await?))
}

/// `POST /api/v1/hosts/{id}/suspend`: the owner's Island gets no new jobs.
///
/// # Errors
/// 401, 403, 404, 429, 503.
pub async fn suspend(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(island): Path<String>,
) -> Result<Response, ApiError> {
    let change = Change::ByOwner { owner: caller.user.id, suspended: true };
    change_standing(&app, id(&island, "Island")?, change, claim).await
}

/// `POST /api/v1/hosts/{id}/resume`: and gets some again.
///
/// # Errors
/// 401, 403, 404, 429, 503.
pub async fn resume(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(island): Path<String>,
) -> Result<Response, ApiError> {
    let change = Change::ByOwner { owner: caller.user.id, suspended: false };
    change_standing(&app, id(&island, "Island")?, change, claim).await
}

/// `POST /api/v1/hosts/{id}/token`: another token, shown this once. The one before is good for `grace_seconds` more (an hour
/// if nothing is said); 0 ends it, and the connection made with it, at once.
///
/// # Errors
/// 401, 403, 404, 422, 429, 503.
pub async fn replace_token(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(island): Path<String>,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["grace_seconds"])?;
    let island: IslandId = id(&island, "Island")?;
    let grace = fields.whole("grace_seconds", 0, i64::from(MAX_GRACE_SECS))?;
    let grace = grace.and_then(|grace| u32::try_from(grace).ok()).unwrap_or(islands::GRACE_SECS);
    let once = Once::new(claim, move |token: &String| {
        let data = NewToken { id: island, token: token.clone(), old_token_good_for_seconds: grace };
        Answer::ok(&Data { data })
    });
    let token = islands::rotate(&app, &caller.user, island, grace, &once).await?;
    Ok(once.respond(&token))
}

/// `DELETE /api/v1/hosts/{id}/token`: the Island is revoked.
///
/// # Errors
/// 401, 403, 404, 429, 503.
pub async fn revoke_token(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(island): Path<String>,
) -> Result<Response, ApiError> {
    let island: IslandId = id(&island, "Island")?;
    let once = Once::new(claim, move |()| Answer::ok(&Data { data: Revoked { id: island, revoked: true } }));
    islands::revoke(&app, &caller.user, island, &once).await?;
    Ok(once.respond(&()))
}

async fn change_standing(
    app: &App,
    island: IslandId,
    change: Change,
    claim: Option<Claim>,
) -> Result<Response, ApiError> {
    // A wish that stays: done twice it is the same.
    standing::change(app, island, change).await?.ok_or_else(|| ApiError::not_found("Island"))?;
    let once = Once::new(claim, |host: &Host| Answer::ok(&Data { data: host.clone() }));
    let host = one(app, island).await?;
    Ok(once.respond(&once.keep(app, host).await?))
}

async fn one(app: &App, island: IslandId) -> Result<Host, ApiError> {
    let gone = || ApiError::not_found("Island");
    let record = islands::find(app, island).await?.ok_or_else(gone)?;
    shown(app, vec![record]).await?.pop().ok_or_else(gone)
}

async fn shown(app: &App, records: Vec<IslandRecord>) -> Result<Vec<Host>, ApiError> {
    let overviews = owner::overview_of(app, records).await?;
    Ok(overviews.iter().map(|overview| Host::of(app, overview)).collect())
}

impl Host {
    fn of(app: &App, overview: &IslandOverview) -> Self {
        let record = &overview.record;
        let offers = app.islands.get(record.id).map(|session| session.offers()).unwrap_or_default();
        // What is in force: what the owner set here stands in place of what the agent says.
        let in_force = |slug: &str| {
            let market = app.market.get(slug)?;
            app.market.overrides.get(record.id, market.workload.id).map(|(ask, _)| ask.to_string())
        };
        let ask = |offer: &Offer| in_force(&offer.workload).unwrap_or_else(|| offer.ask.clone());
        let asks = offers.iter().map(|offer| (offer.workload.clone(), ask(offer))).collect();
        let standing = overview.standing;
        // A suspended one says so; otherwise whether it is there is what existing clients show.
        let status = if standing.owner_suspended || standing.operator_suspended {
            "suspended"
        } else if overview.online {
            "online"
        } else {
            "offline"
        };
        let karma = overview.karma;
        Self {
            id: record.id,
            name: record.name.clone(),
            status,
            online: overview.online,
            approved: standing.approved,
            region: record.capabilities.region.clone(),
            capabilities: Machine::from(&record.capabilities),
            last_heartbeat_at: record.last_seen_at,
            online_since: overview.since.filter(|_| overview.online),
            asking_prices: asks,
            active_jobs: overview.running,
            karma: karma.karma,
            karma_score: karma.karma,
            karma_parts: KarmaParts { success: karma.success, latency: karma.latency, uptime: karma.uptime },
            success_percent: overview.success_percent,
            latency_ms: overview.latency_ms,
        }
    }
}

impl From<&Capabilities> for Machine {
    fn from(of: &Capabilities) -> Self {
        Self {
            gpu_model: of.gpu_model.clone(),
            gpu_vram_mb: of.gpu_vram_mb,
            cpu_cores: of.cpu_cores,
            ram_mb: of.ram_mb,
            region: of.region.clone(),
        }
    }
}
