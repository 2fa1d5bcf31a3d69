//! Islands that are killed, paused, cut off, slow and lying, at random, while hundreds of jobs run: every job ends in a right
//! state, every charge is for what was delivered, no text is lost or comes twice, and the books balance.
//!
//! The honest Islands are the agent's own program, in processes of their own.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use types::id::{AttemptId, Id};
use types::island_protocol::{FromIsland, ReportedUsage, ToIsland};

use crate::world::{FakeIsland, User, World};

/// Metered chat, flat chat and little patience, so that much happens in a short time.
const CONFIG: &str = r#"
[islands]
heartbeat_secs = 1
lease_secs = 3
connects_per_minute = 10000
[jobs]
wait_secs = 120
run_secs = 60
attempts = 8
[[workloads]]
slug = "llm-chat"
name = "By the request"
description = ""
kind = "chat"
ceiling = "5"
[[workloads]]
slug = "metered"
name = "By tokens"
description = ""
kind = "chat"
ceiling = "50"
unit = "1k_tokens"
"#;

const JOBS: usize = 300;
/// Jobs that one consumer has under way at once.
const AT_ONCE: usize = 10;

/// Where chance comes from: a fixed seed, so that a failure has a name.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The agent as a process.
struct Agent {
    command: Box<dyn Fn() -> Command + Send>,
    process: Child,
}

impl Agent {
    async fn start(world: &World, name: &str, ask: &str, url: &str) -> Self {
        let token = world.island_token(&format!("{name}-owner@example.org"), name).await;
        let folder = world.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let offer = |workload: &str, ask: &str| {
            format!("[[backend.offer]]\nworkload = \"{workload}\"\nask = \"{ask}\"\nslots = 6\n")
        };
        let config = format!(
            "coordinator = \"{url}\"\ntoken = \"{token}\"\n[[backend]]\nkind = \"demo\"\ndelay_ms = 25\n{}{}",
            offer("llm-chat", ask),
            offer("metered", &format!("{ask}0"))
        );
        std::fs::write(folder.join("island.toml"), config).unwrap();
        let command = move || {
            let mut command = Command::new(program());
            command.arg("--config").arg(folder.join("island.toml")).arg("--state").arg(&folder);
            let log =
                std::fs::File::options().create(true).append(true).open(folder.join("log.txt")).unwrap();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
            command
        };
        let process = command().spawn().unwrap();
        Self { command: Box::new(command), process }
    }

    fn signal(&self, name: &str) {
        let Some(id) = self.process.id() else { return };
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status();
        assert!(sent.unwrap().success());
    }

    async fn killed_and_started_again(&mut self) {
        self.process.kill().await.unwrap();
        self.process = (self.command)().spawn().unwrap();
    }
}

/// The agent's program lies beside the coordinator's.
fn program() -> PathBuf {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_archipelago")).with_file_name("island");
    assert!(program.exists(), "{} is missing: run `cargo build -p island` first", program.display());
    program
}

/// A way to the coordinator that can be cut.
async fn wire(to: String) -> (String, watch::Sender<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (cut, cuts) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (to, mut cuts) = (to.clone(), cuts.clone());
            tokio::spawn(async move {
                let Ok(mut far) = TcpStream::connect(to).await else { return };
                cuts.mark_unchanged();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    // Both ends are dropped in the middle of whatever was being said.
                    _ = cuts.changed() => {}
                }
            });
        }
    });
    (url, cut)
}

/// An Island that says whatever suits it. What it does with a job is told by the job's number.
fn liar(mut island: FakeIsland) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut before: Option<AttemptId> = None;
        let mut number = 0_u64;
        while let Some(message) = island.hear().await {
            let ToIsland::Assign { attempt_id, .. } = message else { continue };
            number += 1;
            lie(&mut island, attempt_id, before, number).await;
            before = Some(attempt_id);
        }
    })
}

async fn lie(island: &mut FakeIsland, attempt: AttemptId, before: Option<AttemptId>, number: u64) {
    let much = ReportedUsage { prompt_tokens: Some(1_000_000), completion_tokens: Some(1_000_000) };
    let done = |attempt_id| FromIsland::Done { attempt_id, usage: Some(much), finish_reason: None };
    match number % 6 {
        // Success without any output.
        0 => island.say(&done(attempt)).await,
        // Out of order.
        1 => island.output(attempt, 7, "lies").await,
        // About the attempt before, and about one that nobody has.
        2 => {
            if let Some(before) = before {
                island.output(before, 1, "late").await;
                island.say(&done(before)).await;
            }
            island.output(AttemptId::from_i64(77), 1, "strange").await;
            island.failed(attempt, "no").await;
        }
        // After the end.
        3 => {
            island.failed(attempt, "no").await;
            island.output(attempt, 1, "after the end").await;
            island.say(&done(attempt)).await;
        }
        // A flood of what means nothing.
        4 => {
            for step in 0..50 {
                island.say(&FromIsland::Progress { attempt_id: attempt, step, total: u32::MAX }).await;
            }
            island.say(&FromIsland::Rejected { attempt_id: attempt, reason: String::new() }).await;
        }
        // A picture where text was asked for.
        _ => island.image(attempt, 64, 64).await,
    }
}

/// One consumer sends jobs, listens to every other, and answers all as they ended.
async fn consume(ana: User, jobs: usize, seed: u64) -> Vec<(Value, Option<String>)> {
    let mut dice = Dice(seed);
    let mut ended = Vec::new();
    let mut left = jobs;
    while left > 0 {
        let now = left.min(AT_ONCE);
        left -= now;
        let mut underway = Vec::new();
        for _ in 0..now {
            let workload = if dice.below(2) == 0 { "llm-chat" } else { "metered" };
            let prompt = format!("question {}", dice.below(5));
            let job = ana.job(json!({"workload": workload, "input": {"prompt": prompt}})).await;
            let (ana, listens) = (ana.clone(), dice.below(2) == 0);
            underway.push(tokio::spawn(async move {
                let heard = if listens { Some(listen(&ana, &job).await) } else { None };
                (finally(&ana, &job).await, heard)
            }));
        }
        for job in underway {
            ended.push(job.await.unwrap());
        }
    }
    ended
}

/// All the text that a stream of a job brings.
async fn listen(ana: &User, job: &str) -> String {
    let mut stream = ana.stream(job).await;
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        if event["type"] == "token" {
            text.push_str(event["content"].as_str().unwrap());
        }
    }
    text
}

/// The job as it ended, asked for now and then: nobody listens to it.
async fn finally(ana: &User, job: &str) -> Value {
    let patience = Duration::from_secs(150);
    let path = format!("/api/v1/jobs/{job}");
    let ends = async {
        loop {
            let (_, body) = ana.get(&path).await;
            if !matches!(body["data"]["status"].as_str(), Some("pending" | "running")) {
                return body["data"].clone();
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(patience, ends).await.unwrap_or_else(|_| panic!("{job} never ended"))
}

/// Kills, pauses and cuts until told to stop; then lets everybody live.
async fn havoc(
    mut agents: Vec<Agent>,
    cuts: Vec<watch::Sender<u64>>,
    mut stop: watch::Receiver<bool>,
) -> Vec<Agent> {
    let mut dice = Dice(0x5eed);
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            () = sleep(Duration::from_millis(50 + dice.below(150))) => {}
        }
        let index = usize::try_from(dice.below(agents.len() as u64)).unwrap();
        match dice.below(10) {
            0..2 => agents[index].killed_and_started_again().await,
            2..4 => {
                // Longer than a lease, or shorter than a beat.
                agents[index].signal("STOP");
                let pause = if dice.below(2) == 0 { 300 } else { 4500 };
                tokio::select! {
                    _ = stop.changed() => {}
                    () = sleep(Duration::from_millis(pause)) => {}
                }
                agents[index].signal("CONT");
            }
            _ => {
                let index = usize::try_from(dice.below(cuts.len() as u64)).unwrap();
                cuts[index].send_modify(|count| *count += 1);
            }
        }
        if *stop.borrow() {
            break;
        }
    }
    agents
}

#[tokio::test]
async fn islands_are_killed_paused_cut_off_and_lie_and_every_job_ends_rightly() {
    let world = World::with(CONFIG).await;
    let address = world.url.trim_start_matches("http://").to_owned();
    let (mut agents, mut cuts) = (Vec::new(), Vec::new());
    for (number, ask) in ["1.1", "1.2", "1.3", "1.4", "1.5"].into_iter().enumerate() {
        // Three of them by a wire that is cut now and then.
        let url = if number < 3 {
            let (url, cut) = wire(address.clone()).await;
            cuts.push(cut);
            url
        } else {
            world.url.clone()
        };
        agents.push(Agent::start(&world, &format!("honest{number}"), ask, &url).await);
    }
    // The cheapest of all lies.
    let liars = [world.island("liar1", "1", 2).await, world.island("liar2", "1.05", 2).await].map(liar);

    let (stop, stopped) = watch::channel(false);
    let havoc = tokio::spawn(havoc(agents, cuts, stopped));
    let mut consumers = Vec::new();
    for number in 0..5_u64 {
        let ana = world.user(&format!("consumer{number}"), "1000").await;
        consumers.push(tokio::spawn(consume(ana.clone(), JOBS / 5, 0x9e37 + number)));
    }
    let mut ended = Vec::new();
    for consumer in consumers {
        ended.extend(consumer.await.unwrap());
    }
    stop.send(true).unwrap();
    let agents = havoc.await.unwrap();

    let mut answers: HashMap<String, String> = HashMap::new();
    let mut completed = 0;
    for (job, heard) in &ended {
        judge(job, heard.as_deref(), &mut answers);
        completed += usize::from(job["status"] == "completed");
    }
    assert_eq!(ended.len(), JOBS);
    // Otherwise nothing was tried.
    assert!(completed > JOBS / 2, "only {completed} of {JOBS} jobs were completed");
    let logs: String = (0..agents.len())
        .map(|number| {
            std::fs::read_to_string(world.folder.path().join(format!("honest{number}/log.txt"))).unwrap()
        })
        .collect();
    let resumed = logs.lines().filter(|line| line.contains("The session goes on"));
    assert!(resumed.clone().any(|line| !line.contains(" 0 attempts")), "no work was resumed");
    assert!(!logs.contains("lost count"), "the two sides disagree about what arrived");
    drop(agents);
    liars.into_iter().for_each(|liar| liar.abort());
    world.finish().await;
}

/// What must be true of a job, however it ended.
fn judge(job: &Value, heard: Option<&str>, answers: &mut HashMap<String, String>) {
    let (status, cost) = (job["status"].as_str().unwrap(), job["cost"].as_f64().unwrap());
    let output = job["output"].as_str();
    match status {
        "completed" => {
            let output = output.unwrap_or_else(|| panic!("no output: {job}"));
            // The same question has the same answer, whole: nothing was lost or came twice.
            let known =
                answers.entry(job["input"]["prompt"].to_string()).or_insert_with(|| output.to_owned());
            assert_eq!(output, known, "{job}");
            assert!(output.starts_with("[demo island]"), "a liar was paid: {job}");
            assert!(cost > 0.0, "{job}");
            if let Some(heard) = heard {
                assert_eq!(heard, output, "{job}");
            }
        }
        "failed" => {
            let metered = job["workload_slug"] == "metered";
            assert!(metered || cost == 0.0, "a flat price was charged for half an answer: {job}");
            if cost > 0.0 {
                let (heard, output) = (heard.expect("charged though nobody listened"), output.unwrap());
                assert!(heard.starts_with(output), "charged for more than was delivered: {job}");
            } else {
                assert_eq!(output, None, "{job}");
            }
        }
        other => panic!("{other}: {job}"),
    }
}
