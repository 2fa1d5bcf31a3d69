//! An engine that only takes its time, and remembers what it was asked: for tests of the driver.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::sleep;

use super::driver::{Item, Limits, Outcome, Work, run};
use super::engine::Engine;
use super::trade::Totals;
use crate::Result;

/// Answers after a while; once it stalls.
#[derive(Debug)]
pub struct Fake {
    pub limits: Limits,
    pub takes: Duration,
    /// The batch with this number takes longer.
    pub stalled: (usize, Duration),
    pub under_way: Cell<usize>,
    /// The sizes of the batches so far.
    pub batches: RefCell<Vec<usize>>,
    /// What became of each cycle: held, settled.
    pub cycles: RefCell<Vec<[u32; 2]>>,
}

impl Fake {
    fn new(takes: Duration, stalled: (usize, Duration)) -> Self {
        Self {
            limits: Limits { batch: 10, lanes: 2, outstanding: 30 },
            takes,
            stalled,
            under_way: Cell::new(0),
            batches: RefCell::default(),
            cycles: RefCell::default(),
        }
    }

    pub async fn apply(&self, items: &[Item]) -> Result<()> {
        self.under_way.set(self.under_way.get() + 1);
        assert!(self.under_way.get() <= self.limits.lanes && items.len() <= self.limits.batch);
        let number = self.batches.borrow().len();
        self.batches.borrow_mut().push(items.len());
        sleep(if number == self.stalled.0 { self.stalled.1 } else { self.takes }).await;
        let mut cycles = self.cycles.borrow_mut();
        for item in items {
            let index = usize::try_from(item.cycle)?;
            let known = cycles.len().max(index + 1);
            cycles.resize(known, [0, 0]);
            assert!(!item.last || cycles[index][0] == 1, "{item:?} settles what is not held");
            cycles[index][usize::from(item.last)] += 1;
        }
        self.under_way.set(self.under_way.get() - 1);
        Ok(())
    }

    pub fn verify(&self, expected: Totals) -> Result<()> {
        let cycles = self.cycles.borrow();
        assert_eq!(u64::try_from(cycles.len())?, expected.cycles);
        assert!(cycles.iter().all(|cycle| *cycle == [1, 1]), "{cycles:?}");
        Ok(())
    }
}

async fn driven(fake: Fake, work: Work) -> (Outcome, Rc<Engine>) {
    let engine = Rc::new(Engine::Fake(fake));
    let outcome = LocalSet::new().run_until(run(&engine, work, 0)).await.unwrap();
    let expected = Totals { cycles: outcome.cycles.end, ..Totals::default() };
    engine.verify(expected).await.unwrap();
    (outcome, engine)
}

const NO_STALL: (usize, Duration) = (usize::MAX, Duration::ZERO);

#[tokio::test]
async fn a_stall_is_charged_to_all_cycles_that_were_due_meanwhile() {
    let stall = Duration::from_millis(300);
    let (warm_up, measured) = (Duration::ZERO, Duration::from_millis(600));
    let mut fake = Fake::new(Duration::from_millis(1), (5, stall));
    (fake.limits.lanes, fake.limits.batch) = (1, 1000);
    let (outcome, _) = driven(fake, Work::Rate { rate: 500, warm_up, measured }).await;
    assert_eq!((outcome.measured, outcome.cycles.end), (300, 300));
    // Half of the cycles were due while nothing was answered, half of them for longer than 100 ms.
    let at = |quantile| outcome.whole.value_at_quantile(quantile);
    assert!(at(0.8) > 100_000 && at(0.98) > 200_000, "{} {}", at(0.8), at(0.98));
    assert!(at(0.1) < 100_000, "{}", at(0.1));
}

#[tokio::test]
async fn at_full_speed_batches_are_full_and_what_began_is_ended() {
    let (warm_up, measured) = (Duration::from_millis(50), Duration::from_millis(200));
    let (outcome, engine) =
        driven(Fake::new(Duration::from_millis(2), NO_STALL), Work::Full { warm_up, measured }).await;
    let Engine::Fake(fake) = &*engine else { panic!("another engine") };
    let batches = fake.batches.borrow();
    // The last ones are what is left.
    assert!(batches[..batches.len() - 6].iter().all(|size| *size == 10), "{batches:?}");
    assert!(outcome.elapsed >= measured && outcome.measured > 20, "{outcome:?}");
    assert!(
        outcome.measured < outcome.cycles.end && outcome.batched >= outcome.measured * 2 - 30,
        "{outcome:?}"
    );
}

#[tokio::test]
async fn so_many_cycles_as_are_wanted() {
    let until = std::time::Instant::now() + Duration::from_secs(60);
    let (outcome, _) =
        driven(Fake::new(Duration::from_millis(1), NO_STALL), Work::Cycles { count: 47, until }).await;
    assert_eq!((outcome.measured, outcome.cycles), (47, 0..47));
    let over = std::time::Instant::now();
    let (outcome, _) =
        driven(Fake::new(Duration::from_millis(1), NO_STALL), Work::Cycles { count: 47, until: over }).await;
    assert_eq!(outcome.measured, 0);
}
