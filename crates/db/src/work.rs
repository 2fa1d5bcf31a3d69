//! Closures on their way to a database's threads and answers on their way back: what every engine shares.
//!
//! A closure's future is polled exactly once. Every function of [`Tx`] blocks the engine's own thread until it is done,
//! so a future that is not ready then waits for something that is not the database, which is refused (I14).

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::Thread;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::{DbError, Tx};

/// Most closures committed together. Bounds the latency of the first of them.
pub const GROUP: usize = 512;

/// How nice the thread is that reads what nobody waits for: as nice as can be.
#[cfg(target_os = "linux")]
const BEHIND: i32 = 19;

/// A closure on its way to a thread. It may be run more than once; the last run counts.
pub trait Work: Send {
    /// Runs it. Answers whether what it did is to be kept.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;

    /// Whether it wants a transaction that begins with it; what waited before it is committed first.
    fn begins(&self) -> bool;

    /// Replaces what the last run answered: nothing it did is kept.
    fn fail(&mut self, error: DbError);

    /// Tells the one who asked. `committed` is what became of the transaction the last run was part of.
    fn answer(self: Box<Self>, committed: Result<(), &DbError>);
}

/// What the writer's queue holds.
pub enum Message {
    /// A transaction.
    Work(Box<dyn Work>),
    /// A question of [`crate::Db::foreign_writes`].
    ForeignWrites(oneshot::Sender<Result<i64, DbError>>),
}

/// The writer's end of its queue.
pub struct Inbox {
    queue: mpsc::Receiver<Message>,
    /// What was taken out of the queue and belongs to the next transaction.
    kept: Option<Message>,
}

impl Inbox {
    /// What begins the next transaction; nothing when nobody can send any more.
    pub fn wait(&mut self) -> Option<Message> {
        self.kept.take().or_else(|| self.queue.recv().ok())
    }

    /// What is waiting and may join the transaction in progress.
    pub fn joining(&mut self) -> Option<Message> {
        if self.kept.is_some() {
            return None;
        }
        let message = self.queue.try_recv().ok()?;
        if matches!(&message, Message::Work(work) if work.begins()) {
            self.kept = Some(message);
            return None;
        }
        Some(message)
    }
}

/// The way to an engine's threads.
pub struct Queues {
    writer: Mutex<mpsc::SyncSender<Message>>,
    readers: Mutex<mpsc::SyncSender<Box<dyn Work>>>,
    behind: Mutex<mpsc::SyncSender<Box<dyn Work>>>,
}

/// The far ends of [`Queues`], for the threads of an engine.
pub struct Ends {
    /// What writes.
    pub writer: Inbox,
    /// What somebody waits for.
    pub readers: mpsc::Receiver<Box<dyn Work>>,
    /// What nobody waits for.
    pub behind: mpsc::Receiver<Box<dyn Work>>,
}

impl std::fmt::Debug for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queues")
    }
}

impl Queues {
    /// Queues of which each holds at most `length`, and their far ends.
    pub fn new(length: usize) -> (Self, Ends) {
        let (writer, writer_end) = mpsc::sync_channel(length);
        let (readers, reader_end) = mpsc::sync_channel(length);
        let (behind, behind_end) = mpsc::sync_channel(length);
        let queues =
            Self { writer: Mutex::new(writer), readers: Mutex::new(readers), behind: Mutex::new(behind) };
        let writer = Inbox { queue: writer_end, kept: None };
        (queues, Ends { writer, readers: reader_end, behind: behind_end })
    }

    /// `begins`: see [`Work::begins`].
    pub async fn write<T, E, F>(&self, name: &'static str, begins: bool, work: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (package, answer) = package(name, begins, work);
        lock(&self.writer).try_send(Message::Work(package)).map_err(|error| E::from(refused(&error)))?;
        answer.await.unwrap_or_else(|_| Err(E::from(DbError::Closed)))
    }

    /// `behind`: for the thread of what nobody waits for.
    pub async fn read<T, E, F>(&self, name: &'static str, behind: bool, work: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (package, answer) = package(name, false, work);
        let queue = if behind { &self.behind } else { &self.readers };
        lock(queue).try_send(package).map_err(|error| E::from(refused(&error)))?;
        answer.await.unwrap_or_else(|_| Err(E::from(DbError::Closed)))
    }

    pub async fn foreign_writes(&self) -> Result<i64, DbError> {
        let (sender, answer) = oneshot::channel();
        lock(&self.writer).try_send(Message::ForeignWrites(sender)).map_err(|error| refused(&error))?;
        answer.await.unwrap_or(Err(DbError::Closed))
    }
}

/// What a closure answered, or that it has not run.
struct Package<T, E, F> {
    name: &'static str,
    begins: bool,
    work: F,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

fn package<T, E, F>(
    name: &'static str,
    begins: bool,
    work: F,
) -> (Box<dyn Work>, oneshot::Receiver<Result<T, E>>)
where
    F: AsyncFn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<DbError> + Send + 'static,
{
    let (sender, answer) = oneshot::channel();
    (Box::new(Package { name, begins, work, result: None, answer: sender }), answer)
}

impl<T, E, F> Work for Package<T, E, F>
where
    F: AsyncFn(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send + 'static,
    E: From<DbError> + Send + 'static,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let started = Instant::now();
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let future = pin!((self.work)(tx));
            future.poll(&mut Context::from_waker(Waker::noop()))
        }));
        let result = match polled {
            // After a statement that failed an engine may have taken back what came before it, so that a closure which
            // goes on as if nothing were would keep half of what it believes.
            Ok(Poll::Ready(Ok(value))) => tx.settle().map(|()| value).map_err(E::from),
            Ok(Poll::Ready(result)) => result,
            Ok(Poll::Pending) => Err(E::from(DbError::Waited)),
            Err(_) => Err(E::from(DbError::Panicked)),
        };
        metrics::histogram!("archipelago_db_transaction_seconds", "name" => self.name)
            .record(started.elapsed());
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn begins(&self) -> bool {
        self.begins
    }

    fn fail(&mut self, error: DbError) {
        self.result = Some(Err(E::from(error)));
    }

    fn answer(self: Box<Self>, committed: Result<(), &DbError>) {
        let result = match (committed, self.result) {
            // What the closure wanted to keep was not kept.
            (Err(error), Some(Ok(_)) | None) => Err(E::from(error.duplicate())),
            (_, Some(result)) => result,
            (Ok(()), None) => Err(E::from(DbError::Closed)),
        };
        // The one who asked may be gone; the transaction stands all the same.
        let _ = self.answer.send(result);
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<Thread, DbError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned
        .map(|handle| handle.thread().clone())
        .map_err(|error| DbError::Other(format!("cannot start a database thread: {error}")))
}

/// Makes this thread one that runs when nothing more urgent wants the processor.
pub fn step_back() {
    // Elsewhere this would be said of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, BEHIND) {
        tracing::debug!(%error, "the background reader keeps the usual priority");
    }
}

/// Notes how many closures shared a commit.
pub fn record_group(closures: usize) {
    metrics::histogram!("archipelago_db_group_size").record(u32::try_from(closures).unwrap_or(u32::MAX));
}

fn refused<T>(error: &mpsc::TrySendError<T>) -> DbError {
    match error {
        mpsc::TrySendError::Full(_) => DbError::Busy,
        mpsc::TrySendError::Disconnected(_) => DbError::Closed,
    }
}
