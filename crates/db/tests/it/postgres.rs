//! What only the engine across a connection can be asked: connections break, servers go away, others hold locks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use db::{Db, DbError, FaultPoint, OpenOptions, params};
use pg_temp::{PgTemp, Settings};

use crate::common::{Blocker, Empty, Planned, count, enqueue, insert, make_table, number, script};
use crate::proxy::{Cut, Proxy};

/// The lock writers take.
const WRITER_LOCK: &str = "4706898538302293324";

fn shared() -> &'static PgTemp {
    PgTemp::shared().unwrap()
}

/// The database's name in its URL.
fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

/// Ends all connections to this database.
fn break_connections(empty: &Empty) {
    let database = name_of(&empty.url);
    let sql =
        format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}'");
    shared().psql("postgres", &sql).unwrap();
}

/// A transaction that counts how often it runs.
async fn counted(db: &Db, id: i64, runs: &Arc<AtomicUsize>) -> Result<(), DbError> {
    let runs = Arc::clone(runs);
    db.tx("counted", async move |tx| {
        runs.fetch_add(1, Ordering::SeqCst);
        tx.execute_one("INSERT INTO t VALUES ($1, 1, NULL)", &params![id]).await
    })
    .await
}

/// A database behind a proxy that cuts the next commit.
async fn cut_at_commit(cut: Cut) -> (Db, Proxy) {
    let empty = Empty::postgres();
    let proxy = Proxy::start(shared().port());
    let faults = Planned::none();
    let url = format!("postgres://postgres@127.0.0.1:{}/{}", proxy.port, name_of(&empty.url));
    let db = Db::open(&url, faults.options()).await.unwrap();
    make_table(&db).await;
    let (cutter, mut left) = (proxy.clone(), 1);
    faults.react(move |point| {
        if point == FaultPoint::BeforeCommit && left > 0 {
            left -= 1;
            cutter.cut(cut);
        }
        false
    });
    (db, proxy)
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found() {
    let (db, proxy) = cut_at_commit(Cut::Answers).await;
    let runs = Arc::new(AtomicUsize::new(0));
    counted(&db, 1, &runs).await.unwrap();
    assert!(proxy.is_cut());
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    counted(&db, 2, &runs).await.unwrap();
    assert_eq!(count(&db).await, 2);
}

/// And the server still waits for it, holding the lock everybody wants.
#[tokio::test]
async fn a_commit_that_did_not_arrive_runs_again() {
    let (db, proxy) = cut_at_commit(Cut::Questions).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    counted(&db, 1, &runs).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(4), "the connection that holds the lock is ended");
    assert!(proxy.is_cut());
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    counted(&db, 2, &runs).await.unwrap();
    assert_eq!(count(&db).await, 2);
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_commit_is_replaced() {
    let empty = Empty::postgres();
    let faults = Planned::none();
    let db = empty.open_with(faults.options()).await;
    make_table(&db).await;
    let mut left = 1;
    faults.react(move |point| {
        if point == FaultPoint::BeforeCommit && left > 0 {
            left -= 1;
            break_connections(&empty);
        }
        false
    });
    let runs = Arc::new(AtomicUsize::new(0));
    counted(&db, 1, &runs).await.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(count(&db).await, 1);
}

/// With neighbours before and behind it.
#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_is_replaced() {
    let empty = Empty::postgres();
    let db = empty.with_table().await;
    let broken = Arc::new(AtomicBool::new(false));
    let breaking = db.tx("breaks", {
        let broken = Arc::clone(&broken);
        async move |tx| {
            tx.execute_one("INSERT INTO t VALUES (2, 1, NULL)", &[]).await?;
            if !broken.swap(true, Ordering::SeqCst) {
                // What comes of it does not matter: there is no connection that could answer.
                let end = "SELECT pg_terminate_backend(pg_backend_pid())";
                assert!(tx.query(end, &[]).await.is_err());
                return Err(DbError::Other("what a closure answers then does not count".to_owned()));
            }
            Ok(())
        }
    });
    let (one, two, three) = tokio::join!(insert(&db, 1), breaking, insert(&db, 3));
    one.and(two).and(three).unwrap();
    assert!(broken.load(Ordering::SeqCst));
    assert_eq!(count(&db).await, 3);
}

#[tokio::test]
async fn connections_that_broke_while_idle_are_replaced_unnoticed() {
    let empty = Empty::postgres();
    let db = empty.open_with(OpenOptions::command()).await;
    make_table(&db).await;
    insert(&db, 1).await.unwrap();
    assert_eq!(count(&db).await, 1);
    break_connections(&empty);
    assert_eq!(count(&db).await, 1);
    let before = db.foreign_writes().await.unwrap();
    break_connections(&empty);
    assert_eq!(db.foreign_writes().await.unwrap(), before);
    break_connections(&empty);
    insert(&db, 2).await.unwrap();
    assert_eq!(count(&db).await, 2);
}

/// Calls fail in a bounded time with an error that says to try again, and succeed when the server is back.
#[tokio::test]
async fn a_server_that_is_away_is_no_disaster() {
    let server = PgTemp::start_with(&Settings { careless: true, ..Settings::default() }).unwrap();
    let db = Db::open(&server.create_database("away").unwrap(), OpenOptions::server()).await.unwrap();
    make_table(&db).await;
    insert(&db, 1).await.unwrap();
    server.stop().unwrap();
    for _ in 0..2 {
        let away = insert(&db, 2).await;
        assert!(matches!(&away, Err(error) if error.is_transient()), "{away:?}");
    }
    let away = db.read("away", async |tx| tx.query("SELECT 1", &[]).await).await;
    assert!(matches!(&away, Err(error) if error.is_transient()), "{away:?}");
    assert!(db.foreign_writes().await.is_err());
    server.start_again().unwrap();
    insert(&db, 2).await.unwrap();
    assert_eq!(count(&db).await, 2);
    db.foreign_writes().await.unwrap();
}

/// What was answered is there, and what was refused is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_server_loses_nothing_that_was_acknowledged() {
    let server = PgTemp::start_with(&Settings { careless: true, ..Settings::default() }).unwrap();
    let db = Db::open(&server.create_database("crash").unwrap(), OpenOptions::server()).await.unwrap();
    make_table(&db).await;
    let (acknowledged, ended) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..16)
        .map(|client| {
            let (db, acknowledged, ended) = (db.clone(), Arc::clone(&acknowledged), Arc::clone(&ended));
            tokio::spawn(async move {
                let (mut kept, mut refused) = (Vec::new(), Vec::new());
                for id in (client * 1_000_000).. {
                    if ended.load(Ordering::SeqCst) {
                        break;
                    }
                    match insert(&db, id).await {
                        Ok(()) => {
                            acknowledged.fetch_add(1, Ordering::SeqCst);
                            kept.push(id);
                        }
                        Err(error) if error.is_transient() => refused.push(id),
                        Err(other) => panic!("{other:?}"),
                    }
                }
                (kept, refused)
            })
        })
        .collect();
    let more = async |number: i64| {
        let until = acknowledged.load(Ordering::SeqCst) + number;
        while acknowledged.load(Ordering::SeqCst) < until {
            tokio::task::yield_now().await;
        }
    };
    for _ in 0..3 {
        more(200).await;
        server.crash().unwrap();
        server.start_again().unwrap();
    }
    more(200).await;
    ended.store(true, Ordering::SeqCst);
    let mut kept = BTreeSet::new();
    let mut refused = BTreeSet::new();
    for client in clients {
        let (more_kept, more_refused) = client.await.unwrap();
        kept.extend(more_kept);
        refused.extend(more_refused);
    }
    let rows = db.read("ids", async |tx| tx.query("SELECT id FROM t", &[]).await).await.unwrap();
    let stored: BTreeSet<i64> = rows.iter().map(|row| row.get(0).unwrap()).collect();
    assert_eq!(stored, kept, "{} were refused", refused.len());
}

/// Those our own writers never meet: somebody else works on the same rows with a program of theirs.
#[tokio::test]
async fn what_the_server_wants_repeated_is_repeated() {
    let db = Empty::postgres().with_table().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let unlucky = |often: usize| {
        let (db, runs) = (db.clone(), Arc::clone(&runs));
        runs.store(0, Ordering::SeqCst);
        async move {
            db.tx("unlucky", async move |tx| {
                tx.execute_one("INSERT INTO t VALUES (2, 1, NULL)", &[]).await?;
                if runs.fetch_add(1, Ordering::SeqCst) < often {
                    let fail = "DO $$ BEGIN RAISE 'again' USING ERRCODE = '40001'; END $$";
                    tx.execute(fail, &[]).await?;
                }
                Ok::<_, DbError>(())
            })
            .await
        }
    };
    let (one, two, three) = tokio::join!(insert(&db, 1), unlucky(2), insert(&db, 3));
    one.and(two).and(three).unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 3);
    let never = unlucky(usize::MAX).await;
    assert!(matches!(never, Err(DbError::Unique(_))), "its first statement comes first: {never:?}");
    db.tx("makes room", async |tx| tx.execute_one("DELETE FROM t WHERE id = 2", &[]).await).await.unwrap();
    let never = unlucky(usize::MAX).await;
    assert!(matches!(never, Err(DbError::Busy)), "{never:?}");
    assert_eq!(runs.load(Ordering::SeqCst), 5);
    assert_eq!(count(&db).await, 2);
}

#[tokio::test]
async fn a_lock_somebody_holds_makes_the_database_busy() {
    let empty = Empty::postgres();
    let db = empty.with_table().await;
    let (other, connection) = tokio_postgres::connect(&empty.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    other.batch_execute(&format!("SELECT pg_advisory_lock({WRITER_LOCK})")).await.unwrap();
    let started = Instant::now();
    let waiting: Vec<_> = (0..5)
        .map(|id| {
            let db = db.clone();
            tokio::spawn(async move { insert(&db, id).await })
        })
        .collect();
    assert_eq!(count(&db).await, 0, "readers do not wait");
    for call in waiting {
        let busy = call.await.unwrap();
        assert!(matches!(busy, Err(DbError::Busy)), "{busy:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(9), "they are told together");
    other.batch_execute(&format!("SELECT pg_advisory_unlock({WRITER_LOCK})")).await.unwrap();
    insert(&db, 1).await.unwrap();
}

#[tokio::test]
async fn errors_have_the_meaning_they_have_elsewhere() {
    let db = Empty::postgres().with_table().await;
    let raise = async |code: &str| {
        let sql = format!("DO $$ BEGIN RAISE 'on purpose' USING ERRCODE = '{code}'; END $$");
        db.tx("raises", async move |tx| tx.execute(&sql, &[]).await).await.unwrap_err()
    };
    for code in ["23505", "23514", "23503", "P0001"] {
        let error = raise(code).await;
        let unique = matches!(error, DbError::Unique(_));
        assert!(!error.is_transient() && unique == (code == "23505"), "{code}: {error:?}");
        assert!(unique || matches!(error, DbError::Constraint(_)), "{code}: {error:?}");
    }
    for code in ["53100", "53200", "25006", "57P03", "58030"] {
        assert!(matches!(raise(code).await, DbError::Unwritable(_)), "{code}");
    }
    for code in ["53300", "55P03", "57014"] {
        assert!(matches!(raise(code).await, DbError::Busy), "{code}");
    }
    assert!(matches!(raise("22012").await, DbError::Other(text) if text.contains("on purpose")));
    let hidden = db
        .tx("hides", async |tx| tx.execute("INSERT INTO t VALUES (1, -5, 'secret')", &[]).await)
        .await
        .unwrap_err();
    assert!(!hidden.to_string().contains("secret"), "{hidden}");
}

#[tokio::test]
async fn a_statement_takes_what_fits() {
    let db = Empty::postgres().with_table().await;
    let text =
        db.tx("text", async |tx| tx.execute("INSERT INTO t VALUES ($1, 1, 'x')", &params!["1"]).await).await;
    assert!(matches!(text, Err(DbError::Other(_))), "{text:?}");
    // The same text may be another statement.
    for _ in 0..2 {
        let number: i64 =
            db.tx("number", async |tx| tx.query_one("SELECT $1", &params![7]).await?.get(0)).await.unwrap();
        let text: String =
            db.tx("text", async |tx| tx.query_one("SELECT $1", &params!["x"]).await?.get(0)).await.unwrap();
        assert_eq!((number, text.as_str()), (7, "x"));
    }
    // A statement serves numbers that were nothing the first time.
    db.tx("widens", async |tx| {
        let sql = "SELECT coalesce($1, 0) + 1";
        tx.query_one(sql, &params![None::<i64>]).await?;
        let wide: i64 = tx.query_one(sql, &params![i64::MAX - 1]).await?.get(0)?;
        assert_eq!(wide, i64::MAX);
        Ok::<_, DbError>(())
    })
    .await
    .unwrap();
}

/// An error behind the rows that were wanted is the closure's own, not its neighbours'.
#[tokio::test]
async fn an_error_behind_rows_nobody_wants_is_noticed() {
    let db = Empty::postgres().with_table().await;
    let stops = db.tx("stops", async |tx| {
        tx.execute_one("INSERT INTO t VALUES (2, 1, NULL)", &[]).await?;
        let sql = "SELECT 1000 / (9000 - n) FROM generate_series(1, 10000) n";
        let stopped = tx.query_each(sql, &[], |_| Err(DbError::Other("enough".to_owned()))).await;
        assert!(matches!(stopped, Err(DbError::Other(text)) if text.contains("division by zero")));
        Ok::<_, DbError>(())
    });
    let (one, two, three) = tokio::join!(insert(&db, 1), stops, insert(&db, 3));
    one.and(three).unwrap();
    assert!(matches!(two, Err(DbError::Other(_))), "{two:?}");
    assert_eq!(count(&db).await, 2);
}

#[tokio::test]
async fn prepared_statements_do_not_pile_up() {
    let db = Empty::postgres().with_table().await;
    let prepared: i64 = db
        .tx("many statements", async |tx| {
            for number in 0..700 {
                tx.query(&format!("SELECT {number} FROM t WHERE id = $1"), &params![1]).await?;
                let many = format!("UPDATE t SET n = {number} WHERE id = $1");
                tx.query_many(&format!("SELECT {number} FROM t WHERE id = $1"), [params![1]]).await?;
                if number == 0 {
                    tx.execute_one("INSERT INTO t VALUES (1, 1, NULL)", &[]).await?;
                }
                tx.execute_many(&many, [params![1]]).await?;
            }
            tx.query_one("SELECT count(*) FROM pg_prepared_statements", &[]).await?.get(0)
        })
        .await
        .unwrap();
    assert!(prepared > 400 && prepared < 600, "{prepared}");
}

#[tokio::test]
async fn a_table_may_change_under_its_statements() {
    let db = Empty::postgres().with_table().await;
    insert(&db, 1).await.unwrap();
    let all = async || {
        let rows = db.tx("all", async |tx| tx.query("SELECT * FROM t", &[]).await).await.unwrap();
        db.read("all", async |tx| tx.query("SELECT * FROM t", &[]).await).await.unwrap();
        rows.first().unwrap().get::<Option<i64>>(3)
    };
    assert!(all().await.unwrap().is_none());
    script(&db, "ALTER TABLE t ADD COLUMN more BIGINT NOT NULL DEFAULT 5").await.unwrap();
    assert_eq!(all().await.unwrap(), Some(5));
    // What is sent as it is stored notices a narrower column in its own way.
    let many = async |first: i64| {
        let rows = move || (first..first + 100).map(|id| params![id, 1]);
        db.tx("many", async move |tx| tx.execute_many("INSERT INTO t (id, n) VALUES ($1, $2)", rows()).await)
            .await
    };
    many(1_000).await.unwrap();
    script(&db, "ALTER TABLE t ALTER COLUMN n TYPE INTEGER").await.unwrap();
    many(2_000).await.unwrap();
    assert_eq!(count(&db).await, 201);
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_on_disk() {
    let empty = Empty::postgres();
    let database = name_of(&empty.url);
    shared().psql("postgres", &format!("ALTER DATABASE {database} SET synchronous_commit = off")).unwrap();
    let db = empty.open().await;
    let setting: String = db
        .tx("setting", async |tx| {
            tx.query_one("SELECT current_setting('synchronous_commit')", &[]).await?.get(0)
        })
        .await
        .unwrap();
    assert_eq!(setting, "on");
}

#[tokio::test]
async fn what_is_wrong_with_a_url_is_said() {
    let open = async |url: &str| Db::open(url, OpenOptions::command()).await.unwrap_err().to_string();
    assert!(open(&shared().url("no_such_database")).await.contains("no_such_database"));
    assert!(open("mysql://localhost").await.contains("postgres://"));
    let nobody = open("postgres://u:secret@127.0.0.1:1/d").await;
    assert!(nobody.contains("cannot be reached") && !nobody.contains("secret"), "{nobody}");
}

/// Rows of writers that are gone are added up, so that what the others count never becomes less.
#[tokio::test]
async fn writers_that_are_gone_leave_no_rows() {
    let empty = Empty::postgres();
    let db = empty.with_table().await;
    let database = name_of(&empty.url);
    for id in 0..5 {
        insert(&empty.open_with(OpenOptions::command()).await, id).await.unwrap();
    }
    let before = db.foreign_writes().await.unwrap();
    shared().psql(database, "UPDATE db_writers SET seen_at = seen_at - 100000").unwrap();
    let last = empty.open_with(OpenOptions::command()).await;
    assert_eq!(number(&db, "SELECT count(*) FROM db_writers").await, 2, "the sum, and the last one");
    assert!(db.foreign_writes().await.unwrap() >= before);
    insert(&last, 5).await.unwrap();
    insert(&db, 6).await.unwrap();
    assert_eq!(number(&db, "SELECT count(*) FROM db_writers").await, 3);
    assert_eq!(count(&db).await, 7);
}

/// What waits while nothing can be begun is told with those who tried, not one after the other.
#[tokio::test]
async fn a_queue_does_not_wait_for_a_server_one_by_one() {
    let server = PgTemp::start_with(&Settings { careless: true, ..Settings::default() }).unwrap();
    let db = Db::open(&server.create_database("away").unwrap(), OpenOptions::server()).await.unwrap();
    make_table(&db).await;
    let blocker = Blocker::start(&db).await;
    let mut waiting = Vec::new();
    for id in 0..200 {
        let db = db.clone();
        waiting.push(enqueue(async move { insert(&db, id).await }).await.ok().unwrap());
    }
    server.stop().unwrap();
    let started = Instant::now();
    assert!(blocker.end().await.is_err());
    for call in waiting {
        let away = call.await;
        assert!(matches!(&away, Err(error) if error.is_transient()), "{away:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}
