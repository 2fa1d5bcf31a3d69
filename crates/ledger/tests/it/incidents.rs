//! Money bugs that happened to others, as far as a ledger can have them. Each test has the number of its incident.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use db::{Db, DbError, FaultPoint, Faults, OpenOptions};
use ledger::{Applied, Command, Limits, Outcome, Period, Refusal};

use crate::{
    ANA, BEN, CAP, EARNINGS, Engine, World, account, at, grant, hold, micros, release, settle, transfer,
};

crate::on_both_engines! {
    incident_001_two_jobs_one_balance,
    incident_003_two_jobs_one_limit,
    incident_004_a_limit_counts_what_is_held,
    incident_006_the_first_spend_on_an_account_without_a_history,
    incident_007_what_another_process_did_is_seen_before_it_is_decided,
    incident_008_memories_are_lost_at_any_time,
    incident_009_the_rich_hold_like_everybody,
    incident_010_two_processes_meet_an_account_at_once,
    incident_013_a_charge_never_exceeds_its_hold,
    incident_016_one_job_never_pays_from_the_hold_of_another,
    incident_021_the_answer_is_lost_after_the_commit,
    incident_023_a_settlement_is_repeated_after_a_timeout,
    incident_024_a_hold_is_settled_once_whoever_asks,
    incident_025_an_id_is_never_given_twice,
    incident_030_a_hold_ends_with_its_charge,
    incident_086_parts_add_up_to_the_unit,
    incident_087_the_smallest_amount_is_spendable,
}

const DONE: Outcome = Ok(Applied { replayed: false });
const AGAIN: Outcome = Ok(Applied { replayed: true });

fn capped(id: i64, amount: i64) -> Command {
    Command::Hold {
        id: transfer(id),
        account: account(ANA),
        amount: micros(amount),
        cap: Some(CAP),
        expires_at: at(1000),
    }
}

/// Submits from two processes at the same time, `n` commands each.
async fn race(world: &World, n: i64, command: impl Fn(i64) -> Command) -> Vec<Outcome> {
    let other = world.second_process().await;
    let mut tasks = Vec::new();
    for number in 0..2 * n {
        let db = if number % 2 == 0 { world.db.clone() } else { other.db.clone() };
        let commands = vec![command(number)];
        tasks.push(tokio::spawn(async move {
            db.tx("race", async move |tx| {
                Ok::<_, DbError>(ledger::submit(tx, &commands, at(0)).await?.outcomes)
            })
            .await
        }));
    }
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.extend(task.await.unwrap().unwrap());
    }
    outcomes
}

fn taken(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| **outcome == DONE).count()
}

async fn incident_001_two_jobs_one_balance(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 10)]).await;
    let outcomes = race(&world, 8, |number| hold(100 + number, ANA, 10)).await;
    assert_eq!(taken(&outcomes), 1, "{outcomes:?}");
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Refusal::InsufficientCredits { .. })))
    );
    assert_eq!(world.balance(ANA).await, (10, 10));
    world.check().await;
}

async fn incident_003_two_jobs_one_limit(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 1000)]).await;
    // 50 fit under the limit: seven of seven.
    let outcomes = race(&world, 8, |number| capped(100 + number, 7)).await;
    assert_eq!(taken(&outcomes), 7, "{outcomes:?}");
    let over = |outcome: &Outcome| matches!(outcome, Err(Refusal::CapExceeded { period: Period::Total, .. }));
    assert_eq!(outcomes.iter().filter(|outcome| over(outcome)).count(), 9);
    assert_eq!(world.balance(ANA).await, (1000, 49));
    world.check().await;
}

async fn incident_004_a_limit_counts_what_is_held(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 1000), capped(10, 50)]).await;
    assert!(matches!(world.submit(&[capped(11, 1)]).await[0], Err(Refusal::CapExceeded { .. })));
    assert_eq!(world.submit(&[settle(10, 20, 2), capped(11, 30), capped(12, 0)]).await, [DONE, DONE, DONE]);
    assert!(matches!(world.submit(&[capped(13, 1)]).await[0], Err(Refusal::CapExceeded { .. })));
    world.check().await;
}

async fn incident_006_the_first_spend_on_an_account_without_a_history(engine: Engine) {
    let world = World::new(engine).await;
    let outcomes = race(&world, 4, |number| hold(100 + number, BEN, 1)).await;
    assert_eq!(taken(&outcomes), 0, "{outcomes:?}");
    // And on one that is not there when the first of them looks.
    let outcomes = race(&world, 4, |number| hold(200 + number, 104, 1)).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Err(Refusal::NoSuchAccount)), "{outcomes:?}");
    world
        .db
        .tx("open", async |tx| {
            ledger::open_account(tx, account(104), ledger::AccountKind::Wallet, at(0)).await
        })
        .await
        .unwrap();
    world.submit(&[grant(1, 104, 3)]).await;
    let outcomes = race(&world, 4, |number| hold(300 + number, 104, 1)).await;
    assert_eq!(taken(&outcomes), 3, "{outcomes:?}");
    world.check().await;
}

async fn incident_007_what_another_process_did_is_seen_before_it_is_decided(engine: Engine) {
    let world = World::new(engine).await;
    let other = world.second_process().await;
    world.submit(&[grant(1, ANA, 10)]).await;
    assert_eq!(other.submit(&[hold(10, ANA, 10)]).await, [DONE]);
    // The first process remembers ten credits that are gone, then a shortage that is over.
    assert!(matches!(world.submit(&[hold(11, ANA, 1)]).await[0], Err(Refusal::InsufficientCredits { .. })));
    assert_eq!(other.submit(&[grant(2, ANA, 5)]).await, [DONE]);
    assert_eq!(world.submit(&[hold(11, ANA, 5)]).await, [DONE]);
    // Likewise a limit, a frozen account and a hold that was ended elsewhere.
    let limit = Command::Limit { cap: CAP, limits: Limits::total(Some(micros(1))) };
    let freeze = |frozen| Command::Freeze { account: account(ANA), frozen };
    assert_eq!(world.submit(&[grant(3, ANA, 100)]).await, [DONE]);
    assert_eq!(other.submit(&[limit, freeze(true), settle(11, 5, 0)]).await, [DONE, DONE, DONE]);
    assert_eq!(world.submit(&[hold(12, ANA, 1)]).await, [Err(Refusal::Frozen)]);
    assert_eq!(world.submit(&[settle(11, 5, 0), freeze(false)]).await, [AGAIN, DONE]);
    assert!(matches!(other.submit(&[capped(13, 2)]).await[0], Err(Refusal::CapExceeded { .. })));
    world.check().await;
    other.check().await;
}

async fn incident_008_memories_are_lost_at_any_time(engine: Engine) {
    let mut world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 100)]).await;
    for number in 0..20 {
        world = world.second_process().await;
        world.pace = if number % 3 == 0 { crate::BUSY } else { ledger::Pace::default() };
        assert_eq!(world.submit(&[hold(10 + number, ANA, 5)]).await, [DONE]);
        if number >= 2 {
            world = world.second_process().await;
            assert_eq!(world.submit(&[settle(8 + number, 5, 1)]).await, [DONE]);
        }
        world.check().await;
    }
    assert!(matches!(world.submit(&[hold(99, ANA, 1)]).await[0], Err(Refusal::InsufficientCredits { .. })));
    assert_eq!(world.balance(ANA).await, (10, 10));
    assert_eq!(world.balance(EARNINGS).await, (72, 0));
}

async fn incident_009_the_rich_hold_like_everybody(engine: Engine) {
    let world = World::new(engine).await;
    let rich = types::money::MAX_AMOUNT.get();
    world.submit(&[grant(1, ANA, rich), hold(10, ANA, rich)]).await;
    assert_eq!(world.balance(ANA).await, (rich, rich));
    assert!(matches!(world.submit(&[hold(11, ANA, 1)]).await[0], Err(Refusal::InsufficientCredits { .. })));
    world.check().await;
}

async fn incident_010_two_processes_meet_an_account_at_once(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 6)]).await;
    for round in 0..6 {
        // Two processes that know nothing yet.
        let world = world.second_process().await;
        let outcomes = race(&world, 1, |number| hold(100 + 2 * round + number, ANA, 4)).await;
        assert_eq!(taken(&outcomes), 1, "{outcomes:?}");
        for number in 0..2 {
            world.submit(&[release(100 + 2 * round + number)]).await;
        }
        assert_eq!(world.balance(ANA).await, (6, 0));
    }
    world.check().await;
}

async fn incident_013_a_charge_never_exceeds_its_hold(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 100), hold(10, ANA, 5)]).await;
    assert_eq!(world.submit(&[settle(10, 6, 0)]).await, [Err(Refusal::ChargeExceedsHold)]);
    assert_eq!(world.balance(ANA).await, (100, 5));
    world.check().await;
}

async fn incident_016_one_job_never_pays_from_the_hold_of_another(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 10), hold(10, ANA, 4), hold(11, ANA, 6)]).await;
    assert_eq!(world.submit(&[settle(10, 5, 0)]).await, [Err(Refusal::ChargeExceedsHold)]);
    let to_ben = Command::Transfer {
        id: transfer(50),
        kind: ledger::TransferKind::Grant,
        from: account(ANA),
        to: account(BEN),
        amount: micros(1),
        note: None,
    };
    assert!(matches!(world.submit(&[to_ben]).await[0], Err(Refusal::InsufficientCredits { .. })));
    assert_eq!(world.submit(&[settle(11, 6, 0), settle(10, 4, 0)]).await, [DONE, DONE]);
    assert_eq!(world.balance(ANA).await, (0, 0));
    world.check().await;
}

/// Loses the next answer.
#[derive(Debug, Default)]
struct LosesAnswers(AtomicBool);

impl Faults for LosesAnswers {
    fn fails(&self, point: FaultPoint) -> bool {
        point == FaultPoint::AfterCommit && self.0.swap(false, Ordering::SeqCst)
    }
}

async fn incident_021_the_answer_is_lost_after_the_commit(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 100)]).await;
    let faults = Arc::new(LosesAnswers::default());
    let shared: Arc<dyn Faults> = Arc::<LosesAnswers>::clone(&faults);
    let options = OpenOptions { faults: Some(shared), ..OpenOptions::command() };
    let db = Db::open(&world.url, options).await.unwrap();
    let submit = |command: Command| {
        db.tx("lost", async move |tx| {
            Ok::<_, DbError>(ledger::submit(tx, std::slice::from_ref(&command), at(0)).await?.outcomes)
        })
    };
    for command in [hold(10, ANA, 60), settle(10, 50, 5), grant(2, ANA, 7), hold(11, ANA, 1), release(11)] {
        faults.0.store(true, Ordering::SeqCst);
        match submit(command.clone()).await {
            // An embedded database cannot know; one across a network found out.
            Err(DbError::Unknown(_)) => {}
            Ok(outcomes) => assert_eq!(outcomes, [DONE], "{command:?}"),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(submit(command.clone()).await.unwrap(), [AGAIN], "{command:?}");
    }
    assert_eq!(world.balance(ANA).await, (57, 0));
    assert_eq!(world.balance(EARNINGS).await, (45, 0));
    world.check().await;
}

async fn incident_023_a_settlement_is_repeated_after_a_timeout(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 100), hold(10, ANA, 60)]).await;
    let outcomes = race(&world, 4, |_| settle(10, 50, 5)).await;
    assert_eq!(taken(&outcomes), 1, "{outcomes:?}");
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(world.balance(EARNINGS).await, (45, 0));
    world.check().await;
}

async fn incident_024_a_hold_is_settled_once_whoever_asks(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 100), hold(10, ANA, 60)]).await;
    // Each believes something else of what it cost, one even that it failed.
    let outcomes =
        race(&world, 4, |number| if number == 7 { release(10) } else { settle(10, 10 + number, 0) }).await;
    assert_eq!(taken(&outcomes), 1, "{outcomes:?}");
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Refusal::HoldEnded { .. }))),
        "{outcomes:?}"
    );
    assert_eq!(world.balance(ANA).await.1, 0);
    world.check().await;
}

async fn incident_025_an_id_is_never_given_twice(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 100), hold(10, ANA, 5), hold(11, ANA, 5), settle(11, 5, 0)]).await;
    let taken = |field| Err(Refusal::IdTaken { field });
    let outcomes = world
        .submit(&[
            grant(10, ANA, 5),
            grant(11, ANA, 5),
            grant(1, BEN, 100),
            hold(1, ANA, 100),
            hold(10, BEN, 5),
        ])
        .await;
    assert_eq!(outcomes, [taken("kind"), taken("kind"), taken("to"), taken("account"), taken("account")]);
    world.check().await;
}

async fn incident_030_a_hold_ends_with_its_charge(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 100), hold(10, ANA, 60)]).await;
    assert_eq!(world.submit(&[settle(10, 1, 0)]).await, [DONE]);
    assert_eq!(world.balance(ANA).await, (99, 0));
    assert!(world.db.read("open", async |tx| ledger::open_holds(tx).await).await.unwrap().is_empty());
    world.check().await;
}

async fn incident_086_parts_add_up_to_the_unit(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 1_000_000)]).await;
    let mut spent = 0;
    for charge in 0..40_i64 {
        let fee = micros(charge).percent_rounded_down(10).get();
        world.submit(&[hold(100 + charge, ANA, charge), settle(100 + charge, charge, fee)]).await;
        spent += charge;
    }
    let (earned, fees) = (world.balance(EARNINGS).await.0, world.balance(3).await.0);
    assert_eq!((world.balance(ANA).await.0, earned + fees), (1_000_000 - spent, spent));
    world.check().await;
}

async fn incident_087_the_smallest_amount_is_spendable(engine: Engine) {
    let world = World::new(engine).await;
    assert_eq!(
        world.submit(&[grant(1, ANA, 1), hold(10, ANA, 1), settle(10, 1, 0)]).await,
        [DONE, DONE, DONE]
    );
    assert_eq!((world.balance(ANA).await, world.balance(EARNINGS).await), ((0, 0), (1, 0)));
    world.check().await;
}
