//! The agent: keeps a connection alive for as long as it is wanted.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use types::rng::Random;
use types::time::{Clock, SystemClock};

use crate::backoff::Backoff;
use crate::catalog::{Catalog, Sites};
use crate::config::{Config, ConfigError, ConfigFile, Secret};
use crate::connection::{Address, Connection, Lost};
use crate::cost::Speeds;
use crate::keeper;
use crate::link::{self, End};
use crate::report;
use crate::session::Session;
use crate::state::State;
use crate::tally::Tally;

/// A connection that lasted this long was a good one.
const HEALTHY: Duration = Duration::from_secs(20);
/// How long the first look at the backends may take; those that take longer are offered later.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// How long to wait at most before connecting again while there is work that waits for it.
const LONGEST_PAUSE_WITH_WORK: Duration = Duration::from_secs(3);
/// Why a session is given up that waited too long.
const EXPIRED: &str = "there was no connection for as long as their lease";
/// How often what was measured is written down.
const SAVE_EVERY: Duration = Duration::from_secs(300);

/// An Island's agent.
#[derive(Debug)]
pub struct Agent {
    start: Result<Address, ConfigError>,
    updater: Updater,
    random: Arc<dyn Random>,
    file: Option<ConfigFile>,
    state: Option<State>,
    /// Whether the token is the one in the state.
    paired: bool,
}

/// Changes what a running agent serves.
#[derive(Clone, Debug)]
pub struct Updater {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    what: Mutex<What>,
    catalog: watch::Sender<Arc<Catalog>>,
    tally: Arc<Tally>,
    clock: Arc<dyn Clock>,
    /// Told when the backends should be looked after.
    alarm: Arc<Notify>,
}

/// What is to be served, and by which backends.
#[derive(Debug)]
struct What {
    config: Config,
    sites: Arc<Sites>,
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
        Self::with_state(config, random, Arc::new(SystemClock), None)
    }

    /// The same with a clock of one's own, and with a place where what was measured outlives the agent. A token
    /// that is the state's own is read again when the coordinator no longer takes it.
    #[must_use]
    pub fn with_state(
        config: Config,
        random: Arc<dyn Random>,
        clock: Arc<dyn Clock>,
        state: Option<State>,
    ) -> Self {
        let speeds = state.as_ref().map(State::speeds).unwrap_or_default();
        let paired = state.as_ref().and_then(State::token).is_some_and(|token| token == config.token);
        let (updater, wrong) = Updater::new(config, clock, speeds);
        let start = match wrong {
            Some(error) => Err(error),
            None => updater.with_config(|config| Address::new(&config.coordinator, &config.token)),
        };
        Self { start, updater, random, file: None, state, paired }
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
        let Self { start, updater, random, file, state, paired } = self;
        let address = start?;
        let mut shutdown = pin!(shutdown.fuse());
        tokio::select! {
            () = shutdown.as_mut() => return Ok(()),
            _ = timeout(FIRST_LOOK, keeper::look_at_all(&updater)) => {}
        }
        // What is offered is told when there is a connection.
        let _ = updater.refreshed();
        let token = paired.then_some(state.as_ref()).flatten();
        let serving = serve(address, token, &updater, random.as_ref(), shutdown);
        let following = async {
            match file {
                Some(file) => file.watch(updater.clone()).await,
                None => std::future::pending().await,
            }
        };
        let result = tokio::select! {
            result = serving => result,
            never = following => match never {},
            never = keeper::keep(&updater) => match never {},
            () = save_often(state.as_ref(), &updater) => Ok(()),
        };
        save(state.as_ref(), &updater);
        result
    }
}

/// Writes down what was measured, for ever.
async fn save_often(state: Option<&State>, updater: &Updater) {
    loop {
        sleep(SAVE_EVERY).await;
        save(state, updater);
    }
}

fn save(state: Option<&State>, updater: &Updater) {
    if let Some(state) = state
        && let Some(speeds) = updater.tally().take_changed_speeds()
        && let Err(error) = state.save_speeds(&speeds)
    {
        tracing::warn!("What was measured cannot be written down: {error}");
    }
}

impl Updater {
    fn new(config: Config, clock: Arc<dyn Clock>, speeds: Speeds) -> (Self, Option<ConfigError>) {
        let (tally, alarm) = (Arc::new(Tally::new(speeds)), Arc::new(Notify::new()));
        let sites = config.check().and_then(|()| Sites::build(&config, &Sites::default(), &alarm));
        let (sites, wrong) = match sites {
            Ok(sites) => (sites, None),
            Err(error) => (Sites::default(), Some(error)),
        };
        let catalog = Catalog::build(&config, &sites, &tally, clock.now());
        let what = Mutex::new(What { config, sites: Arc::new(sites) });
        let catalog = watch::Sender::new(Arc::new(catalog));
        (Self { shared: Arc::new(Shared { what, catalog, tally, clock, alarm }) }, wrong)
    }

    /// Serves from now on what this configuration says. Its coordinator and token are not looked at. Offers that
    /// changed are told to the coordinator; region and graphics card at the next connection.
    ///
    /// # Errors
    /// [`ConfigError`] names what is wrong; then nothing changes.
    pub fn serve(&self, config: &Config) -> Result<(), ConfigError> {
        let mut what = self.lock();
        let (coordinator, token) = (what.config.coordinator.clone(), what.config.token.clone());
        let wanted = Config { coordinator, token, ..config.clone() };
        wanted.check()?;
        what.sites = Arc::new(Sites::build(&wanted, &what.sites, &self.shared.alarm)?);
        what.config = wanted;
        // New backends have not been looked at yet, and others may have other models by now.
        what.sites.iter().for_each(|site| site.look_soon());
        drop(what);
        self.refresh();
        self.shared.alarm.notify_one();
        Ok(())
    }

    /// Computes anew what is offered at this moment. The agent does it by itself, a few times a minute.
    pub fn refresh(&self) {
        for change in self.refreshed() {
            tracing::info!("Changed: {change}.");
        }
    }

    /// The same, and says what changed.
    pub(crate) fn refreshed(&self) -> Vec<String> {
        let what = self.lock();
        let Shared { catalog, tally, clock, .. } = &*self.shared;
        let new = Catalog::build(&what.config, &what.sites, tally, clock.now());
        drop(what);
        let mut changes = Vec::new();
        catalog.send_if_modified(|current| {
            if new.is_same(current) {
                return false;
            }
            changes = new.changes_since(current);
            *current = Arc::new(new);
            true
        });
        changes
    }

    pub(crate) fn sites(&self) -> Arc<Sites> {
        Arc::clone(&self.lock().sites)
    }

    pub(crate) fn alarm(&self) -> &Notify {
        &self.shared.alarm
    }

    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.shared.tally
    }

    /// How things stand, in one line for the owner.
    #[must_use]
    pub fn summary(&self) -> String {
        report::line(&self.shared.tally.snapshot(), Instant::now())
    }

    fn with_config<T>(&self, look: impl FnOnce(&Config) -> T) -> T {
        look(&self.lock().config)
    }

    fn lock(&self) -> MutexGuard<'_, What> {
        self.shared.what.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve<S: Future<Output = ()> + Send>(
    mut address: Address,
    state: Option<&State>,
    updater: &Updater,
    random: &dyn Random,
    mut shutdown: Pin<&mut Fuse<S>>,
) -> Result<(), AgentError> {
    let mut backoff = Backoff::new();
    let mut token = updater.with_config(|config| config.token.clone());
    let mut kept = Kept::default();
    loop {
        let (end, good) = connect_and_serve(&address, updater, &mut kept, shutdown.as_mut()).await;
        kept.left();
        let reason = match end {
            End::Drained => return Ok(()),
            End::Lost(Lost::Refused { code, message, retry: false }) => {
                match rotated(state, &address, &mut token) {
                    Some(renewed) => address = renewed,
                    None => return Err(AgentError::Refused { code, message }),
                }
                message
            }
            End::Lost(Lost::Refused { message, .. } | Lost::Broken(message)) => message,
            End::Broken(message) => {
                kept.give_up(&message);
                message
            }
        };
        updater.tally().disconnected(&reason);
        if shutdown.is_terminated() && !kept.has_work() {
            tracing::warn!("The connection was lost before everything was finished: {reason}");
            return Ok(());
        }
        if good {
            backoff.reset();
        }
        let mut pause = backoff.next(random);
        if kept.has_work() {
            // A lease is short: what is in work is worth more than patience.
            pause = pause.min(LONGEST_PAUSE_WITH_WORK);
        }
        tracing::warn!("Not connected: {reason}. The next try is in {:.1} s.", pause.as_secs_f64());
        tokio::select! {
            () = shutdown.as_mut(), if !shutdown.is_terminated() => {
                if !kept.has_work() {
                    return Ok(());
                }
                tracing::info!("What is in work is finished and delivered first, if there is a connection in time.");
            }
            () = sleep(pause) => {}
            () = kept.expired() => kept.give_up(EXPIRED),
        }
    }
}

/// A session that waits for its next connection.
#[derive(Default)]
struct Kept {
    session: Option<Session>,
    /// Until when it waits, while there is no connection.
    until: Option<Instant>,
}

impl Kept {
    /// There is no connection (any more).
    fn left(&mut self) {
        let Some(session) = &self.session else {
            self.until = None;
            return;
        };
        self.until.get_or_insert_with(|| Instant::now() + session.lease);
    }

    /// Returns when it has waited too long.
    async fn expired(&self) {
        match self.until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    fn give_up(&mut self, why: &str) {
        self.until = None;
        if let Some(session) = self.session.take() {
            session.warn_of_loss(why);
        }
    }

    fn has_work(&self) -> bool {
        self.session.as_ref().is_some_and(Session::has_work)
    }
}

/// One connection, from being made to its end, and whether it was a good one. What can go on stays in `kept`.
async fn connect_and_serve<S: Future<Output = ()> + Send>(
    address: &Address,
    updater: &Updater,
    kept: &mut Kept,
    mut shutdown: Pin<&mut Fuse<S>>,
) -> (End, bool) {
    // Whatever changes from here on is seen as a change by the connection.
    let mut catalogs = updater.shared.catalog.subscribe();
    let catalog = Arc::clone(&catalogs.borrow_and_update());
    let draining = shutdown.is_terminated();
    let resumption = kept.session.as_ref().and_then(Session::resumption);
    let connected = tokio::select! {
        () = shutdown.as_mut(), if !draining => {
            let stop = if kept.has_work() {
                Lost::Broken("asked to stop while there was no connection".to_owned()).into()
            } else {
                End::Drained
            };
            return (stop, false);
        }
        connected = address.connect(&catalog, resumption, draining) => connected,
        () = kept.expired() => {
            kept.give_up(EXPIRED);
            return (Lost::Broken("no connection came about in time".to_owned()).into(), false);
        }
    };
    let Connection { socket, welcome } = match connected {
        Ok(connection) => connection,
        Err(lost) => return (lost.into(), false),
    };
    let mut session = match Session::after(&welcome, kept.session.take(), updater.tally()) {
        Ok(session) => session,
        Err(lost) => return (lost.into(), false),
    };
    kept.until = None;
    let since = Instant::now();
    let end = link::run((socket, welcome), &session, updater.tally(), (catalog, catalogs), shutdown).await;
    let good = since.elapsed() >= HEALTHY || session.has_progressed();
    if session.can_go_on() {
        kept.session = Some(session);
    }
    (end, good)
}

/// The way in with a token that has changed since the last time it was read.
fn rotated(state: Option<&State>, address: &Address, token: &mut Secret) -> Option<Address> {
    let renewed = state?.token().filter(|renewed| renewed != token)?;
    let address = address.with_token(&renewed).ok()?;
    tracing::info!("The token in the state has changed; the new one is used.");
    *token = renewed;
    Some(address)
}
