//! The comparison of what is with what must be: after every step the balances of all accounts and caps and the jobs that
//! changed; now and then, and at the end, every row there is, every statement, and the program's own audits.

use std::collections::BTreeMap;
use std::sync::Arc;

use db::{Db, DbError, Row, Tx, params};
use ledger::audit::Position;
use ledger::{Balance, Cap, Period};
use server::audit;
use server::jobs::command::Command;
use types::id::{AccountId, Id};
use types::time::Timestamp;

use super::model::books::is_debt;
use super::operator::differs;
use super::process::Process;
use super::world::World;
use crate::Result;

/// What is remembered for comparisons, and for doing things again.
#[derive(Debug, Default)]
pub struct Watcher {
    /// The version each account had when it was last looked at.
    versions: BTreeMap<i64, i64>,
    /// How far the incremental audit has come.
    position: Option<Position>,
    /// The next step after which everything is looked at.
    next: u32,
    /// Commands of the operator.
    pub operated: Vec<ledger::Command>,
    /// The last commands of jobs that were answered.
    pub answered: Vec<Command>,
    /// The last of the ids that stand for those the program chose.
    pub unnamed: i64,
    /// A handle of its own, as of another process that only looks.
    observer: Option<Db>,
}

/// How many commands are remembered.
const REMEMBERED: usize = 60;

impl Watcher {
    /// A command of the operator.
    pub fn remember_operated(&mut self, command: ledger::Command) {
        self.operated.push(command);
        if self.operated.len() > REMEMBERED {
            self.operated.remove(0);
        }
    }

    /// A command of a job.
    pub fn remember_answered(&mut self, command: Command) {
        self.answered.push(command);
        if self.answered.len() > REMEMBERED {
            self.answered.remove(0);
        }
    }
}

/// What a look at the database shows.
#[derive(Debug)]
struct Look {
    balances: Vec<Option<Balance>>,
    caps: Vec<Option<Cap>>,
    jobs: Vec<Option<Row>>,
    holds: Vec<ledger::Hold>,
}

const JOB: &str = "SELECT id, state, node, charge, attempts, completed_at,
        (SELECT count(*) FROM job_outputs WHERE job_id = jobs.id),
        (SELECT count(*) FROM attempts WHERE job_id = jobs.id AND state = 'running')
    FROM jobs WHERE id = $1";

async fn look(
    tx: &mut Tx<'_>,
    accounts: &[AccountId],
    (caps, now): (&[i64], Timestamp),
    jobs: &[i64],
) -> std::result::Result<Look, DbError> {
    Ok(Look {
        balances: ledger::balances(tx, accounts).await?,
        caps: ledger::caps(tx, caps, now).await?,
        jobs: tx.query_many(JOB, jobs.iter().map(|&job| params![job])).await?,
        holds: ledger::open_holds(tx).await?,
    })
}

impl World {
    /// Compares what may have changed. Who looks, and through which connection, is left to chance: each has a memory of its
    /// own that may be old.
    pub async fn check(&mut self) -> Result<()> {
        let (accounts, caps) = (self.accounts(), self.caps());
        let touched = std::mem::take(&mut self.model.touched);
        let jobs: Vec<i64> = touched.into_iter().collect();
        let writes = self.dice.percent(25);
        let process = self.take(|_| true);
        let (db, now) = match &process {
            Some(process) if self.dice.percent(70) => {
                process.saboteur.follow(None);
                (process.app.db.clone(), process.clock_now())
            }
            _ => (self.observer().await?, Timestamp::from_millis(0)),
        };
        let (ids, cap_ids, job_ids) = (accounts.clone(), caps.clone(), jobs.clone());
        let looking = async move |tx: &mut Tx<'_>| look(tx, &ids, (&cap_ids, now), &job_ids).await;
        let seen = if writes { db.tx("look", looking).await } else { db.read("look", looking).await }?;
        if let Some(process) = process {
            self.put(process);
        }
        let wrong = self.processes().flat_map(|one| one.drives.values()).find(|drive| !drive.charge_is_right);
        if let Some(drive) = wrong {
            return Err(format!("I6: the charge of {} is not what was delivered", drive.id()).into());
        }
        self.check_balances(&accounts, &seen)?;
        self.check_caps(&caps, &seen, now.as_millis())?;
        self.check_jobs(&jobs, &seen)
    }

    /// A handle of nobody's, which is given up now and then.
    async fn observer(&mut self) -> Result<Db> {
        if self.dice.percent(2) {
            self.watcher.observer = None;
        }
        if let Some(observer) = &self.watcher.observer {
            return Ok(observer.clone());
        }
        let observer =
            Db::open(&self.place.url, db::OpenOptions { readers: 1, queue: 64, faults: None }).await?;
        self.watcher.observer = Some(observer.clone());
        Ok(observer)
    }

    fn accounts(&self) -> Vec<AccountId> {
        // The books of a debt are looked at through the wallet.
        let all = self.model.books.accounts().map(|(id, _)| id).filter(|id| !is_debt(*id));
        all.map(AccountId::from_i64).collect()
    }

    fn caps(&self) -> Vec<i64> {
        self.model.books.caps().map(|(id, _)| id).collect()
    }

    /// Posted, held, owed and frozen; and the version, which never goes back.
    fn check_balances(&mut self, accounts: &[AccountId], seen: &Look) -> Result<()> {
        let books = &self.model.books;
        for (account, balance) in accounts.iter().zip(&seen.balances) {
            let id = account.get();
            let Some(balance) = balance else { return Err(format!("account {id} is not there").into()) };
            let posted = books.available(id) + books.held(id);
            let debt = books.debt(id);
            let foretold = (posted, books.held(id), debt.max(0), books.is_frozen(id));
            let told = (balance.posted.get(), balance.held.get(), balance.debt.get(), balance.frozen);
            if foretold != told {
                return differs(&format!("I1/I2: account {id} (posted, held, debt, frozen)"), foretold, told);
            }
            let personal = id > 5;
            if personal && (balance.posted.get() < 0 || balance.available().get() < 0) {
                return Err(format!("I2: account {id} is overdrawn: {balance:?}").into());
            }
            let version = self.watcher.versions.entry(id).or_default();
            if balance.version < *version {
                return differs(&format!("I13: the version of account {id}"), *version, balance.version);
            }
            *version = balance.version;
        }
        let open: Vec<i64> = seen.holds.iter().map(|hold| hold.id.get()).collect();
        let foretold: Vec<i64> = books.holds().keys().copied().collect();
        if open != foretold {
            return differs("I7: the open holds", foretold, open);
        }
        let sum: i64 = books.accounts().map(|(_, sheet)| sheet.posted).sum();
        if sum == 0 { Ok(()) } else { Err(format!("I1: the accounts sum to {sum}").into()) }
    }

    /// What each limit has left. A clock that stands at nothing shows the latest period there was.
    fn check_caps(&self, ids: &[i64], seen: &Look, now: i64) -> Result<()> {
        for (id, told) in ids.iter().zip(&seen.caps) {
            let cap = self.model.books.caps().find(|(one, _)| one == id);
            let (Some((_, cap)), Some(told)) = (cap, told) else {
                return Err(format!("cap {id} is not there").into());
            };
            let held = self.model.books.held_by_cap(*id);
            let foretold = Period::ALL.map(|period| (cap.limits.get(period), cap.spent(period, now), held));
            let usage = told.usage().map(|one| (one.limit, one.spent.get(), told.held.get()));
            if foretold != usage {
                return differs(&format!("cap {id} (limit, spent, held)"), foretold, usage);
            }
        }
        Ok(())
    }

    fn check_jobs(&self, ids: &[i64], seen: &Look) -> Result<()> {
        for (id, row) in ids.iter().zip(&seen.jobs) {
            match (self.model.jobs.get(id), row) {
                (Some(_), Some(row)) => self.check_job(row)?,
                (job, row) => return differs(&format!("job {id}"), job, row),
            }
        }
        Ok(())
    }

    /// A row of `jobs`, with how many outputs it has and how many of its attempts run.
    fn check_job(&self, row: &Row) -> Result<()> {
        let id: i64 = row.get(0)?;
        let Some(job) = self.model.jobs.get(&id) else { return Err(format!("job {id} is nobody's").into()) };
        let running = self.running(id);
        let foretold = (
            job.state.name().to_owned(),
            i64::from(job.node),
            job.charge,
            job.attempts,
            job.ended_at,
            i64::from(job.has_output),
            i64::try_from(running.len())?,
        );
        let told: (String, i64, i64, i64, Option<i64>, i64, i64) =
            (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?);
        if foretold != told {
            return differs(
                &format!("job {id} (state, node, charge, attempts, end, outputs, running)"),
                foretold,
                told,
            );
        }
        if job.charge > job.bid {
            return Err(format!("I5: job {id} was charged {} above its bid {}", job.charge, job.bid).into());
        }
        if job.charge > 0 && !job.has_output {
            return Err(format!("I6: job {id} was charged {} for nothing", job.charge).into());
        }
        let holds = running.iter().filter(|id| self.model.books.holds().contains_key(id)).count();
        let consistent = match job.is_open() {
            true => running.len() == holds && holds <= 1,
            false => running.is_empty(),
        };
        if consistent {
            Ok(())
        } else {
            Err(format!("I7: job {id} is {} and holds {holds}", job.state.name()).into())
        }
    }

    fn running(&self, job: i64) -> Vec<i64> {
        use super::model::jobs::AttemptState::Running;
        let all = self.model.attempts.iter();
        all.filter(|(_, one)| one.job == job && one.state == Running).map(|(id, _)| *id).collect()
    }

    /// Looks at everything, if it is time to: ever more rarely, as everything grows.
    pub async fn check_now_and_then(&mut self) -> Result<()> {
        if self.log.step < self.watcher.next {
            return Ok(());
        }
        self.watcher.next = self.log.step + 50.max(self.log.step / 8);
        self.check_everything().await
    }

    /// Every row, every statement, both audits.
    pub async fn check_everything(&mut self) -> Result<()> {
        let db = match self.take(|_| true) {
            Some(process) => {
                let db = process.app.db.clone();
                process.saboteur.follow(None);
                self.put(process);
                db
            }
            None => self.observer().await?,
        };
        self.check_rows(&db).await?;
        self.check_statements(&db).await?;
        self.check_audits(&db).await
    }

    async fn check_rows(&self, db: &Db) -> Result<()> {
        let read = db.read("rows", async |tx| {
            let jobs = tx.query(&JOB.replace("WHERE id = $1", "ORDER BY id"), &[]).await?;
            let attempts = tx.query("SELECT id, job_id, state, price FROM attempts ORDER BY id", &[]).await?;
            let purchases = tx.query("SELECT id, state, session_ref FROM purchases ORDER BY id", &[]).await?;
            let sql = "SELECT (SELECT count(*) FROM idempotency), (SELECT count(*) FROM provider_events),
                         (SELECT count(*) FROM grants), (SELECT coalesce(sum(trades), 0) FROM market_minutes),
                         (SELECT coalesce(sum(total), 0) FROM market_minutes)";
            // A sum of whole numbers is one for us, whatever the engine calls it.
            let sql = sql.replace("coalesce(sum(trades), 0)", "CAST(coalesce(sum(trades), 0) AS BIGINT)");
            let sql = sql.replace("coalesce(sum(total), 0)", "CAST(coalesce(sum(total), 0) AS BIGINT)");
            let counts = tx.query_one(&sql, &[]).await?;
            Ok::<_, DbError>((jobs, attempts, purchases, counts))
        });
        let (jobs, attempts, purchases, counts) = read.await?;
        if jobs.len() != self.model.jobs.len() {
            return differs("how many jobs there are", self.model.jobs.len(), jobs.len());
        }
        for row in &jobs {
            self.check_job(row)?;
        }
        self.check_attempts(&attempts)?;
        self.check_purchases(&purchases)?;
        let told: [i64; 5] = [counts.get(0)?, counts.get(1)?, counts.get(2)?, counts.get(3)?, counts.get(4)?];
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let model = &self.model;
        let foretold = [
            count(model.requests.len()),
            count(model.events.len()),
            model.grants,
            model.trades.0,
            model.trades.1,
        ];
        if foretold == told {
            Ok(())
        } else {
            differs("requests, events, grants, trades, cleared", foretold, told)
        }
    }

    /// Each attempt has one end, and so has its hold (I3).
    fn check_attempts(&self, rows: &[Row]) -> Result<()> {
        use super::model::jobs::AttemptState;
        use ledger::TransferKind;
        let mut charges: BTreeMap<i64, i64> = BTreeMap::new();
        for row in rows {
            let id: i64 = row.get(0)?;
            let Some(attempt) = self.model.attempts.get(&id) else {
                return Err(format!("attempt {id} is nobody's").into());
            };
            let told: (i64, String, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let foretold = (attempt.job, attempt.state.name().to_owned(), attempt.price);
            if foretold != told {
                return differs(&format!("attempt {id} (job, state, price)"), foretold, told);
            }
            let end = self.model.books.moved(id);
            let as_it_must = match attempt.state {
                AttemptState::Running => end.is_none() && self.model.books.holds().contains_key(&id),
                AttemptState::Settled => end.is_some_and(|end| end.kind == TransferKind::Job),
                AttemptState::Released => end.is_some_and(|end| end.kind == TransferKind::Released),
            };
            if !as_it_must {
                return Err(
                    format!("I3: attempt {id} is {:?} and its hold ended as {end:?}", attempt.state).into()
                );
            }
            *charges.entry(attempt.job).or_default() += end.map_or(0, |end| end.amount);
        }
        let wrong = charges
            .iter()
            .find(|(job, charged)| self.model.jobs.get(job).is_none_or(|job| job.charge != **charged));
        match wrong {
            Some((job, charged)) => {
                Err(format!("I3: the attempts of job {job} were charged {charged}").into())
            }
            None if rows.len() == self.model.attempts.len() => Ok(()),
            None => differs("how many attempts there are", self.model.attempts.len(), rows.len()),
        }
    }

    /// Each payment is granted once (I4).
    fn check_purchases(&self, rows: &[Row]) -> Result<()> {
        if rows.len() != self.model.purchases.len() {
            return differs("how many purchases there are", self.model.purchases.len(), rows.len());
        }
        for row in rows {
            let id: i64 = row.get(0)?;
            let told: (String, Option<String>) = (row.get(1)?, row.get(2)?);
            let foretold =
                self.model.purchases.get(&id).map(|one| (one.state.name().to_owned(), one.session.clone()));
            if foretold.as_ref() != Some(&told) {
                return differs(&format!("I4: purchase {id} (state, session)"), foretold, told);
            }
        }
        Ok(())
    }

    async fn check_statements(&self, db: &Db) -> Result<()> {
        for account in self.accounts() {
            let read = db.read("statement", async move |tx| {
                ledger::statement::lines(tx, account, None, u32::MAX).await
            });
            let mut told = read.await?;
            told.reverse();
            let told: Vec<_> =
                told.iter().map(|line| (line.kind, line.amount.get(), line.balance.get())).collect();
            let lines = self.model.books.lines(account.get());
            let foretold: Vec<_> = lines.iter().map(|line| (line.kind, line.amount, line.balance)).collect();
            if foretold != told {
                let first = foretold.iter().zip(&told).position(|(one, other)| one != other);
                let (one, other) = first.map_or((None, None), |at| (foretold.get(at), told.get(at)));
                let what = format!("I12: the statement of {} from line {first:?}", account.get());
                return differs(&what, (foretold.len(), one), (told.len(), other));
            }
            let sum: i64 = foretold.iter().map(|(_, amount, _)| amount).sum();
            let posted = self.model.books.available(account.get()) + self.model.books.held(account.get());
            if sum != posted {
                return differs("I1: a balance and its lines", sum, posted);
            }
        }
        Ok(())
    }

    /// What the program itself says of its books.
    async fn check_audits(&mut self, db: &Db) -> Result<()> {
        let findings = audit::run(db, Arc::new(|_: &str| {})).await?;
        let strays = &self.model.strays;
        let about_a_stray = |what: &str| {
            let hold = what.rsplit(' ').next().and_then(|id| id.parse().ok());
            what.starts_with("an open hold belongs to no attempt")
                && hold.is_some_and(|id| strays.contains(&id))
        };
        if let Some(finding) = findings.iter().find(|finding| !about_a_stray(&finding.what)) {
            return Err(format!("the audit: {}: {}", finding.invariant, finding.what).into());
        }
        let from = self.watcher.position;
        let recent = db.read("recent", async move |tx| ledger::audit::recent(tx, from).await).await?;
        self.watcher.position = Some(recent.position);
        match recent.findings.first() {
            Some(finding) => {
                Err(format!("the incremental audit: {}: {}", finding.invariant, finding.what).into())
            }
            None if recent.skipped > 0 => {
                Err(format!("the incremental audit missed {} batches", recent.skipped).into())
            }
            None => Ok(()),
        }
    }
}

/// Whether nothing is left to be done in a process.
pub fn is_idle(process: &Process) -> bool {
    process.recovery.is_none()
        && process.drives.is_empty()
        && process.queue.is_empty()
        && process.answers.is_empty()
        && process.flights.is_empty()
        && process.taken_over.is_empty()
}
