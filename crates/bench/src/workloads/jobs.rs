//! `bench jobs`: chat completions, each matched, held, run on an Island and billed; beside the same load sent straight
//! to the upstream, in turn, so that all see the same machine. One coordinator for each database that is measured.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use types::money::MicroCredits;

use crate::load::{self, Plan, Target};
use crate::meters::{self, Meters};
use crate::network::{Network, Shape, WORKLOAD};
use crate::postgres::Server;
use crate::report::{Books, Load, Machine, Report, Run};
use crate::{Result, http, note, report, stats};

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(2);
/// How often a run that was disturbed is repeated.
const REPEATS: u32 = 10;

/// How the measurement is done.
#[derive(Debug, Args, Serialize)]
pub struct Options {
    /// How long each run is measured, after 2 s of warm-up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// How often everything is repeated; medians are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// How many connections send requests.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Requests a second of the load at a constant rate; 0 leaves it out.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    rate: u32,
    /// On which databases: one coordinator for each, measured in turn.
    #[arg(long, value_enum, value_delimiter = ',', num_args = 1.., default_value = "sqlite")]
    engines: Vec<Engine>,
    /// A PostgreSQL server where databases may be made. Default: one is started, with default settings.
    #[arg(long, value_name = "URL")]
    #[serde(skip)]
    postgres: Option<String>,
    /// How many Islands.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    islands: u32,
    /// How many jobs each Island runs at once.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    slots: u32,
    /// How many consumers share the connections.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    users: u32,
    /// Ask for streams; the latency is the time to the last byte.
    #[arg(long)]
    stream: bool,
    /// Repeat a run during which other programs used more than this many percent of a processor, up to ten times.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    quiet: Option<u32>,
    /// Do not ask the upstream directly for comparison.
    #[arg(long)]
    no_baseline: bool,
    /// Answer in JSON.
    #[arg(long)]
    #[serde(skip)]
    json: bool,
    /// In which folder the data are kept while it runs; it should be on a real disk. Default: where programs are
    /// built.
    #[arg(long)]
    #[serde(skip)]
    data: Option<PathBuf>,
}

/// Where a coordinator keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Engine {
    /// In a file.
    Sqlite,
    /// On a PostgreSQL server.
    Postgres,
}

impl Engine {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => report::SQLITE,
            Self::Postgres => report::POSTGRES,
        }
    }
}

/// Measures, checks the books, and reports.
pub async fn run(options: &Options) -> Result<()> {
    let server = match options.engines.contains(&Engine::Postgres) {
        true => Some(Server::start(options.postgres.as_deref())?),
        false => None,
    };
    let mut bench = Bench { options, places: Vec::new() };
    for &engine in &options.engines {
        let database = match (&server, engine) {
            (Some(server), Engine::Postgres) => Some(server.create("jobs").await?),
            _ => None,
        };
        bench.places.push(options.place(engine, database).await?);
    }
    let mut runs = Vec::new();
    let mut loads = vec![Load::Closed { connections: options.connections }];
    loads.extend((options.rate > 0).then_some(Load::Constant { rate: options.rate }));
    for load in loads {
        for number in 1..=options.runs {
            note(&format!("{load}, run {number} of {}", options.runs));
            if !options.no_baseline {
                runs.push(bench.run_undisturbed(None, load).await?);
            }
            for place in 0..bench.places.len() {
                runs.push(bench.run_undisturbed(Some(place), load).await?);
            }
        }
    }
    let report = bench.close(runs).await?;
    if let Some(server) = server {
        server.drop_all().await?;
    }
    report::print(&if options.json { serde_json::to_string_pretty(&report)? } else { report.table() })
}

impl Options {
    /// A coordinator on a database of its own.
    async fn place(&self, engine: Engine, database: Option<String>) -> Result<Place> {
        let shape = Shape {
            consumers: usize::try_from(self.users)?,
            islands: self.islands,
            slots: self.slots,
            data: self.data.clone(),
            database,
        };
        let network = Network::start(&shape).await?;
        let coordinator = Rc::new(self.target(network.coordinator, &network.keys)?);
        let upstream = Rc::new(self.target(network.upstream, &[])?);
        let (meters, completed) = (network.meters(), vec![0; coordinator.requests.len()]);
        Ok(Place { name: engine.name(), network, meters, coordinator, upstream, completed })
    }

    /// The requests for a server: one for each key, or one without a key.
    fn target(&self, host: SocketAddr, keys: &[String]) -> Result<Target> {
        let stream = if self.stream { r#","stream":true"# } else { "" };
        let body = format!(
            r#"{{"model":"{WORKLOAD}","messages":[{{"role":"user","content":"What does the sea do all day?"}}],"max_tokens":64{stream}}}"#
        );
        let request = |key| http::request("POST", "/v1/chat/completions", host, key, &body);
        let requests = match keys {
            [] => vec![request(None)],
            keys => keys.iter().map(|key| request(Some(key))).collect(),
        };
        Ok(Target { host, requests, streamed: self.stream, connections: usize::try_from(self.connections)? })
    }
}

/// A coordinator with what belongs to it.
struct Place {
    name: &'static str,
    network: Network,
    meters: Meters,
    coordinator: Rc<Target>,
    upstream: Rc<Target>,
    /// How many jobs each consumer got.
    completed: Vec<u64>,
}

struct Bench<'a> {
    options: &'a Options,
    places: Vec<Place>,
}

impl<'a> Bench<'a> {
    /// A run; again and again, if the machine is wanted quiet and is not. Without a place, the upstream of the first is asked.
    async fn run_undisturbed(&mut self, place: Option<usize>, load: Load) -> Result<Run> {
        let allowed = self.options.quiet.map_or(f64::INFINITY, f64::from);
        let mut run = self.run(place, load).await?;
        for _ in 0..REPEATS {
            if run.elsewhere_percent <= allowed {
                break;
            }
            note("  disturbed by other programs; repeated");
            run = self.run(place, load).await?;
        }
        Ok(run)
    }

    async fn run(&mut self, place: Option<usize>, load: Load) -> Result<Run> {
        let plan = Plan { warm_up: WARM_UP, measured: Duration::from_secs(self.options.seconds.into()) };
        let asked = self.places.get_mut(place.unwrap_or(0)).ok_or("nothing is to be measured")?;
        let (name, target) = match place {
            Some(_) => (asked.name, &asked.coordinator),
            None => (report::UPSTREAM, &asked.upstream),
        };
        let outcome = match load {
            Load::Closed { .. } => load::closed(target, plan, &asked.meters).await?,
            Load::Constant { rate } => load::constant(target, rate, plan, &asked.meters).await?,
        };
        if place.is_some() {
            let counts = asked.completed.iter_mut().zip(&outcome.completed);
            counts.for_each(|(all, one)| *all += one);
        }
        asked.network.check()?;
        let run = Run::new(name, load, &outcome);
        note(&format!("  {}", run.line()));
        Ok(run)
    }

    /// Checks the books of every place, and stops it.
    async fn close(self, runs: Vec<Run>) -> Result<Report<'a, Options>> {
        let (cores, memory_gib) = meters::machine();
        let mut peak_memory_mib = BTreeMap::new();
        let mut books = Books { jobs: 0, charged: MicroCredits::ZERO, audit: "ok" };
        let mut sync_ms = 0.0;
        note("checking the books");
        for place in self.places {
            for (name, mib) in place.meters.peak_memory_mib()? {
                peak_memory_mib.insert(format!("{name} ({})", place.name), mib);
            }
            sync_ms = stats::millis(place.network.sync_latency);
            books.jobs += place.completed.iter().sum::<u64>();
            books.charged = books.charged.plus(place.network.close(&place.completed).await?)?;
        }
        let machine = Machine { cores, memory_gib, sync_ms };
        let medians = report::medians(&runs);
        Ok(Report { machine, options: self.options, medians, runs, peak_memory_mib, books })
    }
}
