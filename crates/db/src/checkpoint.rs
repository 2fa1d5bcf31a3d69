//! Moving pages from SQLite's log into the database file, beside the writer.
//!
//! Left to itself, SQLite does this inside the commit that makes the log too long, and that commit takes as long as writing
//! and syncing tens of megabytes does. Here a thread with a connection of its own moves it while the writer goes on. If the
//! writer adds nothing meanwhile the log begins anew with its next transaction. If it does, only the writer can move the last
//! of it, and whoever waits for the writer waits for a sync of the database file: a few milliseconds. So that is done
//! when the log is really long, every few seconds under full load, and not at every step.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::thread::Thread;

use rusqlite::Connection;

use crate::DbError;
use crate::work::spawn;

/// Every so many pages the log is moved: 64 MiB. Many pages are written often in that time and moved once. Less, and commits
/// more often wait while the disk syncs what was moved.
const STEP: i64 = 16_000;
/// With so many pages the log shall begin anew, even if the writer has to help: 256 MiB.
const FULL: i64 = 4 * STEP;
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
    /// How long the log was after the last commit.
    seen: i64,
    /// How long it is to be when it is moved next.
    due: i64,
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
        Ok(Self { shared, thread, seen: 0, due: STEP })
    }

    /// To be called after a commit, when its answers are given.
    pub fn after_commit(&mut self, writer: &Connection) {
        let pages = self.shared.pages.load(Ordering::Acquire);
        if pages < self.seen {
            // It has begun anew.
            self.due = STEP;
        }
        self.seen = pages;
        match self.shared.state.load(Ordering::Acquire) {
            IDLE if pages >= self.due => {
                // Not at once again if a long read keeps it from being moved.
                self.due = pages + STEP;
                self.shared.state.store(MOVING, Ordering::Release);
                self.thread.unpark();
            }
            LAST_PART => {
                checkpoint(writer);
                self.shared.state.store(IDLE, Ordering::Release);
            }
            _ => {}
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
                let next = move_on(connection, shared);
                // Unless it was stopped meanwhile.
                let moved = (Ordering::AcqRel, Ordering::Acquire);
                let _ = shared.state.compare_exchange(MOVING, next, moved.0, moved.1);
            }
            _ => std::thread::park(),
        }
    }
}

/// Moves what there is, and of a log that is full so much that little is left for the writer. Answers what comes next.
fn move_on(connection: &Connection, shared: &Shared) -> u8 {
    for _ in 0..ROUNDS {
        let moved = checkpoint(connection);
        let pages = shared.pages.load(Ordering::Acquire);
        if pages < FULL {
            return IDLE;
        }
        if pages - moved <= SHORT {
            break;
        }
    }
    LAST_PART
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
