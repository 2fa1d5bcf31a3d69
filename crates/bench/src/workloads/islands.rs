//! `bench islands`: one coordinator and thousands of connected Islands. What each costs in memory and processor time while it
//! only says that it is there, how long it takes until a new one gets jobs, and how long a job takes among so many.
//!
//! The coordinator is the built program; the Islands are connections of this one, which speak the protocol and nothing else.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use db::{DbError, OpenOptions};
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use server::app::{App, open_database};
use server::config::Config;
use server::telemetry::Metrics;
use server::{accounts, islands, nodes};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval_at, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};
use types::id::AttemptId;
use types::island_protocol::{Capabilities, FromIsland, OLDEST_PROTOCOL, Offer, ToIsland};
use types::rng::SystemRandom;
use types::time::{Clock as _, SystemClock};

use crate::load::{self, Plan, Target};
use crate::network::{Network, Shape, WORKLOAD};
use crate::report::{Machine, print};
use crate::stats::{self, Percentiles, count, grouped};
use crate::{Result, http, meters, note};

/// What all Islands ask, what those ask that come while a job waits, and what that job bids.
const ASK: &str = "1";
const LOW_ASK: &str = "0.25";
const LOW_BID: &str = "0.5";
/// How many Islands come while a job waits for them, one after another.
const ENTRIES: usize = 50;
/// How many are connecting at a time.
const AT_ONCE: usize = 64;
/// How many Islands an owner has.
const OWNED: usize = islands::MAX_ISLANDS;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Open files beside those of the Islands.
const FILES: u64 = 500;
const WARM_UP: Duration = Duration::from_secs(2);

/// How the measurement is done.
#[derive(Debug, Args, Serialize)]
pub struct Options {
    /// How many Islands.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=25_000))]
    islands: u32,
    /// How long they only say that they are there, and how long jobs are sent afterwards.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// How many jobs a second are sent.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
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

#[derive(Debug, Serialize)]
struct Report<'a> {
    machine: Machine,
    options: &'a Options,
    /// From the first connection to the last welcome.
    connected_s: f64,
    /// From opening the connection of an Island to its welcome, many at a time.
    welcome_ms: Percentiles,
    /// Memory of the coordinator without Islands, with all of them at first, and at the end of their silence.
    memory_mib: [u64; 3],
    /// Processor time of the coordinator while they only say that they are there, in percent of one processor.
    idle_cpu_percent: f64,
    /// How many messages that is, a second.
    heartbeats_per_second: f64,
    /// From an Island's hello until it is given the job that waited for it.
    entry_ms: Percentiles,
    /// Jobs among all of them: from when one was due to its answer.
    job_ms: Percentiles,
    jobs_per_second: f64,
    /// Processor time of the coordinator for each job, heartbeats included, in microseconds.
    job_cpu_us: f64,
}

/// Measures, checks the books, and reports.
pub async fn run(options: &Options) -> Result<()> {
    allow_files(u64::from(options.islands) + FILES)?;
    let shape = Shape { consumers: 1, islands: 0, slots: 1, data: options.data.clone(), database: None };
    let network = Network::start(&shape).await?;
    let wanted = usize::try_from(options.islands)?;
    note(&format!("making {} Islands", grouped(options.islands.into())));
    let mut tokens = make_islands(network.data(), wanted + ENTRIES).await?;
    let entering = tokens.split_off(wanted);
    let memory = || Ok::<_, Box<dyn std::error::Error>>(meters::memory(network.coordinator_id())?.now_mib);
    let empty = memory()?;

    note("connecting them");
    let mut fleet = Fleet::default();
    let started = Instant::now();
    let welcomes = fleet.connect(network.coordinator, &tokens).await?;
    let connected_s = started.elapsed().as_secs_f64();
    let first = memory()?;

    note("listening to them");
    let meter = network.meters();
    let (before, beats) = (meter.sample()?, fleet.beats.get());
    let pause = Duration::from_secs(options.seconds.into());
    sleep(pause).await;
    let used = meter.used(&before, &meter.sample()?);
    let server = |used: &meters::Used| {
        used.groups.iter().find(|(name, _)| *name == "server").map_or(0.0, |(_, time)| time.as_secs_f64())
    };
    let heartbeats_per_second = count(fleet.beats.get() - beats) / pause.as_secs_f64();
    let last = memory()?;

    note("letting more come while a job waits for each");
    let key = network.keys.first().ok_or("there is no consumer")?;
    let entry_ms = Percentiles::of(&enter(network.coordinator, key, &entering).await?);

    note("sending jobs");
    let target = Rc::new(target(network.coordinator, key));
    let plan = Plan { warm_up: WARM_UP, measured: pause };
    let jobs = load::constant(&target, options.rate, plan, &meter).await?;
    if let Some(failure) = jobs.failure {
        return Err(format!("{} jobs failed, the first: {failure}", jobs.failed).into());
    }
    fleet.check()?;
    drop(fleet);
    let sync_ms = stats::millis(network.sync_latency);
    network.audit_and_stop().await?;

    let (cores, memory_gib) = meters::machine();
    let done = count(jobs.latencies.len());
    let report = Report {
        machine: Machine { cores, memory_gib, sync_ms },
        options,
        connected_s,
        welcome_ms: Percentiles::of(&welcomes),
        memory_mib: [empty, first, last],
        idle_cpu_percent: server(&used) / pause.as_secs_f64() * 100.0,
        heartbeats_per_second,
        entry_ms,
        job_ms: Percentiles::of(&jobs.latencies),
        jobs_per_second: done / jobs.elapsed.as_secs_f64(),
        job_cpu_us: stats::ratio(server(&jobs.used) * 1e6, done).unwrap_or_default(),
    };
    print(&if options.json { serde_json::to_string_pretty(&report)? } else { report.text() })
}

/// Every connection is an open file, here and in the coordinator, which inherits what is allowed here.
fn allow_files(wanted: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if let Some(maximum) = limit.maximum.filter(|maximum| *maximum < wanted) {
        return Err(format!(
            "this needs {wanted} open files, and {maximum} are allowed; raise the limit (ulimit -n {wanted} as root, or \
             LimitNOFILE of the service) or ask for fewer --islands"
        )
        .into());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })?)
}

/// Makes owners and their Islands beside the running coordinator, as its own commands do, and answers the tokens.
async fn make_islands(data: &Path, wanted: usize) -> Result<Vec<String>> {
    let mut config = Config::load(None, [])?;
    data.clone_into(&mut config.data_dir);
    let db = open_database(&config, OpenOptions::command()).await?;
    let claim = nodes::claim_for_command(&db, &SystemRandom, SystemClock.now()).await?;
    let (app, _queue) = App::build(config, db.clone(), claim, false, Metrics::detached()).await?;
    let mut tokens = Vec::with_capacity(wanted);
    while tokens.len() < wanted {
        let email = format!("owner{}@islands.test", tokens.len() / OWNED);
        let new = accounts::NewUser::new(&app.ids, app.clock.now());
        let make = async move |tx: &mut db::Tx<'_>| accounts::find_or_create(tx, &email, new).await;
        let owner = app.db.tx::<_, DbError, _>("owner", make).await?;
        for number in 0..OWNED.min(wanted - tokens.len()) {
            tokens.push(
                islands::create(
                    &app,
                    &owner,
                    &format!("island {number}"),
                    false,
                    &server::idempotency::Once::unclaimed(),
                )
                .await?
                .1,
            );
        }
    }
    nodes::release(&db, claim.node, SystemClock.now()).await?;
    Ok(tokens)
}

fn target(host: SocketAddr, key: &str) -> Target {
    let body = format!(
        r#"{{"model":"{WORKLOAD}","messages":[{{"role":"user","content":"What does the sea do all day?"}}],"max_tokens":64}}"#
    );
    let requests = vec![http::request("POST", "/v1/chat/completions", host, Some(key), &body)];
    Target { host, requests, streamed: false, connections: AT_ONCE }
}

/// Islands that are connected; they go when this does.
#[derive(Debug, Default)]
struct Fleet {
    beats: Rc<Cell<u64>>,
    tasks: JoinSet<String>,
}

impl Fleet {
    /// Connects an Island for each token. Answers how long each took to be welcome.
    async fn connect(
        &mut self,
        coordinator: SocketAddr,
        tokens: &[String],
    ) -> Result<hdrhistogram::Histogram<u64>> {
        let mut times = stats::histogram()?;
        let connecting = tokens.iter().enumerate().map(async |(number, token)| {
            let started = Instant::now();
            let mut island = Island::dial(coordinator, token).await?;
            island.hello(ASK).await?;
            Ok::<_, Box<dyn std::error::Error>>((number, island, started.elapsed()))
        });
        let mut connected = futures_util::stream::iter(connecting).buffer_unordered(AT_ONCE);
        while let Some((number, island, took)) = connected.try_next().await? {
            stats::record(&mut times, took, 1);
            let beats = Rc::clone(&self.beats);
            // They do not all speak at the same moment.
            let share = f64::from(u32::try_from(number % 1000)?) / 1000.0;
            self.tasks.spawn_local(async move {
                match island.live(share, &beats).await {
                    Ok(()) => "an Island was sent away".to_owned(),
                    Err(error) => format!("an Island broke: {error}"),
                }
            });
        }
        drop(connected);
        Ok(times)
    }

    /// That all of them are still there.
    fn check(&mut self) -> Result<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(ended) => Err(ended?.into()),
        }
    }
}

/// One connection.
struct Island {
    socket: WebSocketStream<TcpStream>,
    heartbeat: Duration,
}

impl Island {
    async fn dial(coordinator: SocketAddr, token: &str) -> Result<Self> {
        let mut request = format!("ws://{coordinator}/api/v1/islands/connect").into_client_request()?;
        request.headers_mut().insert("authorization", HeaderValue::from_str(&format!("Bearer {token}"))?);
        let stream = TcpStream::connect(coordinator).await?;
        stream.set_nodelay(true)?;
        let (socket, _) = client_async(request, stream).await?;
        Ok(Self { socket, heartbeat: Duration::ZERO })
    }

    /// Introduces itself and waits until it is welcome.
    async fn hello(&mut self, ask: &str) -> Result<()> {
        let offer =
            Offer { workload: WORKLOAD.to_owned(), ask: ask.to_owned(), slots: 1, models: Vec::new() };
        self.say(&FromIsland::Hello {
            protocol: OLDEST_PROTOCOL,
            agent_version: "bench".to_owned(),
            capabilities: Capabilities::default(),
            offers: vec![offer],
            session: None,
            running: Vec::new(),
        })
        .await?;
        match timeout(PATIENCE, self.hear()).await?? {
            Some(ToIsland::Welcome { heartbeat_secs, refused_offers, .. }) if refused_offers.is_empty() => {
                self.heartbeat = Duration::from_secs(heartbeat_secs.into());
                Ok(())
            }
            other => Err(format!("an Island was not welcome: {other:?}").into()),
        }
    }

    /// Says that it is there, and does what it is given, until it is sent away.
    async fn live(mut self, share: f64, beats: &Cell<u64>) -> Result<()> {
        let first = tokio::time::Instant::now() + self.heartbeat.mul_f64(share);
        let mut beat = interval_at(first, self.heartbeat);
        loop {
            let message = tokio::select! {
                _ = beat.tick() => {
                    beats.set(beats.get() + 1);
                    self.say(&FromIsland::Heartbeat { running: Vec::new() }).await?;
                    continue;
                }
                message = self.hear() => message?,
            };
            match message {
                Some(ToIsland::Assign { attempt_id, .. }) => self.answer(attempt_id).await?,
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }

    async fn answer(&mut self, attempt_id: AttemptId) -> Result<()> {
        self.say(&FromIsland::Output { attempt_id, seq: 1, chunk: "The tide comes in.".to_owned() }).await?;
        self.say(&FromIsland::Done { attempt_id, usage: None, finish_reason: None }).await
    }

    async fn say(&mut self, message: &FromIsland) -> Result<()> {
        Ok(self.socket.send(Message::text(serde_json::to_string(message)?)).await?)
    }

    /// The next message; nothing when the connection has ended.
    async fn hear(&mut self) -> Result<Option<ToIsland>> {
        while let Some(message) = self.socket.next().await {
            match message? {
                Message::Text(text) => return Ok(Some(serde_json::from_str(&text)?)),
                Message::Close(_) => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }
}

/// One after another: a job waits for an Island cheaper than all, the Island comes, gets it and goes. Answers how long each took
/// from its hello to the job, which includes that the hold is made durable.
async fn enter(
    coordinator: SocketAddr,
    key: &str,
    tokens: &[String],
) -> Result<hdrhistogram::Histogram<u64>> {
    let mut times = stats::histogram()?;
    let mut api = http::Connection::open(coordinator).await?;
    let body = format!(r#"{{"workload":"{WORKLOAD}","input":{{"prompt":"hello"}},"bid_price":"{LOW_BID}"}}"#);
    let request = http::request("POST", "/api/v1/jobs", coordinator, Some(key), &body);
    for token in tokens {
        let mut island = Island::dial(coordinator, token).await?;
        let answer = api.exchange(&request).await?;
        if !(200..300).contains(&answer.status) {
            let text = String::from_utf8_lossy(answer.body);
            return Err(format!("a job was answered {}: {text}", answer.status).into());
        }
        let started = Instant::now();
        island.hello(LOW_ASK).await?;
        loop {
            match timeout(PATIENCE, island.hear()).await?? {
                Some(ToIsland::Assign { attempt_id, .. }) => {
                    stats::record(&mut times, started.elapsed(), 1);
                    island.answer(attempt_id).await?;
                    break;
                }
                Some(_) => {}
                None => return Err("an Island was sent away before its job came".into()),
            }
        }
        // Its next message would be the answer to leaving: what it sent before has arrived when the connection closes.
        island.say(&FromIsland::Draining {}).await?;
        island.socket.close(None).await?;
        while island.hear().await?.is_some() {}
    }
    Ok(times)
}

impl Report<'_> {
    fn text(&self) -> String {
        let Self { options, memory_mib: [empty, first, last], .. } = self;
        let each = |now: u64| {
            let kib = count(now.saturating_sub(*empty)) * 1024.0;
            kib / f64::from(options.islands)
        };
        let times = |name: &str, Percentiles { p50, p99, max, .. }: Percentiles| {
            format!("{name}: p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms")
        };
        let islands = grouped(options.islands.into());
        [
            self.machine.line(),
            format!("{islands} Islands connected in {:.1} s, {AT_ONCE} at a time", self.connected_s),
            times("  from connecting to the welcome", self.welcome_ms),
            format!(
                "memory of the coordinator: {empty} MiB without Islands, {first} MiB with them ({:.1} KiB each), {last} MiB \
                 after {} s ({:.1} KiB each)",
                each(*first),
                options.seconds,
                each(*last)
            ),
            format!(
                "while they only say that they are there: {:.1} % of a processor for {:.0} messages a second",
                self.idle_cpu_percent, self.heartbeats_per_second
            ),
            times("from hello to the job that waited for the Island", self.entry_ms),
            times(&format!("a job among them, {:.0} a second", self.jobs_per_second), self.job_ms),
            format!("  processor time of the coordinator: {:.0} us a job, heartbeats included", self.job_cpu_us),
            "audit ok".to_owned(),
        ]
        .join("\n")
    }
}
