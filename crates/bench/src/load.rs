//! Puts load on a server and measures what comes of it.
//!
//! * [`closed`]: each connection sends its next request when it has the answer to the one before. Shows how much can be
//!   had; its latencies are those of a server that is kept as busy as so many connections can keep it.
//! * [`constant`]: a request is due at each tick of a precise timer, whether or not the ones before have been
//!   answered, and its latency counts from that tick: a server that stalls is charged for all who would have come
//!   meanwhile (no coordinated omission).

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use memchr::memmem;
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::http::{Answer, Connection};
use crate::meters::{Meters, Used};
use crate::{Result, stats};

/// How long the last answers may take after the load has ended.
const DRAIN: Duration = Duration::from_secs(60);
/// A pause before connecting again, so that a server that refuses is not asked in a tight loop.
const RECONNECT_PAUSE: Duration = Duration::from_millis(10);

/// Whom to ask for what.
#[derive(Debug)]
pub struct Target {
    /// Where it listens.
    pub host: SocketAddr,
    /// The requests, one for each consumer; connections take them in turn.
    pub requests: Vec<Vec<u8>>,
    /// Whether the answers are streams.
    pub streamed: bool,
    /// How many connections.
    pub connections: usize,
}

/// How long it is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Before anything is counted.
    pub warm_up: Duration,
    /// While it is.
    pub measured: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Latencies of the measured requests, in microseconds.
    pub latencies: Histogram<u64>,
    /// How late requests were sent, in microseconds, where there was a time for each.
    pub lateness: Histogram<u64>,
    /// How long the measurement took.
    pub elapsed: Duration,
    /// Processor time used meanwhile.
    pub used: Used,
    /// Requests that failed, warm-up included.
    pub failed: u64,
    /// How the first of them did.
    pub failure: Option<String>,
    /// Completed requests of each consumer, warm-up included.
    pub completed: Vec<u64>,
}

/// What the connections of a run share. All of them run on one thread.
struct Shared {
    target: Rc<Target>,
    /// When [`closed`] counts; [`constant`] goes by the request's number.
    recording: Cell<bool>,
    stopped: Cell<bool>,
    latencies: RefCell<Histogram<u64>>,
    lateness: RefCell<Histogram<u64>>,
    failed: Cell<u64>,
    failure: RefCell<Option<String>>,
    completed: RefCell<Vec<u64>>,
}

impl Shared {
    fn new(target: &Rc<Target>) -> Result<Rc<Self>> {
        let histogram = || stats::histogram().map(RefCell::new);
        Ok(Rc::new(Self {
            target: Rc::clone(target),
            recording: Cell::new(false),
            stopped: Cell::new(false),
            latencies: histogram()?,
            lateness: histogram()?,
            failed: Cell::new(0),
            failure: RefCell::default(),
            completed: RefCell::new(vec![0; target.requests.len()]),
        }))
    }

    fn fail(&self, how: String) {
        self.failed.set(self.failed.get() + 1);
        self.failure.borrow_mut().get_or_insert(how);
    }

    fn outcome(&self, elapsed: Duration, used: Used) -> Outcome {
        Outcome {
            latencies: self.latencies.borrow().clone(),
            lateness: self.lateness.borrow().clone(),
            elapsed,
            used,
            failed: self.failed.get(),
            failure: self.failure.borrow().clone(),
            completed: self.completed.borrow().clone(),
        }
    }
}

/// One connection, opened again when it breaks.
struct Client {
    shared: Rc<Shared>,
    consumer: usize,
    connection: Option<Connection>,
}

impl Client {
    fn new(shared: &Rc<Shared>, number: usize) -> Self {
        let consumer = number % shared.target.requests.len();
        Self { shared: Rc::clone(shared), consumer, connection: None }
    }

    /// Sends the consumer's request; answers whether its answer is as it should be.
    async fn ask(&mut self) -> bool {
        match self.exchange().await {
            Ok(Ok(())) => {
                self.shared.completed.borrow_mut()[self.consumer] += 1;
                true
            }
            Ok(Err(wrong)) => {
                self.shared.fail(wrong);
                false
            }
            Err(error) => {
                self.shared.fail(error.to_string());
                self.connection = None;
                sleep(RECONNECT_PAUSE).await;
                false
            }
        }
    }

    async fn exchange(&mut self) -> std::io::Result<std::result::Result<(), String>> {
        let target = &self.shared.target;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            empty => empty.insert(Connection::open(target.host).await?),
        };
        let answer = connection.exchange(&target.requests[self.consumer]).await?;
        Ok(check(&answer, target.streamed))
    }
}

/// Whether an answer is a whole completion with some text in it.
pub fn check(answer: &Answer<'_>, streamed: bool) -> std::result::Result<(), String> {
    const CONTENT: &[u8] = br#""content":""#;
    let body = answer.body;
    let has_text = memmem::find_iter(body, CONTENT).any(|at| body.get(at + CONTENT.len()) != Some(&b'"'));
    let whole = !streamed || body.trim_ascii_end().ends_with(b"data: [DONE]");
    if answer.status == 200 && has_text && whole {
        return Ok(());
    }
    let start = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
    Err(format!("HTTP {}: {start}", answer.status))
}

/// Sends as much as so many connections can.
pub async fn closed(target: &Rc<Target>, plan: Plan, meters: &Meters) -> Result<Outcome> {
    let shared = Shared::new(target)?;
    let mut clients = JoinSet::new();
    for number in 0..target.connections {
        clients.spawn_local(ask_until_stopped(Client::new(&shared, number)));
    }
    sleep(plan.warm_up).await;
    let (before, since) = (meters.sample()?, Instant::now());
    shared.recording.set(true);
    sleep(plan.measured).await;
    shared.recording.set(false);
    let (elapsed, after) = (since.elapsed(), meters.sample()?);
    shared.stopped.set(true);
    all_ended(&mut clients).await?;
    Ok(shared.outcome(elapsed, meters.used(&before, &after)))
}

async fn ask_until_stopped(mut client: Client) {
    while !client.shared.stopped.get() {
        let sent = Instant::now();
        if client.ask().await && client.shared.recording.get() {
            record(&client.shared.latencies, sent.elapsed());
        }
    }
}

/// Sends `rate` requests each second.
pub async fn constant(target: &Rc<Target>, rate: u32, plan: Plan, meters: &Meters) -> Result<Outcome> {
    let shared = Shared::new(target)?;
    let seconds = |time: Duration| time.as_secs() * u64::from(rate);
    let pace = Rc::new(Pace {
        interval: Duration::from_secs(1) / rate,
        first_measured: seconds(plan.warm_up),
        total: seconds(plan.warm_up) + seconds(plan.measured),
        due: Cell::new(0),
        taken: Cell::new(0),
        start: Cell::new(Instant::now()),
        more: Notify::new(),
    });
    let mut clients = JoinSet::new();
    for number in 0..target.connections {
        clients.spawn_local(ask_when_due(Client::new(&shared, number), Rc::clone(&pace)));
    }
    let mut measured_from = None;
    pace.run(|| {
        measured_from = Some((meters.sample()?, Instant::now()));
        Ok(())
    })
    .await?;
    all_ended(&mut clients).await?;
    let (before, since) = measured_from.ok_or("the measurement ended before it began")?;
    Ok(shared.outcome(since.elapsed(), meters.used(&before, &meters.sample()?)))
}

/// When requests are due.
struct Pace {
    interval: Duration,
    /// The number of the first request that counts.
    first_measured: u64,
    /// How many requests there are.
    total: u64,
    /// How many are due by now.
    due: Cell<u64>,
    /// How many of those have been sent.
    taken: Cell<u64>,
    start: Cell<Instant>,
    /// Told for each request that is due.
    more: Notify,
}

impl Pace {
    /// Lets requests become due, one at each tick; calls `begin` at the first that counts.
    async fn run(&self, mut begin: impl FnMut() -> Result<()>) -> Result<()> {
        // Before the timer, so that what time passes between the two makes latencies longer, not shorter.
        self.start.set(Instant::now());
        let timer = ticking(self.interval)?;
        while self.due.get() < self.total {
            let ticks = ticks(&timer).await?;
            let before = self.due.get();
            self.due.set((before + ticks).min(self.total));
            if (before..self.due.get()).contains(&self.first_measured) {
                begin()?;
            }
            for _ in before..self.due.get() {
                self.more.notify_one();
            }
        }
        self.more.notify_waiters();
        Ok(())
    }

    /// The next request that is due: its number and when it was due. Nothing when there will be no more.
    async fn next(&self) -> Option<(u64, Instant)> {
        loop {
            let number = self.taken.get();
            if number < self.due.get() {
                self.taken.set(number + 1);
                let ticks = u32::try_from(number + 1).unwrap_or(u32::MAX);
                return Some((number, self.start.get() + self.interval * ticks));
            }
            if number >= self.total {
                return None;
            }
            self.more.notified().await;
        }
    }
}

async fn ask_when_due(mut client: Client, pace: Rc<Pace>) {
    while let Some((number, due)) = pace.next().await {
        let late = due.elapsed();
        if client.ask().await && number >= pace.first_measured {
            record(&client.shared.latencies, due.elapsed());
            record(&client.shared.lateness, late);
        }
    }
}

/// A timer that ticks from now on. The runtime's own timers know only milliseconds.
#[expect(
    deprecated,
    reason = "safe for an `OwnedFd`, which is never anybody else's; its successor is unsafe"
)]
pub fn ticking(interval: Duration) -> Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let interval = Timespec::try_from(interval)?;
    let times = Itimerspec { it_interval: interval, it_value: interval };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
    Ok(AsyncFd::with_interest(timer, Interest::READABLE)?)
}

/// Waits for the next tick; answers how many there were since the last time.
pub async fn ticks(timer: &AsyncFd<OwnedFd>) -> std::io::Result<u64> {
    let read = timer.async_io(Interest::READABLE, |timer| {
        let mut ticks = [0; 8];
        rustix::io::read(timer, &mut ticks)?;
        Ok(u64::from_ne_bytes(ticks))
    });
    read.await
}

fn record(histogram: &RefCell<Histogram<u64>>, time: Duration) {
    stats::record(&mut histogram.borrow_mut(), time, 1);
}

/// Waits for the last answers.
async fn all_ended(clients: &mut JoinSet<()>) -> Result<()> {
    let ended = async {
        while let Some(ended) = clients.join_next().await {
            ended?;
        }
        Ok(())
    };
    timeout(DRAIN, ended)
        .await
        .map_err(|_| format!("answers are missing {} s after the load", DRAIN.as_secs()))?
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n\"content\":\"a\"";

    /// A server that answers each read with `ANSWER`, but for a stall before one of them.
    async fn server(stall: Duration, stalled: u32) -> Rc<Target> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 100];
            for number in 0.. {
                if matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {
                    return;
                }
                if number == stalled {
                    sleep(stall).await;
                }
                stream.write_all(ANSWER).await.unwrap();
            }
        });
        Rc::new(Target { host, requests: vec![b"x".to_vec()], streamed: false, connections: 1 })
    }

    fn plan() -> Plan {
        Plan { warm_up: Duration::ZERO, measured: Duration::from_secs(1) }
    }

    #[tokio::test]
    async fn a_stall_is_charged_to_all_who_would_have_come_meanwhile() {
        let run = async {
            let stall = Duration::from_millis(500);
            let target = server(stall, 20).await;
            constant(&target, 100, plan(), &Meters::new(Vec::new())).await.unwrap()
        };
        let outcome = LocalSet::new().run_until(run).await;
        assert_eq!((outcome.latencies.len(), outcome.failed, &outcome.completed[..]), (100, 0, &[100][..]));
        // Half of the second's requests were due while the server stalled.
        assert!(outcome.latencies.value_at_quantile(0.6) > 50_000, "{:?}", outcome.latencies);
        assert!(outcome.latencies.value_at_quantile(0.2) < 50_000, "{:?}", outcome.latencies);
    }

    #[tokio::test]
    async fn a_closed_load_counts_what_is_answered_while_it_is_measured() {
        let run = async {
            let target = server(Duration::ZERO, 0).await;
            closed(&target, plan(), &Meters::new(Vec::new())).await.unwrap()
        };
        let outcome = LocalSet::new().run_until(run).await;
        assert!(outcome.latencies.len() > 10 && outcome.latencies.len() <= outcome.completed[0]);
        assert_eq!(outcome.failed, 0);
    }

    #[test]
    fn answers_without_text_or_end_are_failures() {
        let cases = [
            (200, r#"{"content":"a"}"#, false, true),
            (200, r#"{"content":""}"#, false, false),
            (200, r#"{"content":null}"#, false, false),
            (503, r#"{"content":"a"}"#, false, false),
            (200, "data: {\"content\":\"\"}\n\ndata: {\"content\":\"a\"}\n\ndata: [DONE]\n\n", true, true),
            (200, "data: {\"content\":\"a\"}\n\n", true, false),
            (200, "data: {\"error\":1}\n\ndata: [DONE]\n\n", true, false),
        ];
        for (status, body, streamed, expected) in cases {
            let answer = Answer { status, body: body.as_bytes() };
            assert_eq!(check(&answer, streamed).is_ok(), expected, "{status} {body}");
        }
    }
}
