//! One line a case: what is asked, what is answered.

use db::DbError;
use ledger::{
    Applied, Command, HoldState, Limits, Outcome, Period, Refusal, TransferKind, statement, system,
};
use types::money::{MAX_AMOUNT, MicroCredits};

use crate::{
    ANA, BEN, CAP, EARNINGS, Engine, World, account, at, grant, hold, micros, release, settle, transfer,
};

crate::on_both_engines! {
    every_answer,
    a_batch_takes_effect_in_order_and_a_refusal_disturbs_nobody,
    holds_expire_by_the_clock_and_a_frozen_account_only_receives,
    a_statement_shows_each_movement_with_the_running_balance,
    the_audit_finds_what_is_broken,
    credits_come_from_somewhere,
    the_audit_of_what_is_new,
    caps_by_day_week_and_month,
    a_debt_stops_spending_until_it_is_paid,
    balances_at_a_time,
    cursors_of_others_are_refused
}

const DONE: Outcome = Ok(Applied { replayed: false });
const AGAIN: Outcome = Ok(Applied { replayed: true });

fn short(required: i64, available: i64) -> Outcome {
    Err(Refusal::InsufficientCredits { required: micros(required), available: micros(available) })
}

fn ended(state: HoldState) -> Outcome {
    Err(Refusal::HoldEnded { state })
}

async fn every_answer(engine: Engine) {
    let world = World::new(engine).await;
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
            Err(Refusal::CapExceeded { period: Period::Total, required: micros(21), available: micros(20) }),
        ),
        ("pay oneself", to_self, Err(Refusal::SameAccount)),
        ("settle under the cap", settle(40, 25, 0), DONE),
        ("what was not charged is free again", capped(42, 25), DONE),
        (
            "the cap counts what is spent",
            capped(43, 1),
            Err(Refusal::CapExceeded { period: Period::Total, required: micros(1), available: micros(0) }),
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

async fn a_batch_takes_effect_in_order_and_a_refusal_disturbs_nobody(engine: Engine) {
    let world = World::new(engine).await;
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

async fn holds_expire_by_the_clock_and_a_frozen_account_only_receives(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 10), hold(10, ANA, 6)]).await;
    let due = |now| world.db.read("due", async move |tx| ledger::holds_expired(tx, at(now), 9).await);
    assert!(due(999).await.unwrap().is_empty());
    assert_eq!(due(1000).await.unwrap(), [transfer(10)]);
    let expire = Command::Expire { hold: transfer(10) };
    assert_eq!(world.submit_at(1000, &[expire.clone(), expire]).await, [DONE, AGAIN]);
    assert_eq!(world.submit(&[settle(10, 1, 0)]).await, [ended(HoldState::Expired)]);

    let freeze = Command::Freeze { account: account(ANA), frozen: true };
    assert_eq!(world.submit(&[freeze.clone(), freeze]).await, [DONE, AGAIN]);
    assert_eq!(world.submit(&[hold(11, ANA, 1), grant(2, ANA, 1)]).await, [Err(Refusal::Frozen), DONE]);
    assert_eq!(world.balance(ANA).await, (11, 0));
    world.check().await;
}

async fn a_statement_shows_each_movement_with_the_running_balance(engine: Engine) {
    let world = World::new(engine).await;
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
    let next = newest[1].next();
    world.submit(&[grant(3, ANA, 1)]).await;
    let last = page(next).await.unwrap();
    assert_eq!(numbers(&last), [(1, 100, 100)]);
    assert_eq!(last[0].next(), None);
}

/// Each way of breaking the stored rows is found by the audit, under the right invariant. Where the database itself refuses
/// (history, overdraft), that is the finding.
async fn the_audit_finds_what_is_broken(engine: Engine) {
    let transfer = |values: &str| format!("INSERT INTO ledger_transfers VALUES ({values})");
    let cases = [
        ("I1", "UPDATE ledger_accounts SET posted = posted + 1 WHERE id = 101".to_owned()),
        ("I1", "UPDATE ledger_accounts SET debt = debt + 1 WHERE id = 101".to_owned()),
        ("I1", "UPDATE ledger_accounts SET head = 1 WHERE id = 101".to_owned()),
        // A leg that no statement reaches, one that follows from nothing, one that does not add up.
        (
            "I12",
            transfer("900, 3, 2, 102, 5, 0, NULL, NULL, NULL, 0, 1, -5, NULL, 1, 5, NULL, NULL, NULL, NULL"),
        ),
        (
            "I1",
            transfer("900, 3, 2, 102, 5, 0, NULL, NULL, NULL, 0, 9, -5, 77, 1, 5, NULL, NULL, NULL, NULL"),
        ),
        ("I1", transfer("900, 3, 2, 102, 5, 0, NULL, NULL, NULL, 0, 2, -5, 1, 1, 5, NULL, NULL, NULL, NULL")),
        (
            "I1",
            transfer("900, 3, 2, 102, 5, 0, NULL, NULL, NULL, 0, 2, -105, 1, 1, 6, NULL, NULL, NULL, NULL"),
        ),
        (
            "I8",
            transfer(
                "900, 3, 2, 102, 5, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, 1, 5, NULL, NULL, NULL, NULL",
            ),
        ),
        (
            "I8",
            transfer(
                "900, 3, 2, 102, 5, 0, NULL, NULL, NULL, 0, 2, -105, 1, NULL, NULL, NULL, NULL, NULL, NULL",
            ),
        ),
        ("I8", transfer("900, 1, 2, 102, 5, 1, 5, NULL, NULL, 0, 2, -105, 1, 1, 4, NULL, NULL, NULL, NULL")),
        ("I12", "UPDATE ledger_accounts SET entries = entries + 1 WHERE id = 101".to_owned()),
        ("I12", "UPDATE ledger_marks SET seq = 63 WHERE account_id = 102".to_owned()),
        ("I12", "UPDATE ledger_journal SET mark = mark + 1 WHERE batch = 1".to_owned()),
        ("I12", "UPDATE ledger_head SET mark = mark + 1".to_owned()),
        ("I7", "UPDATE ledger_accounts SET held = held + 1 WHERE id = 101".to_owned()),
        ("I7", "DELETE FROM ledger_holds WHERE id = 20".to_owned()),
        ("I7", "INSERT INTO ledger_holds VALUES (21, 999, NULL, 1, 0)".to_owned()),
        ("I3", "INSERT INTO ledger_holds VALUES (10, 101, NULL, 0, 0)".to_owned()),
        (
            "I3",
            transfer(
                "20, 5, 101, NULL, 0, 0, 9, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
            ),
        ),
        (
            "I3",
            transfer(
                "900, 1, 101, 103, 0, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
            ),
        ),
        (
            "I3",
            transfer(
                "900, 5, 101, 103, 0, 0, 9, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
            ),
        ),
        ("I2", "UPDATE ledger_caps SET spent = spent + 1".to_owned()),
        ("I2", "UPDATE ledger_caps SET held = held + 1".to_owned()),
    ];
    let story = || {
        let mut story = vec![grant(1, ANA, 100), hold(10, ANA, 60), settle(10, 50, 5), hold(20, ANA, 9)];
        story.extend((100..164).map(|id| grant(id, BEN, 1)));
        story
    };
    for (invariant, sql) in cases {
        let world = World::new(engine).await;
        world.submit(&story()).await;
        world.submit(&[grant(2, ANA, 1)]).await;
        world.check().await;
        assert_eq!(world.run(&sql).await.unwrap(), 1, "{sql}");
        let findings = world.audit().await;
        assert!(findings.iter().any(|found| found.invariant == invariant), "{invariant} {sql}: {findings:?}");
    }
    let refused = [
        "UPDATE ledger_accounts SET posted = -1 WHERE id = 101",
        "UPDATE ledger_accounts SET held = 999 WHERE id = 101",
        "UPDATE ledger_accounts SET held = -1 WHERE id = 101",
        "UPDATE ledger_transfers SET amount = 1",
        "DELETE FROM ledger_transfers",
        "INSERT INTO ledger_transfers (id, kind, from_account, to_account, amount, fee, at, from_balance)
         VALUES (900, 3, 101, 102, 5, 0, 0, -1)",
        "INSERT INTO ledger_transfers (id, kind, from_account, to_account, amount, fee, held, at)
         VALUES (900, 1, 101, 102, 5, 0, 4, 0)",
        "UPDATE ledger_head SET folded = batch + 1",
    ];
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 100), hold(10, ANA, 60), settle(10, 50, 5), hold(20, ANA, 9)]).await;
    for sql in refused {
        let result = world.run(sql).await;
        assert!(matches!(result, Err(DbError::Constraint(_))), "{sql}: {result:?}");
    }
    world.check().await;
}

/// The network's own accounts may be below zero; that is where credits come from.
async fn credits_come_from_somewhere(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 100)]).await;
    assert_eq!(world.balance(2).await, (-100, 0));
    assert_eq!(system::name(system::grants()), Some("grants"));
    world.check().await;
}

/// Limits by calendar period: what is held and spent counts, a new period begins anew, and a clock that jumps back opens no
/// old one (incidents 3, 4, 9).
async fn caps_by_day_week_and_month(engine: Engine) {
    const CAPPED: i64 = 8;
    let world = World::new(engine).await;
    let limits = Limits {
        total: Some(micros(100)),
        day: Some(micros(10)),
        week: Some(micros(25)),
        month: Some(micros(40)),
    };
    world.db.tx("cap", async move |tx| ledger::open_cap(tx, CAPPED, limits).await).await.unwrap();
    world.submit(&[grant(1, ANA, 1000)]).await;
    let over = |period, required, available| {
        Err(Refusal::CapExceeded { period, required: micros(required), available: micros(available) })
    };
    let hold = |id, amount| Command::Hold {
        id: transfer(id),
        account: account(ANA),
        amount: micros(amount),
        cap: Some(CAPPED),
        expires_at: at(i64::MAX),
    };
    // Thursday 2026-11-26, at noon.
    let thursday = 1_795_694_400_000;
    let day = types::time::DAY_MS;
    let limit = |limits| Command::Limit { cap: CAPPED, limits };
    let cases = [
        (0, hold(10, 8), DONE),
        (0, hold(11, 3), over(Period::Day, 3, 2)),
        (0, settle(10, 4, 0), DONE),
        (0, hold(11, 6), DONE),
        (0, hold(12, 1), over(Period::Day, 1, 0)),
        // What is held goes over into the next day, what was spent does not.
        (1, hold(12, 5), over(Period::Day, 5, 4)),
        (1, settle(11, 6, 0), DONE),
        (1, hold(12, 4), DONE),
        (1, settle(12, 4, 0), DONE),
        // The clock jumps back: still the newer day.
        (0, hold(13, 1), over(Period::Day, 1, 0)),
        (2, hold(13, 10), DONE),
        (2, settle(13, 10, 0), DONE),
        // 24 spent since Monday the 23rd.
        (3, hold(14, 2), over(Period::Week, 2, 1)),
        // Monday the 30th.
        (4, hold(14, 10), DONE),
        (4, settle(14, 10, 0), DONE),
        // December.
        (5, hold(15, 10), DONE),
        (5, settle(15, 10, 0), DONE),
        (6, hold(16, 10), over(Period::Week, 10, 5)),
        (6, limit(Limits { week: None, ..limits }), DONE),
        (6, limit(Limits { week: None, ..limits }), AGAIN),
        (6, hold(16, 10), DONE),
        (6, settle(16, 10, 0), DONE),
        (
            7,
            limit(Limits { total: Some(micros(-1)), ..limits }),
            Err(Refusal::AmountOutOfRange { field: "limit" }),
        ),
        (7, limit(Limits { total: Some(micros(50)), week: None, ..limits }), DONE),
        (7, hold(17, 1), over(Period::Total, 1, 0)),
    ];
    for (days, command, expected) in cases {
        let outcome = world.submit_at(thursday + days * day, std::slice::from_ref(&command)).await.remove(0);
        assert_eq!(outcome, expected, "day {days}: {command:?}");
        world.check().await;
    }
    let now = at(thursday + 7 * day);
    let cap = world.db.read("cap", async move |tx| ledger::cap(tx, CAPPED, now).await).await.unwrap();
    assert_eq!((cap.spent, cap.day.spent, cap.month.spent), (micros(54), micros(0), micros(20)));
    let found = world.db.read("caps", async move |tx| ledger::caps(tx, &[CAPPED, 9, CAP], now).await).await;
    assert_eq!(found.unwrap().iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    let rows = cap.usage().map(|usage| {
        (usage.period.name(), usage.used.get(), usage.left().map(MicroCredits::get), usage.until)
    });
    let midnight = |days: i64| Some(at(thursday - day / 2 + days * day));
    assert_eq!(
        rows,
        [
            ("total", 54, Some(-4), None),
            ("month", 20, Some(20), midnight(36)),
            ("week", 30, None, midnight(11)),
            ("day", 0, Some(10), midnight(8)),
        ]
    );
}

/// What a wallet cannot give back it owes; the next credits pay that first, and until then nothing is spent.
async fn a_debt_stops_spending_until_it_is_paid(engine: Engine) {
    let world = World::new(engine).await;
    let take = |id, amount| Command::TakeBack {
        id: transfer(id),
        from: account(ANA),
        to: system::sales(),
        amount: micros(amount),
        note: None,
    };
    world.submit(&[grant(1, ANA, 100), hold(10, ANA, 30)]).await;
    let outcomes = world
        .submit(&[
            take(50, 0),
            take(50, 90),
            take(50, 90),
            take(50, 91),
            take(1, 90),
            hold(11, ANA, 0),
            settle(10, 5, 0),
            hold(11, ANA, 1),
        ])
        .await;
    assert_eq!(
        outcomes,
        [
            Err(Refusal::AmountOutOfRange { field: "amount" }),
            DONE,
            AGAIN,
            Err(Refusal::IdTaken { field: "amount" }),
            Err(Refusal::IdTaken { field: "kind" }),
            Err(Refusal::InDebt { owed: micros(20) }),
            DONE,
            // 70 taken, 20 owed, 25 came back from the hold: 20 of them paid the debt.
            DONE,
        ]
    );
    assert_eq!(world.balance(ANA).await, (5, 1));
    assert_eq!(world.balance(-ANA).await, (0, 0));
    assert_eq!(world.balance(1).await, (90, 0));
    world.check().await;

    assert_eq!(world.submit(&[release(11), take(51, 12)]).await, [DONE, DONE]);
    let owed = world.db.read("owed", async |tx| ledger::balance(tx, account(ANA)).await).await.unwrap();
    assert_eq!((owed.debt, owed.available()), (micros(7), micros(0)));
    assert_eq!(
        world.submit(&[grant(2, ANA, 6), hold(12, ANA, 0)]).await,
        [DONE, Err(Refusal::InDebt { owed: micros(1) })]
    );
    assert_eq!(world.submit(&[grant(3, ANA, 6), hold(12, ANA, 5)]).await, [DONE, DONE]);
    world.check().await;
}

/// The balance at any time is the one after the last movement until then, in a short statement and in one with many marks.
async fn balances_at_a_time(engine: Engine) {
    for legs in [0_i64, 1, 63, 64, 65, 300] {
        let world = World::new(engine).await;
        // One leg at each even moment, ten at the moment 100.
        for (id, now) in (1..=legs).map(|n| (n, if (50..60).contains(&n) { 100 } else { n * 2 })) {
            world.submit_at(now, &[grant(id, ANA, 1)]).await;
        }
        for now in [0, 1, 2, 3, 99, 100, 101, 117, 118, 128, 129, 130, 599, 600, 700] {
            let expected =
                (1..=legs).filter(|&n| (if (50..60).contains(&n) { 100 } else { n * 2 }) <= now).count();
            let found = world
                .db
                .read("at", async move |tx| statement::balance_at(tx, account(ANA), at(now)).await)
                .await
                .unwrap();
            assert_eq!(found.get(), i64::try_from(expected).unwrap(), "{legs} legs, at {now}");
        }
    }
}

/// What a client hands in as a cursor is looked at before it is believed.
async fn cursors_of_others_are_refused(engine: Engine) {
    let world = World::new(engine).await;
    world
        .submit(&[grant(1, ANA, 5), grant(2, ANA, 5), grant(3, BEN, 5), hold(10, ANA, 1), settle(10, 0, 0)])
        .await;
    for text in ["", "1", "x.1", "0.1", "-1.1", "1.", "1.2.3", "99999999999999999999.1"] {
        assert!(text.parse::<statement::Cursor>().is_err(), "{text}");
    }
    for text in ["1.3", "1.99", "2.1", "1.2", "1.10", "9223372036854775807.-1"] {
        let cursor = text.parse().unwrap();
        let page = world
            .db
            .read("page", async move |tx| statement::lines(tx, account(ANA), Some(cursor), 9).await)
            .await;
        assert!(matches!(page, Err(statement::StatementError::Cursor(_))), "{text}: {page:?}");
    }
    let good = "1.1".parse().unwrap();
    let page =
        world.db.read("page", async move |tx| statement::lines(tx, account(ANA), Some(good), 9).await).await;
    assert_eq!(page.unwrap().len(), 1);
}

/// The incremental audit looks at what was written since, and finds there what the full one finds.
async fn the_audit_of_what_is_new(engine: Engine) {
    let cases = [
        ("I1", "UPDATE ledger_accounts SET posted = posted + 1 WHERE id = 101", false),
        ("I1", "DELETE FROM ledger_transfers WHERE id = 10", true),
        ("I1", "UPDATE ledger_transfers SET from_balance = from_balance + 1 WHERE id = 10", true),
        ("I1", "UPDATE ledger_transfers SET to_seq = to_seq + 1 WHERE id = 10", true),
        ("I1", "UPDATE ledger_transfers SET fee_prev = 1 WHERE id = 10", true),
        ("I7", "DELETE FROM ledger_holds WHERE id = 20", true),
        ("I12", "UPDATE ledger_journal SET mark = mark + 1 WHERE batch = 2", true),
    ];
    for (invariant, sql, found) in cases {
        let world = World::new(engine).await;
        let recent = |from| world.db.read("recent", async move |tx| ledger::audit::recent(tx, from).await);
        world.submit(&[grant(1, ANA, 100)]).await;
        let start = recent(None).await.unwrap().position;
        world.submit(&[hold(10, ANA, 60), settle(10, 50, 5), hold(20, ANA, 9)]).await;
        let clean = recent(Some(start)).await.unwrap();
        assert_eq!((clean.batches, clean.transfers, clean.skipped, clean.findings), (1, 1, 0, vec![]));
        let nothing_new = recent(Some(clean.position)).await.unwrap();
        assert_eq!((nothing_new.batches, nothing_new.findings), (0, vec![]));

        world.without_triggers().await;
        assert_eq!(world.run(sql).await.unwrap(), 1, "{sql}");
        let broken = recent(Some(start)).await.unwrap().findings;
        // What is not in what is new, a row changed by hand, is for the full audit.
        assert_eq!(broken.iter().any(|finding| finding.invariant == invariant), found, "{sql}: {broken:?}");
        assert!(world.audit().await.iter().any(|finding| finding.invariant == invariant), "{sql}");
    }
}
