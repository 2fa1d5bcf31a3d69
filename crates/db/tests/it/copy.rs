//! Copying a database to another one. Each test takes two databases with nothing in them and runs from each engine to the other, a few
//! also from one to its like.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{Empty, Planned, script};
use db::{
    Copied, CopyError, CopyProgress, CopyStep, Db, DbError, Engine, FaultPoint, Migration, MigrationSet,
    OpenOptions, Tx, params,
};

/// Makes of each function two tests, or four.
macro_rules! between_engines {
    (@each $module:ident $from:ident $to:ident $($test:ident)*) => {
        mod $module {
            use crate::common::Empty;
            $(#[tokio::test] async fn $test() { super::$test(Empty::$from(), Empty::$to()).await; })*
        }
    };
    (also_to_its_like: $($like:ident),*; $($test:ident),* $(,)?) => {
        between_engines!(@each sqlite_to_postgres sqlite postgres $($like)* $($test)*);
        between_engines!(@each postgres_to_sqlite postgres sqlite $($like)* $($test)*);
        between_engines!(@each sqlite_to_sqlite sqlite sqlite $($like)*);
        between_engines!(@each postgres_to_postgres postgres postgres $($like)*);
    };
}

between_engines! {
    also_to_its_like: every_row_and_value_arrives, what_changed_since_is_brought_over;
    a_database_with_nothing_but_its_schema_is_copied,
    a_complete_copy_is_left_as_it_is,
    an_interrupted_copy_goes_on,
    a_commit_whose_answer_was_lost_loses_nothing,
    an_interrupted_copy_of_a_source_that_was_used_is_right_in_the_end,
    a_target_with_rows_of_its_own_is_left_alone,
    a_copy_of_another_database_is_left_alone,
    a_copy_that_has_been_used_is_left_alone,
    history_that_the_source_has_not_is_refused,
    a_source_that_changes_is_noticed,
    a_source_somebody_looks_at_has_not_changed,
    a_source_of_a_newer_program_is_refused,
    a_source_that_is_nobodys_or_half_a_copy_is_refused,
    columns_that_the_program_does_not_know_are_refused,
}

const SETS: &[MigrationSet] = &[MigrationSet {
    name: "part",
    migrations: &[Migration {
        name: "tables",
        sqlite: "
            CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT NOT NULL UNIQUE, n BIGINT);
            CREATE TABLE things (
                owner BIGINT NOT NULL REFERENCES people (id), name TEXT NOT NULL, bytes BLOB, note TEXT,
                PRIMARY KEY (name, owner)
            ) WITHOUT ROWID;
            CREATE TABLE history (id BIGINT PRIMARY KEY, \"what happened\" TEXT);
            CREATE TRIGGER kept BEFORE DELETE ON history BEGIN SELECT raise(ABORT, 'never deleted'); END;
            CREATE TABLE blank (id BIGINT PRIMARY KEY, at BIGINT);
            CREATE TABLE head (id BIGINT PRIMARY KEY, n BIGINT NOT NULL);
            INSERT INTO head VALUES (1, 0);",
        postgres: "
            CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT NOT NULL UNIQUE, n BIGINT);
            CREATE TABLE things (
                name TEXT NOT NULL, bytes BYTEA, note TEXT, owner BIGINT NOT NULL REFERENCES people (id),
                PRIMARY KEY (name, owner)
            );
            CREATE TABLE history (id BIGINT PRIMARY KEY, \"what happened\" TEXT);
            CREATE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN RAISE EXCEPTION ''never deleted''; END';
            CREATE TRIGGER kept BEFORE DELETE ON history FOR EACH ROW EXECUTE FUNCTION kept();
            CREATE TRIGGER kept_whole BEFORE TRUNCATE ON history FOR EACH STATEMENT EXECUTE FUNCTION kept();
            CREATE TABLE blank (id BIGINT PRIMARY KEY, at BIGINT);
            CREATE TABLE head (id BIGINT PRIMARY KEY, n BIGINT NOT NULL);
            INSERT INTO head VALUES (1, 0);",
    }],
}];

/// What a later version of the program might make of it.
const NEWER: &[MigrationSet] = &[MigrationSet {
    name: "part",
    migrations: &[SETS[0].migrations[0], Migration { name: "more", sqlite: MORE, postgres: MORE }],
}];
const MORE: &str = "CREATE TABLE more (id BIGINT PRIMARY KEY)";

const QUERIES: [(&str, &str); 5] = [
    ("people", "SELECT id, email, n FROM people"),
    ("things", "SELECT owner, name, bytes, note FROM things"),
    ("history", "SELECT id, \"what happened\" FROM history"),
    ("blank", "SELECT id, at FROM blank"),
    ("head", "SELECT id, n FROM head"),
];

/// More than two pages.
const PEOPLE: i64 = 17_000;
const HISTORY: i64 = 9_000;

/// A source with something in it.
async fn source(from: &Empty) -> Db {
    let db = from.open().await;
    db.migrate(SETS).await.unwrap();
    db.tx("fills", async |tx| fill(tx).await).await.unwrap();
    db
}

async fn fill(tx: &mut Tx<'_>) -> Result<(), DbError> {
    let emails: Vec<String> = (0..PEOPLE).map(|id| format!("{id}@example.org")).collect();
    let people =
        (-5..PEOPLE - 5).zip(&emails).map(|(id, email)| params![id, email, (id % 3 > 0).then_some(id)]);
    tx.execute_many("INSERT INTO people (id, email, n) VALUES ($1, $2, $3)", people).await?;
    let insert = "INSERT INTO things (owner, name, bytes, note) VALUES ($1, $2, $3, $4)";
    let odd = ["", "a", "A", "ä", "ä\u{1f3dd}\n\t", "'\"\\", "z z", "\u{7f}"];
    let odd = odd.iter().zip(0..).map(|(name, owner)| params![owner, *name, name.as_bytes(), Some(*name)]);
    tx.execute_many(insert, odd).await?;
    for owner in 0..9 {
        tx.execute_one(insert, &params![owner, "wide", None::<&[u8]>, "wide"]).await?;
    }
    tx.execute_one(insert, &params![1, "wider", b"\xff\x00", None::<&str>]).await?;
    let happened = (0..HISTORY).map(|id| params![id * 10, if id % 2 == 0 { Some("it was") } else { None }]);
    tx.execute_many("INSERT INTO history (id, \"what happened\") VALUES ($1, $2)", happened).await?;
    tx.execute_one("UPDATE head SET n = $1 WHERE id = 1", &params![i64::MIN]).await
}

type Content = BTreeMap<&'static str, Vec<String>>;

/// Everything that is in a database, read without the code under test.
async fn content(db: &Db) -> Content {
    let mut content = Content::new();
    for (table, sql) in QUERIES {
        let rows = db.read("content", async move |tx| tx.query(sql, &[]).await).await.unwrap();
        let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
        rows.sort();
        content.insert(table, rows);
    }
    content
}

async fn copy(from: &Db, to: &Db) -> Result<Copied, CopyError> {
    from.copy_to(to, SETS, &|_| ()).await
}

async fn same(from: &Db, to: &Db) {
    let (from, to) = (content(from).await, content(to).await);
    for (table, rows) in &from {
        assert_eq!(rows.len(), to[table].len(), "{table}");
        assert!(rows == &to[table], "{table} differs");
    }
}

async fn every_row_and_value_arrives(from: Empty, to: Empty) {
    let (from, to) = (source(&from).await, to.open().await);
    // Each a quarter of a page, or more than one.
    from.tx("widens", async |tx| {
        let (wide, bytes) = ("wide ".repeat(200_000), vec![0xff_u8; 5_000_000]);
        tx.execute("UPDATE things SET note = $1 WHERE name = 'wide'", &params![&wide]).await?;
        let wider = "UPDATE things SET bytes = $1 WHERE name = 'wider'";
        tx.execute_one(wider, &params![bytes.as_slice()]).await
    })
    .await
    .unwrap();
    let told = Told::default();
    let copied = from.copy_to(&to, SETS, &|progress| told.note(progress)).await.unwrap();
    assert!(!copied.complete_before && copied.left_out.is_empty());
    let rows: Vec<(&str, i64)> = copied.tables.iter().map(|(name, rows)| (name.as_str(), *rows)).collect();
    assert_eq!(rows, [("people", PEOPLE), ("things", 18), ("history", HISTORY), ("blank", 0), ("head", 1)]);
    assert_eq!(copied.written, PEOPLE + 18 + HISTORY + 1);
    same(&from, &to).await;
    assert!(!to.is_unfinished_copy().await.unwrap());
    told.is_complete(&rows);
    // The copy is guarded like the source.
    let deleted = to.tx("deletes", async |tx| tx.execute("DELETE FROM history", &[]).await).await;
    assert!(matches!(deleted, Err(DbError::Constraint(_))), "{deleted:?}");
}

/// What was reported.
#[derive(Default)]
struct Told(std::sync::Mutex<Vec<(CopyStep, String, i64, i64)>>);

impl Told {
    fn note(&self, progress: &CopyProgress<'_>) {
        let line = (progress.step, progress.table.to_owned(), progress.done, progress.of);
        self.0.lock().unwrap().push(line);
    }

    /// Each table was copied and checked, from nothing to all of its rows.
    fn is_complete(&self, tables: &[(&str, i64)]) {
        let told = self.0.lock().unwrap();
        for step in [CopyStep::Copying, CopyStep::Checking] {
            for &(table, rows) in tables {
                let mine: Vec<_> = told.iter().filter(|line| line.0 == step && line.1 == table).collect();
                assert!(mine.iter().all(|line| line.3 == rows), "{table}: {mine:?}");
                assert_eq!((mine[0].2, mine.last().unwrap().2), (0, rows), "{table}");
                assert!(mine.windows(2).all(|pair| pair[0].2 <= pair[1].2), "{table}: {mine:?}");
            }
        }
    }
}

async fn a_database_with_nothing_but_its_schema_is_copied(from: Empty, to: Empty) {
    let (from, to) = (from.open().await, to.open().await);
    from.migrate(SETS).await.unwrap();
    // The target may have been prepared.
    to.migrate(SETS).await.unwrap();
    let copied = copy(&from, &to).await.unwrap();
    assert_eq!((copied.written, copied.complete_before), (1, false));
    assert!(copy(&from, &to).await.unwrap().complete_before);
    same(&from, &to).await;
}

async fn a_complete_copy_is_left_as_it_is(from: Empty, to: Empty) {
    let source = source(&from).await;
    let faults = Planned::none();
    let target = to.open_with(faults.options()).await;
    copy(&source, &target).await.unwrap();
    for _ in 0..2 {
        let again = copy(&source, &target).await.unwrap();
        assert_eq!((again.written, again.complete_before), (0, true));
        assert_eq!(again.tables[0], ("people".to_owned(), PEOPLE));
    }
    same(&source, &target).await;
}

async fn what_changed_since_is_brought_over(from: Empty, to: Empty) {
    let (from, to) = (source(&from).await, to.open().await);
    copy(&from, &to).await.unwrap();
    // Only the history grows, also in front of its end.
    from.tx("adds", async |tx| {
        let more = [5, 11, HISTORY * 10 + 1].map(|id| params![id]);
        tx.execute_many("INSERT INTO history (id) VALUES ($1)", more).await
    })
    .await
    .unwrap();
    let again = copy(&from, &to).await.unwrap();
    assert_eq!((again.written, again.complete_before), (3, false));
    same(&from, &to).await;
    // Two change places, which no row by itself can.
    script(
        &from,
        "UPDATE people SET email = 'nobody' WHERE id = 5;
         UPDATE people SET email = '10@example.org' WHERE id = 16500;
         UPDATE people SET email = '16505@example.org' WHERE id = 5;
         DELETE FROM things WHERE name = 'wide' AND owner < 4;
         DELETE FROM people WHERE id = 10000;
         INSERT INTO blank VALUES (1, 1);
         INSERT INTO history VALUES (12, 'late');
         UPDATE head SET n = 7",
    )
    .await
    .unwrap();
    let again = copy(&from, &to).await.unwrap();
    assert!(!again.complete_before);
    same(&from, &to).await;
    assert!(copy(&from, &to).await.unwrap().complete_before);
}

/// Fails at the commit with this number, from now on.
fn fail_at(faults: &Planned, point: FaultPoint, number: usize) {
    let mut reached = 0;
    faults.react(move |at| {
        reached += usize::from(at == point);
        at == point && reached == number
    });
}

async fn an_interrupted_copy_goes_on(from: Empty, to: Empty) {
    let source = source(&from).await;
    let faults = Planned::none();
    let target = to.open_with(faults.options()).await;
    let mut written = 0;
    // One more commit each time. The first few make the schema.
    let mut failures = 0;
    for number in (2..).step_by(2) {
        fail_at(&faults, FaultPoint::BeforeCommit, number);
        match copy(&source, &target).await {
            Err(CopyError::Target(DbError::Unwritable(_))) => failures += 1,
            Err(other) => panic!("{other:?}"),
            Ok(copied) => {
                written = copied.written;
                break;
            }
        }
        // Nobody may take what is there for a database.
        let begun = target.tables().await.unwrap().iter().any(|table| table == "db_copy");
        assert_eq!(target.is_unfinished_copy().await.unwrap(), begun);
    }
    assert!(failures > 3, "{failures} failures");
    assert!(written < PEOPLE + HISTORY, "{written} rows in the last run: what was there was kept");
    faults.react(|_| false);
    same(&source, &target).await;
    assert!(copy(&source, &target).await.unwrap().complete_before);
}

async fn a_commit_whose_answer_was_lost_loses_nothing(from: Empty, to: Empty) {
    let source = source(&from).await;
    let faults = Planned::none();
    let target = to.open_with(faults.options()).await;
    // One engine finds out what became of each; the other does not, and one more commit is made each time.
    let finds_out = target.engine() == Engine::Postgres;
    for number in 3.. {
        let mut reached = 0;
        faults.react(move |at| {
            reached += usize::from(at == FaultPoint::AfterCommit);
            at == FaultPoint::AfterCommit && (reached == number || finds_out && reached % 2 == 0)
        });
        match copy(&source, &target).await {
            Ok(_) => break,
            Err(CopyError::Target(DbError::Unknown(_))) => assert!(!finds_out),
            Err(other) => panic!("{other:?}"),
        }
    }
    faults.react(|_| false);
    same(&source, &target).await;
    assert!(copy(&source, &target).await.unwrap().complete_before);
}

async fn an_interrupted_copy_of_a_source_that_was_used_is_right_in_the_end(from: Empty, to: Empty) {
    let source = source(&from).await;
    let faults = Planned::none();
    let target = to.open_with(faults.options()).await;
    // In the middle of the history, and then in the middle of looking for what is missing of it.
    let in_history = Arc::new(AtomicUsize::new(0));
    for round in 0..3_i64 {
        let seen = Arc::clone(&in_history);
        seen.store(0, Ordering::SeqCst);
        faults.react({
            let seen = Arc::clone(&seen);
            move |at| at == FaultPoint::BeforeCommit && seen.load(Ordering::SeqCst) > 0
        });
        let failed = source
            .copy_to(&target, SETS, &|progress| {
                let middle = progress.table == "history" && progress.done > 0;
                in_history.fetch_add(usize::from(middle), Ordering::SeqCst);
            })
            .await;
        assert!(matches!(failed, Err(CopyError::Target(_))), "{round}: {failed:?}");
        source
            .tx("uses", async move |tx| {
                let happened = "INSERT INTO history VALUES ($1, 'in between')";
                tx.execute_one(happened, &params![round * 100 + 1]).await?;
                tx.execute_one("UPDATE people SET n = $1 WHERE id = 7", &params![round]).await
            })
            .await
            .unwrap();
    }
    faults.react(|_| false);
    copy(&source, &target).await.unwrap();
    same(&source, &target).await;
}

async fn a_target_with_rows_of_its_own_is_left_alone(from: Empty, to: Empty) {
    let (from, to) = (source(&from).await, to.open().await);
    to.migrate(SETS).await.unwrap();
    // Not even its schema is brought up to date.
    script(&to, "INSERT INTO blank VALUES (1, 1)").await.unwrap();
    let refused = from.copy_to(&to, NEWER, &|_| ()).await;
    assert!(matches!(&refused, Err(CopyError::NotEmpty(name)) if name == "blank"), "{refused:?}");
    assert!(!to.tables().await.unwrap().contains(&"more".to_owned()));
    script(&to, "DELETE FROM blank").await.unwrap();
    for (change, back, table) in [
        ("INSERT INTO blank VALUES (1, 1)", "DELETE FROM blank", "blank"),
        ("UPDATE head SET n = 1", "UPDATE head SET n = 0", "head"),
        ("INSERT INTO head VALUES (2, 0)", "DELETE FROM head WHERE id = 2", "head"),
    ] {
        script(&to, change).await.unwrap();
        let before = content(&to).await;
        let refused = copy(&from, &to).await;
        assert!(matches!(&refused, Err(CopyError::NotEmpty(name)) if name == table), "{refused:?}");
        assert_eq!(content(&to).await, before);
        assert!(!to.is_unfinished_copy().await.unwrap());
        script(&to, back).await.unwrap();
    }
    copy(&from, &to).await.unwrap();
    same(&from, &to).await;
}

async fn a_copy_of_another_database_is_left_alone(from: Empty, to: Empty) {
    let (from, to, other) = (source(&from).await, to.open().await, Empty::sqlite());
    let other = other.open().await;
    other.migrate(SETS).await.unwrap();
    script(&other, "INSERT INTO blank VALUES (7, 7)").await.unwrap();
    copy(&other, &to).await.unwrap();
    let refused = copy(&from, &to).await;
    assert!(matches!(refused, Err(CopyError::OtherSource)), "{refused:?}");
    same(&other, &to).await;
    // Nor is a source copied into itself, under whatever name.
    assert!(matches!(copy(&from, &from).await, Err(CopyError::NotEmpty(_))));
    assert!(matches!(copy(&to, &to).await, Err(CopyError::OtherSource)));
}

async fn a_copy_that_has_been_used_is_left_alone(from: Empty, to: Empty) {
    let (from, to) = (source(&from).await, to.open().await);
    copy(&from, &to).await.unwrap();
    script(&to, "UPDATE people SET n = 8 WHERE id = 7").await.unwrap();
    for _ in 0..2 {
        let before = content(&to).await;
        let refused = copy(&from, &to).await;
        assert!(matches!(&refused, Err(CopyError::InUse(table)) if table == "people"), "{refused:?}");
        assert_eq!(content(&to).await, before);
        // Not even when the source has news.
        script(&from, "UPDATE head SET n = 1").await.unwrap();
    }
    assert!(!to.is_unfinished_copy().await.unwrap());
}

async fn history_that_the_source_has_not_is_refused(from: Empty, to: Empty) {
    let (from, to) = (source(&from).await, to.open().await);
    copy(&from, &to).await.unwrap();
    // As if the source had been put back to an earlier day.
    script(
        &from,
        match from.engine() {
            Engine::Sqlite => "DROP TRIGGER kept; DELETE FROM history WHERE id = 50",
            Engine::Postgres => "DROP TRIGGER kept ON history; DELETE FROM history WHERE id = 50",
        },
    )
    .await
    .unwrap();
    let refused = copy(&from, &to).await;
    assert!(matches!(&refused, Err(CopyError::History(table)) if table == "history"), "{refused:?}");
    assert!(to.is_unfinished_copy().await.unwrap());
    script(&from, "INSERT INTO history VALUES (50, 'otherwise')").await.unwrap();
    let refused = copy(&from, &to).await;
    assert!(matches!(&refused, Err(CopyError::History(table)) if table == "history"), "{refused:?}");
    assert!(to.is_unfinished_copy().await.unwrap());
}

/// Runs a script on a database the way another process does, while nobody else can go on.
fn meanwhile(url: &str, sql: &'static str) {
    let url = url.to_owned();
    let write = move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let db = Db::open(&url, OpenOptions::command()).await.unwrap();
            script(&db, sql).await.unwrap();
        });
    };
    std::thread::spawn(write).join().unwrap();
}

/// Copies, and runs a script on the source when the last table is about to be copied.
async fn copy_and_write(from: &Empty, to: &Db, sql: &'static str) -> Result<Copied, CopyError> {
    let source = from.open().await;
    let at_last = |progress: &CopyProgress<'_>| {
        if progress.step == CopyStep::Copying && progress.table == "head" && progress.done == 0 {
            meanwhile(&from.url, sql);
        }
    };
    source.copy_to(to, SETS, &at_last).await
}

async fn a_source_that_changes_is_noticed(from: Empty, to: Empty) {
    let (source, to) = (source(&from).await, to.open().await);
    let changes = [
        "UPDATE people SET n = 100 WHERE id = 7",
        "DELETE FROM things WHERE name = 'wide' AND owner = 8",
        "INSERT INTO history VALUES (1, NULL)",
    ];
    for change in changes {
        let refused = copy_and_write(&from, &to, change).await;
        assert!(matches!(refused, Err(CopyError::SourceChanged)), "{change}: {refused:?}");
        assert!(to.is_unfinished_copy().await.unwrap());
    }
    copy(&source, &to).await.unwrap();
    same(&source, &to).await;
}

async fn a_source_somebody_looks_at_has_not_changed(from: Empty, to: Empty) {
    let (source, to) = (source(&from).await, to.open().await);
    // Nor has what is copied after it changed.
    for harmless in ["UPDATE people SET n = n WHERE id = 7", "UPDATE head SET n = 3"] {
        copy_and_write(&from, &to, harmless).await.unwrap();
        same(&source, &to).await;
    }
    assert!(copy(&source, &to).await.unwrap().complete_before);
}

async fn a_source_of_a_newer_program_is_refused(from: Empty, to: Empty) {
    let (from, to) = (from.open().await, to.open().await);
    from.migrate(NEWER).await.unwrap();
    let refused = copy(&from, &to).await;
    let newer = |error: &DbError| matches!(error, DbError::Newer { found: 2, known: 1, .. });
    assert!(matches!(&refused, Err(CopyError::Source(error)) if newer(error)), "{refused:?}");
    assert!(!to.tables().await.unwrap().iter().any(|table| table == "people"), "nothing was made");
    // An older source is brought to what the program knows, and so is a target.
    let refused = to.copy_to(&from, NEWER, &|_| ()).await;
    assert!(matches!(refused, Err(CopyError::NothingThere)), "{refused:?}");
    to.migrate(SETS).await.unwrap();
    from.copy_to(&to, NEWER, &|_| ()).await.unwrap();
    let refused = copy(&to, &from).await;
    assert!(matches!(&refused, Err(CopyError::Source(error)) if newer(error)), "{refused:?}");
}

async fn a_source_that_is_nobodys_or_half_a_copy_is_refused(from: Empty, to: Empty) {
    let (source, to) = (from.open().await, to.open().await);
    let refused = copy(&source, &to).await;
    assert!(matches!(refused, Err(CopyError::NothingThere)), "{refused:?}");
    script(&source, "CREATE TABLE mine (id BIGINT)").await.unwrap();
    let refused = copy(&source, &to).await;
    assert!(matches!(refused, Err(CopyError::NothingThere)), "{refused:?}");
    let before = source.tables().await.unwrap();
    assert_eq!(before.iter().filter(|table| !table.starts_with("db_")).count(), 1, "{before:?}");

    source.migrate(SETS).await.unwrap();
    let copied = copy(&source, &to).await.unwrap();
    assert_eq!(copied.left_out, ["mine"], "it is said that it was not copied");
    let third = Empty::sqlite();
    let third = third.open().await;
    copy(&to, &third).await.unwrap();
    script(&to, "UPDATE db_copy SET finished = 0").await.unwrap();
    let refused = copy(&to, &third).await;
    assert!(matches!(refused, Err(CopyError::UnfinishedSource)), "{refused:?}");
}

async fn columns_that_the_program_does_not_know_are_refused(from: Empty, to: Empty) {
    let (source, to) = (source(&from).await, to.open().await);
    script(&source, "ALTER TABLE people ADD COLUMN shoe BIGINT").await.unwrap();
    let refused = copy(&source, &to).await;
    assert!(
        matches!(&refused, Err(CopyError::Columns("source", table, column)) if table == "people" && column == "shoe"),
        "{refused:?}"
    );
    assert!(!to.is_unfinished_copy().await.unwrap());
}
