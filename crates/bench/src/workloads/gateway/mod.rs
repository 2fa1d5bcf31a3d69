//! `bench gateway`: what going through Archipelago costs a client that could have asked the upstream itself. Billed chat
//! completions per second, whole and streamed, on both databases, and the latency that is added at half of that rate; and what
//! thousands of idle streams cost in memory. Everything beside the upstream alone, in turn, so that all see the same machine.

mod idle;
mod table;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use self::idle::Idle;
use super::jobs::Engine;
use crate::load::{self, Plan, Target};
use crate::meters::{self, Meters};
use crate::network::{Network, Shape, WORKLOAD};
use crate::postgres::Server;
use crate::report::{Load, Machine, Run, UPSTREAM, medians, print};
use crate::{Result, http, note, stats};

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(2);

/// How the measurement is done.
#[derive(Debug, Args, Serialize)]
pub struct Options {
    /// How long each run is measured, after 2 s of warm-up.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// How often everything is repeated; medians are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// How many connections send requests.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// On which databases: one coordinator for each, measured in turn.
    #[arg(long, value_enum, value_delimiter = ',', num_args = 1.., default_value = "sqlite,postgres")]
    engines: Vec<Engine>,
    /// A PostgreSQL server where databases may be made. Default: one is started, with default settings.
    #[arg(long, value_name = "URL")]
    #[serde(skip)]
    postgres: Option<String>,
    /// How many consumers share the connections.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    users: u32,
    /// How many idle streams are opened at the end, on the first database; 0 leaves them out.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=15_000))]
    idle: u32,
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

/// What was found.
#[derive(Debug, Serialize)]
struct Report<'a> {
    machine: Machine,
    options: &'a Options,
    /// First whole answers, then streams.
    kinds: Vec<Kind>,
    idle: Option<Idle>,
}

/// One kind of answer.
#[derive(Debug, Serialize)]
struct Kind {
    streamed: bool,
    /// As fast as the connections can: the upstream, then each database.
    most: Vec<Run>,
    /// At half of what each database does: the upstream and the database, at the same rate.
    half: Vec<(Run, Run)>,
}

/// Measures, checks the books, and reports.
pub async fn run(options: &Options) -> Result<()> {
    let postgres = options.engines.contains(&Engine::Postgres);
    let server = if postgres { Some(Server::start(options.postgres.as_deref())?) } else { None };
    let mut places = Vec::new();
    for &engine in &options.engines {
        let database = match (&server, engine) {
            (Some(server), Engine::Postgres) => Some(server.create("gateway").await?),
            _ => None,
        };
        places.push(options.place(engine, database).await?);
    }
    let mut kinds = Vec::new();
    for streamed in [false, true] {
        kinds.push(options.measure(&mut places, streamed).await?);
    }
    let sync_ms = places.first().map_or(0.0, |place| stats::millis(place.network.sync_latency));
    let mut idle = None;
    for (number, mut place) in places.into_iter().enumerate() {
        if number == 0 && options.idle > 0 {
            idle = Some(idle::measure(&mut place, usize::try_from(options.idle)?).await?);
        }
        note("checking the books");
        place.network.close(&place.completed).await?;
    }
    if let Some(server) = server {
        server.drop_all().await?;
    }
    let (cores, memory_gib) = meters::machine();
    let report = Report { machine: Machine { cores, memory_gib, sync_ms }, options, kinds, idle };
    print(&if options.json { serde_json::to_string_pretty(&report)? } else { report.text() })
}

/// A coordinator with what belongs to it.
struct Place {
    name: &'static str,
    network: Network,
    meters: Meters,
    /// How many jobs each consumer got.
    completed: Vec<u64>,
}

/// The request of all clients.
fn body(streamed: bool, text: &str) -> String {
    let stream = if streamed { r#","stream":true,"stream_options":{"include_usage":true}"# } else { "" };
    format!(
        r#"{{"model":"{WORKLOAD}","messages":[{{"role":"user","content":"{text}"}}],"max_tokens":64{stream}}}"#
    )
}

impl Place {
    fn target(&self, upstream: bool, streamed: bool, connections: usize) -> Rc<Target> {
        let body = body(streamed, "What does the sea do all day?");
        let request = |host: SocketAddr, key| http::request("POST", "/v1/chat/completions", host, key, &body);
        let (host, requests) = if upstream {
            (self.network.upstream, vec![request(self.network.upstream, None)])
        } else {
            let host = self.network.coordinator;
            (host, self.network.keys.iter().map(|key| request(host, Some(key))).collect())
        };
        Rc::new(Target { host, requests, streamed, connections })
    }
}

impl Options {
    /// A coordinator on a database of its own.
    async fn place(&self, engine: Engine, database: Option<String>) -> Result<Place> {
        let shape = Shape {
            consumers: usize::try_from(self.users)?,
            // Together they have room for all the idle ones and for others.
            islands: 2,
            slots: self.idle.clamp(512, 10_000),
            data: self.data.clone(),
            database,
        };
        let network = Network::start(&shape).await?;
        let (meters, completed) = (network.meters(), vec![0; network.keys.len()]);
        Ok(Place { name: engine.name(), network, meters, completed })
    }

    async fn measure(&self, places: &mut [Place], streamed: bool) -> Result<Kind> {
        note(if streamed { "streamed" } else { "whole answers" });
        let most = Load::Closed { connections: self.connections };
        let mut runs = Vec::new();
        for number in 1..=self.runs {
            note(&format!("{most}, run {number} of {}", self.runs));
            if let Some(place) = places.first_mut() {
                runs.push(self.once(place, true, streamed, most).await?);
            }
            for place in &mut *places {
                runs.push(self.once(place, false, streamed, most).await?);
            }
        }
        let most = medians(&runs);
        let mut half = Vec::new();
        for place in places {
            let found = most.iter().find(|run| run.target == place.name).map_or(0.0, |run| run.per_second);
            let rate = u32::try_from(stats::whole((found / 2.0).max(1.0))?)?;
            half.push(self.at_half(place, streamed, Load::Constant { rate }).await?);
        }
        Ok(Kind { streamed, most, half })
    }

    /// The upstream and a coordinator at the same rate, in turn.
    async fn at_half(&self, place: &mut Place, streamed: bool, load: Load) -> Result<(Run, Run)> {
        let (mut alone, mut through) = (Vec::new(), Vec::new());
        for number in 1..=self.runs {
            note(&format!("{load}, run {number} of {}", self.runs));
            alone.push(self.once(place, true, streamed, load).await?);
            through.push(self.once(place, false, streamed, load).await?);
        }
        let median = |runs: &[Run]| medians(runs).pop().ok_or("nothing was measured");
        Ok((median(&alone)?, median(&through)?))
    }

    async fn once(&self, place: &mut Place, upstream: bool, streamed: bool, load: Load) -> Result<Run> {
        let plan = Plan { warm_up: WARM_UP, measured: Duration::from_secs(self.seconds.into()) };
        let target = place.target(upstream, streamed, usize::try_from(self.connections)?);
        let outcome = match load {
            Load::Closed { .. } => load::closed(&target, plan, &place.meters).await?,
            Load::Constant { rate } => load::constant(&target, rate, plan, &place.meters).await?,
        };
        if !upstream {
            let counts = place.completed.iter_mut().zip(&outcome.completed);
            counts.for_each(|(all, one)| *all += one);
        }
        place.network.check()?;
        let run = Run::new(if upstream { UPSTREAM } else { place.name }, load, &outcome);
        note(&format!("  {}", run.line()));
        Ok(run)
    }
}
