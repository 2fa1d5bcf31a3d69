//! Thousands of streams on which nothing is said: each is a job that runs on an Island whose upstream is silent, with its hold
//! and its connection. What each costs the coordinator in memory, and what others notice of them.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use super::{Place, body};
use crate::http::{self, Connection};
use crate::load::{self, Plan};
use crate::meters;
use crate::processes::wait_for;
use crate::stats::{Percentiles, count};
use crate::upstream::SILENCE;
use crate::{Result, note};

/// How many are opening at a time.
const AT_ONCE: usize = 64;
/// How long they are silent: long enough for each to be kept alive once or twice.
const SILENT: Duration = Duration::from_secs(30);
/// How long their jobs may take to end.
const PATIENCE: Duration = Duration::from_secs(120);
/// Requests a second of others meanwhile.
const RATE: u32 = 200;

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Idle {
    /// How many streams.
    pub streams: usize,
    /// How long opening them all took.
    pub opened_s: f64,
    /// Memory of the coordinator before, with all of them open, and after their silence, in MiB.
    pub memory_mib: [u64; 3],
    /// For each stream at its end, in KiB.
    pub each_kib: f64,
    /// Processor time of the coordinator meanwhile, in percent of one processor, with the requests of others.
    pub cpu_percent: f64,
    /// Latencies of whole answers to others meanwhile.
    pub others_ms: Percentiles,
}

/// Opens them, waits, and closes them.
pub(super) async fn measure(place: &mut Place, streams: usize) -> Result<Idle> {
    let pid = place.network.coordinator_id();
    let memory = || Ok::<_, Box<dyn std::error::Error>>(meters::memory(pid)?.now_mib);
    let before = memory()?;
    note(&format!("opening {streams} streams on which nothing will be said"));
    let started = Instant::now();
    let open = open(place, streams).await?;
    let opened_s = started.elapsed().as_secs_f64();
    let first = memory()?;
    note(&format!("others ask meanwhile, {RATE} a second"));
    let target = place.target(false, false, 16);
    let plan = Plan { warm_up: Duration::from_secs(1), measured: SILENT };
    let others = load::constant(&target, RATE, plan, &place.meters).await?;
    let counts = place.completed.iter_mut().zip(&others.completed);
    counts.for_each(|(all, one)| *all += one);
    if let Some(failure) = &others.failure {
        return Err(format!("{} requests failed meanwhile, the first: {failure}", others.failed).into());
    }
    let last = memory()?;
    let server = others.used.groups.iter().find(|(name, _)| *name == "server");
    let cpu = server.map_or(0.0, |(_, time)| time.as_secs_f64()) / others.elapsed.as_secs_f64() * 100.0;
    drop(open);
    settle(place).await?;
    Ok(Idle {
        streams,
        opened_s,
        memory_mib: [before, first, last],
        each_kib: count(last.saturating_sub(before)) * 1024.0 / count(u64::try_from(streams)?),
        cpu_percent: cpu,
        others_ms: Percentiles::of(&others.latencies),
    })
}

/// Opens so many streams; each is there when its answer has begun.
async fn open(place: &Place, streams: usize) -> Result<Vec<Connection>> {
    let host = place.network.coordinator;
    let body = body(true, SILENCE);
    let requests: Vec<Vec<u8>> = place
        .network
        .keys
        .iter()
        .map(|key| http::request("POST", "/v1/chat/completions", host, Some(key), &body))
        .collect();
    let mut opening = JoinSet::new();
    let mut open = Vec::with_capacity(streams);
    for request in requests.iter().cycle().take(streams) {
        while opening.len() >= AT_ONCE {
            open.extend(opening.join_next().await.transpose()?.transpose()?);
        }
        let request = request.clone();
        opening.spawn_local(async move {
            let mut connection = Connection::open(host).await?;
            match connection.begin(&request).await? {
                200 => Ok::<_, std::io::Error>(connection),
                status => Err(std::io::Error::other(format!("a stream was answered HTTP {status}"))),
            }
        });
    }
    while let Some(opened) = opening.join_next().await {
        open.push(opened??);
    }
    Ok(open)
}

/// Waits until nothing is held for the streams that were closed: nothing was delivered, so nothing is charged.
async fn settle(place: &Place) -> Result<()> {
    wait_for("the end of the idle jobs", PATIENCE, async || {
        for key in &place.network.keys {
            let (status, body) = http::get(place.network.coordinator, "/api/v1/account", Some(key)).await?;
            if status != 200 || !body.contains(r#""held":0,"#) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}
