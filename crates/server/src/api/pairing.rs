//! `/api/v1/pairing`: how a machine becomes an Island without anybody copying a token. It has no credentials yet; its owner, who
//! says yes or no, has.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use types::id::IslandId;
use types::island_protocol::Capabilities;
use types::time::{SECOND_MS, Timestamp};

use super::extract::{Address, ApiUser, Fields};
use super::shapes::Data;
use crate::api::operation::{Access, Operation, Repeat, Repeatable};
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::{Answer, Once};
use crate::islands::pairing::{self, CODE_MS, INTERVAL_SECS, Machine, Polled};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    [of_machines(), of_owners()].concat()
}

fn of_owners() -> Vec<Operation> {
    let unknown = ["too_many_codes"];
    vec![
        Operation::post("/pairing/look", "lookAtPairing", look)
            .says(
                "See which machine shows a code",
                "Look before you confirm: a machine that is not yours would earn in your name. Wrong codes are counted; after ten \
                 in an hour none is looked up.",
            )
            .tag("Islands")
            .access(Access::Manage)
            .repeat(Repeat::Plain)
            .body::<CodeWish>(json!({"code": "A3X9K2"}))
            .answers::<Data<Asking>>(200, "The machine.")
            .errors(&unknown),
        Operation::post("/pairing/confirm", "confirmPairing", confirm)
            .says("Make the machine that shows a code an Island of yours", "It fetches its token by itself.")
            .tag("Islands")
            .access(Access::Manage)
            .body::<ConfirmWish>(json!({"code": "A3X9K2", "name": "Palma"}))
            .answers::<Data<Confirmed>>(201, "The Island.")
            .errors(&["too_many_codes", "too_many_islands"]),
        Operation::post("/pairing/refuse", "refusePairing", refuse)
            .says("Refuse the machine that shows a code", "The machine is told, and the code is worth nothing any more.")
            .tag("Islands")
            .access(Access::Manage)
            .body::<CodeWish>(json!({"code": "A3X9K2"}))
            .answers::<Data<Waiting>>(200, "It is refused.")
            .errors(&unknown),
    ]
}

fn of_machines() -> Vec<Operation> {
    vec![
        Operation::post("/pairing", "beginPairing", begin)
            .says(
                "Ask for a code to pair a machine",
                "The machine shows the code; its owner types it in on the page at `pair_url`. Meanwhile the machine polls.",
            )
            .tag("Islands")
            .access(Access::Public)
            .body::<PairingWish>(json!({"name": "Palma", "agent_version": "1.0.0", "public": {"gpu_model": "RTX 4090"}}))
            .answers::<Begun>(201, "The code.")
            .errors(&["too_many_pairings"]),
        Operation::post("/pairing/poll", "pollPairing", poll)
            .says("Ask whether a machine was paired", "Not more often than every `interval_seconds`.")
            .tag("Islands")
            .access(Access::Public)
            .body::<PollWish>(json!({"poll_token": "pt_0123456789abcdefghjkmnpqrstvwxyz01234567"}))
            .answers::<Paired>(200, "It was paired; this is the token it connects with.")
            .answers::<Waiting>(202, "Nobody has typed the code in yet.")
            .errors(&["refused", "expired"]),
    ]
}

/// A machine that wants to become an Island. What is not known here is not read, because agents of other versions say more.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct PairingWish {
    /// What it would be called.
    name: Option<String>,
    /// What it runs.
    agent_version: Option<String>,
    /// What it is: `gpu_model`, `gpu_vram_mb`, `cpu_cores`, `ram_mb`, `region`; all optional, shown to its owner.
    public: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Who polls.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct PollWish {
    /// The `poll_token` of the pairing.
    poll_token: String,
}

/// A code that a machine shows.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct CodeWish {
    /// The code, as it is shown; small letters, spaces and hyphens do no harm.
    code: String,
}

/// A machine that shall become an Island.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
struct ConfirmWish {
    /// The code, as it is shown; small letters, spaces and hyphens do no harm.
    code: String,
    /// What it shall be called: 1 to 64 letters, digits, spaces or `.-_`.
    name: String,
}

/// A machine that waits for its owner.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Asking {
    /// What it would be called.
    name: String,
    /// What it runs.
    agent_version: String,
    /// Where it asks from: its address.
    address: String,
    /// What it says it is.
    capabilities: super::hosts::Machine,
    /// Until when the code is good.
    expires_at: Timestamp,
}

/// A machine that is an Island now.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Confirmed {
    /// The Island.
    id: IslandId,
    /// What it is called.
    name: String,
}

/// A pairing that has begun.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Begun {
    /// What the owner types in.
    code: String,
    /// What the machine polls with; a secret.
    poll_token: String,
    /// How long the code is good, in seconds.
    expires_in_seconds: i64,
    /// How often to poll, in seconds.
    interval_seconds: i64,
    /// The page where the owner types the code in.
    pair_url: String,
}

/// How far a pairing is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Waiting {
    /// `waiting` while nobody has typed the code in, `refused` when its owner said no.
    status: &'static str,
}

/// A machine that has become an Island.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Paired {
    /// Always `paired`.
    status: &'static str,
    /// The token it connects with; a secret.
    token: String,
    /// The Island.
    island_id: IslandId,
    /// What it is called.
    name: String,
}

/// `POST /api/v1/pairing`: `name`, `agent_version`, and what the machine is (`public`).
///
/// # Errors
/// 400, 413, 422, 429, 503.
pub async fn begin(
    State(app): State<Arc<App>>,
    Address(address): Address,
    fields: Fields,
) -> Result<(StatusCode, Json<Begun>), ApiError> {
    let capabilities = fields.get("public").or_else(|| fields.get("capabilities"));
    // What a machine says of itself is for people only: what cannot be read is left out.
    let capabilities: Capabilities =
        capabilities.and_then(|value| serde_json::from_str(value.get()).ok()).unwrap_or_default();
    let (name, version) =
        (fields.text("name")?.unwrap_or_default(), fields.text("agent_version")?.unwrap_or_default());
    let machine = Machine::new(&name, &version, capabilities, address);
    let begun = pairing::begin(&app, machine, app.clock.now()).await?;
    let body = Begun {
        code: begun.code,
        poll_token: begun.poll_token,
        expires_in_seconds: CODE_MS / SECOND_MS,
        interval_seconds: INTERVAL_SECS.into(),
        pair_url: format!("{}/pair", app.config.public_url()),
    };
    Ok((StatusCode::CREATED, Json(body)))
}

/// `POST /api/v1/pairing/poll`: `poll_token`.
///
/// # Errors
/// 403 when somebody said no, 410 when it is over, 422, 503.
pub async fn poll(State(app): State<Arc<App>>, fields: Fields) -> Result<Response, ApiError> {
    let token = fields.need_text("poll_token")?;
    match pairing::poll(&app, &token, app.clock.now()).await? {
        Polled::Waiting => Ok((StatusCode::ACCEPTED, Json(Waiting { status: "waiting" })).into_response()),
        Polled::Paired { token, island, name } => {
            Ok(Json(Paired { status: "paired", token, island_id: island, name }).into_response())
        }
        Polled::Expired => {
            let text = "This pairing is over. Ask for another code.";
            Err(ApiError::new(StatusCode::GONE, "expired", text).with("status", "expired"))
        }
        Polled::Refused => {
            let text = "The pairing was refused on the page.";
            Err(ApiError::forbidden("refused", text).with("status", "refused"))
        }
    }
}

/// `POST /api/v1/pairing/look` with `{code}`.
///
/// # Errors
/// 401, 403, 422, 429, 503.
pub async fn look(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    fields: Fields,
) -> Result<Json<Data<Asking>>, ApiError> {
    fields.only(&["code"])?;
    let found = pairing::look(&app, &caller.user, &fields.need_text("code")?, app.clock.now()).await?;
    let machine = found.machine;
    let data = Asking {
        capabilities: (&machine.capabilities).into(),
        name: machine.name,
        agent_version: machine.agent_version,
        address: machine.address,
        expires_at: found.expires_at,
    };
    Ok(Json(Data { data }))
}

/// `POST /api/v1/pairing/confirm` with `{code, name}`.
///
/// # Errors
/// 401, 403, 409, 422, 429, 503.
pub async fn confirm(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["code", "name"])?;
    let (code, name) = (fields.need_text("code")?, fields.need_text("name")?);
    let once = Once::new(claim, |(id, name): &(IslandId, String)| {
        Answer::created(&Data { data: Confirmed { id: *id, name: name.clone() } })
    });
    let made = pairing::confirm(&app, &caller.user, &code, &name, app.clock.now(), &once).await?;
    Ok(once.respond(&made))
}

/// `POST /api/v1/pairing/refuse` with `{code}`.
///
/// # Errors
/// 401, 403, 422, 429, 503.
pub async fn refuse(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    fields.only(&["code"])?;
    let code = fields.need_text("code")?;
    let once = Once::new(claim, |()| Answer::ok(&Data { data: Waiting { status: "refused" } }));
    pairing::refuse(&app, &caller.user, &code, app.clock.now(), &once).await?;
    Ok(once.respond(&()))
}
