//! The agent: keeps a session alive for as long as it is wanted.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use types::rng::Random;

use crate::backoff::Backoff;
use crate::catalog::Catalog;
use crate::config::{Config, ConfigError};
use crate::config_file::ConfigFile;
use crate::connection::{Address, Lost};
use crate::session::{self, End};

/// A connection that lasted this long was a good one.
const HEALTHY: Duration = Duration::from_secs(60);

/// An Island's agent.
#[derive(Debug)]
pub struct Agent {
    start: Result<Address, ConfigError>,
    updater: Updater,
    random: Arc<dyn Random>,
    file: Option<ConfigFile>,
}

/// Changes what a running agent serves.
#[derive(Clone, Debug)]
pub struct Updater {
    catalog: Arc<watch::Sender<Arc<Catalog>>>,
    config: Arc<std::sync::Mutex<Config>>,
}

/// Why an agent stopped without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It cannot start like this.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The coordinator does not want this Island, and trying again would not help.
    #[error("the coordinator refuses this Island ({code}): {message}")]
    Refused {
        /// The coordinator's word for why.
        code: String,
        /// Its sentence.
        message: String,
    },
}

impl Agent {
    /// An agent that is not running yet. What is wrong with its configuration is told by [`Agent::run`].
    #[must_use]
    pub fn new(config: Config, random: Arc<dyn Random>) -> Self {
        let catalog = Catalog::build(&config, &Catalog::default());
        let (start, catalog) = match catalog {
            Ok(catalog) => (Address::new(&config.coordinator, &config.token), catalog),
            Err(error) => (Err(error), Catalog::default()),
        };
        let catalog = Arc::new(watch::Sender::new(Arc::new(catalog)));
        let updater = Updater { catalog, config: Arc::new(std::sync::Mutex::new(config)) };
        Self { start, updater, random, file: None }
    }

    /// Follows a file: while the agent runs, what is served changes with it.
    #[must_use]
    pub fn following(self, file: ConfigFile) -> Self {
        Self { file: Some(file), ..self }
    }

    /// The way to change what is served while the agent runs.
    #[must_use]
    pub fn updater(&self) -> Updater {
        self.updater.clone()
    }

    /// Serves until `shutdown` comes and all that runs then is finished.
    ///
    /// # Errors
    /// [`AgentError`] if the configuration will not do, or the coordinator refuses this Island for good.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), AgentError> {
        let Self { start, updater, random, file } = self;
        let address = start?;
        let shutdown = pin!(shutdown.fuse());
        let serving = serve(&address, &updater, random.as_ref(), shutdown);
        let following = async {
            match file {
                Some(file) => file.watch(updater.clone()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = serving => result,
            never = following => match never {},
        }
    }
}

impl Updater {
    /// Serves from now on what this configuration says. Its coordinator and token are not looked at. Offers that
    /// changed are told to the coordinator; region and graphics card at the next connection.
    ///
    /// # Errors
    /// [`ConfigError`] names what is wrong; then nothing changes.
    pub fn serve(&self, config: &Config) -> Result<(), ConfigError> {
        let mut current = self.config.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (coordinator, token) = (current.coordinator.clone(), current.token.clone());
        let wanted = Config { coordinator, token, ..config.clone() };
        let previous = Arc::clone(&self.catalog.borrow());
        let catalog = Catalog::build(&wanted, &previous)?;
        for change in catalog.changes_since(&previous) {
            tracing::info!("Changed: {change}.");
        }
        self.catalog.send_replace(Arc::new(catalog));
        *current = wanted;
        Ok(())
    }
}

async fn serve<S: Future<Output = ()> + Send>(
    address: &Address,
    updater: &Updater,
    random: &dyn Random,
    mut shutdown: Pin<&mut Fuse<S>>,
) -> Result<(), AgentError> {
    let mut backoff = Backoff::new();
    loop {
        // Whatever changes from here on is seen as a change by the session.
        let mut catalogs = updater.catalog.subscribe();
        let catalog = Arc::clone(&catalogs.borrow_and_update());
        let connected = tokio::select! {
            () = shutdown.as_mut() => return Ok(()),
            connected = address.connect(&catalog) => connected,
        };
        let end = match connected {
            Ok(connection) => {
                let since = Instant::now();
                let end = session::run(connection, catalog, catalogs, shutdown.as_mut()).await;
                if since.elapsed() >= HEALTHY {
                    backoff.reset();
                }
                end
            }
            Err(lost) => End::Lost(lost),
        };
        let reason = match end {
            End::Drained => return Ok(()),
            End::Lost(Lost::Refused { code, message, retry: false }) => {
                return Err(AgentError::Refused { code, message });
            }
            End::Lost(Lost::Refused { message, .. } | Lost::Broken(message)) => message,
        };
        if shutdown.is_terminated() {
            tracing::warn!("The connection was lost before everything was finished: {reason}");
            return Ok(());
        }
        let pause = backoff.next(random);
        tracing::warn!("Not connected: {reason}. The next try is in {:.1} s.", pause.as_secs_f64());
        tokio::select! {
            () = shutdown.as_mut() => return Ok(()),
            () = sleep(pause) => {}
        }
    }
}
