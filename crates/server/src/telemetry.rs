//! Logs, metrics and request ids.

use std::fmt;
use std::io::IsTerminal;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::ConfigError;

/// What `/metrics` shows.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

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
        .map(Metrics)
        .map_err(|error| ConfigError(format!("metrics: {error}")))
}

impl Metrics {
    /// Metrics that nobody reads: for a program built beside another in one process.
    #[must_use]
    pub fn detached() -> Self {
        Self(PrometheusBuilder::new().build_recorder().handle())
    }

    /// In the text format Prometheus reads.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Lets old observations go.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}
