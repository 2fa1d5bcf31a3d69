//! What every engine promises of transactions. Each test takes a database with nothing in it and runs once for each engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{Blocker, Empty, Planned, count, enqueue, insert, make_table, number};
use db::{Db, DbError, Engine, FaultPoint, Migration, MigrationSet, OpenOptions, Tx, params};

on_every_engine! {
    what_is_answered_is_kept_and_what_fails_is_not,
    parameters_are_numbered_not_named,
    a_panic_takes_back_its_own_work_only,
    a_transaction_that_waits_for_something_else_is_refused,
    neighbours_in_a_group_do_not_disturb_each_other,
    those_who_wait_share_a_commit,
    a_statement_that_failed_ends_its_closure,
    a_statement_that_fails_after_all_others_spoils_its_closure_only,
    questions_asked_together_are_answered_in_any_order,
    work_that_begins_a_transaction_joins_none,
    memos_stay_on_their_connection,
    memos_of_work_that_was_taken_back_are_dropped,
    a_reader_cannot_write,
    a_reader_sees_one_moment,
    a_reader_does_not_wait_for_the_writer,
    a_reader_sees_what_was_answered_before,
    what_is_answered_survives_reopening,
    other_writers_are_noticed,
    two_processes_lose_no_update,
    migrations_run_once_and_never_backwards,
    a_migration_that_fails_leaves_nothing,
    two_processes_migrate_at_once,
    a_queue_that_is_full_says_so,
    a_fault_before_a_transaction_keeps_nothing,
    a_fault_before_a_commit_keeps_nothing,
    a_fault_after_a_commit_loses_no_answer_that_can_be_found,
}

async fn what_is_answered_is_kept_and_what_fails_is_not(empty: Empty) {
    let db = empty.with_table().await;
    insert(&db, 1).await.unwrap();
    let failed: Result<(), DbError> = db
        .tx("fails", async |tx| {
            tx.execute_one("INSERT INTO t VALUES (2, 1, NULL)", &[]).await?;
            tx.execute_one("INSERT INTO t VALUES (3, -1, NULL)", &[]).await
        })
        .await;
    assert!(matches!(failed, Err(DbError::Constraint(_))), "{failed:?}");
    assert!(matches!(insert(&db, 1).await, Err(DbError::Unique(_))));
    let refused: Result<(), DbError> = db
        .tx("changes its mind", async |tx| {
            tx.execute_one("INSERT INTO t VALUES (4, 1, NULL)", &[]).await?;
            Err(DbError::Other("no".to_owned()))
        })
        .await;
    assert!(matches!(refused, Err(DbError::Other(text)) if text == "no"));
    assert_eq!(count(&db).await, 1);
}

async fn parameters_are_numbered_not_named(empty: Empty) {
    let db = empty.with_table().await;
    insert(&db, 1).await.unwrap();
    let row = db
        .tx("order", async |tx| {
            tx.query_one("SELECT $2, $1, $2, n FROM t WHERE id = $3", &params!["one", "two", 1]).await
        })
        .await
        .unwrap();
    let texts: Vec<String> = (0..3).map(|column| row.get(column).unwrap()).collect();
    assert_eq!(texts, ["two", "one", "two"]);
    assert!(matches!(row.get::<String>(3), Err(DbError::Type { column: 3, .. })));
    assert!(matches!(row.get::<i64>(9), Err(DbError::Type { .. })));
}

async fn a_panic_takes_back_its_own_work_only(empty: Empty) {
    let db = empty.with_table().await;
    let panicking = db.tx("panics", async |tx| -> Result<(), DbError> {
        tx.execute_one("INSERT INTO t VALUES (7, 1, NULL)", &[]).await?;
        panic!("on purpose")
    });
    let (one, panicked, two) = tokio::join!(insert(&db, 1), panicking, insert(&db, 2));
    assert!(one.is_ok() && two.is_ok());
    assert!(matches!(panicked, Err(DbError::Panicked)));
    assert_eq!(count(&db).await, 2);
}

/// I14: a transaction that waits for the network would hold everybody up, so it is refused.
async fn a_transaction_that_waits_for_something_else_is_refused(empty: Empty) {
    let db = empty.with_table().await;
    let waited = db
        .tx("waits", async |tx| {
            tx.execute_one("INSERT INTO t VALUES (1, 1, NULL)", &[]).await?;
            std::future::pending::<()>().await;
            Ok::<_, DbError>(())
        })
        .await;
    assert!(matches!(waited, Err(DbError::Waited)));
    let waited = db
        .read("waits", async |tx| {
            tx.query("SELECT 1", &[]).await?;
            tokio::task::yield_now().await;
            Ok::<_, DbError>(())
        })
        .await;
    assert!(matches!(waited, Err(DbError::Waited)));
    assert_eq!(count(&db).await, 0);
}

async fn neighbours_in_a_group_do_not_disturb_each_other(empty: Empty) {
    let db = empty.with_table().await;
    let tasks: Vec<_> = (0..400)
        .map(|n| {
            let db = db.clone();
            // Every id comes twice; every tenth closure breaks a law after having written, every seventh panics.
            tokio::spawn(async move {
                db.tx("one of many", async move |tx| {
                    let id = i64::from(n / 2);
                    tx.execute_one("INSERT INTO t VALUES ($1, 1, NULL)", &params![id]).await?;
                    if n % 10 == 0 {
                        tx.execute("UPDATE t SET n = -1 WHERE id = $1", &params![id]).await?;
                    }
                    assert!(n % 14 != 0, "on purpose");
                    Ok::<_, DbError>(())
                })
                .await
            })
        })
        .collect();
    let mut kept = 0;
    for task in tasks {
        kept += i64::from(task.await.unwrap().is_ok());
    }
    assert_eq!(kept, 200);
    assert_eq!(count(&db).await, 200);
}

async fn those_who_wait_share_a_commit(empty: Empty) {
    let faults = Planned::none();
    let db = empty.open_with(faults.options()).await;
    make_table(&db).await;
    let before = faults.commits.load(Ordering::SeqCst);
    let blocker = Blocker::start(&db).await;
    let mut waiting = Vec::new();
    for id in 0..20 {
        let db = db.clone();
        waiting.push(enqueue(async move { insert(&db, id).await }).await.ok().unwrap());
    }
    blocker.end().await.unwrap();
    for call in waiting {
        call.await.unwrap();
    }
    assert_eq!(faults.commits.load(Ordering::SeqCst), before + 1);
    assert_eq!(count(&db).await, 20);
}

/// What a statement that failed leaves behind differs between engines, so nothing may be built on it.
async fn a_statement_that_failed_ends_its_closure(empty: Empty) {
    let db = empty.with_table().await;
    insert(&db, 1).await.unwrap();
    async fn goes_on(tx: &mut Tx<'_>, id: i64) -> Result<(), DbError> {
        tx.execute_one("INSERT INTO t VALUES ($1, 1, NULL)", &params![id]).await?;
        let failed = tx.execute("INSERT INTO t VALUES (1, 1, NULL)", &[]).await;
        assert!(matches!(failed, Err(DbError::Unique(_))));
        let after = tx.query("SELECT 1", &[]).await;
        assert!(matches!(after, Err(DbError::Unique(_))), "{after:?}");
        Ok(())
    }
    let first = db.tx("goes on", async |tx| goes_on(tx, 10).await);
    let further = db.tx("goes on", async |tx| goes_on(tx, 11).await);
    let (before, first, between, further, after) =
        tokio::join!(insert(&db, 2), first, insert(&db, 3), further, insert(&db, 4));
    assert!(before.is_ok() && between.is_ok() && after.is_ok());
    assert!(matches!(first, Err(DbError::Unique(_))), "{first:?}");
    assert!(matches!(further, Err(DbError::Unique(_))), "{further:?}");
    // The same when the error is ours.
    let missing = db
        .tx("goes on", async |tx| {
            tx.execute_one("UPDATE t SET n = 7 WHERE id = 1", &[]).await?;
            tx.execute_one("UPDATE t SET n = 7 WHERE id = 99", &[]).await.ok();
            Ok::<_, DbError>(())
        })
        .await;
    assert!(matches!(missing, Err(DbError::RowCount { expected: 1, touched: 0, .. })), "{missing:?}");
    assert_eq!(count(&db).await, 4);
    assert_eq!(number(&db, "SELECT max(n) FROM t").await, 1);
}

/// Nobody asks for the answers of these statements before the closure ends.
async fn a_statement_that_fails_after_all_others_spoils_its_closure_only(empty: Empty) {
    let db = empty.with_table().await;
    insert(&db, 1).await.unwrap();
    let insert_many = "INSERT INTO t (id, n, name) VALUES ($1, $2, NULL)";
    let late = db.tx("late", async |tx| {
        tx.execute_one("UPDATE t SET n = 9 WHERE id = 1", &[]).await?;
        tx.execute_many(insert_many, (10..300).map(|id| params![id, 1])).await?;
        tx.execute_many(insert_many, [params![1, 1]]).await
    });
    let miscounted = db.tx("miscounted", async |tx| {
        tx.execute_many("UPDATE t SET n = 9 WHERE id = $1", [params![1], params![7]]).await
    });
    let (before, late, between, miscounted, after) =
        tokio::join!(insert(&db, 2), late, insert(&db, 3), miscounted, insert(&db, 4));
    assert!(before.is_ok() && between.is_ok() && after.is_ok());
    assert!(matches!(late, Err(DbError::Unique(_))), "{late:?}");
    assert!(matches!(miscounted, Err(DbError::RowCount { touched: 0 | 1, .. })), "{miscounted:?}");
    assert_eq!(number(&db, "SELECT sum(n) FROM t").await, 4);
}

async fn questions_asked_together_are_answered_in_any_order(empty: Empty) {
    let db = empty.with_table().await;
    insert(&db, 1).await.unwrap();
    db.tx("asks", async |tx| {
        let ids = |rows: Vec<Option<db::Row>>| {
            rows.iter().map(|row| row.as_ref().map(|row| row.get::<i64>(0)).transpose()).collect()
        };
        let select = "SELECT id FROM t WHERE id = $1";
        let nobody = tx.ask_many(select, Vec::<[db::Param<'_>; 1]>::new(), |rows| Ok(rows.len())).await?;
        let before = tx.ask_many(select, [params![1], params![2]], ids).await?;
        tx.execute_one("INSERT INTO t VALUES (2, 1, NULL)", &[]).await?;
        let after = tx.ask_many(select, [params![2], params![1]], ids).await?;
        let never = tx.ask_many("SELECT id / 0 FROM t WHERE id = $1 AND n = 0", [params![1]], ids).await?;
        assert_eq!(tx.answer(after).await?, [Some(2), Some(1)], "it sees what was written before it");
        let one: Vec<Option<i64>> = tx.answer(before).await?;
        assert_eq!((one, tx.answer(nobody).await?), (vec![Some(1), None], 0));
        // A question nobody wants the answer to is no trouble.
        drop(never);
        Ok::<_, DbError>(())
    })
    .await
    .unwrap();
    let several: Result<usize, DbError> = db
        .tx("several", async |tx| {
            let asked =
                tx.ask_many("SELECT t.id FROM t WHERE t.n = $1", [params![1]], |rows| Ok(rows.len())).await;
            // One engine knows by now, the other when it is asked for the answer.
            match asked {
                Ok(asked) => tx.answer(asked).await,
                Err(error) => Err(error),
            }
        })
        .await;
    assert!(matches!(several, Err(DbError::RowCount { expected: 1, touched: 2, .. })), "{several:?}");
}

/// What is decided when it runs must see what was committed before, and its commit is not that of its neighbours.
async fn work_that_begins_a_transaction_joins_none(empty: Empty) {
    let planned = Planned::none();
    let db = empty.open_with(planned.options()).await;
    make_table(&db).await;
    let commits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&commits);
    planned.react(move |point| {
        if point == FaultPoint::BeforeCommit {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        false
    });
    let blocker = Blocker::start(&db).await;
    let first = enqueue(insert(&db, 1)).await.unwrap();
    let anew = |id| {
        db.tx_anew("anew", async move |tx| {
            tx.execute_one("INSERT INTO t VALUES ($1, 1, NULL)", &params![id]).await
        })
    };
    let second = enqueue(anew(2)).await.unwrap();
    let third = enqueue(anew(3)).await.unwrap();
    let fourth = enqueue(insert(&db, 4)).await.unwrap();
    blocker.end().await.unwrap();
    let all = tokio::join!(first, second, third, fourth);
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && all.3.is_ok());
    assert_eq!(commits.load(Ordering::SeqCst), 3, "the first; the second; the third with the fourth");
    assert_eq!(count(&db).await, 4);
}

async fn memos_stay_on_their_connection(empty: Empty) {
    let db = empty.with_table().await;
    let kept = db
        .tx("first", async |tx| {
            assert_eq!(tx.take_memo::<u64>(), None);
            tx.put_memo(7_u64);
            tx.put_memo(String::from("another type"));
            Ok::<_, DbError>(())
        })
        .await;
    kept.unwrap();
    insert(&db, 1).await.unwrap();
    let elsewhere = db.read("elsewhere", async |tx| Ok::<_, DbError>(tx.take_memo::<u64>())).await.unwrap();
    assert_eq!(elsewhere, None);
    let found = db
        .tx("second", async |tx| Ok::<_, DbError>((tx.take_memo::<u64>(), tx.take_memo::<u64>())))
        .await
        .unwrap();
    assert_eq!(found, (Some(7), None));
    let text = db.tx("third", async |tx| Ok::<_, DbError>(tx.take_memo::<String>())).await.unwrap();
    assert_eq!(text.as_deref(), Some("another type"));
}

/// A memo may describe what its closure wrote.
async fn memos_of_work_that_was_taken_back_are_dropped(empty: Empty) {
    let faults = Planned::none();
    let db = empty.open_with(faults.options()).await;
    let put = async |db: &Db| {
        db.tx("puts", async |tx| {
            tx.put_memo(1_u8);
            Ok::<_, DbError>(())
        })
        .await
    };
    let take =
        async |db: &Db| db.tx("takes", async |tx| Ok::<_, DbError>(tx.take_memo::<u8>())).await.unwrap();

    put(&db).await.unwrap();
    let failed = db
        .tx("fails", async |tx| {
            assert_eq!(tx.take_memo::<u8>(), Some(1));
            tx.put_memo(2_u8);
            Err::<(), _>(DbError::Other("no".to_owned()))
        })
        .await;
    failed.unwrap_err();
    assert_eq!(take(&db).await, None);

    faults.fail_once(FaultPoint::BeforeCommit);
    put(&db).await.unwrap_err();
    assert_eq!(take(&db).await, None);
}

async fn a_reader_cannot_write(empty: Empty) {
    let db = empty.with_table().await;
    insert(&db, 1).await.unwrap();
    let written = db.read("writes", async |tx| tx.execute("DELETE FROM t", &[]).await).await;
    assert!(matches!(written, Err(DbError::Unwritable(_))), "{written:?}");
    assert_eq!(count(&db).await, 1);
}

async fn a_reader_sees_one_moment(empty: Empty) {
    let db = empty.with_table().await;
    let (looked, first) = std::sync::mpsc::channel();
    let (go_on, second) = std::sync::mpsc::channel::<()>();
    let second = std::sync::Mutex::new(second);
    let reading = tokio::spawn({
        let db = db.clone();
        async move {
            db.read("looks twice", async move |tx| {
                let before: i64 = tx.query_one("SELECT count(*) FROM t", &[]).await?.get(0)?;
                looked.send(()).unwrap();
                second.lock().unwrap().recv().unwrap();
                let after: i64 = tx.query_one("SELECT count(*) FROM t", &[]).await?.get(0)?;
                Ok::<_, DbError>((before, after))
            })
            .await
        }
    });
    tokio::task::spawn_blocking(move || first.recv()).await.unwrap().unwrap();
    insert(&db, 1).await.unwrap();
    assert_eq!(count(&db).await, 1, "another reader sees it");
    go_on.send(()).unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), (0, 0));
}

async fn a_reader_does_not_wait_for_the_writer(empty: Empty) {
    let db = empty.with_table().await;
    let (written, first) = std::sync::mpsc::channel();
    let (go_on, second) = std::sync::mpsc::channel::<()>();
    let second = std::sync::Mutex::new(second);
    let writing = tokio::spawn({
        let db = db.clone();
        async move {
            db.tx("takes long", async move |tx| {
                tx.execute_one("INSERT INTO t VALUES (1, 1, NULL)", &[]).await?;
                written.send(()).ok();
                second.lock().unwrap().recv().ok();
                Ok::<_, DbError>(())
            })
            .await
        }
    });
    tokio::task::spawn_blocking(move || first.recv()).await.unwrap().unwrap();
    assert_eq!(count(&db).await, 0);
    go_on.send(()).unwrap();
    writing.await.unwrap().unwrap();
    assert_eq!(count(&db).await, 1);
}

/// However many read at once.
async fn a_reader_sees_what_was_answered_before(empty: Empty) {
    let db = empty.with_table().await;
    let tasks: Vec<_> = (0..60)
        .map(|client| {
            let db = db.clone();
            tokio::spawn(async move {
                for id in client * 100..client * 100 + 10 {
                    insert(&db, id).await.unwrap();
                    let sql = "SELECT id FROM t WHERE id = $1";
                    let seen = db.read("seen", async move |tx| tx.query_opt(sql, &params![id]).await).await;
                    assert!(seen.unwrap().is_some());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(count(&db).await, 600);
}

async fn what_is_answered_survives_reopening(empty: Empty) {
    let db = empty.with_table().await;
    insert(&db, 1).await.unwrap();
    drop(db);
    assert_eq!(count(&empty.open_with(OpenOptions::command()).await).await, 1);
}

async fn other_writers_are_noticed(empty: Empty) {
    let db = empty.with_table().await;
    let other = empty.open_with(OpenOptions::command()).await;
    let before = db.foreign_writes().await.unwrap();
    insert(&db, 2).await.unwrap();
    assert_eq!(count(&other).await, 1);
    assert_eq!(db.foreign_writes().await.unwrap(), before, "own writes are not foreign, nor is reading");
    insert(&other, 3).await.unwrap();
    let after = db.foreign_writes().await.unwrap();
    assert_ne!(after, before);
    insert(&other, 4).await.unwrap();
    assert_ne!(db.foreign_writes().await.unwrap(), after);
}

async fn two_processes_lose_no_update(empty: Empty) {
    const EACH: i64 = 150;
    let one = empty.with_table().await;
    let two = empty.open().await;
    insert(&one, 1).await.unwrap();
    insert(&one, 2).await.unwrap();
    let tasks: Vec<_> = (0..2 * EACH)
        .map(|n| {
            let db = if n % 2 == 0 { one.clone() } else { two.clone() };
            // In both orders, so that writers that did not come one after another would block each other.
            let order = if n % 3 == 0 { [1, 2] } else { [2, 1] };
            tokio::spawn(async move {
                db.tx("adds", async move |tx| {
                    for id in order {
                        let n: i64 =
                            tx.query_one("SELECT n FROM t WHERE id = $1", &params![id]).await?.get(0)?;
                        tx.execute_one("UPDATE t SET n = $2 WHERE id = $1", &params![id, n + 1]).await?;
                    }
                    Ok::<_, DbError>(())
                })
                .await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(number(&one, "SELECT n FROM t WHERE id = 1").await, 2 * EACH + 1);
    assert_eq!(number(&two, "SELECT n FROM t WHERE id = 2").await, 2 * EACH + 1);
}

const fn step(name: &'static str, sql: &'static str) -> Migration {
    Migration { name, sqlite: sql, postgres: sql }
}

const ONE: Migration = step("one", "CREATE TABLE m (id BIGINT)");
const TWO: Migration = step("two", "ALTER TABLE m ADD COLUMN n BIGINT; INSERT INTO m VALUES (1, 2)");
const OLD: MigrationSet = MigrationSet { name: "part", migrations: &[ONE] };
const NEW: MigrationSet = MigrationSet { name: "part", migrations: &[ONE, TWO] };
const BROKEN: MigrationSet = MigrationSet {
    name: "part",
    migrations: &[ONE, step("breaks", "CREATE TABLE half (id BIGINT); INSERT INTO nowhere VALUES (1)")],
};

async fn migrations_run_once_and_never_backwards(empty: Empty) {
    let db = empty.open().await;
    assert_eq!(db.migrate(&[OLD]).await.unwrap(), ["part 1: one"]);
    assert_eq!(db.migrate(&[NEW]).await.unwrap(), ["part 2: two"]);
    assert!(db.migrate(&[NEW]).await.unwrap().is_empty());
    assert!(matches!(db.migrate(&[OLD]).await, Err(DbError::Newer { found: 2, known: 1, .. })));
    assert_eq!(number(&db, "SELECT n FROM m").await, 2);
}

async fn a_migration_that_fails_leaves_nothing(empty: Empty) {
    let db = empty.open().await;
    assert!(db.migrate(&[BROKEN]).await.is_err());
    let half = db.read("half", async |tx| tx.query("SELECT id FROM half", &[]).await).await;
    assert!(half.is_err());
    assert_eq!(db.migrate(&[NEW]).await.unwrap().len(), 2);
}

async fn two_processes_migrate_at_once(empty: Empty) {
    let (one, two) = (empty.open().await, empty.open().await);
    let (first, second) = tokio::join!(one.migrate(&[NEW]), two.migrate(&[NEW]));
    assert_eq!(first.unwrap().len() + second.unwrap().len(), 2);
}

async fn a_queue_that_is_full_says_so(empty: Empty) {
    let db = empty.open_with(OpenOptions { queue: 1, ..OpenOptions::command() }).await;
    make_table(&db).await;
    let blocker = Blocker::start(&db).await;
    let mut refused = 0;
    let mut waiting = Vec::new();
    for id in 0..3 {
        let db = db.clone();
        match enqueue(async move { insert(&db, id).await }).await {
            Ok(call) => waiting.push(call),
            Err(result) => refused += usize::from(matches!(result, Err(DbError::Busy))),
        }
    }
    assert_eq!(refused, 2, "one waits in the queue, the others are refused");
    blocker.end().await.unwrap();
    for call in waiting {
        call.await.unwrap();
    }
    assert_eq!(count(&db).await, 1);
}

async fn with_fault(empty: &Empty, point: FaultPoint) -> (Db, Arc<Planned>) {
    let faults = Planned::none();
    let db = empty.open_with(faults.options()).await;
    make_table(&db).await;
    faults.fail_once(point);
    (db, faults)
}

async fn a_fault_before_a_transaction_keeps_nothing(empty: Empty) {
    let (db, _faults) = with_fault(&empty, FaultPoint::BeforeBegin).await;
    assert!(matches!(insert(&db, 1).await, Err(DbError::Unwritable(_))));
    insert(&db, 2).await.unwrap();
    assert_eq!(number(&db, "SELECT sum(id) FROM t").await, 2);
}

async fn a_fault_before_a_commit_keeps_nothing(empty: Empty) {
    let (db, _faults) = with_fault(&empty, FaultPoint::BeforeCommit).await;
    let refused = db.tx("refuses", async |_| Err::<(), _>(DbError::Other("its own error".to_owned())));
    let (written, refused) = tokio::join!(insert(&db, 1), refused);
    assert!(matches!(written, Err(DbError::Unwritable(_))), "{written:?}");
    assert!(matches!(refused, Err(DbError::Other(text)) if text == "its own error"));
    insert(&db, 2).await.unwrap();
    assert_eq!(number(&db, "SELECT sum(id) FROM t").await, 2);
}

async fn a_fault_after_a_commit_loses_no_answer_that_can_be_found(empty: Empty) {
    let (db, _faults) = with_fault(&empty, FaultPoint::AfterCommit).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let answer = db
        .tx("unlucky", {
            let runs = Arc::clone(&runs);
            async move |tx| {
                runs.fetch_add(1, Ordering::SeqCst);
                tx.execute_one("INSERT INTO t VALUES (1, 1, NULL)", &[]).await
            }
        })
        .await;
    match db.engine() {
        Engine::Sqlite => assert!(matches!(answer, Err(DbError::Unknown(_))), "{answer:?}"),
        Engine::Postgres => answer.unwrap(),
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    insert(&db, 2).await.unwrap();
    assert_eq!(count(&db).await, 2);
}
