//! A coordinator's process: the program as `serve` builds it, with another clock, other dice and another payment provider, and
//! without sockets. Everything in it is lost when it is killed.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use db::OpenOptions;
use ledger::Pace;
use server::app::{App, open_database};
use server::config::{Config, PackageConfig};
use server::jobs::commit::Asked;
use server::nodes::{self, Claim, Stale, Watch};
use server::purchases::provider::PaymentProvider;
use server::telemetry::Metrics;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use types::id::JobId;
use types::rng::{Random, SeededRandom};
use types::time::{Clock, TestClock, Timestamp};

use super::buying::Flight;
use super::drive::Drive;
use super::faults::Saboteur;
use super::model::jobs::{Answer, Committer};
use super::profile::Profile;
use super::shop::Shop;
use crate::Result;

/// A process.
#[derive(Debug)]
pub struct Process {
    pub app: Arc<App>,
    pub saboteur: Arc<Saboteur>,
    /// Which one: the model's name for it.
    pub run: u64,
    /// Where it was started.
    pub slot: usize,
    pub clock: Arc<TestClock>,
    /// What is left to do before it serves; nothing once it does.
    pub recovery: Option<VecDeque<Recovery>>,
    /// It does nothing for a while, as if the machine were asleep.
    pub asleep: bool,
    /// When it last gave a sign of life.
    pub beat_at: i64,
    /// It has noticed that another has its number.
    pub replaced: bool,
    pub drives: BTreeMap<JobId, Drive>,
    /// Commands on their way to the committer.
    pub queue: VecDeque<Sent>,
    /// Answers on their way back.
    pub answers: Vec<(Sent, Answer)>,
    /// What waits for the payment provider.
    pub flights: Vec<Flight>,
    /// Others that were not heard of.
    pub silent: Vec<Suspect>,
    /// Jobs to be taken up or ended.
    pub taken_over: VecDeque<server::jobs::Job>,
    watch: Watch,
    committer: JoinHandle<()>,
}

/// A command on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    pub asked: Asked,
    /// Nobody waits for the answer: it was answered before, and is sent once more by mistake.
    pub repeated: bool,
}

/// What a process does before it serves.
#[derive(Debug)]
pub enum Recovery {
    /// Takes up or ends one of its jobs.
    Job(Box<server::jobs::Job>),
    /// Gives holds back that belong to nobody.
    Orphans,
}

/// A coordinator that was not heard of, and what the model knew of it then.
#[derive(Clone, Copy, Debug)]
pub struct Suspect {
    pub stale: Stale,
    pub run: u64,
    pub beat: u64,
}

/// A number, and the program on it.
#[derive(Debug)]
pub struct Opened {
    pub config: Config,
    pub db: db::Db,
    pub saboteur: Arc<Saboteur>,
}

/// Opens the database as a coordinator does.
pub async fn open(url: &str, data_dir: &Path, profile: &Profile) -> Result<Opened> {
    let config = configure(url, data_dir, profile)?;
    let saboteur = Arc::new(Saboteur::default());
    let options = OpenOptions { readers: 1, queue: 256, faults: Some(Arc::clone(&saboteur) as _) };
    let db = open_database(&config, options).await?;
    Ok(Opened { config, db, saboteur })
}

fn configure(url: &str, data_dir: &Path, profile: &Profile) -> Result<Config> {
    let mut config = Config::load(None, [])?;
    config.data_dir = data_dir.to_owned();
    url.clone_into(&mut config.database.url);
    config.market.fee_percent = profile.fee_percent;
    config.jobs.attempts = profile.attempts;
    config.jobs.wait_secs = profile.wait_secs;
    config.jobs.run_secs = profile.run_secs;
    config.coordinators.takeover_secs = 2;
    config.workloads.truncate(1);
    config.credits.packages = [("small", 3, "0.03"), ("large", 40, "0.37")]
        .map(|(slug, credits, price)| PackageConfig {
            slug: slug.to_owned(),
            name: slug.to_owned(),
            credits,
            price: price.to_owned(),
        })
        .to_vec();
    Ok(config)
}

impl Opened {
    /// Takes a number.
    pub async fn claim(&self, random: &dyn Random, clock: &TestClock) -> Result<Claim> {
        Ok(nodes::claim(&self.db, &self.config, random, clock.now()).await?)
    }

    /// Builds the program on it.
    pub async fn build(
        self,
        claim: Claim,
        (slot, run): (usize, u64),
        clock: &Arc<TestClock>,
        shop: &Arc<Shop>,
        pace: Pace,
    ) -> Result<Process> {
        let (mut app, queue) = App::build(self.config, self.db, claim, false, Metrics::detached()).await?;
        let inside = Arc::get_mut(&mut app).ok_or("the program is shared already")?;
        inside.clock = Arc::clone(clock) as Arc<dyn Clock>;
        inside.random = Arc::new(SeededRandom::new(run));
        inside.payments = Arc::clone(shop) as Arc<dyn PaymentProvider>;
        inside.pace = pace;
        let committer = tokio::spawn(server::jobs::commit::run(Arc::clone(&app), queue));
        let limit = nodes::patience(&app.config.coordinators);
        let watch = Watch::new(app.node.number, limit, limit);
        Ok(Process {
            app,
            saboteur: self.saboteur,
            run,
            slot,
            clock: Arc::clone(clock),
            recovery: Some(VecDeque::new()),
            asleep: false,
            beat_at: 0,
            replaced: false,
            drives: BTreeMap::new(),
            queue: VecDeque::new(),
            answers: Vec::new(),
            flights: Vec::new(),
            silent: Vec::new(),
            taken_over: VecDeque::new(),
            watch,
            committer,
        })
    }
}

impl Process {
    /// Its time, in milliseconds.
    pub fn now(&self) -> i64 {
        self.clock.now().as_millis()
    }

    /// The same, as the program reads it.
    pub fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What it is called in the report of a run.
    pub fn name(&self) -> String {
        format!("coordinator {} (slot {}, run {})", self.app.node.number, self.slot, self.run)
    }

    /// Who commits here.
    pub fn committer(&self) -> Committer {
        Committer { number: self.app.node.number, run: self.run, now: self.now() }
    }

    /// Whether it serves requests.
    pub const fn serves(&self) -> bool {
        self.recovery.is_none() && !self.asleep && !self.replaced
    }

    /// Sends a command to the committer.
    pub fn send(&mut self, command: server::jobs::command::Command) {
        self.queue.push_back(Sent { asked: Asked { command, doubtful: false }, repeated: false });
    }

    /// Takes note of who gave a sign of life.
    pub fn look(&mut self, taken: &[nodes::Taken], now: Instant) -> Vec<Stale> {
        self.watch.look(taken, now)
    }

    /// Kills it: whatever it was doing is cut off, whatever it had in memory is gone.
    pub async fn kill(self) {
        self.committer.abort();
        drop(self.committer.await);
        for flight in self.flights {
            flight.abort().await;
        }
    }
}
