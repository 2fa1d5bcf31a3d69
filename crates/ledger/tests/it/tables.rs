//! One line a case: what is asked, what is answered.

use db::DbError;
use ledger::{Applied, Command, HoldState, Outcome, Refusal, TransferKind, statement, system};
use types::money::MAX_AMOUNT;

use crate::{ANA, BEN, CAP, EARNINGS, World, account, at, grant, hold, micros, release, settle, transfer};

const DONE: Outcome = Ok(Applied { replayed: false });
const AGAIN: Outcome = Ok(Applied { replayed: true });

fn short(required: i64, available: i64) -> Outcome {
    Err(Refusal::InsufficientCredits { required: micros(required), available: micros(available) })
}

fn ended(state: HoldState) -> Outcome {
    Err(Refusal::HoldEnded { state })
}

#[tokio::test]
async fn every_answer() {
    let world = World::new().await;
    let capped = |id, amount| Command::Hold {
        id: transfer(id),
        account: account(ANA),
        amount: micros(amount),
        cap: Some(CAP),
        expires_at: at(1000),
    };
    let pay_self = Command::Transfer {
        id: transfer(90),
        kind: TransferKind::EarningsToWallet,
        from: account(ANA),
        to: account(ANA),
        amount: micros(1),
        note: None,
    };
    let to_self = Command::Settle { hold: transfer(40), charge: micros(1), fee: micros(0), to: account(ANA) };
    let out_of_range = |field| Err(Refusal::AmountOutOfRange { field });
    let cases: Vec<(&str, Command, Outcome)> = vec![
        ("a grant", grant(1, ANA, 100), DONE),
        ("the same again", grant(1, ANA, 100), AGAIN),
        ("another amount", grant(1, ANA, 101), Err(Refusal::IdTaken { field: "amount" })),
        ("another payee", grant(1, BEN, 100), Err(Refusal::IdTaken { field: "to" })),
        ("of nothing", grant(2, ANA, 0), out_of_range("amount")),
        ("negative", grant(2, ANA, -5), out_of_range("amount")),
        ("too much", grant(2, ANA, MAX_AMOUNT.get() + 1), out_of_range("amount")),
        ("to nobody", grant(2, 999, 5), Err(Refusal::NoSuchAccount)),
        ("to oneself", pay_self, Err(Refusal::SameAccount)),
        ("a hold", hold(10, ANA, 60), DONE),
        ("the same again", hold(10, ANA, 60), AGAIN),
        ("another amount", hold(10, ANA, 61), Err(Refusal::IdTaken { field: "amount" })),
        ("another account", hold(10, BEN, 60), Err(Refusal::IdTaken { field: "account" })),
        ("more than is left", hold(11, ANA, 41), short(41, 40)),
        ("on an empty wallet", hold(12, BEN, 1), short(1, 0)),
        ("negative", hold(12, ANA, -1), out_of_range("amount")),
        ("of nobody", hold(12, 999, 1), Err(Refusal::NoSuchAccount)),
        ("of nothing", hold(13, BEN, 0), DONE),
        ("incident 71: settle nothing", settle(13, 0, 0), DONE),
        ("charge above the hold", settle(10, 61, 0), Err(Refusal::ChargeExceedsHold)),
        ("fee above the charge", settle(10, 5, 6), Err(Refusal::FeeExceedsCharge)),
        ("negative charge", settle(10, -1, 0), out_of_range("charge")),
        ("negative fee", settle(10, 1, -1), out_of_range("fee")),
        ("settle", settle(10, 50, 5), DONE),
        ("the same again", settle(10, 50, 5), AGAIN),
        ("another charge", settle(10, 49, 5), ended(HoldState::Settled)),
        ("another fee", settle(10, 50, 4), Err(Refusal::IdTaken { field: "fee" })),
        ("release after settle", release(10), ended(HoldState::Settled)),
        ("hold after settle", hold(10, ANA, 60), AGAIN),
        ("no such hold", settle(77, 1, 0), Err(Refusal::NoSuchHold)),
        ("no such hold", release(77), Err(Refusal::NoSuchHold)),
        ("a hold", hold(20, ANA, 10), DONE),
        ("release", release(20), DONE),
        ("the same again", release(20), AGAIN),
        ("settle after release", settle(20, 1, 0), ended(HoldState::Released)),
        ("a hold", hold(30, ANA, 10), DONE),
        ("expire too soon", Command::Expire { hold: transfer(30) }, Err(Refusal::NotExpired)),
        ("a capped hold", capped(40, 30), DONE),
        (
            "incident 4: the cap counts what is held",
            capped(41, 21),
            Err(Refusal::InsufficientCredits { required: micros(21), available: micros(10) }),
        ),
        ("more credits", grant(3, ANA, 100), DONE),
        (
            "the cap counts what is held",
            capped(41, 21),
            Err(Refusal::CapExceeded { required: micros(21), available: micros(20) }),
        ),
        ("pay oneself", to_self, Err(Refusal::SameAccount)),
        ("settle under the cap", settle(40, 25, 0), DONE),
        ("what was not charged is free again", capped(42, 25), DONE),
        (
            "the cap counts what is spent",
            capped(43, 1),
            Err(Refusal::CapExceeded { required: micros(1), available: micros(0) }),
        ),
    ];
    for (what, command, expected) in cases {
        let before = (world.balance(ANA).await, world.balance(BEN).await, world.balance(EARNINGS).await);
        let outcome = world.submit(std::slice::from_ref(&command)).await.remove(0);
        assert_eq!(outcome, expected, "{what}: {command:?}");
        let after = (world.balance(ANA).await, world.balance(BEN).await, world.balance(EARNINGS).await);
        if !matches!(outcome, Ok(Applied { replayed: false })) {
            assert_eq!(before, after, "{what} changed something: {command:?}");
        }
        world.check().await;
    }
    assert_eq!(world.balance(ANA).await, (125, 35));
    assert_eq!(world.balance(EARNINGS).await, (70, 0));
}

#[tokio::test]
async fn a_batch_takes_effect_in_order_and_a_refusal_disturbs_nobody() {
    let world = World::new().await;
    let outcomes = world
        .submit(&[
            hold(10, ANA, 5),
            grant(1, ANA, 10),
            hold(11, ANA, 6),
            hold(12, ANA, 6),
            settle(11, 6, 1),
            hold(11, ANA, 6),
            settle(11, 6, 1),
            grant(1, ANA, 10),
            hold(13, ANA, 4),
            release(13),
            hold(14, ANA, 4),
        ])
        .await;
    let short = |required, available| short(required, available);
    assert_eq!(outcomes, [short(5, 0), DONE, DONE, short(6, 4), DONE, AGAIN, AGAIN, AGAIN, DONE, DONE, DONE]);
    assert_eq!(world.balance(ANA).await, (4, 4));
    assert_eq!(world.balance(EARNINGS).await, (5, 0));
    world.check().await;
}

#[tokio::test]
async fn holds_expire_by_the_clock_and_a_frozen_account_only_receives() {
    let world = World::new().await;
    world.submit(&[grant(1, ANA, 10), hold(10, ANA, 6)]).await;
    let due = |now| world.db.read("due", async move |tx| ledger::holds_expired(tx, at(now), 9).await);
    assert!(due(999).await.unwrap().is_empty());
    assert_eq!(due(1000).await.unwrap(), [transfer(10)]);
    let expire = Command::Expire { hold: transfer(10) };
    assert_eq!(world.submit_at(1000, &[expire.clone(), expire]).await, [DONE, AGAIN]);
    assert_eq!(world.submit(&[settle(10, 1, 0)]).await, [ended(HoldState::Expired)]);

    world.db.tx("freeze", async |tx| ledger::freeze(tx, account(ANA), true).await).await.unwrap();
    assert_eq!(world.submit(&[hold(11, ANA, 1), grant(2, ANA, 1)]).await, [Err(Refusal::Frozen), DONE]);
    assert_eq!(world.balance(ANA).await, (11, 0));
    world.check().await;
}

#[tokio::test]
async fn a_statement_shows_each_movement_with_the_running_balance() {
    let world = World::new().await;
    world.submit(&[grant(1, ANA, 100), hold(10, ANA, 60), settle(10, 50, 5), grant(2, ANA, 7)]).await;
    let page =
        |before| world.db.read("page", async move |tx| statement::lines(tx, account(ANA), before, 2).await);
    let newest = page(None).await.unwrap();
    let numbers = |lines: &[statement::Line]| -> Vec<(i64, i64, i64)> {
        lines.iter().map(|line| (line.seq, line.amount.get(), line.balance.get())).collect()
    };
    assert_eq!(numbers(&newest), [(3, 7, 57), (2, -50, 50)]);
    assert_eq!(newest[1].kind, TransferKind::Job);
    // Rows that arrive do not move the next page.
    world.submit(&[grant(3, ANA, 1)]).await;
    assert_eq!(numbers(&page(Some(2)).await.unwrap()), [(1, 100, 100)]);
}

/// Each way of breaking the stored rows is found by the audit, under the right invariant. Where the database itself refuses
/// (history, overdraft), that is the finding.
#[tokio::test]
async fn the_audit_finds_what_is_broken() {
    let cases = [
        ("I1", "UPDATE ledger_accounts SET posted = posted + 1 WHERE id = 101"),
        ("I1", "INSERT INTO ledger_entries VALUES (102, 1, 1, 5, 5, 0)"),
        ("I1", "INSERT INTO ledger_entries VALUES (102, 1, 555, 0, 0, 0)"),
        ("I12", "UPDATE ledger_accounts SET entries = entries + 1 WHERE id = 101"),
        ("I7", "UPDATE ledger_accounts SET held = held + 1 WHERE id = 101"),
        ("I7", "UPDATE ledger_holds SET state = 2 WHERE id = 20"),
        ("I3", "UPDATE ledger_holds SET charged = charged - 1 WHERE id = 10"),
        ("I3", "UPDATE ledger_holds SET state = 2 WHERE id = 10"),
        ("I3", "INSERT INTO ledger_transfers VALUES (20, 1, 101, 103, 0, 0, NULL, 0)"),
        ("I3", "INSERT INTO ledger_transfers VALUES (999, 1, 101, 103, 0, 0, NULL, 0)"),
        ("I8", "INSERT INTO ledger_transfers VALUES (999, 3, 2, 101, 5, 0, NULL, 0)"),
        ("I2", "UPDATE ledger_caps SET spent = spent + 1"),
    ];
    for (invariant, sql) in cases {
        let world = World::new().await;
        world.submit(&[grant(1, ANA, 100), hold(10, ANA, 60), settle(10, 50, 5), hold(20, ANA, 9)]).await;
        world.check().await;
        assert_eq!(world.run(sql).await.unwrap(), 1, "{sql}");
        let findings = world.audit().await;
        assert!(findings.iter().any(|found| found.invariant == invariant), "{sql}: {findings:?}");
    }
    let refused = [
        "UPDATE ledger_accounts SET posted = -1 WHERE id = 101",
        "UPDATE ledger_accounts SET held = 999 WHERE id = 101",
        "UPDATE ledger_accounts SET held = -1 WHERE id = 101",
        "UPDATE ledger_entries SET amount = 1",
        "DELETE FROM ledger_entries",
        "UPDATE ledger_transfers SET amount = 1",
        "DELETE FROM ledger_transfers",
        "UPDATE ledger_holds SET charged = 61 WHERE id = 10",
    ];
    let world = World::new().await;
    world.submit(&[grant(1, ANA, 100), hold(10, ANA, 60), settle(10, 50, 5), hold(20, ANA, 9)]).await;
    for sql in refused {
        let result = world.run(sql).await;
        assert!(matches!(result, Err(DbError::Constraint(_))), "{sql}: {result:?}");
    }
    world.check().await;
}

/// The network's own accounts may be below zero; that is where credits come from.
#[tokio::test]
async fn credits_come_from_somewhere() {
    let world = World::new().await;
    world.submit(&[grant(1, ANA, 100)]).await;
    assert_eq!(world.balance(2).await, (-100, 0));
    assert_eq!(system::name(system::grants()), Some("grants"));
    world.check().await;
}
