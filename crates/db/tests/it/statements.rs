//! What every engine promises of statements. Each test takes a database with nothing in it and runs once for each engine.

use crate::common::{Empty, count, number, script};
use db::{DbError, Param, params};

on_every_engine! {
    a_statement_that_answers_rows_is_a_query,
    parameters_are_counted,
    vectors_say_which_row_is_missing,
    vectors_insert,
    vectors_insert_every_kind_of_value,
    vectors_insert_or_change,
    vectors_update_and_delete,
    vectors_answer_in_order,
    values_come_back_as_they_went,
    what_is_no_whole_number_is_refused,
    rows_are_handed_over_one_by_one,
    constraints_have_names,
}

async fn a_statement_that_answers_rows_is_a_query(empty: Empty) {
    let db = empty.with_table().await;
    let selected = db.tx("selects", async |tx| tx.execute("SELECT 1", &[]).await).await;
    assert!(matches!(selected, Err(DbError::Other(_))), "{selected:?}");
    let vector = db
        .tx("selects", async |tx| tx.execute_many("SELECT n FROM t WHERE id = $1", [params![1]]).await)
        .await;
    assert!(matches!(vector, Err(DbError::Other(_))), "{vector:?}");
    let vector =
        db.tx("deletes", async |tx| tx.query_many("DELETE FROM t WHERE id = $1", [params![1]]).await).await;
    assert!(matches!(vector, Err(DbError::Other(_))), "{vector:?}");
}

async fn parameters_are_counted(empty: Empty) {
    let db = empty.with_table().await;
    for sql in ["INSERT INTO t VALUES ($1, 1, NULL)", "INSERT INTO t VALUES ($1, $2, $3)"] {
        let refused = db.tx("refused", async move |tx| tx.execute(sql, &params![1, 2]).await).await;
        assert!(matches!(refused, Err(DbError::Other(_))), "{refused:?}");
        let refused = db.tx("refused", async move |tx| tx.execute_many(sql, [params![1, 2]]).await).await;
        assert!(matches!(refused, Err(DbError::Other(_))), "{refused:?}");
    }
    assert_eq!(count(&db).await, 0);
}

async fn vectors_say_which_row_is_missing(empty: Empty) {
    let db = empty.with_table().await;
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
    assert!(matches!(missing, Err(DbError::RowCount { .. })));
    assert_eq!(number(&db, "SELECT n FROM t WHERE id = 1").await, 10, "the whole vector was taken back");
}

async fn vectors_insert(empty: Empty) {
    let db = empty.open().await;
    script(&db, "CREATE TABLE v (id BIGINT PRIMARY KEY, n BIGINT, state TEXT, name TEXT, bytes BYTEA)")
        .await
        .unwrap();
    let sql = "INSERT INTO v (name, id, n, state, bytes) VALUES ($2, $1, $3 + 1, 'it''s, $1', $4)";
    db.tx("inserts", async move |tx| {
        let rows: Vec<[Param<'_>; 4]> = vec![
            params![1, "a, 'b' {c}", 5, b"\x00\xff"],
            params![2, Param::Null, Param::Null, Param::Null],
            params![3, "", i64::MIN, b""],
        ];
        tx.execute_many(sql, rows).await?;
        tx.execute_many(sql, Vec::<[Param<'_>; 4]>::new()).await?;
        // More than a message of the protocol or an array may usually be expected to have.
        tx.execute_many("INSERT INTO v (id, n) VALUES ($1, $2)", (100..20_100).map(|id| params![id, id]))
            .await
    })
    .await
    .unwrap();
    assert_eq!(number(&db, "SELECT count(*) FROM v WHERE id = n AND state IS NULL").await, 20_000);
    assert_eq!(number(&db, "SELECT count(*) FROM v WHERE state = 'it''s, $1'").await, 3);
    assert_eq!(number(&db, "SELECT n FROM v WHERE name = 'a, ''b'' {c}'").await, 6);
    let nulls = "SELECT count(*) FROM v WHERE id = 2 AND name IS NULL AND n IS NULL AND bytes IS NULL";
    assert_eq!(number(&db, nulls).await, 1);
    // Few rows and many may go different ways, and so may plain parameters and anything else.
    for more in [0, 1_000] {
        let again = db
            .tx("inserts", async move |tx| {
                let rows = [7, 3, 8].into_iter().chain(30_000..30_000 + more).map(|id| params![id, -7]);
                tx.execute_many("INSERT INTO v (id, n) VALUES ($1, $2)", rows).await
            })
            .await;
        assert!(matches!(again, Err(DbError::Unique(_))), "{again:?}");
    }
    assert_eq!(number(&db, "SELECT count(*) FROM v WHERE n = -7").await, 0);
}

async fn vectors_insert_every_kind_of_value(empty: Empty) {
    const TEXTS: [Option<&str>; 4] = [Some("a, 'b' {c}\\N"), None, Some(""), Some("ä\u{1f3dd}\n\t")];
    let db = empty.open().await;
    script(&db, "CREATE TABLE v (id BIGINT PRIMARY KEY, n BIGINT, name TEXT, bytes BYTEA, CHECK (n < 900))")
        .await
        .unwrap();
    let sql = "INSERT INTO v (name, bytes, id, n) VALUES ($3, $4, $1, $2)";
    for (first, length) in [(0, 8), (100, 300)] {
        db.tx("inserts", async move |tx| {
            let rows = (first..first + length)
                .zip(TEXTS.iter().cycle())
                .map(|(id, text)| params![id, (id % 3 > 0).then_some(id), *text, text.map(str::as_bytes)]);
            tx.execute_many(sql, rows).await
        })
        .await
        .unwrap();
    }
    let rows = db
        .read("looks", async |tx| tx.query("SELECT id, n, name, bytes FROM v ORDER BY id", &[]).await)
        .await
        .unwrap();
    assert_eq!(rows.len(), 308);
    for row in rows {
        let id: i64 = row.get(0).unwrap();
        let text = TEXTS[usize::try_from(id % 4).unwrap()];
        assert_eq!(row.get::<Option<i64>>(1).unwrap(), (id % 3 > 0).then_some(id));
        assert_eq!(row.get::<Option<String>>(2).unwrap().as_deref(), text);
        assert_eq!(row.get::<Option<Vec<u8>>>(3).unwrap().as_deref(), text.map(str::as_bytes));
    }
    for length in [2, 200] {
        let refused = db
            .tx("breaks a law", async move |tx| {
                tx.execute_many(sql, (1_000..1_000 + length).map(|id| params![id, id, "x", b"x"])).await
            })
            .await;
        assert!(matches!(refused, Err(DbError::Constraint(_))), "{refused:?}");
    }
}

async fn vectors_insert_or_change(empty: Empty) {
    let db = empty.open().await;
    script(
        &db,
        "CREATE TABLE m (place BIGINT, minute BIGINT, n BIGINT, low BIGINT, PRIMARY KEY (place, minute))",
    )
    .await
    .unwrap();
    let sql = "INSERT INTO m (place, minute, n, low) VALUES ($1, $2, $3, $4)
               ON CONFLICT (place, minute) DO UPDATE SET
                 n = m.n + $3, low = CASE WHEN $4 < m.low THEN $4 ELSE m.low END";
    db.tx("adds", async move |tx| {
        tx.execute_many(sql, [params![1, 1, 10, 5], params![1, 2, 20, 6]]).await?;
        tx.execute_many(sql, [params![1, 2, 1, 9], params![2, 2, 30, 3], params![1, 1, 1, 1]]).await
    })
    .await
    .unwrap();
    let found = db
        .read("found", async |tx| tx.query("SELECT n, low FROM m ORDER BY place, minute", &[]).await)
        .await
        .unwrap();
    let found: Vec<(i64, i64)> = found.iter().map(|row| (row.get(0).unwrap(), row.get(1).unwrap())).collect();
    assert_eq!(found, [(11, 1), (21, 6), (30, 3)]);
    let ignored = db
        .tx("ignores", async |tx| {
            let sql = "INSERT INTO m (place, minute) VALUES ($1, $2) ON CONFLICT (place, minute) DO NOTHING";
            tx.execute_many(sql, [params![1, 1], params![5, 5]]).await
        })
        .await;
    assert!(matches!(ignored, Err(DbError::RowCount { .. })), "each row must be touched: {ignored:?}");
}

async fn vectors_update_and_delete(empty: Empty) {
    let db = empty.with_table().await;
    db.tx("changes", async |tx| {
        let insert = "INSERT INTO t (id, n, name) VALUES ($1, $2, $3)";
        tx.execute_many(insert, (0..5_000).map(|id| params![id, id, "old"])).await?;
        let update = "UPDATE t SET n = coalesce($2, n) + 1, name = $3 WHERE id = $1 AND name = 'old'";
        let rows = (0..4_000).rev().map(|id| params![id, (id % 2 == 0).then_some(id * 2), Param::Null]);
        tx.execute_many(update, rows).await?;
        tx.execute_many(
            "DELETE FROM t WHERE name = $2 AND id = $1",
            (4_500..5_000).map(|id| params![id, "old"]),
        )
        .await
    })
    .await
    .unwrap();
    assert_eq!(count(&db).await, 4_500);
    assert_eq!(number(&db, "SELECT n FROM t WHERE id = 10").await, 21);
    assert_eq!(number(&db, "SELECT n FROM t WHERE id = 11").await, 12);
    assert_eq!(number(&db, "SELECT count(*) FROM t WHERE name IS NULL").await, 4_000);
}

async fn vectors_answer_in_order(empty: Empty) {
    let db = empty.with_table().await;
    db.tx("answers", async |tx| {
        let insert = "INSERT INTO t (id, n, name) VALUES ($1, $2, $3)";
        tx.execute_many(insert, (0..3_000).map(|id| params![id, id / 2, "x"])).await?;
        // The same key twice is no mistake here; rows with columns of one name, without a name, and null are fine, too.
        let sql =
            "SELECT a.n, b.n, NULL, 1 FROM t a JOIN t b ON b.id = a.id + $2 WHERE a.id = $1 AND a.name = $3";
        let keys = [(7, 1), (9_999, 0), (7, 1), (0, 0), (2_999, 1)];
        let rows = tx.query_many(sql, keys.map(|(id, step)| params![id, step, "x"])).await?;
        let found: Vec<Option<[Option<i64>; 4]>> = rows
            .iter()
            .map(|row| row.as_ref().map(|row| [0, 1, 2, 3].map(|column| row.get(column).unwrap())))
            .collect();
        let three = Some([Some(3), Some(4), None, Some(1)]);
        assert_eq!(found, [three, None, three, Some([Some(0), Some(0), None, Some(1)]), None]);
        assert!(tx.query_many("SELECT 1 WHERE $1 > 0", Vec::<[Param<'_>; 1]>::new()).await?.is_empty());
        let newest = "SELECT id FROM t WHERE n = $1 ORDER BY id DESC LIMIT 1";
        let rows = tx.query_many(newest, (0..1_500).map(|n| params![n])).await?;
        assert!((0..).zip(&rows).all(|(n, row)| row.as_ref().unwrap().get::<i64>(0).unwrap() == 2 * n + 1));
        Ok::<_, DbError>(())
    })
    .await
    .unwrap();
    let several = db
        .read("several", async |tx| tx.query_many("SELECT id FROM t WHERE n = $1", [params![5]]).await)
        .await;
    assert!(matches!(several, Err(DbError::RowCount { expected: 1, touched: 2, .. })), "{several:?}");
}

async fn values_come_back_as_they_went(empty: Empty) {
    let db = empty.open().await;
    script(&db, "CREATE TABLE v (number BIGINT, name TEXT, bytes BYTEA)").await.unwrap();
    let texts = ["", "a", "ä\u{1f3dd}'\"\\", "two\nlines"];
    let numbers = [0, 1, -1, i64::MAX, i64::MIN];
    let back = db
        .tx("values", async move |tx| {
            let insert = "INSERT INTO v (number, name, bytes) VALUES ($1, $2, $3)";
            for (number, text) in numbers.iter().zip(texts.iter().cycle()) {
                tx.execute_one(insert, &params![*number, *text, text.as_bytes()]).await?;
            }
            tx.execute_one(insert, &[Param::Null, Param::Null, Param::Null]).await?;
            tx.query("SELECT number, name, bytes FROM v WHERE number IS NOT NULL", &[]).await
        })
        .await
        .unwrap();
    for (row, (number, text)) in back.iter().zip(numbers.into_iter().zip(texts.into_iter().cycle())) {
        assert_eq!(row.get::<i64>(0).unwrap(), number);
        assert_eq!(row.get::<String>(1).unwrap(), text);
        assert_eq!(row.get::<Vec<u8>>(2).unwrap(), text.as_bytes());
    }
    let row = db
        .read("computed", async |tx| {
            let sql = "SELECT sum(number), count(*), min(number) < 0, sum(number) IS NULL, 7, NULL
                       FROM v WHERE number < $1 AND number > $2";
            tx.query_one(sql, &params![i64::MAX, i64::MIN]).await
        })
        .await
        .unwrap();
    assert_eq!((row.get::<i64>(0).unwrap(), row.get::<i64>(1).unwrap()), (0, 3));
    assert!(row.get::<bool>(2).unwrap() && !row.get::<bool>(3).unwrap());
    assert_eq!((row.get::<i64>(4).unwrap(), row.get::<Option<i64>>(5).unwrap()), (7, None));
}

async fn what_is_no_whole_number_is_refused(empty: Empty) {
    let db = empty.open().await;
    let float = db.read("float", async |tx| tx.query("SELECT 'x', 1.5", &[]).await).await;
    assert!(matches!(float, Err(DbError::Type { column: 1, .. })), "{float:?}");
}

async fn rows_are_handed_over_one_by_one(empty: Empty) {
    let db = empty.with_table().await;
    db.tx("fills", async |tx| {
        let insert = "INSERT INTO t (id, n, name) VALUES ($1, $2, 'x')";
        tx.execute_many(insert, (0..30_000).map(|id| params![id, id])).await
    })
    .await
    .unwrap();
    let sum = db
        .read("sums", async |tx| {
            let (mut sum, mut last) = (0, -1);
            tx.query_each("SELECT id, n FROM t WHERE id >= $1 ORDER BY id", &params![100], |row| {
                assert!(row.get::<i64>(0)? > last);
                last = row.get(0)?;
                sum += row.get::<i64>(1)?;
                Ok::<_, DbError>(())
            })
            .await?;
            Ok::<_, DbError>(sum)
        })
        .await
        .unwrap();
    assert_eq!(sum, (100..30_000).sum::<i64>());
    // An error of the one who looks ends the query and nothing else.
    let seen = db
        .tx("stops", async |tx| {
            let mut seen = 0;
            let stopped = tx
                .query_each("SELECT id FROM t", &[], |_| {
                    seen += 1;
                    if seen == 3 { Err(DbError::Other("enough".to_owned())) } else { Ok(()) }
                })
                .await;
            assert!(matches!(stopped, Err(DbError::Other(text)) if text == "enough"));
            tx.execute_one("INSERT INTO t VALUES (-1, 0, NULL)", &[]).await?;
            Ok::<_, DbError>(seen)
        })
        .await
        .unwrap();
    assert_eq!(seen, 3);
    assert_eq!(count(&db).await, 30_001);
}

async fn constraints_have_names(empty: Empty) {
    let db = empty.open().await;
    script(
        &db,
        "CREATE TABLE parent (id BIGINT PRIMARY KEY, code TEXT NOT NULL UNIQUE);
         CREATE TABLE child (parent_id BIGINT NOT NULL REFERENCES parent (id), n BIGINT CHECK (n > 0));
         INSERT INTO parent VALUES (1, 'x')",
    )
    .await
    .unwrap();
    let refusals = [
        ("INSERT INTO parent VALUES (1, 'y')", true),
        ("INSERT INTO parent VALUES (2, 'x')", true),
        ("INSERT INTO parent VALUES (2, NULL)", false),
        ("INSERT INTO child VALUES (9, 1)", false),
        ("INSERT INTO child VALUES (1, 0)", false),
        ("INSERT INTO child VALUES (NULL, 1)", false),
    ];
    for (sql, unique) in refusals {
        let refused = db.tx("refused", async move |tx| tx.execute(sql, &[]).await).await;
        match refused {
            Err(DbError::Unique(_)) => assert!(unique, "{sql}"),
            Err(DbError::Constraint(_)) => assert!(!unique, "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}
