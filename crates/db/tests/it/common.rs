//! What the tests of both engines share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use db::{Db, DbError, FaultPoint, Faults, OpenOptions, params};
use pg_temp::PgTemp;
use tempfile::TempDir;

/// Makes of each function two tests.
macro_rules! on_every_engine {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $test() { super::$test(crate::common::Empty::sqlite()).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $test() { super::$test(crate::common::Empty::postgres()).await; })*
        }
    };
}

/// A database with nothing in it.
pub struct Empty {
    pub url: String,
    /// Where an embedded one is, for as long as the test runs.
    _folder: Option<TempDir>,
}

impl Empty {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        Self { url, _folder: Some(folder) }
    }

    pub fn postgres() -> Self {
        let url = PgTemp::shared().and_then(PgTemp::fresh_database).unwrap();
        Self { url, _folder: None }
    }

    pub async fn open_with(&self, options: OpenOptions) -> Db {
        Db::open(&self.url, options).await.unwrap()
    }

    pub async fn open(&self) -> Db {
        self.open_with(OpenOptions::server()).await
    }

    /// With a table `t` that is empty.
    pub async fn with_table(&self) -> Db {
        let db = self.open().await;
        make_table(&db).await;
        db
    }
}

pub async fn make_table(db: &Db) {
    script(db, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL CHECK (n >= 0), name TEXT)")
        .await
        .unwrap();
}

pub async fn script(db: &Db, sql: &'static str) -> Result<(), DbError> {
    db.tx("script", async move |tx| tx.execute_script(sql).await).await
}

pub async fn insert(db: &Db, id: i64) -> Result<(), DbError> {
    db.tx("insert", async move |tx| {
        tx.execute_one("INSERT INTO t (id, n, name) VALUES ($1, $2, $3)", &params![id, 1, "a"]).await
    })
    .await
}

/// The one number a query answers.
pub async fn number(db: &Db, sql: &'static str) -> i64 {
    db.read("number", async move |tx| tx.query_one(sql, &[]).await?.get(0)).await.unwrap()
}

pub async fn count(db: &Db) -> i64 {
    number(db, "SELECT count(*) FROM t").await
}

type Reaction = Box<dyn FnMut(FaultPoint) -> bool + Send>;

/// Faults a test decides about, and a count of the commits.
pub struct Planned {
    reaction: Mutex<Reaction>,
    pub commits: AtomicUsize,
}

impl Planned {
    pub fn new(reaction: impl FnMut(FaultPoint) -> bool + Send + 'static) -> Arc<Self> {
        Arc::new(Self { reaction: Mutex::new(Box::new(reaction)), commits: AtomicUsize::new(0) })
    }

    pub fn none() -> Arc<Self> {
        Self::new(|_| false)
    }

    pub fn options(self: &Arc<Self>) -> OpenOptions {
        let faults: Arc<dyn Faults> = Arc::<Self>::clone(self);
        OpenOptions { faults: Some(faults), ..OpenOptions::server() }
    }

    /// From now on.
    pub fn react(&self, reaction: impl FnMut(FaultPoint) -> bool + Send + 'static) {
        *self.reaction.lock().unwrap() = Box::new(reaction);
    }

    /// A fault the next time `point` is reached.
    pub fn fail_once(&self, point: FaultPoint) {
        let mut left = 1;
        self.react(move |reached| {
            let fails = reached == point && left > 0;
            left -= i32::from(fails);
            fails
        });
    }
}

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Planned")
    }
}

impl Faults for Planned {
    fn fails(&self, point: FaultPoint) -> bool {
        self.commits.fetch_add(usize::from(point == FaultPoint::AfterCommit), Ordering::SeqCst);
        (self.reaction.lock().unwrap())(point)
    }
}

/// A transaction that holds the writer until it is let go.
pub struct Blocker {
    leave: mpsc::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), DbError>>,
}

impl Blocker {
    pub async fn start(db: &Db) -> Self {
        let (entered, waiting) = mpsc::sync_channel(0);
        let (leave, blocked) = mpsc::channel::<()>();
        let blocked = Mutex::new(blocked);
        let db = db.clone();
        let task = tokio::spawn(async move {
            db.tx("blocks", async move |_| {
                entered.send(()).ok();
                blocked.lock().unwrap().recv().ok();
                Ok(())
            })
            .await
        });
        tokio::task::spawn_blocking(move || waiting.recv()).await.unwrap().unwrap();
        Self { leave, task }
    }

    pub async fn end(self) -> Result<(), DbError> {
        self.leave.send(()).unwrap();
        self.task.await.unwrap()
    }
}

/// Starts a call so far that it is in the queue; answers what is left of it, or its result if it was refused at once.
pub async fn enqueue<F: Future>(call: F) -> Result<std::pin::Pin<Box<F>>, F::Output> {
    let mut call = Box::pin(call);
    let polled = std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context))).await;
    match polled {
        std::task::Poll::Ready(result) => Err(result),
        std::task::Poll::Pending => Ok(call),
    }
}
