//! Puts cycles on an engine the way a server would, at little cost: commands queue up, and whenever fewer batches than
//! allowed are under way the next one takes what has queued up. A cycle's settlement is queued when its hold is
//! acknowledged as durable. There is one task for each batch, none for a cycle.
//!
//! * [`Work::Full`]: as many cycles are outstanding as the engine's limits say; shows how much can be had.
//! * [`Work::Rate`]: a cycle is due at each tick of a [`Schedule`], whatever became of those before, and its latency counts from
//!   that tick (no coordinated omission). A settlement counts from when its hold was acknowledged.
//! * [`Work::Cycles`]: as [`Work::Full`], but for a number of cycles.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::engine::Engine;
use super::schedule::Schedule;
use crate::Result;
use crate::load::{ticking, ticks};
use crate::meters::{Meters, Sample, Used};
use crate::stats::{self, count, ratio};

/// How often it is looked whether something is due while nothing is under way: at most once in this time.
const LOOK: Duration = Duration::from_micros(200);
/// How long the last answers may take after the load has ended.
const DRAIN: Duration = Duration::from_secs(120);

/// What an engine is given at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most commands in a batch.
    pub batch: usize,
    /// Most batches under way.
    pub lanes: usize,
    /// How many cycles have begun and not ended, when they come as fast as they can.
    pub outstanding: usize,
}

/// What to do.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// As much as can be had.
    Full {
        /// Before anything is counted.
        warm_up: Duration,
        /// While it is.
        measured: Duration,
    },
    /// So many cycles a second.
    Rate {
        /// How many.
        rate: u64,
        /// Before anything is counted.
        warm_up: Duration,
        /// While it is.
        measured: Duration,
    },
    /// So many cycles, as fast as they can.
    Cycles {
        /// How many.
        count: u64,
        /// No further ones begin after this.
        until: Instant,
    },
}

/// A command of a cycle.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Which cycle.
    pub cycle: u64,
    /// Whether it ends the cycle.
    pub last: bool,
    /// When it was due.
    since: Instant,
    /// When its cycle was due.
    begun: Instant,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// All cycles, measured or not. Each of them was settled.
    pub cycles: Range<u64>,
    /// How many of them were measured.
    pub measured: u64,
    /// How long that took.
    pub elapsed: Duration,
    /// How long it took afterwards to do what had been put off for all cycles.
    pub put_off: Duration,
    /// Latencies of their commands, in microseconds: from when one was due until it was acknowledged.
    pub commands: Histogram<u64>,
    /// Latencies of whole cycles: from when the hold was due until the settlement was acknowledged.
    pub whole: Histogram<u64>,
    /// Batches, and the commands in them.
    pub batches: u64,
    /// The commands in them.
    pub batched: u64,
    /// Processor time meanwhile.
    pub used: Used,
}

impl Outcome {
    /// How long the measured cycles took, with their part of what was put off.
    pub fn complete(&self) -> Duration {
        let part = ratio(count(self.measured), count(self.cycles.end - self.cycles.start));
        self.elapsed + self.put_off.mul_f64(part.unwrap_or_default())
    }
}

struct Driver {
    engine: Rc<Engine>,
    limits: Limits,
    work: Work,
    schedule: Option<Schedule>,
    first: u64,
    next: u64,
    open: usize,
    over: bool,
    queue: VecDeque<Item>,
    flying: JoinSet<Result<Vec<Item>>>,
    started: Instant,
    window: Window,
}

/// The time that counts.
struct Window {
    opened: Option<(Instant, Sample)>,
    closed: Option<(Instant, Sample)>,
    measured: u64,
    commands: Histogram<u64>,
    whole: Histogram<u64>,
    batches: u64,
    batched: u64,
    meters: Meters,
}

/// Does `work` with cycles from number `first` on. Begins with nothing put off and leaves nothing put off.
pub async fn run(engine: &Rc<Engine>, work: Work, first: u64) -> Result<Outcome> {
    engine.catch_up().await?;
    let outcome = drive(engine, work, first).await?;
    let put_off = engine.catch_up().await?;
    Ok(Outcome { put_off, ..outcome })
}

async fn drive(engine: &Rc<Engine>, work: Work, first: u64) -> Result<Outcome> {
    let mut driver = Driver::new(engine, work, first)?;
    let timer = ticking(LOOK)?;
    driver.begin()?;
    loop {
        driver.admit()?;
        driver.launch();
        if driver.flying.is_empty() && driver.queue.is_empty() && driver.over {
            break;
        }
        let idle = !driver.over && driver.schedule.is_some() && driver.flying.len() < driver.limits.lanes;
        tokio::select! {
            biased;
            Some(done) = driver.flying.join_next() => driver.complete(done??)?,
            ticked = ticks(&timer), if idle => drop(ticked?),
            () = tokio::time::sleep(DRAIN) => return Err("a batch took more than two minutes".into()),
        }
    }
    driver.outcome()
}

impl Driver {
    fn new(engine: &Rc<Engine>, work: Work, first: u64) -> Result<Self> {
        let schedule = match work {
            Work::Rate { rate, warm_up, measured } => Some(Schedule::new(rate.max(1), warm_up + measured)),
            Work::Full { .. } | Work::Cycles { .. } => None,
        };
        let limits = engine.limits();
        Ok(Self {
            engine: Rc::clone(engine),
            limits,
            work,
            schedule,
            first,
            next: first,
            open: 0,
            over: false,
            queue: VecDeque::with_capacity(limits.outstanding * 2),
            flying: JoinSet::new(),
            started: Instant::now(),
            window: Window::new()?,
        })
    }

    fn begin(&mut self) -> Result<()> {
        self.started = Instant::now();
        if matches!(self.work, Work::Cycles { .. }) {
            self.window.open(self.started)?;
        }
        Ok(())
    }

    /// Queues the cycles that begin now.
    fn admit(&mut self) -> Result<()> {
        let begun = self.next - self.first;
        match (self.work, self.schedule) {
            (_, Some(schedule)) => {
                self.open_at_rate()?;
                for number in begun..schedule.due_by(self.started.elapsed()) {
                    self.begin_cycle(self.started + schedule.due(number));
                }
                self.over = self.next - self.first >= schedule.total;
            }
            (Work::Cycles { count, until }, None) => {
                let now = Instant::now();
                let more = if now < until { count - begun } else { 0 };
                let room = self.limits.outstanding - self.open;
                (0..more.min(u64::try_from(room).unwrap_or(u64::MAX))).for_each(|_| self.begin_cycle(now));
                self.over = now >= until || self.next - self.first >= count;
            }
            (_, None) if !self.over => {
                let now = Instant::now();
                (self.open..self.limits.outstanding).for_each(|_| self.begin_cycle(now));
            }
            (_, None) => {}
        }
        Ok(())
    }

    /// At a constant rate the window opens before the first cycle that counts begins, so that none is forgotten.
    fn open_at_rate(&mut self) -> Result<()> {
        match self.work {
            Work::Rate { warm_up, .. }
                if self.window.opened.is_none() && self.started.elapsed() >= warm_up =>
            {
                self.window.open(Instant::now())
            }
            _ => Ok(()),
        }
    }

    fn begin_cycle(&mut self, due: Instant) {
        let last = !self.engine.holds();
        self.queue.push_back(Item { cycle: self.next, last, since: due, begun: due });
        self.next += 1;
        self.open += 1;
    }

    /// Sends what has queued up, as far as it may be sent.
    fn launch(&mut self) {
        while self.flying.len() < self.limits.lanes && !self.queue.is_empty() {
            let size = self.queue.len().min(self.limits.batch);
            let items: Vec<Item> = self.queue.drain(..size).collect();
            let engine = Rc::clone(&self.engine);
            self.flying.spawn_local(async move {
                engine.apply(&items).await?;
                Ok(items)
            });
        }
    }

    /// A batch is durable.
    fn complete(&mut self, items: Vec<Item>) -> Result<()> {
        let now = Instant::now();
        let first_measured = match self.work {
            Work::Rate { rate, warm_up, .. } => self.first + Schedule::new(rate.max(1), warm_up).total,
            Work::Full { .. } | Work::Cycles { .. } => self.first,
        };
        let counts = self.window.counts();
        if counts {
            self.window.batches += 1;
            self.window.batched += u64::try_from(items.len())?;
        }
        for item in &items {
            if counts && item.cycle >= first_measured {
                self.window.record(item, now);
            }
        }
        for item in items {
            if item.last {
                self.open -= 1;
            } else {
                self.queue.push_back(Item { last: true, since: now, ..item });
            }
        }
        self.move_window(now)
    }

    /// At full speed the window opens and closes between two batches, so that whole ones are counted.
    fn move_window(&mut self, now: Instant) -> Result<()> {
        let Work::Full { warm_up, measured } = self.work else { return Ok(()) };
        match &self.window.opened {
            None if now - self.started >= warm_up => self.window.open(now)?,
            Some((opened, _)) if now - *opened >= measured && !self.over => {
                self.window.close(now)?;
                self.over = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn outcome(mut self) -> Result<Outcome> {
        if self.window.closed.is_none() {
            self.window.close(Instant::now())?;
        }
        let window = self.window;
        let (Some((opened, before)), Some((closed, after))) = (&window.opened, &window.closed) else {
            return Err("nothing was measured: the time is too short for a single batch".into());
        };
        Ok(Outcome {
            cycles: self.first..self.next,
            measured: window.measured,
            elapsed: *closed - *opened,
            put_off: Duration::ZERO,
            used: window.meters.used(before, after),
            commands: window.commands,
            whole: window.whole,
            batches: window.batches,
            batched: window.batched,
        })
    }
}

impl Window {
    fn new() -> Result<Self> {
        Ok(Self {
            opened: None,
            closed: None,
            measured: 0,
            commands: stats::histogram()?,
            whole: stats::histogram()?,
            batches: 0,
            batched: 0,
            meters: Meters::new(Vec::new()),
        })
    }

    const fn counts(&self) -> bool {
        self.opened.is_some() && self.closed.is_none()
    }

    fn open(&mut self, now: Instant) -> Result<()> {
        self.opened = Some((now, self.meters.sample()?));
        Ok(())
    }

    fn close(&mut self, now: Instant) -> Result<()> {
        self.closed = Some((now, self.meters.sample()?));
        Ok(())
    }

    fn record(&mut self, item: &Item, now: Instant) {
        stats::record(&mut self.commands, now.saturating_duration_since(item.since), 1);
        if item.last {
            stats::record(&mut self.whole, now.saturating_duration_since(item.begun), 1);
            self.measured += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_off_counts_for_the_cycles_it_was_put_off_for() {
        let outcome = Outcome {
            cycles: 100..300,
            measured: 50,
            elapsed: Duration::from_secs(10),
            put_off: Duration::from_secs(4),
            commands: stats::histogram().unwrap(),
            whole: stats::histogram().unwrap(),
            batches: 1,
            batched: 1,
            used: Used { groups: Vec::new(), elsewhere: Duration::ZERO },
        };
        assert_eq!(outcome.complete(), Duration::from_secs(11));
    }
}
