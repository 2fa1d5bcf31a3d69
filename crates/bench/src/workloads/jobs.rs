//! `bench jobs`: chat completions, each matched, held, run on an Island and billed; beside the same load sent straight
//! to the upstream, in turn, so that both see the same machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::load::{self, Plan, Target};
use crate::meters::{self, Meters};
use crate::network::{Network, Shape, WORKLOAD};
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

/// Measures, checks the books, and reports.
pub async fn run(options: &Options) -> Result<()> {
    let shape = Shape {
        consumers: usize::try_from(options.users)?,
        islands: options.islands,
        slots: options.slots,
        data: options.data.clone(),
    };
    let network = Network::start(&shape).await?;
    let meters = network.meters();
    let coordinator = Rc::new(options.target(network.coordinator, &network.keys)?);
    let upstream = Rc::new(options.target(network.upstream, &[])?);
    let mut bench = Bench { options, network, meters, completed: vec![0; coordinator.requests.len()] };
    let mut runs = Vec::new();
    let mut loads = vec![Load::Closed { connections: options.connections }];
    loads.extend((options.rate > 0).then_some(Load::Constant { rate: options.rate }));
    for load in loads {
        for number in 1..=options.runs {
            note(&format!("{load}, run {number} of {}", options.runs));
            if !options.no_baseline {
                runs.push(bench.run_undisturbed("upstream", load, &upstream).await?);
            }
            runs.push(bench.run_undisturbed("archipelago", load, &coordinator).await?);
        }
    }
    let Bench { network, meters, completed, .. } = bench;
    let peak_memory_mib = meters.peak_memory_mib()?.into_iter().collect();
    let sync_ms = stats::millis(network.sync_latency);
    note("checking the books");
    let charged = network.close(&completed).await?;
    let (cores, memory_gib) = meters::machine();
    let report = Report {
        machine: Machine { cores, memory_gib, sync_ms },
        options,
        medians: report::medians(&runs),
        runs,
        peak_memory_mib,
        books: Books { jobs: completed.iter().sum(), charged, audit: "ok" },
    };
    report::print(&if options.json { serde_json::to_string_pretty(&report)? } else { report.table() })
}

impl Options {
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

struct Bench<'a> {
    options: &'a Options,
    network: Network,
    meters: Meters,
    /// How many jobs each consumer got.
    completed: Vec<u64>,
}

impl Bench<'_> {
    /// A run; again and again, if the machine is wanted quiet and is not.
    async fn run_undisturbed(&mut self, name: &'static str, load: Load, target: &Rc<Target>) -> Result<Run> {
        let allowed = self.options.quiet.map_or(f64::INFINITY, f64::from);
        let mut run = self.run(name, load, target).await?;
        for _ in 0..REPEATS {
            if run.elsewhere_percent <= allowed {
                break;
            }
            note("  disturbed by other programs; repeated");
            run = self.run(name, load, target).await?;
        }
        Ok(run)
    }

    async fn run(&mut self, name: &'static str, load: Load, target: &Rc<Target>) -> Result<Run> {
        let plan = Plan { warm_up: WARM_UP, measured: Duration::from_secs(self.options.seconds.into()) };
        let outcome = match load {
            Load::Closed { .. } => load::closed(target, plan, &self.meters).await?,
            Load::Constant { rate } => load::constant(target, rate, plan, &self.meters).await?,
        };
        if target.host == self.network.coordinator {
            let counts = self.completed.iter_mut().zip(&outcome.completed);
            counts.for_each(|(all, one)| *all += one);
        }
        self.network.check()?;
        let run = Run::new(name, load, &outcome);
        note(&format!("  {}", run.line()));
        Ok(run)
    }
}
