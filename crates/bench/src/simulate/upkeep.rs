//! What a coordinator does for itself and for others: it starts, recovers, gives signs of life, takes over, ends what was left
//! open, and lets the ledger's tables catch up.

use std::sync::Arc;

use db::DbError;
use server::jobs::command::{Command, Finish};
use server::jobs::commit::Asked;
use server::jobs::{self, JobError, Origin, State, Usage, recover};
use server::nodes::{self, Beat};
use types::id::{AccountId, AttemptId, Id, IslandId, JobId, TransferId};
use types::money::MicroCredits;
use types::time::SECOND_MS;

use super::drive::{Drive, Stage};
use super::faults::{Fate, Fates, Told};
use super::model::Node;
use super::model::jobs::AttemptState;
use super::operator::differs;
use super::process::{Process, Recovery, Suspect, open};
use super::profile::Profile;
use super::world::World;
use crate::Result;

/// How often a process that is awake gives a sign of life at least.
const BEAT_MS: i64 = 600;
/// How long after it must be over a job that nobody drives is ended.
const FORGOTTEN_MARGIN_MS: i64 = 300 * SECOND_MS;

impl World {
    /// A process is started where there is none.
    pub async fn start(&mut self) -> Result<bool> {
        let empty: Vec<usize> =
            (0..self.slots.len()).filter(|&slot| self.slots[slot].process.is_none()).collect();
        let Some(&slot) = self.dice.pick(&empty) else { return Ok(false) };
        let opened = open(&self.place.url, &self.place.data_dir(slot)?, &self.profile).await?;
        self.runs += 1;
        let (run, number) = (self.runs, self.model.number_for(slot));
        let fate = self.break_at(&opened.saboteur, &super::faults::POINTS, &[0]).next();
        let clock = Arc::clone(&self.slots[slot].clock);
        let claim = opened.claim(&self.random, &clock).await;
        opened.saboteur.follow(None);
        if fate.is_kept() {
            let beat = self.model.nodes.get(&number).map_or(1, |node| node.beat + 1);
            self.model.nodes.insert(number, Node { run, slot, beat });
        }
        let claim = match (claim, fate.told()) {
            (Ok(claim), Told::Ok) if claim.node.number == number => claim,
            (Err(error), told) if told != Told::Ok => {
                self.log.say(&format!("slot {slot}: a process does not start: {error}"));
                return Ok(true);
            }
            (claim, told) => return differs("a start", (told, number), claim).map(|()| true),
        };
        let pace = Profile::pace(&self.dice);
        let mut process = opened.build(claim, (slot, run), &clock, &self.shop, pace).await?;
        let found = recover::open_jobs(&process.app).await?;
        let ids: Vec<i64> = found.iter().map(|job| job.id.get()).collect();
        self.log.say(&format!("{}: starts and finds {} open jobs", process.name(), ids.len()));
        if ids != self.model.open_jobs(number) {
            differs("the jobs it finds", self.model.open_jobs(number), ids)?;
        }
        let jobs = found.into_iter().map(|job| Recovery::Job(Box::new(job)));
        process.beat_at = self.elapsed;
        process.recovery = Some(jobs.chain([Recovery::Orphans]).collect());
        self.put(process);
        Ok(true)
    }

    /// One more step of a recovery, or one more of the jobs that were taken over.
    pub async fn resume(&mut self) -> Result<bool> {
        let busy = |one: &Process| one.recovery.is_some() || !one.taken_over.is_empty();
        let Some(mut process) = self.take(|one| !one.asleep && busy(one)) else { return Ok(false) };
        let Some(recovery) = &mut process.recovery else {
            if let Some(job) = process.taken_over.pop_front()
                && !self.resume_job(&mut process, &job).await?
            {
                process.taken_over.push_back(job);
            }
            self.put(process);
            return Ok(true);
        };
        let done = match recovery.pop_front() {
            Some(Recovery::Job(job)) => self.resume_job(&mut process, &job).await?,
            Some(Recovery::Orphans) => self.release_orphans(&process).await?,
            None => {
                process.recovery = None;
                true
            }
        };
        if done {
            self.put(process);
        } else {
            self.log.say(&format!("{}: could not recover, and ends", process.name()));
            process.kill().await;
        }
        Ok(true)
    }

    /// Takes a job up, or ends it. Answers whether that went well.
    async fn resume_job(&mut self, process: &mut Process, job: &jobs::Job) -> Result<bool> {
        let mut fates = self.break_something(&process.saboteur);
        let waits = job.state == State::Pending
            && job.origin != Origin::Request
            && job.deadline.as_millis() > process.now();
        let ended = if waits { Ok(()) } else { self.foretell_end(process, job, &mut fates) };
        let resumed = recover::resume(&process.app, job).await;
        process.saboteur.follow(None);
        let told = resumed.as_ref().map(Option::is_some);
        self.log.say(&format!("{}: resumes {} ({}): {told:?}", process.name(), job.id, job.state.name()));
        match (resumed, ended) {
            (Ok(Some(taken)), Ok(())) if waits => {
                taken.drive.give_up_waiting(&taken.place);
                let recover::Waits { drive, .. } = taken;
                let jobs::drive::Drive { live, job, wallet, cap, .. } = drive;
                process.drives.insert(job.id, Drive::new(live, job, wallet, cap, Stage::Waiting));
                Ok(true)
            }
            (Ok(None), Ok(())) if !waits => Ok(true),
            (Err(_), Err(())) => Ok(false),
            (resumed, ended) => differs("a job that is resumed", (waits, ended), resumed).map(|()| false),
        }
    }

    /// A job is ended by whoever finds it; told whether that is known to be done.
    fn foretell_end(
        &mut self,
        process: &Process,
        job: &jobs::Job,
        fates: &mut Fates,
    ) -> std::result::Result<(), ()> {
        let state = match (job.state, job.origin) {
            (State::Pending, Origin::Request) => State::Cancelled,
            (State::Pending, _) => State::Timeout,
            _ => State::Failed,
        };
        let mut attempts = self.model.attempts.iter();
        let running = attempts
            .find(|(_, attempt)| attempt.job == job.id.get() && attempt.state == AttemptState::Running)
            .map(|(id, attempt)| jobs::Attempt {
                id: AttemptId::from_i64(*id),
                number: 0,
                island: IslandId::from_i64(0),
                earnings: AccountId::from_i64(attempt.earnings),
                price: MicroCredits::new(attempt.price),
                ask: MicroCredits::new(attempt.price),
                units: types::units::Units::ONE,
                own: false,
                considered: String::new(),
            });
        let command = Command::Finish(Arc::new(Finish {
            job: job.id,
            at: process.clock_now(),
            user: job.user,
            key: job.key,
            workload: job.workload,
            state,
            attempt: running,
            charge: MicroCredits::ZERO,
            fee: MicroCredits::ZERO,
            units: types::units::Units::ZERO,
            unserved: None,
            output: None,
            message: None,
            usage: Usage::default(),
            finish_reason: None,
            error: None,
        }));
        let asked = Asked { command, doubtful: false };
        match self.model.commit_for_certain(asked, process.committer(), fates) {
            Ok(_) | Err(JobError::Ended) => Ok(()),
            Err(_) => Err(()),
        }
    }

    async fn release_orphans(&mut self, process: &Process) -> Result<bool> {
        let fates = self.break_something(&process.saboteur);
        let strays: Vec<i64> = self.model.strays.iter().copied().collect();
        let told = self.foretell_release(&strays, process.now(), fates);
        let released = recover::release_orphans(&process.app).await;
        process.saboteur.follow(None);
        self.log.say(&format!("{}: gives back what is nobody's: {released:?}", process.name()));
        if Told::of(&released) != told || released.is_ok_and(|count| count != strays.len()) {
            differs("orphans", (told, strays), "something else")?;
        }
        Ok(told == Told::Ok)
    }

    /// Holds are given back in one transaction, if there are any.
    fn foretell_release(&mut self, holds: &[i64], now: i64, mut fates: Fates) -> Told {
        if holds.is_empty() {
            return Told::Ok;
        }
        let hold = |id: &i64| ledger::Command::Release { hold: TransferId::from_i64(*id) };
        let commands: Vec<ledger::Command> = holds.iter().map(hold).collect();
        let (_, told) = self.model.submit(&commands, now, fates.next());
        self.forget_ended_strays();
        told
    }

    /// A sign of life, and a look at the others.
    pub async fn beat(&mut self) -> Result<bool> {
        let Some(mut process) = self.take(|one| !one.asleep && !one.replaced) else { return Ok(false) };
        self.beat_of(&mut process).await?;
        self.put(process);
        Ok(true)
    }

    /// Whoever is awake beats in time, and at once when a clock has jumped ahead: only by that do others know which ids it can
    /// have made.
    pub async fn beat_in_time(&mut self, at_once: bool) -> Result<()> {
        for slot in 0..self.slots.len() {
            let now = self.elapsed;
            let due =
                |one: &Process| !one.asleep && !one.replaced && (at_once || now - one.beat_at > BEAT_MS);
            if let Some(mut process) = self.slots[slot].process.take() {
                if due(&process) {
                    self.beat_of(&mut process).await?;
                }
                self.put(process);
            }
        }
        Ok(())
    }

    /// A sign of life of this one.
    pub async fn beat_of(&mut self, process: &mut Process) -> Result<()> {
        let number = process.app.node.number;
        let fate = self.break_something(&process.saboteur).next();
        let ours = self.model.owns(number, process.run);
        if ours
            && fate.is_kept()
            && let Some(node) = self.model.nodes.get_mut(&number)
        {
            node.beat += 1;
        }
        process.beat_at = self.elapsed;
        let beat = nodes::beat_once(&process.app).await;
        match (beat, fate.told()) {
            (Ok(Beat::Ours(taken)), Told::Ok) if ours => {
                let stale = process.look(&taken, self.moment());
                let suspects = stale.iter().filter_map(|stale| {
                    let node = self.model.nodes.get(&stale.number)?;
                    Some(Suspect { stale: *stale, run: node.run, beat: node.beat })
                });
                process.silent = suspects.collect();
                let silent: Vec<u16> = stale.iter().map(|stale| stale.number).collect();
                self.log.say(&format!("{}: beats; silent are {silent:?}", process.name()));
            }
            (Ok(Beat::Lost { .. }), Told::Ok) if !ours => {
                self.log.say(&format!("{}: finds that it was replaced", process.name()));
                process.replaced = true;
            }
            (Err(error), told) if told != Told::Ok && Told::of_error(&error) == told => {
                self.log.say(&format!("{}: cannot beat: {error}", process.name()));
            }
            (beat, told) => differs("a sign of life", (told, ours), beat)?,
        }
        Ok(())
    }

    /// The jobs of a silent coordinator are taken over, unless it gave a sign of life since, or another was first.
    pub async fn take_over(&mut self) -> Result<bool> {
        let Some(mut process) = self.take(|one| !one.asleep && !one.replaced && !one.silent.is_empty())
        else {
            return Ok(false);
        };
        let suspect = process.silent.remove(0);
        let (own, silent) = (process.app.node.number, suspect.stale.number);
        let mut fates = self.break_something(&process.saboteur);
        let fate = fates.next();
        let still = self
            .model
            .nodes
            .get(&silent)
            .is_some_and(|node| (node.run, node.beat) == (suspect.run, suspect.beat) && node.run != 0);
        let takes = still && self.model.owns(own, process.run);
        let foretold = if takes { self.model.open_jobs(silent) } else { Vec::new() };
        if takes && fate.is_kept() {
            self.model.hand_over(silent, own);
        }
        let taken = recover::take_over(&process.app, suspect.stale).await;
        process.saboteur.follow(None);
        let ids = |jobs: &[jobs::Job]| jobs.iter().map(|job| job.id.get()).collect::<Vec<_>>();
        let told = taken.as_ref().map(|jobs| ids(jobs));
        self.log.say(&format!("{}: takes over coordinator {silent}: {told:?}", process.name()));
        match (taken, fate.told()) {
            (Ok(jobs), Told::Ok) if ids(&jobs) == foretold => process.taken_over.extend(jobs),
            (Err(error), told) if told != Told::Ok && Told::of_error(&error) == told => {}
            (taken, told) => differs("a takeover", (told, foretold), taken)?,
        }
        self.put(process);
        Ok(true)
    }

    /// Open holds whose time has passed are ended.
    pub async fn expire(&mut self) -> Result<bool> {
        let Some(process) = self.take(Process::serves) else { return Ok(false) };
        let (now, number) = (process.now(), process.app.node.number);
        let mut due: Vec<(i64, i64)> = self
            .model
            .books
            .holds()
            .iter()
            .filter(|(_, hold)| hold.expires_at <= now)
            .map(|(id, hold)| (hold.expires_at, *id))
            .collect();
        due.sort_unstable();
        let mut fates = self.break_something(&process.saboteur);
        // All are looked up before the first is ended.
        let jobs: Vec<Option<i64>> = due.iter().map(|(_, hold)| self.driven(*hold)).collect();
        let mut ended = 0;
        for ((_, hold), job) in due.into_iter().zip(jobs) {
            let Some(id) = job else {
                self.foretell_release_one(hold, now, &mut fates);
                ended += 1;
                continue;
            };
            let of = self.model.jobs.get(&id).map(|job| job.node);
            if of != Some(number) || process.app.jobs.has(JobId::from_i64(id)) {
                continue;
            }
            let job = self.stored(&process, id).await?;
            let _ = self.foretell_end(&process, &job, &mut fates);
            ended += 1;
        }
        let told = recover::expire_once(&process.app).await?;
        process.saboteur.follow(None);
        self.log.say(&format!("{}: ends {told} expired holds", process.name()));
        if told != ended {
            differs("how many holds have expired", ended, told)?;
        }
        self.put(process);
        Ok(true)
    }

    /// The open job behind a hold.
    fn driven(&self, hold: i64) -> Option<i64> {
        let attempt = self.model.attempts.get(&hold).filter(|one| one.state == AttemptState::Running)?;
        self.model.jobs.get(&attempt.job).filter(|job| job.is_open()).map(|_| attempt.job)
    }

    fn foretell_release_one(&mut self, hold: i64, now: i64, fates: &mut Fates) {
        let command = ledger::Command::Release { hold: TransferId::from_i64(hold) };
        let fate: Fate = fates.next();
        drop(self.model.submit(&[command], now, fate));
        self.forget_ended_strays();
    }

    /// A job as it is stored, for what is not foretold of it.
    async fn stored(&self, process: &Process, id: i64) -> Result<jobs::Job> {
        let user = self.model.jobs.get(&id).map(|job| job.user).unwrap_or_default();
        let user = types::id::UserId::from_i64(user);
        Ok(jobs::look::find(&process.app, user, JobId::from_i64(id)).await?.0)
    }

    /// Jobs that are long over and driven by nobody are ended.
    pub async fn forgotten(&mut self) -> Result<bool> {
        let Some(process) = self.take(Process::serves) else { return Ok(false) };
        let config = &process.app.config.jobs;
        let longest = i64::from(config.wait_secs) + i64::from(config.run_secs) * i64::from(config.attempts);
        let before = process.now() - longest * SECOND_MS - FORGOTTEN_MARGIN_MS;
        let mut fates = self.break_something(&process.saboteur);
        let mut ended = 0;
        for id in self.model.open_jobs(process.app.node.number) {
            let old = self.model.jobs.get(&id).is_some_and(|job| job.created_at < before);
            if old && !process.app.jobs.has(JobId::from_i64(id)) {
                let job = self.stored(&process, id).await?;
                let _ = self.foretell_end(&process, &job, &mut fates);
                ended += 1;
            }
        }
        recover::end_forgotten_once(&process.app).await?;
        process.saboteur.follow(None);
        self.log.say(&format!("{}: ends {ended} forgotten jobs", process.name()));
        self.put(process);
        Ok(ended > 0)
    }

    /// The tables catch up with the journal, a little.
    pub async fn fold(&mut self) -> Result<bool> {
        let Some(process) = self.take(|one| !one.asleep) else { return Ok(false) };
        let fate = self.break_something(&process.saboteur).next();
        let share = 1 + self.dice.below(6);
        let folded = process.app.db.tx("fold", async move |tx| ledger::fold(tx, share).await).await;
        self.log.say(&format!("{}: folds {share}: {folded:?}", process.name()));
        if Told::of(&folded) != fate.told() {
            differs("folding", fate, folded)?;
        }
        self.put(process);
        Ok(true)
    }

    /// A transaction is taken back: nothing of it counts, and the connection forgets what it remembered.
    pub async fn in_vain(&mut self) -> Result<bool> {
        let Some(process) = self.take(|one| !one.asleep) else { return Ok(false) };
        let commands: Vec<_> = (0..3).filter_map(|_| self.operators_command(&process)).collect();
        let fate = self.break_something(&process.saboteur).next();
        let (now, pace) = (process.clock_now(), process.app.pace);
        let taken_back: std::result::Result<(), DbError> = process
            .app
            .db
            .tx("in vain", async move |tx| {
                ledger::submit_at(tx, &commands, now, &pace).await?;
                Err(DbError::Other("taken back".to_owned()))
            })
            .await;
        self.log.say(&format!("{}: a transaction is taken back: {taken_back:?}", process.name()));
        if Told::of(&taken_back) != fate.told_refusal() {
            differs("a transaction that is taken back", fate, taken_back)?;
        }
        self.put(process);
        Ok(true)
    }
}
