//! What only the embedded engine can be asked.

use std::sync::Arc;

use db::{Db, DbError, OpenOptions, params};

/// The disk fills up in the middle of a group: what does not fit is refused, what was answered is there.
#[tokio::test]
async fn a_full_disk_refuses_and_keeps_nothing_half() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open_sqlite(&folder.path().join("test.db"), OpenOptions::server()).unwrap();
    db.tx("makes", async |tx| {
        tx.execute_script("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT); PRAGMA max_page_count = 40")
            .await
    })
    .await
    .unwrap();
    let big = Arc::new("x".repeat(4000));
    let mut kept = 0;
    let mut refused = 0;
    for id in 0..100 {
        let big = Arc::clone(&big);
        let result = db
            .tx("big", async move |tx| {
                tx.execute_one("INSERT INTO t VALUES ($1, $2)", &params![id, big.as_str()]).await
            })
            .await;
        match result {
            Ok(()) => kept += 1,
            Err(DbError::Unwritable(_)) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(kept > 0 && refused > 0, "{kept} kept, {refused} refused");
    let count: i64 =
        db.read("count", async |tx| tx.query_one("SELECT count(*) FROM t", &[]).await?.get(0)).await.unwrap();
    assert_eq!(count, kept);
}
