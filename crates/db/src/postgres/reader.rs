//! Those who read: each in a snapshot of its own, never waiting for the writer.

use std::sync::{Mutex, mpsc};

use super::session::{Session, Trouble};
use crate::memory::Memory;
use crate::work::{Work, lock};
use crate::{DbError, Tx, tx};

/// How often a closure is run before the one who asked is told that it does not work.
const TRIES: usize = 5;

pub fn run(mut session: Session, queue: &Mutex<mpsc::Receiver<Box<dyn Work>>>) {
    let mut memory = Memory::default();
    let mut waiting = None;
    loop {
        let next = waiting.take().map_or_else(|| lock(queue).recv(), Ok);
        let Ok(mut work) = next else { break };
        let done = perform(&mut session, &mut memory, &mut work);
        if let Err(error) = &done {
            work.fail(error.duplicate());
        }
        // The answer does not depend on how the transaction ends.
        work.answer(Ok(()));
        // When another reader holds the queue, it is idle and will take what comes.
        waiting = queue.try_lock().ok().and_then(|queue| queue.try_recv().ok());
        if waiting.is_some() {
            session.roll_back_later();
        } else {
            end(&mut session);
        }
    }
    session.close();
}

/// Lets the snapshot go.
fn end(session: &mut Session) {
    if session.roll_back().is_err() {
        session.lose("a transaction could not be ended");
    }
}

fn perform(session: &mut Session, memory: &mut Memory, work: &mut Box<dyn Work>) -> Result<(), DbError> {
    let mut result = Err(DbError::Busy);
    for _ in 0..TRIES {
        if session.link.is_none() {
            memory.clear();
        }
        session.connect()?;
        session.enter();
        work.run(&mut Tx::new(tx::Connection::Postgres(session), memory));
        match session.take_trouble() {
            None => return Ok(()),
            Some(Trouble::Again(error)) => result = Err(error),
            Some(Trouble::NotNow(error) | Trouble::Refused(error)) => return Err(error),
        }
        end(session);
    }
    result
}
