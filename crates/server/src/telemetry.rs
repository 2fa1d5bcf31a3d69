//! Logs, metrics and request ids.

use std::collections::HashMap;
use std::fmt;
use std::io::IsTerminal;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::ConfigError;

/// What `/metrics` shows.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    routes: Arc<RwLock<HashMap<String, Route>>>,
}

/// The meters of a route, so that they are not looked for by their labels at each request.
struct Route {
    seconds: Histogram,
    answered: HashMap<u16, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Begins to write logs to standard error.
///
/// # Errors
/// A [`ConfigError`] when the filter cannot be read.
pub fn logs(filter: &str) -> Result<(), ConfigError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| ConfigError(format!("log: {error}")))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second call, in tests, changes nothing.
    drop(logs.try_init());
    Ok(())
}

/// Begins to collect metrics.
///
/// # Errors
/// A [`ConfigError`] when they are collected already.
pub fn metrics() -> Result<Metrics, ConfigError> {
    let seconds = [0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
    PrometheusBuilder::new()
        .set_buckets(&seconds)
        .map_err(|error| ConfigError(format!("metrics: {error}")))?
        .install_recorder()
        .map(Metrics::new)
        .map_err(|error| ConfigError(format!("metrics: {error}")))
}

impl Metrics {
    fn new(handle: PrometheusHandle) -> Self {
        Self { handle, routes: Arc::default() }
    }

    /// Metrics that nobody reads: for a program built beside another in one process.
    #[must_use]
    pub fn detached() -> Self {
        Self::new(PrometheusBuilder::new().build_recorder().handle())
    }

    /// Notes an answer of a route.
    pub fn answered(&self, route: &str, status: u16, took: Duration) {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(meters) = known.get(route)
            && let Some(answered) = meters.answered.get(&status)
        {
            answered.increment(1);
            meters.seconds.record(took);
            return;
        }
        drop(known);
        let seconds = metrics::histogram!("archipelago_http_seconds", "route" => route.to_owned());
        let labels = [("route", route.to_owned()), ("status", status.to_string())];
        let answered = metrics::counter!("archipelago_http_requests_total", &labels);
        answered.increment(1);
        seconds.record(took);
        let mut known = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let meters = known.entry(route.to_owned());
        meters
            .or_insert_with(|| Route { seconds, answered: HashMap::new() })
            .answered
            .insert(status, answered);
    }

    /// In the text format Prometheus reads.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Lets old observations go.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}
