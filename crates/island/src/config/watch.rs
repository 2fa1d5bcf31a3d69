//! A configuration file that may change while the agent runs.
//!
//! Guarantees: a new content is taken as a whole or not at all, and a file with a mistake in it changes nothing.

use std::convert::Infallible;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Config, ConfigError};
use crate::agent::Updater;

/// How often the file is looked at.
const POLL: Duration = Duration::from_secs(2);

/// A file, as it was when it was last read.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    stamp: Option<Stamp>,
    last: Config,
}

/// What tells one content from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<std::time::SystemTime>,
    length: u64,
}

/// Why a configuration file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{path}: {source}")]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// What.
        source: ConfigError,
    },
}

impl ConfigFile {
    /// Reads a file for the first time.
    ///
    /// # Errors
    /// [`ConfigFileError`] names the file and what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, ConfigFileError> {
        // Looked at before it is read: a change in between is then seen as one.
        let stamp = stamp(path);
        Ok(Self { path: path.to_owned(), stamp, last: read(path)? })
    }

    /// Which file it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.last
    }

    /// Reads the file again whenever it changes, and on SIGHUP.
    pub(crate) async fn watch(mut self, updater: Updater) -> Infallible {
        let mut hangup = Hangup::new();
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = poll.tick() => false,
                () = hangup.recv() => true,
            };
            let stamp = stamp(&self.path);
            // An editor may have moved the file away for a moment; what it puts there will be seen.
            if asked || (stamp.is_some() && stamp != self.stamp) {
                self.stamp = stamp;
                self.reread(&updater);
            }
        }
    }

    fn reread(&mut self, updater: &Updater) {
        let path = self.path.display();
        let config = match read(&self.path) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!("The changed configuration is not taken, the old one stays: {error}");
                return;
            }
        };
        if (&config.coordinator, &config.token) != (&self.last.coordinator, &self.last.token) {
            tracing::warn!("Coordinator and token of {path} take effect when the Island is started again.");
        }
        match updater.serve(&config) {
            Ok(()) => {
                tracing::info!("{path} has been read again.");
                self.last = config;
            }
            Err(error) => tracing::error!("{path} is not taken, the old one stays: {error}"),
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let stamp = |metadata: Metadata| Stamp { modified: metadata.modified().ok(), length: metadata.len() };
    std::fs::metadata(path).ok().map(stamp)
}

fn read(path: &Path) -> Result<Config, ConfigFileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigFileError::Unreadable { path: path.to_owned(), source })?;
    Config::from_toml(&text).map_err(|source| ConfigFileError::Wrong { path: path.to_owned(), source })
}

/// SIGHUP where there is such a thing.
#[derive(Debug)]
struct Hangup {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Hangup {
    fn new() -> Self {
        Self { signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok() }
    }

    async fn recv(&mut self) {
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(not(unix))]
impl Hangup {
    const fn new() -> Self {
        Self {}
    }

    async fn recv(&mut self) {
        std::future::pending::<()>().await;
    }
}
