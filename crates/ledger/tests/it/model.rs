//! Random batches through the ledger and through a model that is too simple to be wrong: lists of what happened, summed up from
//! scratch at every step. They must agree on every answer and every balance, whatever happens to the connections
//! meanwhile: two processes that take turns, transactions that are taken back, memories that are lost, a journal that is
//! folded at once or late.

use std::collections::{BTreeMap, BTreeSet};

use db::DbError;
use ledger::{Applied, Command, Outcome, Pace, Refusal, audit, system};
use proptest::prelude::*;

use crate::{
    ANA, BEN, BUSY, CAP, EARNINGS, Engine, World, account, at, grant, hold, micros, release, settle, transfer,
};

const CAP_LIMIT: i64 = 50;
const NEWLY: Option<Applied> = Some(Applied { replayed: false });
const AGAIN: Option<Applied> = Some(Applied { replayed: true });

/// Everything that ever happened; no running totals.
#[derive(Default)]
struct Model {
    /// What reached (or, negative, left) which account.
    moves: Vec<(i64, i64)>,
    grants: BTreeMap<i64, (i64, i64)>,
    taken: BTreeMap<i64, (i64, i64)>,
    holds: BTreeMap<i64, ModelHold>,
    frozen: BTreeSet<i64>,
}

struct ModelHold {
    of: i64,
    amount: i64,
    capped: bool,
    expires_at: i64,
    /// `None` while open, then charge and fee, or nothing.
    end: Option<Option<(i64, i64)>>,
}

impl Model {
    fn posted(&self, id: i64) -> i64 {
        self.moves.iter().filter(|(of, _)| *of == id).map(|(_, amount)| amount).sum()
    }

    fn held(&self, id: i64) -> i64 {
        self.holds.values().filter(|hold| hold.of == id && hold.end.is_none()).map(|hold| hold.amount).sum()
    }

    fn available(&self, id: i64) -> i64 {
        self.posted(id) - self.held(id)
    }

    fn debt(&self, id: i64) -> i64 {
        -self.posted(-id)
    }

    fn cap_used(&self) -> i64 {
        let charged = |hold: &ModelHold| hold.end.flatten().map_or(0, |(charge, _)| charge);
        let capped = self.holds.values().filter(|hold| hold.capped);
        capped.map(|hold| if hold.end.is_none() { hold.amount } else { charged(hold) }).sum()
    }

    fn repay(&mut self, id: i64) {
        let pay = self.available(id).min(self.debt(id));
        if pay > 0 {
            self.moves.extend([(id, -pay), (-id, pay)]);
        }
    }

    /// Whether the command is taken: newly, again, or not.
    fn apply(&mut self, step: &Step, now: i64) -> Option<Applied> {
        match *step {
            Step::Grant { id, to, amount } => {
                if let Some(&first) = self.grants.get(&id) {
                    return if amount > 0 && first == (to, amount) { AGAIN } else { None };
                }
                if amount <= 0 {
                    return None;
                }
                self.grants.insert(id, (to, amount));
                self.moves.extend([(2, -amount), (to, amount)]);
                self.repay(to);
                NEWLY
            }
            Step::Hold { id, of, amount, capped, expires_at } => {
                if let Some(first) = self.holds.get(&id) {
                    let same = first.of == of && first.amount == amount && first.capped == capped;
                    return if same { AGAIN } else { None };
                }
                let fits = amount >= 0
                    && !self.frozen.contains(&of)
                    && self.debt(of) == 0
                    && self.available(of) >= amount
                    && (!capped || self.cap_used() + amount <= CAP_LIMIT);
                fits.then(|| self.holds.insert(id, ModelHold { of, amount, capped, expires_at, end: None }));
                if fits { NEWLY } else { None }
            }
            Step::Settle { id, charge, fee } => self.settle(id, charge, fee),
            Step::Release { id } => self.give_back(id, None),
            Step::Expire { id } => self.give_back(id, Some(now)),
            Step::TakeBack { id, of, amount } => self.take_back(id, of, amount),
            Step::Freeze { of, frozen } => {
                let changed = if frozen { self.frozen.insert(of) } else { self.frozen.remove(&of) };
                if changed { NEWLY } else { AGAIN }
            }
        }
    }

    fn settle(&mut self, id: i64, charge: i64, fee: i64) -> Option<Applied> {
        let hold = self.holds.get_mut(&id)?;
        match hold.end {
            Some(Some(first)) => return if first == (charge, fee) { AGAIN } else { None },
            Some(None) => return None,
            None if fee < 0 || fee > charge || charge > hold.amount => return None,
            None => hold.end = Some(Some((charge, fee))),
        }
        let of = hold.of;
        self.moves.extend([(of, -charge), (EARNINGS, charge - fee), (3, fee)]);
        self.repay(of);
        NEWLY
    }

    fn give_back(&mut self, id: i64, expired_at: Option<i64>) -> Option<Applied> {
        let hold = self.holds.get_mut(&id)?;
        match hold.end {
            Some(Some(_)) => return None,
            Some(None) => return AGAIN,
            None if expired_at.is_some_and(|now| now < hold.expires_at) => return None,
            None => hold.end = Some(None),
        }
        let of = hold.of;
        self.repay(of);
        NEWLY
    }

    fn take_back(&mut self, id: i64, of: i64, amount: i64) -> Option<Applied> {
        if amount <= 0 {
            return None;
        }
        if let Some(&first) = self.taken.get(&id) {
            return if first == (of, amount) { AGAIN } else { None };
        }
        self.taken.insert(id, (of, amount));
        let there = self.available(of).min(amount);
        self.moves.extend([(of, -there), (1, amount), (-of, there - amount)]);
        NEWLY
    }
}

#[derive(Clone, Debug)]
enum Step {
    Grant { id: i64, to: i64, amount: i64 },
    Hold { id: i64, of: i64, amount: i64, capped: bool, expires_at: i64 },
    Settle { id: i64, charge: i64, fee: i64 },
    Release { id: i64 },
    Expire { id: i64 },
    TakeBack { id: i64, of: i64, amount: i64 },
    Freeze { of: i64, frozen: bool },
}

impl Step {
    fn command(&self) -> Command {
        match *self {
            Self::Grant { id, to, amount } => grant(id, to, amount),
            Self::Hold { id, of, amount, capped, expires_at } => {
                let Command::Hold { id, account, amount, .. } = hold(id, of, amount) else {
                    panic!("a hold")
                };
                Command::Hold { id, account, amount, cap: capped.then_some(CAP), expires_at: at(expires_at) }
            }
            Self::Settle { id, charge, fee } => settle(id, charge, fee),
            Self::Release { id } => release(id),
            Self::Expire { id } => Command::Expire { hold: transfer(id) },
            Self::TakeBack { id, of, amount } => Command::TakeBack {
                id: transfer(id),
                from: account(of),
                to: system::sales(),
                amount: micros(amount),
                note: None,
            },
            Self::Freeze { of, frozen } => Command::Freeze { account: account(of), frozen },
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    // Few ids, so that they collide; amounts around what there is.
    let hold_id = 1000_i64..1012;
    let wallet = || prop_oneof![Just(ANA), Just(BEN)];
    prop_oneof![
        4 => (1_i64..8, wallet(), -1_i64..60).prop_map(|(id, to, amount)| Step::Grant { id, to, amount }),
        8 => (hold_id.clone(), wallet(), -1_i64..40, any::<bool>(), 0_i64..20)
            .prop_map(|(id, of, amount, capped, expires_at)| Step::Hold { id, of, amount, capped, expires_at }),
        8 => (hold_id.clone(), 0_i64..40, -1_i64..6).prop_map(|(id, charge, fee)| Step::Settle { id, charge, fee }),
        4 => hold_id.clone().prop_map(|id| Step::Release { id }),
        2 => hold_id.prop_map(|id| Step::Expire { id }),
        1 => (500_i64..504, wallet(), 0_i64..50).prop_map(|(id, of, amount)| Step::TakeBack { id, of, amount }),
        1 => (wallet(), any::<bool>()).prop_map(|(of, frozen)| Step::Freeze { of, frozen }),
    ]
}

/// What happens around a batch.
#[derive(Clone, Debug)]
struct Turn {
    steps: Vec<Step>,
    /// Which of two processes submits it.
    second_process: bool,
    /// It is submitted once and taken back before it is submitted for good.
    taken_back_first: bool,
    /// How soon the tables follow.
    busy: bool,
}

fn turn() -> impl Strategy<Value = Turn> {
    let steps = prop::collection::vec(step(), 1..12);
    (steps, prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.8)).prop_map(
        |(steps, second_process, taken_back_first, busy)| Turn {
            steps,
            second_process,
            taken_back_first,
            busy,
        },
    )
}

async fn compare(engine: Engine, turns: Vec<Turn>) {
    let mut world = World::new(engine).await;
    let mut other = world.second_process().await;
    let mut model = Model::default();
    let mut audited = None;
    for (now, turn) in (0_i64..).zip(&turns) {
        let commands: Vec<Command> = turn.steps.iter().map(Step::command).collect();
        let pace = if turn.busy { BUSY } else { Pace::default() };
        let world = if turn.second_process { &mut other } else { &mut world };
        world.pace = pace;
        if turn.taken_back_first {
            world.submit_in_vain(now, &commands).await;
        }
        let outcomes = world.submit_at(now, &commands).await;
        for (step, outcome) in turn.steps.iter().zip(&outcomes) {
            exact_shortage(step, outcome, &model);
            let expected = model.apply(step, now);
            assert_eq!(outcome.clone().ok(), expected, "{step:?} answered {outcome:?}");
        }
        for id in [ANA, BEN] {
            assert_eq!(world.balance(id).await, (model.posted(id), model.held(id)));
        }
        assert_eq!(world.balance(EARNINGS).await.0, model.posted(EARNINGS));
        world.check().await;
        audited = Some(audit_recent(world, audited).await);
    }
    while !world.db.tx("fold", async |tx| ledger::fold(tx, 1).await).await.unwrap() {
        world.check().await;
    }
    world.check().await;
    assert_eq!(world.balance(ANA).await, (model.posted(ANA), model.held(ANA)));
}

async fn audit_recent(world: &World, from: Option<audit::Position>) -> audit::Position {
    let recent = world.db.read("recent", async move |tx| audit::recent(tx, from).await).await.unwrap();
    assert_eq!((recent.findings, recent.skipped), (vec![], 0));
    recent.position
}

/// A refusal for want of credits names the true numbers.
fn exact_shortage(step: &Step, outcome: &Outcome, model: &Model) {
    if let (Step::Hold { of, amount, .. }, Err(Refusal::InsufficientCredits { required, available })) =
        (step, outcome)
    {
        assert_eq!(*required, micros(*amount));
        assert_eq!(available.get(), model.available(*of));
    }
}

impl World {
    /// Submits in a transaction that fails afterwards.
    async fn submit_in_vain(&self, now: i64, commands: &[Command]) {
        let (commands, pace) = (commands.to_vec(), self.pace);
        let failed: Result<(), DbError> = self
            .db
            .tx("in vain", async move |tx| {
                ledger::submit_at(tx, &commands, at(now), &pace).await?;
                Err(DbError::Other("taken back".to_owned()))
            })
            .await;
        assert!(failed.is_err());
    }
}

fn agree(engine: Engine, cases: u32) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    proptest!(config, |(turns in prop::collection::vec(turn(), 1..16))| {
        runtime.block_on(compare(engine, turns));
    });
}

mod sqlite {
    #[test]
    fn incident_016_the_ledger_agrees_with_the_model() {
        super::agree(crate::Engine::Sqlite, 200);
    }
}

mod postgres {
    #[test]
    fn incident_016_the_ledger_agrees_with_the_model() {
        super::agree(crate::Engine::Postgres, 20);
    }
}

#[test]
fn the_network_accounts_are_where_the_schema_puts_them() {
    assert_eq!(system::name(account(3)), Some("fees"));
    assert_eq!(system::name(account(ANA)), None);
}
