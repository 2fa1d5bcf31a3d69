//! The one who writes.
//!
//! Every transaction takes the same lock first, so the writers of all processes come one after another: what is right
//! with `SQLite`'s single writer is right here, and our writers cannot deadlock. Closures that queue up share a transaction and
//! its commit, each behind a savepoint but the first.
//!
//! **When the answer to a commit is lost**, it is found out what became of it. Each transaction that wrote anything also
//! wrote its number into this writer's row of `db_writers`; so whoever holds the lock can read there whether it was
//! kept. (The number the server gives a transaction, asked with `pg_xact_status`, would tell that without a row, but not after
//! a crash: it may then belong to a later transaction of somebody else.) These rows also tell
//! whether another process has written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::session::{Ended, Session, Trouble};
use crate::memory::Memory;
use crate::work::{GROUP, Inbox, Message, Work, record_group};
use crate::{DbError, FaultPoint, Faults, Tx, params, tx};

/// How often a group is run before those in it are told that it does not work.
const TRIES: usize = 5;
/// For how long the outcome of a commit is asked for.
const ASKING: Duration = Duration::from_secs(5);

const TABLE: &str = "CREATE TABLE db_writers (
    id BIGINT PRIMARY KEY,
    -- the number of the last transaction this writer committed
    last_group BIGINT NOT NULL,
    -- seconds since 1970
    seen_at BIGINT NOT NULL
) WITH (fillfactor = 20)";
const HAS_TABLE: &str = "SELECT to_regclass('db_writers') IS NOT NULL";
/// Writers that have not written for a day are added up in row 0, so that the sum never becomes less.
const FOLD: &str = "WITH gone AS (
        DELETE FROM db_writers WHERE id <> 0 AND seen_at < extract(epoch FROM now())::bigint - 86400 RETURNING last_group)
    INSERT INTO db_writers (id, last_group, seen_at) SELECT 0, coalesce(sum(last_group), 0), 0 FROM gone
    ON CONFLICT (id) DO UPDATE SET last_group = db_writers.last_group + excluded.last_group";
const REGISTER: &str = "INSERT INTO db_writers (id, last_group, seen_at)
    VALUES (hashtextextended(gen_random_uuid()::text, 0), 0, extract(epoch FROM now())::bigint) RETURNING id";
/// Written with every transaction that writes.
pub const MARK: &str = "INSERT INTO db_writers (id, last_group, seen_at)
    VALUES ($1, $2, extract(epoch FROM now())::bigint)
    ON CONFLICT (id) DO UPDATE SET last_group = excluded.last_group, seen_at = excluded.seen_at";
const LAST_MARK: &str = "SELECT last_group FROM db_writers WHERE id = $1";
const OTHERS: &str = "SELECT coalesce(sum(last_group), 0) FROM db_writers WHERE id <> $1";

/// The one who writes.
pub struct Writer {
    session: Session,
    memory: Memory,
    faults: Option<Arc<dyn Faults>>,
    /// Its row in `db_writers`.
    id: i64,
    /// The number of the transaction that was committed last, or that was to be.
    number: i64,
}

/// Closures that share a transaction.
struct Group {
    works: Vec<Box<dyn Work>>,
    /// Those who asked for foreign writes in the meantime.
    asked: Vec<oneshot::Sender<Result<i64, DbError>>>,
}

impl Group {
    /// Takes in what waits, without running it.
    fn collect(&mut self, queue: &mut Inbox) {
        while self.works.len() < GROUP {
            match queue.joining() {
                Some(Message::Work(work)) => self.works.push(work),
                Some(Message::ForeignWrites(answer)) => self.asked.push(answer),
                None => return,
            }
        }
    }
}

impl Writer {
    /// Connects and registers.
    pub fn open(mut session: Session, faults: Option<Arc<dyn Faults>>) -> Result<Self, DbError> {
        session.connect()?;
        session.enter();
        let there = session.query(HAS_TABLE, &[])?.first().map_or(Ok(false), |row| row.get(0))?;
        if !there {
            session.execute_script(TABLE)?;
        }
        session.execute(FOLD, &[])?;
        let id = session.query(REGISTER, &[])?.first().map_or(Ok(0), |row| row.get(0))?;
        match session.commit((id, 0)) {
            Ended::Kept => {}
            Ended::NotKept(trouble) => return Err(trouble.into_error()),
            Ended::Unanswered(why) => return Err(DbError::Unknown(why)),
        }
        Ok(Self { session, memory: Memory::default(), faults, id, number: 0 })
    }

    pub fn run(&mut self, queue: &mut Inbox) {
        while let Some(message) = queue.wait() {
            match message {
                Message::Work(work) => self.write_group(work, queue),
                Message::ForeignWrites(answer) => drop(answer.send(self.foreign_writes())),
            }
        }
        self.session.close();
    }

    /// Runs `first` and whatever else is waiting in one transaction, more than once if need be.
    fn write_group(&mut self, first: Box<dyn Work>, queue: &mut Inbox) {
        let mut group = Group { works: vec![first], asked: Vec::new() };
        let mark = self.memory.mark();
        let mut result = Err(DbError::Busy);
        for _ in 0..TRIES {
            let trouble = match self.attempt(&mut group, queue) {
                Ok(()) => {
                    result = Ok(());
                    break;
                }
                Err(trouble) => trouble,
            };
            self.memory.forget_since(mark);
            self.take_back_all();
            match trouble {
                Trouble::Again(error) => result = Err(error),
                Trouble::NotNow(error) => {
                    // Those who wait already would wait as long for the same answer.
                    group.collect(queue);
                    result = Err(error);
                    break;
                }
                Trouble::Refused(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        if let Err(error) = &result {
            tracing::error!(%error, group = group.works.len(), "a group of transactions failed");
        }
        record_group(group.works.len());
        for work in group.works {
            work.answer(result.as_ref().map(|&()| ()));
        }
        for answer in group.asked {
            let _ = answer.send(self.foreign_writes());
        }
    }

    fn attempt(&mut self, group: &mut Group, queue: &mut Inbox) -> Result<(), Trouble> {
        self.session.connect().map_err(Trouble::NotNow)?;
        self.fault(FaultPoint::BeforeBegin)?;
        let mut next = 0;
        loop {
            while let Some(work) = group.works.get_mut(next) {
                self.perform(work)?;
                next += 1;
            }
            if group.works.len() >= GROUP {
                break;
            }
            match queue.joining() {
                Some(Message::Work(work)) => group.works.push(work),
                Some(Message::ForeignWrites(answer)) => group.asked.push(answer),
                None => break,
            }
        }
        self.commit()
    }

    fn perform(&mut self, work: &mut Box<dyn Work>) -> Result<(), Trouble> {
        self.session.enter();
        let mark = self.memory.mark();
        let keep = work.run(&mut Tx::new(tx::Connection::Postgres(&mut self.session), &mut self.memory));
        if let Some(trouble) = self.session.take_trouble() {
            return Err(trouble);
        }
        if !keep {
            self.memory.forget_since(mark);
            self.session.take_back()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Trouble> {
        self.fault(FaultPoint::BeforeCommit)?;
        self.number += 1;
        let wrote = self.session.wrote;
        let mut ended = self.session.commit((self.id, self.number));
        if matches!(ended, Ended::Kept) && self.fault(FaultPoint::AfterCommit).is_err() {
            self.session.lose("a fault on purpose");
            ended = Ended::Unanswered("a fault on purpose".to_owned());
        }
        match ended {
            Ended::Kept => Ok(()),
            Ended::NotKept(trouble) => Err(trouble),
            Ended::Unanswered(_) if !wrote => Ok(()),
            Ended::Unanswered(why) => self.find_out(&why),
        }
    }

    /// Asks what became of a commit whose answer was lost.
    fn find_out(&mut self, why: &str) -> Result<(), Trouble> {
        self.session.take_trouble();
        let started = Instant::now();
        loop {
            let error = match self.last_mark() {
                Ok(Some(number)) if number == self.number => {
                    tracing::info!("a commit whose answer was lost was kept");
                    return Ok(());
                }
                Ok(_) => {
                    tracing::info!("a commit whose answer was lost was not kept; it runs again");
                    return Err(Trouble::Again(DbError::Unwritable(why.to_owned())));
                }
                Err(error) => error,
            };
            self.take_back_all();
            if started.elapsed() > ASKING {
                return Err(Trouble::Refused(DbError::Unknown(format!("{why}; asking: {error}"))));
            }
            self.session.pause();
        }
    }

    /// The number of this writer's last transaction that was kept. Behind the lock, so none of them is still on its way.
    fn last_mark(&mut self) -> Result<Option<i64>, DbError> {
        self.session.connect()?;
        self.session.enter();
        let rows = self.session.query(LAST_MARK, &params![self.id])?;
        let number = rows.first().map(|row| row.get(0)).transpose()?;
        self.take_back_all();
        Ok(number)
    }

    fn foreign_writes(&mut self) -> Result<i64, DbError> {
        let mut answered = Err(DbError::Busy);
        // A connection that broke while it was idle is only noticed now.
        for _ in 0..2 {
            self.session.connect()?;
            answered = self.session.query(OTHERS, &params![self.id]);
            if self.session.take_trouble().is_none() {
                break;
            }
        }
        answered?.first().map_or(Ok(0), |row| row.get(0))
    }

    fn take_back_all(&mut self) {
        if let Err(trouble) = self.session.roll_back() {
            tracing::warn!(?trouble, "a rollback failed");
            self.session.lose("a rollback failed");
            self.session.take_trouble();
        }
        if self.session.link.is_none() {
            self.memory.clear();
        }
    }

    fn fault(&self, point: FaultPoint) -> Result<(), Trouble> {
        match &self.faults {
            Some(faults) if faults.fails(point) => {
                Err(Trouble::Refused(DbError::Unwritable("a fault on purpose".to_owned())))
            }
            _ => Ok(()),
        }
    }
}
