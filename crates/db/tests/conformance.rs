//! What every engine promises. Each test takes "an empty database" as its beginning.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;

use db::{Db, DbError, Migration, MigrationSet, OpenOptions, params};
use tempfile::TempDir;

struct Empty {
    db: Db,
    folder: TempDir,
}

async fn empty() -> Empty {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open_sqlite(&folder.path().join("test.db"), OpenOptions::server()).unwrap();
    run(&db, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL CHECK (n >= 0), name TEXT)")
        .await
        .unwrap();
    Empty { db, folder }
}

async fn run(db: &Db, sql: &'static str) -> Result<usize, DbError> {
    db.tx("run", async move |tx| tx.execute(sql, &[]).await).await
}

async fn insert(db: &Db, id: i64) -> Result<(), DbError> {
    db.tx("insert", async move |tx| {
        tx.execute_one("INSERT INTO t (id, n, name) VALUES ($1, $2, $3)", &params![id, 1, "a"]).await
    })
    .await
}

async fn count(db: &Db) -> i64 {
    db.read("count", async |tx| tx.query_one("SELECT count(*) FROM t", &[]).await?.get(0)).await.unwrap()
}

#[tokio::test]
async fn what_is_answered_is_kept_and_what_fails_is_not() {
    let Empty { db, folder: _folder } = empty().await;
    insert(&db, 1).await.unwrap();
    let failed: Result<(), DbError> = db
        .tx("fails", async |tx| {
            tx.execute_one("INSERT INTO t VALUES (2, 1, NULL)", &[]).await?;
            tx.execute_one("INSERT INTO t VALUES (3, -1, NULL)", &[]).await
        })
        .await;
    assert!(matches!(failed, Err(DbError::Constraint(_))), "{failed:?}");
    assert!(matches!(insert(&db, 1).await, Err(DbError::Unique(_))));
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn parameters_are_numbered_not_named() {
    let Empty { db, folder: _folder } = empty().await;
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

#[tokio::test]
async fn a_panic_takes_back_its_own_work_only() {
    let Empty { db, folder: _folder } = empty().await;
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
#[tokio::test]
async fn a_transaction_that_waits_for_something_else_is_refused() {
    let Empty { db, folder: _folder } = empty().await;
    let waited = db
        .tx("waits", async |tx| {
            tx.execute_one("INSERT INTO t VALUES (1, 1, NULL)", &[]).await?;
            std::future::pending::<()>().await;
            Ok::<_, DbError>(())
        })
        .await;
    assert!(matches!(waited, Err(DbError::Waited)));
    assert_eq!(count(&db).await, 0);
}

#[tokio::test]
async fn neighbours_in_a_group_do_not_disturb_each_other() {
    let Empty { db, folder: _folder } = empty().await;
    let tasks: Vec<_> = (0..400)
        .map(|n| {
            let db = db.clone();
            // Every id comes twice; every tenth closure breaks a law after having written.
            tokio::spawn(async move {
                db.tx("one of many", async move |tx| {
                    let id = i64::from(n / 2);
                    tx.execute_one("INSERT INTO t VALUES ($1, 1, NULL)", &params![id]).await?;
                    if n % 10 == 0 {
                        tx.execute("UPDATE t SET n = -1 WHERE id = $1", &params![id]).await?;
                    }
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

#[tokio::test]
async fn vectors_say_which_row_is_missing() {
    let Empty { db, folder: _folder } = empty().await;
    let rows = db
        .tx("vectors", async |tx| {
            tx.execute_many("INSERT INTO t VALUES ($1, $2, NULL)", (1..=3).map(|id| params![id, id * 10]))
                .await?;
            tx.query_many("SELECT n FROM t WHERE id = $1", [3, 9, 1].map(|id| params![id])).await
        })
        .await
        .unwrap();
    let numbers: Vec<Option<i64>> =
        rows.iter().map(|row| row.as_ref().map(|row| row.get(0).unwrap())).collect();
    assert_eq!(numbers, [Some(30), None, Some(10)]);
    let missing = db
        .tx("vectors", async |tx| {
            tx.execute_many("UPDATE t SET n = 5 WHERE id = $1", [1, 9].map(|id| params![id])).await
        })
        .await;
    assert!(matches!(missing, Err(DbError::RowCount { touched: 0, .. })));
    let kept: i64 = db
        .read("kept", async |tx| tx.query_one("SELECT n FROM t WHERE id = 1", &[]).await?.get(0))
        .await
        .unwrap();
    assert_eq!(kept, 10, "the first row of the failed vector was taken back");
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let Empty { db, folder: _folder } = empty().await;
    let written = db.read("writes", async |tx| tx.execute("DELETE FROM t", &[]).await).await;
    assert!(matches!(written, Err(DbError::Unwritable(_))), "{written:?}");
}

/// The disk fills up in the middle of a group: what does not fit is refused, what was answered is there.
#[tokio::test]
async fn a_full_disk_refuses_and_keeps_nothing_half() {
    let Empty { db, folder: _folder } = empty().await;
    run(&db, "PRAGMA max_page_count = 40").await.ok();
    let big = Arc::new("x".repeat(4000));
    let mut kept = 0;
    let mut refused = 0;
    for id in 0..100 {
        let big = Arc::clone(&big);
        let result = db
            .tx("big", async move |tx| {
                tx.execute_one("INSERT INTO t VALUES ($1, 1, $2)", &params![id, big.as_str()]).await
            })
            .await;
        match result {
            Ok(()) => kept += 1,
            Err(DbError::Unwritable(_)) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(kept > 0 && refused > 0, "{kept} kept, {refused} refused");
    assert_eq!(count(&db).await, kept);
}

#[tokio::test]
async fn what_is_answered_survives_reopening() {
    let Empty { db, folder } = empty().await;
    insert(&db, 1).await.unwrap();
    let again = Db::open_sqlite(&folder.path().join("test.db"), OpenOptions::command()).unwrap();
    assert_eq!(count(&again).await, 1);
    let before = db.foreign_writes().await.unwrap();
    insert(&db, 2).await.unwrap();
    assert_eq!(db.foreign_writes().await.unwrap(), before, "own writes are not foreign");
    insert(&again, 3).await.unwrap();
    assert_ne!(db.foreign_writes().await.unwrap(), before);
}

const OLD: MigrationSet = MigrationSet {
    name: "part",
    migrations: &[Migration {
        name: "one",
        sqlite: "CREATE TABLE m (id BIGINT)",
        postgres: "CREATE TABLE m (id BIGINT)",
    }],
};
const NEW: MigrationSet = MigrationSet {
    name: "part",
    migrations: &[
        Migration {
            name: "one",
            sqlite: "CREATE TABLE m (id BIGINT)",
            postgres: "CREATE TABLE m (id BIGINT)",
        },
        Migration {
            name: "two",
            sqlite: "ALTER TABLE m ADD COLUMN n BIGINT; INSERT INTO m VALUES (1, 2)",
            postgres: "ALTER TABLE m ADD COLUMN n BIGINT; INSERT INTO m VALUES (1, 2)",
        },
    ],
};

#[tokio::test]
async fn migrations_run_once_and_never_backwards() {
    let Empty { db, folder: _folder } = empty().await;
    assert_eq!(db.migrate(&[OLD]).await.unwrap(), ["part 1: one"]);
    assert_eq!(db.migrate(&[NEW]).await.unwrap(), ["part 2: two"]);
    assert!(db.migrate(&[NEW]).await.unwrap().is_empty());
    assert!(matches!(db.migrate(&[OLD]).await, Err(DbError::Newer { found: 2, known: 1, .. })));
}

#[tokio::test]
async fn a_queue_that_is_full_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions { queue: 1, ..OpenOptions::command() };
    let db = Db::open_sqlite(&folder.path().join("test.db"), options).unwrap();
    let (entered, waiting) = std::sync::mpsc::sync_channel(0);
    let (leave, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let blocking = tokio::spawn({
        let db = db.clone();
        async move {
            db.tx("blocks", async move |_| {
                entered.send(()).ok();
                blocked.lock().unwrap().recv().ok();
                Ok::<_, DbError>(())
            })
            .await
        }
    });
    tokio::task::spawn_blocking(move || waiting.recv()).await.unwrap().unwrap();
    let results = futures(&db).await;
    leave.send(()).unwrap();
    blocking.await.unwrap().unwrap();
    assert_eq!(results, 2, "one waits in the queue, the others are refused");
}

/// Sends three transactions while the writer is blocked; answers how many were refused at once.
async fn futures(db: &Db) -> usize {
    let mut refused = 0;
    for _ in 0..3 {
        let db = db.clone();
        let mut attempt = Box::pin(async move { run(&db, "SELECT 1").await });
        let polled =
            std::future::poll_fn(|context| std::task::Poll::Ready(attempt.as_mut().poll(context))).await;
        refused += usize::from(matches!(polled, std::task::Poll::Ready(Err(DbError::Busy))));
    }
    refused
}
