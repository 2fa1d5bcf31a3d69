//! `/api/v1/workloads`: the Cargos of this network.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::Serialize;
use types::money::MicroCredits;

use super::extract::ApiUser;
use super::shapes::Data;
use super::words::{PriceUnit, Runtime, Slug};
use crate::api::operation::Operation;
use crate::app::App;
use crate::error::ApiError;
use crate::jobs::JobError;
use crate::marketplace::Market;
use crate::marketplace::rates::{self, Rate};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/workloads", "listWorkloads", list)
            .says("All Cargos", "What can be run on this network, and what it costs now.")
            .tag("Cargos")
            .answers::<Data<Vec<WorkloadBody>>>(200, "All Cargos."),
        Operation::get("/workloads/{slug}", "getWorkload", show)
            .says("A Cargo", "")
            .tag("Cargos")
            .in_path::<Slug>("slug", "The Cargo.")
            .answers::<Data<WorkloadBody>>(200, "The Cargo.")
            .errors(&["unknown_workload"]),
    ]
}

/// A Cargo.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Workload")]
pub struct WorkloadBody {
    /// Its number.
    id: i64,
    /// Its name in requests.
    slug: String,
    /// Its name for people.
    name: String,
    /// What it does.
    description: String,
    /// What the Python SDK takes for its kind.
    runtime_type: Runtime,
    /// Memory of the graphics card that an Island needs for it, in MiB.
    required_vram_mb: Option<u32>,
    /// Memory that an Island needs for it, in MiB.
    required_ram_mb: Option<u32>,
    /// What a unit costs now, or did last, or may at most, in credits.
    price_per_job: MicroCredits,
    /// Whether it can be used.
    is_enabled: bool,
    /// What an ask is the price of.
    unit: PriceUnit,
    /// The lowest ask now, in credits per unit; null if no Island offers it.
    best_ask: Option<MicroCredits>,
    /// The bid of a job that names none and whose consumer has saved none, in credits per unit.
    ceiling: MicroCredits,
    /// How many Islands offer it now.
    islands_online: usize,
    #[serde(flatten)]
    camel: CamelWorkload,
}

/// The same once more, as the JavaScript SDK spells it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CamelWorkload {
    /// `runtime_type`.
    runtime_type: Runtime,
    /// `required_vram_mb`.
    required_vram_mb: Option<u32>,
    /// `required_ram_mb`.
    required_ram_mb: Option<u32>,
    /// `price_per_job`.
    price_per_job: MicroCredits,
    /// `is_enabled`.
    is_enabled: bool,
}

/// `GET /api/v1/workloads`.
///
/// # Errors
/// 401, 403, 429, 503.
pub async fn list(
    State(app): State<Arc<App>>,
    _: ApiUser,
) -> Result<Json<Data<Vec<WorkloadBody>>>, ApiError> {
    let rates = rates::all(&app).await?;
    let rows = app.market.all().iter().zip(&rates).map(|(market, rate)| WorkloadBody::new(market, rate));
    Ok(Json(Data { data: rows.collect() }))
}

/// `GET /api/v1/workloads/{slug}`.
///
/// # Errors
/// 401, 403, 404, 429, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    _: ApiUser,
    Path(slug): Path<String>,
) -> Result<Json<Data<WorkloadBody>>, ApiError> {
    let market = app.market.get(&slug).ok_or(JobError::UnknownWorkload)?;
    let rates = rates::all(&app).await?;
    let rate = rates.iter().find(|rate| rate.slug == slug).ok_or(JobError::UnknownWorkload)?;
    Ok(Json(Data { data: WorkloadBody::new(market, rate) }))
}

impl WorkloadBody {
    fn new(market: &Market, rate: &Rate) -> Self {
        let workload = &market.workload;
        // The only other word the Python client accepts is "wasm".
        let runtime_type = Runtime("container");
        // Clients require a number here: what it would cost now, or did last, or may at most.
        let price = rate.best_ask.or(rate.last).unwrap_or(workload.ceiling);
        let (required_vram_mb, required_ram_mb) = (workload.required_vram_mb, workload.required_ram_mb);
        Self {
            id: workload.id,
            slug: workload.slug.clone(),
            name: workload.name.clone(),
            description: workload.description.clone(),
            runtime_type,
            required_vram_mb,
            required_ram_mb,
            price_per_job: price,
            is_enabled: true,
            unit: PriceUnit(workload.unit.name()),
            best_ask: rate.best_ask,
            ceiling: workload.ceiling,
            islands_online: rate.islands,
            camel: CamelWorkload {
                runtime_type,
                required_vram_mb,
                required_ram_mb,
                price_per_job: price,
                is_enabled: true,
            },
        }
    }
}
