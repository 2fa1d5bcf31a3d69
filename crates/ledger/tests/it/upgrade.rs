//! A database of the first schema, with legs in a table of their own, is carried over as it is.

use db::{Db, Migration, MigrationSet, OpenOptions};
use ledger::{Applied, MIGRATIONS, Refusal, audit, statement};
use types::id::{AccountId, Id};

use crate::{ANA, BEN, at, grant, hold, micros, settle};

const FIRST: MigrationSet = MigrationSet {
    name: MIGRATIONS.name,
    migrations: &[Migration {
        name: "accounts, caps, holds, transfers, entries",
        sqlite: include_str!("../../migrations/sqlite/0001_ledger.sql"),
        postgres: "",
    }],
};

/// A grant of 100 and 65 of 1, a settled hold with a fee, a released one, an open one, and a cap.
const STORY: &str = "
    INSERT INTO ledger_accounts (id, kind, posted, held, entries, version, created_at) VALUES
        (101, 1, 115, 9, 67, 70, 0), (103, 2, 45, 0, 1, 1, 0);
    UPDATE ledger_accounts SET posted = -165, entries = 66, version = 66 WHERE id = 2;
    UPDATE ledger_accounts SET posted = 5, entries = 1, version = 1 WHERE id = 3;
    INSERT INTO ledger_caps (id, spend_limit, held, spent) VALUES (7, 60, 9, 50);
    INSERT INTO ledger_holds VALUES (10, 101, 7, 60, 1, 50, 1000, 0, 2), (11, 101, NULL, 8, 2, 0, 1000, 0, 3),
        (20, 101, 7, 9, 0, 0, 1000, 0, NULL);
    INSERT INTO ledger_transfers VALUES (1, 3, 2, 101, 100, 0, 'welcome', 1), (10, 1, 101, 103, 50, 5, NULL, 2);
    INSERT INTO ledger_entries VALUES (2, 1, 1, -100, -100, 1), (101, 1, 1, 100, 100, 1),
        (101, 2, 10, -50, 50, 2), (103, 1, 10, 45, 45, 2), (3, 1, 10, 5, 5, 2);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 65)
        INSERT INTO ledger_transfers SELECT 500 + i, 3, 2, 101, 1, 0, NULL, 10 + i FROM n;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 65)
        INSERT INTO ledger_entries SELECT 2, 1 + i, 500 + i, -1, -100 - i, 10 + i FROM n;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 65)
        INSERT INTO ledger_entries SELECT 101, 2 + i, 500 + i, 1, 50 + i, 10 + i FROM n;";

#[tokio::test]
async fn the_first_schema_is_carried_over() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open_sqlite(&folder.path().join("old.db"), OpenOptions::command()).unwrap();
    db.migrate(&[FIRST]).await.unwrap();
    db.tx("story", async |tx| tx.execute_script(STORY).await).await.unwrap();
    db.migrate(&[MIGRATIONS]).await.unwrap();

    let findings = || db.read("audit", async |tx| audit::ledger(tx, &|_| {}).await);
    assert_eq!(findings().await.unwrap(), []);
    let ana = AccountId::from_i64(ANA);
    let lines = db.read("lines", async move |tx| statement::lines(tx, ana, None, 100).await).await.unwrap();
    assert_eq!(lines.len(), 67);
    assert_eq!((lines[0].balance, lines[66].balance), (micros(115), micros(100)));
    assert_eq!(lines[66].note.as_deref(), Some("welcome"));
    let then = db.read("then", async move |tx| statement::balance_at(tx, ana, at(12)).await).await.unwrap();
    assert_eq!(then, micros(52));

    // What was done is still done, and life goes on.
    let commands = [
        grant(1, ANA, 100),
        settle(10, 50, 5),
        settle(11, 1, 0),
        hold(20, ANA, 9),
        settle(20, 9, 0),
        hold(21, ANA, 107),
        hold(21, ANA, 106),
    ];
    let outcomes = db
        .tx("on", async move |tx| {
            ledger::open_account(tx, AccountId::from_i64(BEN), ledger::AccountKind::Wallet, at(0)).await?;
            Ok::<_, db::DbError>(ledger::submit(tx, &commands, at(900)).await?.outcomes)
        })
        .await
        .unwrap();
    let (done, again) = (Ok(Applied { replayed: false }), Ok(Applied { replayed: true }));
    let ended = Err(Refusal::HoldEnded { state: ledger::HoldState::Released });
    // The old hold had a cap, which the new request for it does not name.
    let other_cap = Err(Refusal::IdTaken { field: "cap" });
    let short = Err(Refusal::InsufficientCredits { required: micros(107), available: micros(106) });
    assert_eq!(outcomes, [again.clone(), again, ended, other_cap, done.clone(), short, done]);
    assert_eq!(findings().await.unwrap(), []);
}
