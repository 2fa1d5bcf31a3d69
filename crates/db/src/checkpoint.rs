//! Moving pages from SQLite's log into the database file, beside the writer.
//!
//! Left to itself, SQLite does this inside the commit that makes the log too long, and that commit takes as long as writing
//! and syncing tens of megabytes does. Here a thread with a connection of its own moves most of it while the writer
//! goes on; what the writer has added meanwhile is little, and only the writer can move the last of it, because the
//! log starts again from its beginning only when nothing is left in it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::thread::Thread;

use rusqlite::Connection;

use crate::DbError;
use crate::work::spawn;

/// Pages in the log from which on they are moved however busy the writer is: 32 MiB. Many pages are written twice in that
/// time and moved once.
const LONG: i64 = 8000;
/// From so many on they are moved when the writer has nothing to do: 4 MiB. Commits wait while the disk syncs what was
/// moved, so with time to spare it is little at a time.
const ENOUGH: i64 = 1000;
/// Pages the writer may move by itself: a few milliseconds' worth.
const SHORT: i64 = 200;
/// Rounds of the thread: each leaves what was written during it.
const ROUNDS: usize = 6;

const IDLE: u8 = 0;
const MOVING: u8 = 1;
const LAST_PART: u8 = 2;
const STOPPED: u8 = 3;

/// What the writer and the thread share.
#[derive(Debug)]
struct Shared {
    /// Pages in the log after the last commit.
    pages: AtomicI64,
    state: AtomicU8,
}

/// The writer's side.
#[derive(Debug)]
pub struct Checkpoints {
    shared: Arc<Shared>,
    thread: Thread,
}

impl Checkpoints {
    /// Takes over from SQLite's own checkpoints on the writer's connection.
    pub fn start(path: &Path, writer: &mut Connection) -> Result<Self, DbError> {
        let shared = Arc::new(Shared { pages: AtomicI64::new(0), state: AtomicU8::new(IDLE) });
        let connection = Connection::open(path)?;
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000")?;
        let (ours, theirs) = (Arc::clone(&shared), Arc::clone(&shared));
        let thread = spawn("db-checkpoint", move || run(&connection, &ours))?;
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            theirs.pages.store(i64::from(pages), Ordering::Release);
            Ok(())
        }))?;
        Ok(Self { shared, thread })
    }

    /// To be called after a commit, when its answers are given. `idle`: nobody waits for the writer.
    pub fn after_commit(&self, writer: &Connection, idle: bool) {
        let state = self.shared.state.load(Ordering::Acquire);
        let worth_it = if idle { ENOUGH } else { LONG };
        if state == IDLE && self.shared.pages.load(Ordering::Acquire) >= worth_it {
            self.shared.state.store(MOVING, Ordering::Release);
            self.thread.unpark();
        } else if state == LAST_PART {
            checkpoint(writer);
            self.shared.state.store(IDLE, Ordering::Release);
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.shared.state.store(STOPPED, Ordering::Release);
        self.thread.unpark();
    }
}

fn run(connection: &Connection, shared: &Shared) {
    loop {
        match shared.state.load(Ordering::Acquire) {
            STOPPED => return,
            MOVING => {
                move_most(connection, shared);
                // Unless it was stopped meanwhile.
                let moved = (Ordering::AcqRel, Ordering::Acquire);
                let _ = shared.state.compare_exchange(MOVING, LAST_PART, moved.0, moved.1);
            }
            _ => std::thread::park(),
        }
    }
}

fn move_most(connection: &Connection, shared: &Shared) {
    for _ in 0..ROUNDS {
        let moved = checkpoint(connection);
        if shared.pages.load(Ordering::Acquire) - moved <= SHORT {
            return;
        }
    }
}

/// Moves what can be moved without making anybody wait; answers how far the log is moved.
fn checkpoint(connection: &Connection) -> i64 {
    let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2));
    moved.unwrap_or_else(|error| {
        // The log only gets longer; the next commit will say so if the disk is full.
        tracing::warn!(%error, "a checkpoint failed");
        0
    })
}
