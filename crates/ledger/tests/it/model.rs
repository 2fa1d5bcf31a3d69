//! Random batches through the ledger and through a model that is too simple to be wrong: signed sums over lists,
//! recomputed from scratch at every step. They must agree on every answer and every balance.

use std::collections::BTreeMap;

use ledger::{Applied, Command, Outcome, Refusal, system};
use proptest::prelude::*;

use crate::{ANA, BEN, CAP, EARNINGS, World, account, at, grant, hold, micros, release, settle, transfer};

const CAP_LIMIT: i64 = 50;

/// Everything that ever happened; no running totals.
#[derive(Default)]
struct Model {
    grants: BTreeMap<i64, (i64, i64)>,
    holds: BTreeMap<i64, ModelHold>,
}

struct ModelHold {
    of: i64,
    amount: i64,
    capped: bool,
    expires_at: i64,
    /// `None` while open, then charge and fee, or nothing.
    end: Option<Option<(i64, i64)>>,
}

impl ModelHold {
    fn charged(&self) -> i64 {
        self.end.flatten().map_or(0, |(charge, _)| charge)
    }
}

impl Model {
    fn posted(&self, id: i64) -> i64 {
        let granted: i64 = self.grants.values().filter(|(to, _)| *to == id).map(|(_, amount)| amount).sum();
        let spent: i64 = self.holds.values().filter(|hold| hold.of == id).map(ModelHold::charged).sum();
        granted - spent
    }

    fn held(&self, id: i64) -> i64 {
        self.holds.values().filter(|hold| hold.of == id && hold.end.is_none()).map(|hold| hold.amount).sum()
    }

    fn cap_used(&self) -> i64 {
        let capped = self.holds.values().filter(|hold| hold.capped);
        capped.map(|hold| if hold.end.is_none() { hold.amount } else { hold.charged() }).sum()
    }

    fn earned(&self) -> i64 {
        self.holds.values().filter_map(|hold| hold.end.flatten()).map(|(charge, fee)| charge - fee).sum()
    }

    /// Whether the command is taken: newly, again, or not.
    fn apply(&mut self, command: &Step, now: i64) -> Option<Applied> {
        let newly = Some(Applied { replayed: false });
        let again = Some(Applied { replayed: true });
        match *command {
            Step::Grant { id, to, amount } => match self.grants.get(&id) {
                Some(&first) => (amount > 0 && first == (to, amount)).then_some(Applied { replayed: true }),
                None if amount <= 0 => None,
                None => {
                    self.grants.insert(id, (to, amount));
                    newly
                }
            },
            Step::Hold { id, of, amount, capped, expires_at } => {
                if let Some(first) = self.holds.get(&id) {
                    return if first.of == of && first.amount == amount && first.capped == capped {
                        again
                    } else {
                        None
                    };
                }
                let fits = amount >= 0
                    && self.posted(of) - self.held(of) >= amount
                    && (!capped || self.cap_used() + amount <= CAP_LIMIT);
                fits.then(|| self.holds.insert(id, ModelHold { of, amount, capped, expires_at, end: None }));
                if fits { newly } else { None }
            }
            Step::Settle { id, charge, fee } => {
                let hold = self.holds.get_mut(&id)?;
                match hold.end {
                    Some(Some(first)) => return if first == (charge, fee) { again } else { None },
                    Some(None) => return None,
                    None if fee < 0 || fee > charge || charge > hold.amount => return None,
                    None => hold.end = Some(Some((charge, fee))),
                }
                newly
            }
            Step::Release { id } => self.give_back(id, None),
            Step::Expire { id } => self.give_back(id, Some(now)),
        }
    }

    fn give_back(&mut self, id: i64, expired_at: Option<i64>) -> Option<Applied> {
        let hold = self.holds.get_mut(&id)?;
        match hold.end {
            Some(Some(_)) => None,
            Some(None) => Some(Applied { replayed: true }),
            None if expired_at.is_some_and(|now| now < hold.expires_at) => None,
            None => {
                hold.end = Some(None);
                Some(Applied { replayed: false })
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Grant { id: i64, to: i64, amount: i64 },
    Hold { id: i64, of: i64, amount: i64, capped: bool, expires_at: i64 },
    Settle { id: i64, charge: i64, fee: i64 },
    Release { id: i64 },
    Expire { id: i64 },
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
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    // Few ids, so that they collide; amounts around what there is.
    let hold_id = 1000_i64..1012;
    let wallet = prop_oneof![Just(ANA), Just(BEN)];
    prop_oneof![
        2 => (1_i64..8, wallet.clone(), -1_i64..60).prop_map(|(id, to, amount)| Step::Grant { id, to, amount }),
        4 => (hold_id.clone(), wallet, -1_i64..40, any::<bool>(), 0_i64..20)
            .prop_map(|(id, of, amount, capped, expires_at)| Step::Hold { id, of, amount, capped, expires_at }),
        4 => (hold_id.clone(), 0_i64..40, -1_i64..6).prop_map(|(id, charge, fee)| Step::Settle { id, charge, fee }),
        2 => hold_id.clone().prop_map(|id| Step::Release { id }),
        1 => hold_id.prop_map(|id| Step::Expire { id }),
    ]
}

async fn compare(batches: Vec<Vec<Step>>) {
    let world = World::new().await;
    let mut model = Model::default();
    for (now, batch) in (0_i64..).zip(&batches) {
        let commands: Vec<Command> = batch.iter().map(Step::command).collect();
        let outcomes = world.submit_at(now, &commands).await;
        for (step, outcome) in batch.iter().zip(&outcomes) {
            let expected = model.apply(step, now);
            assert_eq!(outcome.clone().ok(), expected, "{step:?} answered {outcome:?}");
            exact_shortage(step, outcome, &model);
        }
        for id in [ANA, BEN] {
            assert_eq!(world.balance(id).await, (model.posted(id), model.held(id)));
        }
        assert_eq!(world.balance(EARNINGS).await.0, model.earned());
    }
    world.check().await;
}

/// A refusal for want of credits names the true numbers.
fn exact_shortage(step: &Step, outcome: &Outcome, model: &Model) {
    if let (Step::Hold { of, amount, .. }, Err(Refusal::InsufficientCredits { required, available })) =
        (step, outcome)
    {
        assert_eq!(*required, micros(*amount));
        assert_eq!(available.get(), model.posted(*of) - model.held(*of));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn incident_016_the_ledger_agrees_with_the_model(
        batches in prop::collection::vec(prop::collection::vec(step(), 1..12), 1..12)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare(batches));
    }
}

#[test]
fn the_network_accounts_are_where_the_schema_puts_them() {
    assert_eq!(system::name(account(3)), Some("fees"));
    assert_eq!(system::name(account(ANA)), None);
}
