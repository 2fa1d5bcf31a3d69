//! `GET /v1/models`: the Cargos, as models, and behind a slash the models that Islands serve them with now.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::named;
use super::shapes::{Model, ModelList};
use crate::api::extract::ApiUser;
use crate::api::operation::Operation;
use crate::app::App;
use crate::error::ApiError;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/models", "listModels", list)
            .says("All models", "The Cargos, and behind a slash the models that Islands serve them with now.")
            .tag("OpenAI")
            .openai()
            .answers::<ModelList>(200, "All models."),
        Operation::get("/models/{*model}", "getModel", show)
            .says("A model", "")
            .tag("OpenAI")
            .openai()
            .in_path::<String>("model", "Its name; it may contain slashes.")
            .answers::<Model>(200, "The model.")
            .errors(&["model_not_found"]),
    ]
}

/// Most models listed for one Cargo.
const MAX_SERVED: usize = 100;

/// `GET /v1/models`.
pub async fn list(State(app): State<Arc<App>>, _: ApiUser) -> Json<Value> {
    let mut served: BTreeSet<(String, String)> = BTreeSet::new();
    for offer in app.islands.all().iter().flat_map(|connection| connection.offers()) {
        served.extend(offer.models.into_iter().map(|model| (offer.workload.clone(), model)));
    }
    let mut rows = Vec::new();
    for market in app.market.all() {
        let slug = &market.workload.slug;
        rows.push(model(slug));
        let config = app.config.workloads.iter().find(|config| config.slug == *slug);
        rows.extend(config.iter().flat_map(|config| &config.aliases).map(|alias| model(alias)));
        let with = served.iter().filter(|(of, _)| of == slug).take(MAX_SERVED);
        rows.extend(with.map(|(_, name)| model(&format!("{slug}/{name}"))));
    }
    Json(json!({"object": "list", "data": rows}))
}

/// `GET /v1/models/{model}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    _: ApiUser,
    Path(slug): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let cargo = slug.split_once('/').map_or(slug.as_str(), |(cargo, _)| cargo);
    named(&app, cargo).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "model_not_found",
            "There is no such model. GET /v1/models lists them.",
        )
    })?;
    Ok(Json(model(&slug)))
}

fn model(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 1_735_689_600, "owned_by": "archipelago"})
}
