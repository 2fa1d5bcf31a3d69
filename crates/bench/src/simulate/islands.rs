//! What Islands and consumers do to jobs in progress.

use server::jobs::commit::Done;
use server::jobs::{JobError, elsewhere};
use types::id::{Id, JobId};

use super::drive::{Drive, Ended, Stage};
use super::faults::Told;
use super::model::jobs::{Job as ModelJob, UNWRITABLE, same};
use super::operator::differs;
use super::process::Process;
use super::requests::{hold_until, rules};
use super::world::World;
use crate::Result;

/// The most text a job may give.
const OUTPUT_BYTES: usize = 1000;

impl World {
    /// An Island gives something, ends, or fails.
    pub fn island(&mut self) -> bool {
        let Some((mut process, job)) = self.take_job(|drive| matches!(drive.stage, Stage::Running(_))) else {
            return false;
        };
        let rules = rules(&process);
        let Some(drive) = process.drives.get_mut(&job) else { return false };
        let what = if drive.live.is_cancelled() {
            // It may have been done before it heard of that.
            if self.dice.percent(70) { Event::Ended(Ended::Cancelled) } else { Event::Ended(Ended::Done) }
        } else {
            self.event(drive)
        };
        self.log.say(&format!("{job}: {what:?}"));
        match what {
            Event::Output => drop(drive.live.push_text("word ", OUTPUT_BYTES)),
            Event::Delivered => drive.live.mark_delivered(1),
            Event::Ended(ended) => {
                let next = drive.ended(ended, rules);
                self.go_on(&mut process, job, next);
            }
        }
        self.put(process);
        true
    }

    fn event(&self, drive: &Drive) -> Event {
        if !drive.live.has_output() && self.dice.percent(50) {
            return Event::Output;
        }
        let ended = match self.dice.below(30) {
            0..3 => return Event::Output,
            3..7 if drive.live.has_output() => return Event::Delivered,
            3..20 => Ended::Done,
            20 | 21 => Ended::Failed { retryable: true },
            22 => Ended::Failed { retryable: false },
            23 => Ended::Rejected,
            24 => Ended::TooMuch,
            25 => Ended::Malformed,
            26 | 27 => Ended::Lost,
            28 => Ended::LeaseExpired,
            _ => Ended::RanTooLong,
        };
        Event::Ended(ended)
    }

    /// A waiting job's turn comes, or its time is over.
    pub fn turn(&mut self) -> bool {
        let Some((mut process, job)) = self.take_job(|drive| matches!(drive.stage, Stage::Waiting)) else {
            return false;
        };
        let (now, rules, until) = (process.clock_now(), rules(&process), hold_until(&process));
        let attempt = match process.drives.get(&job) {
            Some(drive) if !drive.live.is_cancelled() && drive.job.deadline > now => {
                self.attempt_at(&process, &drive.job, &drive.excluded)
            }
            _ => None,
        };
        let mut happened = false;
        if let Some(drive) = process.drives.get_mut(&job) {
            if let Some(attempt) = attempt {
                self.log.say(&format!("{job}: its turn, with {} at {}", attempt.id, attempt.price));
                let command = drive.begin(attempt, until, now);
                process.send(command);
                happened = true;
            } else if drive.live.is_cancelled() || drive.job.deadline <= now {
                self.log.say(&format!("{job}: waits no longer"));
                let next = drive.give_up(rules);
                self.go_on(&mut process, job, next);
                happened = true;
            }
        }
        self.put(process);
        happened
    }

    /// An Island asks another price, comes or goes.
    pub fn market(&mut self) -> bool {
        let (index, price) = (self.dice.below(self.islands.len()), self.price());
        let Some(island) = self.islands.get_mut(index) else { return false };
        if self.dice.percent(60) {
            island.ask = price;
        } else {
            island.online = !island.online;
        }
        self.log.say(&format!("island {index} asks {}, online: {}", island.ask, island.online));
        true
    }

    /// A consumer cancels a job where it is driven, at whatever state.
    pub fn cancel(&mut self) -> bool {
        let Some((process, job)) = self.take_job(|drive| !drive.live.is_cancelled()) else { return false };
        if let Some(drive) = process.drives.get(&job) {
            self.log.say(&format!("{job}: cancelled while {:?}", drive.stage));
            drive.live.cancel();
        }
        self.put(process);
        true
    }

    /// A consumer cancels a job through any coordinator, which leaves a wish for the one that drives it.
    pub async fn wish(&mut self) -> Result<bool> {
        let jobs: Vec<i64> = self.model.jobs.keys().rev().take(20).copied().collect();
        let Some(&job) = self.dice.pick(&jobs) else { return Ok(false) };
        let Some(process) = self.take(Process::serves) else { return Ok(false) };
        let fate = self.break_something(&process.saboteur).next();
        let open = self.model.jobs.get(&job).is_some_and(ModelJob::is_open);
        let answer = elsewhere::want_cancelled(&process.app, JobId::from_i64(job)).await;
        let foretold = match fate.told() {
            Told::Ok if open => Ok(()),
            Told::Ok => Err(JobError::Ended),
            Told::Unknown => Err(JobError::InDoubt),
            _ => Err(UNWRITABLE),
        };
        let job_id = JobId::from_i64(job);
        self.log.say(&format!("{}: {job_id} is wished to be cancelled: {answer:?}", process.name()));
        let done = |answer: &std::result::Result<(), JobError>| answer.clone().map(|()| Done::Written);
        if !same(&done(&foretold), &done(&answer)) {
            differs("a wish to cancel", foretold, answer)?;
        }
        if let Some(job) = self.model.jobs.get_mut(&job).filter(|_| open && fate.is_kept()) {
            job.unwanted = true;
        }
        self.put(process);
        Ok(true)
    }

    /// A coordinator looks for wishes to cancel its jobs.
    pub async fn wishes(&mut self) -> Result<bool> {
        let Some(process) = self.take(Process::serves) else { return Ok(false) };
        let before = cancelled(&process);
        elsewhere::wishes_once(&process.app).await?;
        let number = process.app.node.number;
        let wanted = |id: &JobId| {
            self.model
                .jobs
                .get(&id.get())
                .is_some_and(|job| job.unwanted && job.is_open() && job.node == number)
        };
        let foretold: Vec<JobId> =
            process.drives.keys().filter(|id| before.contains(id) || wanted(id)).copied().collect();
        let after = cancelled(&process);
        self.log.say(&format!("{}: looks for wishes, cancelled are {after:?}", process.name()));
        if foretold != after {
            differs("the jobs that are cancelled", foretold, after)?;
        }
        self.put(process);
        Ok(true)
    }

    /// A process that is awake, with a job that is as wanted.
    fn take_job(&mut self, wanted: impl Fn(&Drive) -> bool) -> Option<(Process, JobId)> {
        let process = self.take(|one| !one.asleep && one.drives.values().any(&wanted))?;
        let jobs: Vec<JobId> = process.drives.values().filter(|drive| wanted(drive)).map(Drive::id).collect();
        match self.dice.pick(&jobs) {
            Some(&job) => Some((process, job)),
            None => {
                self.put(process);
                None
            }
        }
    }
}

/// What an Island or its consumer does.
#[derive(Clone, Copy, Debug)]
enum Event {
    Output,
    Delivered,
    Ended(Ended),
}

fn cancelled(process: &Process) -> Vec<JobId> {
    process.drives.values().filter(|drive| drive.live.is_cancelled()).map(Drive::id).collect()
}
