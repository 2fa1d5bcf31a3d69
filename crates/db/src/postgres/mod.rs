//! The engine across a connection: `PostgreSQL`.
//!
//! It promises what the embedded engine promises and is built alike: one thread that writes, a few that read, each with a
//! connection of its own. A closure runs on such a thread as a whole; each of its statements blocks the thread until the
//! server has answered, so all it can wait for is the database.

mod connect;
mod copy;
mod errors;
mod reader;
mod sent;
mod session;
mod statements;
mod tls;
mod value;
mod vector;
mod writer;

use std::sync::{Arc, Mutex, mpsc};

use tokio::sync::oneshot;

use crate::work::{Queues, Work, spawn, step_back};
use crate::{DbError, OpenOptions};

use connect::{Role, Target};
pub use session::Session;
pub use statements::Coming;
use writer::Writer;

/// The lock every writer takes. A number nobody else is likely to use; it counts within one database.
const LOCK: i64 = 0x4152_4348_4950_454c;

/// A writer sees what the one before it committed only because its statements each look anew (`READ COMMITTED`): a snapshot
/// taken with the lock would be older than the lock.
fn begin_writing() -> String {
    format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({LOCK})")
}

const BEGIN_READING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

pub async fn open(url: &str, options: OpenOptions) -> Result<Queues, DbError> {
    let (queues, ends) = Queues::new(options.queue);
    let mut writer_end = ends.writer;
    let target = Target::parse(url, Role::Writer)?;
    let (sender, opened) = oneshot::channel();
    spawn("db-writer", move || {
        let writer =
            Session::new(target, begin_writing()).and_then(|session| Writer::open(session, options.faults));
        match writer {
            Ok(mut writer) => {
                let _ = sender.send(Ok(()));
                writer.run(&mut writer_end);
            }
            Err(error) => drop(sender.send(Err(error))),
        }
    })?;
    opened.await.unwrap_or(Err(DbError::Closed))?;

    let reader_end = Arc::new(Mutex::new(ends.readers));
    for _ in 0..options.readers.max(1) {
        spawn_reader("db-reader", url, Arc::clone(&reader_end))?;
    }
    spawn_reader("db-behind", url, Arc::new(Mutex::new(ends.behind)))?;
    Ok(queues)
}

fn spawn_reader(
    name: &str,
    url: &str,
    queue: Arc<Mutex<mpsc::Receiver<Box<dyn Work>>>>,
) -> Result<(), DbError> {
    let target = Target::parse(url, Role::Reader)?;
    let behind = name == "db-behind";
    spawn(name, move || match Session::new(target, BEGIN_READING.to_owned()) {
        Ok(session) => {
            if behind {
                step_back();
            }
            reader::run(session, &queue);
        }
        Err(error) => tracing::error!(%error, "a reader of the database could not start"),
    })
    .map(drop)
}
