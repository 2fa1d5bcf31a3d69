//! A whole network on this machine, made the way an operator makes one: an upstream, the coordinator on an empty
//! data directory, consumers with credits and keys, and Islands connected to it.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;
use types::money::MicroCredits;

use crate::meters::Meters;
use crate::processes::{Process, Programs, answer, wait_for};
use crate::{Result, http, note};

/// The Cargo all jobs are of.
pub const WORKLOAD: &str = "llm-chat";
/// What each Island asks for a job.
const ASK: &str = "1";
/// The network's share, in percent.
const FEE_PERCENT: u8 = 10;
/// What each consumer is given: more than can be spent.
const GRANT: &str = "100000000";
const OWNER: &str = "owner@bench.test";
/// How long starting may take.
const START: Duration = Duration::from_secs(30);
/// Nobody is to be turned away for asking too often: that would be measured instead.
const SETTINGS: [(&str, &str); 4] = [
    ("ARCHIPELAGO__LIMITS__REQUESTS_PER_MINUTE", "100000000"),
    ("ARCHIPELAGO__LIMITS__OPEN_JOBS_PER_USER", "100000"),
    ("ARCHIPELAGO__MARKET__FEE_PERCENT", "10"),
    ("ARCHIPELAGO__LOG", "warn"),
];

/// How a network is made.
#[derive(Debug)]
pub struct Shape {
    /// How many consumers.
    pub consumers: usize,
    /// How many Islands.
    pub islands: u32,
    /// How many jobs each Island runs at once.
    pub slots: u32,
    /// Where the data are kept; nothing: beside the built programs.
    pub data: Option<PathBuf>,
    /// An empty database; nothing: an SQLite file among the data.
    pub database: Option<String>,
}

/// A network that runs. Dropped, it stops at once and leaves nothing.
#[derive(Debug)]
pub struct Network {
    /// Where the coordinator listens.
    pub coordinator: SocketAddr,
    /// Where the upstream listens.
    pub upstream: SocketAddr,
    /// The consumers' API keys.
    pub keys: Vec<String>,
    /// How long the disk takes to make 4 KiB durable.
    pub sync_latency: Duration,
    // In this order: Islands are gone before the coordinator, and all of them before their data.
    islands: Vec<Process>,
    coordinator_process: Process,
    upstream_process: Process,
    programs: Programs,
    /// What tells the coordinator's commands where its database is.
    settings: Vec<(&'static str, String)>,
    data: TempDir,
}

impl Network {
    /// Makes one and waits until it can be used.
    pub async fn start(shape: &Shape) -> Result<Self> {
        let programs = Programs::find()?;
        let parent = shape.data.as_deref().map_or_else(|| programs.target_folder(), Ok)?;
        let data = tempfile::Builder::new().prefix("archipelago-bench-").tempdir_in(parent)?;
        let sync_latency = crate::meters::sync_latency(data.path())?;
        let (upstream_process, upstream) = start_upstream(&programs, data.path())?;
        let coordinator = free_address()?;
        let database = shape.database.iter().map(|url| ("ARCHIPELAGO__DATABASE__URL", url.clone()));
        let settings: Vec<_> = database.collect();
        let mut coordinator_process = start_coordinator(&programs, coordinator, data.path(), &settings)?;
        wait_for("the coordinator", START, async || {
            coordinator_process.check()?;
            Ok(matches!(http::get(coordinator, "/ready", None).await, Ok((200, _))).then_some(()))
        })
        .await?;
        let mut network = Self {
            coordinator,
            upstream,
            keys: Vec::new(),
            sync_latency,
            islands: Vec::new(),
            coordinator_process,
            upstream_process,
            programs,
            settings,
            data,
        };
        note(&format!("making {} consumers and {} Islands", shape.consumers, shape.islands));
        for number in 0..shape.consumers {
            let key = network.make_consumer(number).await?;
            network.keys.push(key);
        }
        network.connect_islands(shape).await?;
        let pids: Vec<u32> = network.islands.iter().map(Process::id).collect();
        let (server, upstream) = (network.coordinator_process.id(), network.upstream_process.id());
        note(&format!("processes: server {server}, islands {pids:?}, upstream {upstream}"));
        Ok(network)
    }

    /// Meters for its processes.
    pub fn meters(&self) -> Meters {
        Meters::new(vec![
            ("server", vec![self.coordinator_process.id()]),
            ("island", self.islands.iter().map(Process::id).collect()),
            ("upstream", vec![self.upstream_process.id()]),
        ])
    }

    /// The number of the coordinator's process.
    pub fn coordinator_id(&self) -> u32 {
        self.coordinator_process.id()
    }

    /// Where the coordinator keeps its data.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// That everything still runs.
    pub fn check(&mut self) -> Result<()> {
        self.islands.iter_mut().try_for_each(Process::check)?;
        self.coordinator_process.check()?;
        self.upstream_process.check()
    }

    /// Stops the Islands, compares the books with the number of completed jobs of each consumer, has the coordinator
    /// audit itself, and stops it. Answers how many credits were charged.
    pub async fn close(mut self, completed: &[u64]) -> Result<MicroCredits> {
        self.check()?;
        for island in std::mem::take(&mut self.islands) {
            island.stop().await?;
        }
        let charged = self.check_books(completed).await?;
        self.audit().await?;
        self.coordinator_process.stop().await?;
        Ok(charged)
    }

    /// Has the coordinator audit itself, and stops it.
    pub async fn audit_and_stop(mut self) -> Result<()> {
        self.check()?;
        self.audit().await?;
        self.coordinator_process.stop().await
    }

    async fn make_consumer(&self, number: usize) -> Result<String> {
        let email = format!("consumer{number}@bench.test");
        let _: serde_json::Value = self.admin(&["user", "create", "--email", &email, "--verified"]).await?;
        let grant = ["grant", "--email", &email, "--credits", GRANT, "--note", "bench"];
        let _: serde_json::Value = self.admin(&grant).await?;
        let key: Key = self.admin(&["api-key", "create", "--email", &email, "--name", "bench"]).await?;
        Ok(key.key)
    }

    async fn connect_islands(&mut self, shape: &Shape) -> Result<()> {
        let _: serde_json::Value = self.admin(&["user", "create", "--email", OWNER]).await?;
        let config = self.data.path().join("island.toml");
        std::fs::write(&config, self.island_config(shape.slots))?;
        for number in 0..shape.islands {
            let name = format!("island-{number}");
            let token: Token =
                self.admin(&["island-token", "create", "--email", OWNER, "--name", &name]).await?;
            let mut command = Command::new(&self.programs.island);
            command.arg("--config").arg(&config).env("ISLAND_TOKEN", token.token);
            command.env("RUST_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::null());
            self.islands.push(Process::start(&name, command, self.data.path())?);
        }
        wait_for("the Islands", START, async || {
            self.islands.iter_mut().try_for_each(Process::check)?;
            let (_, body) = http::get(self.coordinator, "/api/v1/market/rates", None).await?;
            let rates: Rates = serde_json::from_str(&body)?;
            let hosts =
                rates.data.iter().find(|rate| rate.workload_slug == WORKLOAD).map(|rate| rate.num_hosts);
            Ok((hosts >= Some(shape.islands)).then_some(()))
        })
        .await
    }

    fn island_config(&self, slots: u32) -> String {
        format!(
            "coordinator = \"http://{}\"\n[[backend]]\nkind = \"openai\"\nbase_url = \"http://{}/v1\"\n\
             [[backend.offer]]\nworkload = \"{WORKLOAD}\"\nask = \"{ASK}\"\nslots = {slots}\nmodel = \"bench\"\n",
            self.coordinator, self.upstream
        )
    }

    /// What each consumer has spent is the price of the jobs it got, to the micro-credit, and the owner earned it.
    async fn check_books(&self, completed: &[u64]) -> Result<MicroCredits> {
        let (price, granted): (MicroCredits, MicroCredits) = (ASK.parse()?, GRANT.parse()?);
        let (mut charged, mut jobs) = (MicroCredits::ZERO, 0);
        for (number, (key, &completed)) in self.keys.iter().zip(completed).enumerate() {
            let (status, body) = http::get(self.coordinator, "/api/v1/account", Some(key)).await?;
            if status != 200 {
                return Err(format!(
                    "the account of consumer {number} cannot be read: HTTP {status}: {body}"
                )
                .into());
            }
            let account: Account = serde_json::from_str(&body)?;
            let spent = granted.minus(account.data.credits)?;
            if spent != times(price, completed)? || account.data.held != MicroCredits::ZERO {
                let held = account.data.held;
                let text = format!(
                    "consumer {number} got {completed} jobs and paid {spent} credits; {held} are held"
                );
                return Err(text.into());
            }
            charged = charged.plus(spent)?;
            jobs += completed;
        }
        let owner: Owner = self.admin(&["user", "show", "--email", OWNER]).await?;
        let earned = times(price.minus(price.percent_rounded_down(FEE_PERCENT))?, jobs)?;
        if owner.earnings != earned {
            return Err(
                format!("the Islands' owner earned {} credits instead of {earned}", owner.earnings).into()
            );
        }
        Ok(charged)
    }

    async fn audit(&self) -> Result<()> {
        let data = self.data.path().display().to_string();
        let audit: serde_json::Value =
            answer(&self.programs.archipelago, &["audit", "--json", "--data", &data], &self.settings).await?;
        if audit["ok"] == true { Ok(()) } else { Err(format!("the books do not balance: {audit}").into()) }
    }

    async fn admin<T: serde::de::DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let data = self.data.path().display().to_string();
        let all = [&["admin", "--json", "--data", &data], arguments].concat();
        answer(&self.programs.archipelago, &all, &self.settings).await
    }
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

#[derive(Deserialize)]
struct Rates {
    data: Vec<Rate>,
}

#[derive(Deserialize)]
struct Rate {
    workload_slug: String,
    num_hosts: u32,
}

#[derive(Deserialize)]
struct Account {
    data: Balance,
}

#[derive(Deserialize)]
struct Balance {
    credits: MicroCredits,
    held: MicroCredits,
}

#[derive(Deserialize)]
struct Owner {
    earnings: MicroCredits,
}

fn times(price: MicroCredits, jobs: u64) -> Result<MicroCredits> {
    let micros = i64::try_from(jobs)?.checked_mul(price.get());
    Ok(MicroCredits::new(micros.ok_or("more credits than can be counted")?))
}

fn start_upstream(programs: &Programs, data: &Path) -> Result<(Process, SocketAddr)> {
    let mut command = Command::new(&programs.bench);
    // It ends when its standard input does, so even a killed benchmark leaves none behind.
    command.arg("upstream").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Process::start("upstream", command, data)?;
    let mut line = String::new();
    BufReader::new(process.output()?).read_line(&mut line)?;
    let address = line.trim().parse().map_err(|error| format!("the upstream said {line:?}: {error}"))?;
    Ok((process, address))
}

fn start_coordinator(
    programs: &Programs,
    address: SocketAddr,
    data: &Path,
    settings: &[(&str, String)],
) -> Result<Process> {
    let mut command = Command::new(&programs.archipelago);
    command.arg("serve").arg("--listen").arg(address.to_string()).arg("--data").arg(data);
    command
        .envs(SETTINGS)
        .envs(settings.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Process::start("server", command, data)
}

/// An address nobody listens on.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
