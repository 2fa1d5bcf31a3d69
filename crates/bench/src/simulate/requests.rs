//! Clients that want jobs, and the way of their commands through the committer and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use server::idempotency::Claim;
use server::jobs::command::{Command, Open};
use server::jobs::commit::{Asked, Done, HOLD_MARGIN_MS, commit_batch};
use server::jobs::live::LiveJob;
use server::jobs::submit::cap_of;
use server::jobs::{Attempt, BidSource, Job, JobError, Origin, State, Usage};
use server::marketplace::measure;
use types::id::{IslandId, JobId};
use types::money::MicroCredits;
use types::time::{Clock, SECOND_MS, Timestamp};
use types::units::Units;

use super::drive::{Drive, Next, Rules, Stage};
use super::model::jobs::{Answer, same};
use super::operator::differs;
use super::process::{Process, Sent};
use super::world::{Island, World};
use crate::Result;

/// Those who asked for jobs.
#[derive(Debug, Default)]
pub struct Clients {
    pub requests: Vec<Request>,
    /// What was acknowledged, by person and key: the job and the body.
    promised: BTreeMap<(usize, String), (JobId, u64)>,
}

/// A request, which may be sent more than once.
#[derive(Clone, Debug)]
pub struct Request {
    pub person: usize,
    key: Option<usize>,
    idempotency: Option<String>,
    body: u64,
    bid: i64,
    origin: Origin,
}

impl Clients {
    /// A client is told what became of its request: nothing it was promised before may change (I9).
    fn told(&mut self, request: usize, own: JobId, answer: &Answer) -> Result<()> {
        let Some(Request { person, idempotency: Some(key), body, .. }) = self.requests.get(request).cloned()
        else {
            return Ok(());
        };
        let before = self.promised.get(&(person, key.clone())).copied();
        let job = match answer {
            Ok(Done::Written) => own,
            Ok(Done::Replayed(first)) => *first,
            Err(JobError::KeyTaken) if before.is_some_and(|(_, first)| first == body) => {
                return Err(format!("I9: the request {key} was taken and is now refused as another").into());
            }
            Err(_) => return Ok(()),
        };
        match before {
            Some((first, first_body)) if (first, first_body) != (job, body) => {
                Err(format!("I9: the request {key} was {first} and is now {job}").into())
            }
            _ => {
                self.promised.insert((person, key), (job, body));
                Ok(())
            }
        }
    }
}

impl World {
    /// A client asks for a job, or for one it asked for before.
    pub fn submit(&mut self) -> Result<bool> {
        let Some(mut process) = self.take(Process::serves) else { return Ok(false) };
        let index = self.request();
        let request = self.clients.requests[index].clone();
        let (command, drive) = self.open(&process, index, &request)?;
        self.log.say(&format!(
            "{}: person {} asks for {} (bid {}, {:?}, key {:?}), {:?}",
            process.name(),
            request.person,
            drive.id(),
            request.bid,
            request.idempotency,
            request.key,
            drive.stage
        ));
        process.app.jobs.insert(&drive.live, usize::MAX, usize::MAX);
        process.drives.insert(drive.id(), drive);
        process.send(command);
        self.put(process);
        Ok(true)
    }

    /// The number of a request: a new one, or one that is sent again.
    fn request(&mut self) -> usize {
        let made = self.clients.requests.len();
        if made > 0 && self.dice.percent(30) {
            // The newest are the ones whose answers were lost.
            let index = made - 1 - self.dice.below(made.min(6));
            if self.clients.requests[index].idempotency.is_some() {
                if self.dice.percent(15) {
                    let mut other = self.clients.requests[index].clone();
                    other.body += 1;
                    self.clients.requests.push(other);
                    return made;
                }
                return index;
            }
        }
        let person = self.dice.below(self.people.len());
        let keys = self.people[person].keys.len();
        self.clients.requests.push(Request {
            person,
            key: (keys > 0 && self.dice.percent(70)).then(|| self.dice.below(keys)),
            idempotency: self.dice.percent(60).then(|| format!("request-{made}")),
            body: 0,
            bid: self.dice.between(self.profile.dearest / 3, self.profile.dearest * 5 / 4),
            origin: self.dice.one_of([Origin::Api, Origin::Api, Origin::Request, Origin::Page]),
        });
        made
    }

    /// The command a request becomes, and what will drive the job.
    fn open(&self, process: &Process, index: usize, request: &Request) -> Result<(Command, Drive)> {
        let app = &process.app;
        let market = app.market.all().first().ok_or("there is no Cargo")?;
        let person = &self.people[request.person];
        let key = request.key.and_then(|key| person.keys.get(key));
        let (now, cap, wallet) = (process.clock.now(), cap_of(key), person.user.wallet);
        let mut job = Job {
            id: app.ids.next(now),
            node: app.node.number,
            user: person.user.id,
            key: key.map(|key| key.id),
            workload: market.workload.id,
            origin: request.origin,
            state: State::Pending,
            input: Arc::from(r#"{"prompt":"Hello"}"#),
            bid: MicroCredits::new(request.bid),
            unit_bid: MicroCredits::new(request.bid),
            bid_source: BidSource::Explicit,
            region: None,
            model: None,
            min_trust: 0,
            priority: 0,
            created_at: now,
            deadline: now.plus_millis(i64::from(app.config.jobs.wait_secs) * SECOND_MS),
            started_at: None,
            completed_at: None,
            attempts: 0,
            island: None,
            charge: MicroCredits::ZERO,
            units: Units::ZERO,
            usage: Usage::default(),
            finish_reason: None,
            error: None,
        };
        let attempt = self.attempt_at(process, &job, &[]);
        job.started_at = attempt.as_ref().map(|_| now);
        let least = if attempt.is_some() { 0 } else { self.least(request) };
        let open = Open {
            job: job.clone(),
            wallet,
            attempt: attempt.clone(),
            least: MicroCredits::new(least),
            cap,
            hold_until: hold_until(process),
            idempotency: request.idempotency.clone().map(|key| {
                let hash = format!("body {}", request.body);
                (Claim::new(person.user.id, key, hash, None), None)
            }),
        };
        let live = Arc::new(LiveJob::new(&job, Arc::clone(&market.workload), measure::Request::default()));
        let drive = Drive::new(live, job, wallet, cap, Stage::Opening(attempt));
        Ok((Command::Open(Arc::new(open)), Drive { client: Some(index), ..drive }))
    }

    /// The lowest price a job that waits could start at.
    fn least(&self, request: &Request) -> i64 {
        if self.islands.iter().any(|island| island.owner == request.person) {
            return 0;
        }
        let best = self.islands.iter().filter(|island| island.online).map(|island| island.ask).min();
        best.filter(|ask| *ask <= request.bid).unwrap_or(1)
    }

    /// An attempt on the cheapest Island within the bid, if one is free. The market itself is not simulated; that its price
    /// stays what it was at the match is.
    pub fn attempt_at(&self, process: &Process, job: &Job, excluded: &[IslandId]) -> Option<Attempt> {
        if self.dice.percent(20) {
            return None;
        }
        let fits =
            |island: &&Island| island.online && island.ask <= job.bid.get() && !excluded.contains(&island.id);
        let island = self.islands.iter().filter(fits).min_by_key(|island| island.ask)?;
        let own = self.people.get(island.owner).is_some_and(|owner| owner.user.id == job.user);
        let ask = MicroCredits::new(island.ask);
        Some(Attempt {
            id: process.app.ids.next(process.clock.now()),
            number: job.attempts + 1,
            island: island.id,
            earnings: island.earnings,
            price: if own { MicroCredits::ZERO } else { ask },
            ask,
            units: Units::ONE,
            own,
            considered: "[]".to_owned(),
        })
    }

    /// A committer takes what has queued up, or the first of it.
    pub async fn commit(&mut self) -> Result<bool> {
        let Some(mut process) = self.take(|one| !one.asleep && !one.queue.is_empty()) else {
            return Ok(false);
        };
        let waiting = process.queue.len();
        let taken = if self.dice.percent(50) { waiting } else { 1 + self.dice.below(waiting) };
        let batch: Vec<Sent> = process.queue.drain(..taken).collect();
        let asked: Vec<Asked> = batch.iter().map(|sent| sent.asked.clone()).collect();
        let mut fates = self.break_something(&process.saboteur);
        let (foretold, answers) = match asked.as_slice() {
            [one] if !one.doubtful && self.dice.percent(30) => {
                // By the whole way: through the queue, and asking again until it is known what became of it.
                let foretold = self.model.commit_for_certain(one.clone(), process.committer(), &mut fates);
                (vec![foretold], vec![process.app.committer.commit(one.command.clone()).await])
            }
            _ => {
                let foretold = self.model.commit(&asked, process.committer(), &mut fates);
                (foretold, commit_batch(&process.app, asked).await)
            }
        };
        self.answered(&mut process, batch, (foretold, answers))?;
        self.put(process);
        Ok(true)
    }

    /// Compares what a batch was answered, and sends the answers on their way.
    pub fn answered(
        &mut self,
        process: &mut Process,
        batch: Vec<Sent>,
        (foretold, answers): (Vec<Answer>, Vec<Answer>),
    ) -> Result<()> {
        for ((sent, foretold), answer) in batch.into_iter().zip(foretold).zip(answers) {
            let doubtful = if sent.asked.doubtful { " again" } else { "" };
            let what = format!("{}: {}{doubtful}", process.name(), in_words(&sent.asked.command));
            self.log.say(&format!("{what}: {answer:?}"));
            if !same(&foretold, &answer) {
                return differs(&what, foretold, answer);
            }
            process.answers.push((sent, answer));
        }
        Ok(())
    }

    /// One of the answers arrives.
    pub fn answer(&mut self) -> Result<bool> {
        let Some(mut process) = self.take(|one| !one.asleep && !one.answers.is_empty()) else {
            return Ok(false);
        };
        let index = self.dice.below(process.answers.len());
        let (sent, answer) = process.answers.remove(index);
        if !sent.repeated {
            self.arrive(&mut process, &sent.asked, &answer)?;
            self.watcher.remember_answered(sent.asked.command);
        }
        self.put(process);
        Ok(true)
    }

    fn arrive(&mut self, process: &mut Process, asked: &Asked, answer: &Answer) -> Result<()> {
        let rules = rules(process);
        let job = asked.command.job();
        let Some(drive) = process.drives.get_mut(&job) else { return Ok(()) };
        let opening = matches!(drive.stage, Stage::Opening(_));
        let next = drive.answered(asked, answer, rules);
        let client = drive.client.filter(|_| opening && !matches!(next, Next::AskAgain(_)));
        self.go_on(process, job, next);
        let Some(client) = client else { return Ok(()) };
        // The connection may break before the answer is through. Then the client asks again, or gives up.
        let lost = self.dice.percent(20);
        self.log.say(&format!(
            "{}: the client of {job} is {}",
            process.name(),
            if lost { "cut off" } else { "told" }
        ));
        let given_up =
            lost && process.drives.get(&job).is_some_and(|drive| drive.job.origin == Origin::Request);
        if given_up && let Some(drive) = process.drives.get(&job) {
            drive.live.cancel();
        }
        if lost { Ok(()) } else { self.clients.told(client, job, answer) }
    }

    /// Does what a drive wants done next.
    pub fn go_on(&mut self, process: &mut Process, job: JobId, next: Next) {
        match next {
            Next::Wait => {}
            Next::Send(command) => process.send(command),
            Next::AskAgain(command) => {
                let asked = Asked { command, doubtful: true };
                process.queue.push_back(Sent { asked, repeated: false });
            }
            Next::Gone => {
                process.app.jobs.remove(job);
                process.drives.remove(&job);
            }
        }
    }

    /// A command that was answered is sent once more, by whoever has its job now or somebody else.
    pub fn send_again(&mut self) -> bool {
        let Some(command) = self.dice.pick(&self.watcher.answered).cloned() else { return false };
        let Some(mut process) = self.take(|one| !one.asleep && one.recovery.is_none()) else { return false };
        self.log.say(&format!("{}: once more by mistake: {}", process.name(), in_words(&command)));
        let asked = Asked { command, doubtful: self.dice.percent(30) };
        process.queue.push_back(Sent { asked, repeated: true });
        self.put(process);
        true
    }
}

/// When a hold taken now may be expired.
pub fn hold_until(process: &Process) -> Timestamp {
    let run = i64::from(process.app.config.jobs.run_secs) * SECOND_MS;
    process.clock.now().plus_millis(run + HOLD_MARGIN_MS)
}

/// The rules a drive follows now.
pub fn rules(process: &Process) -> Rules {
    let config = &process.app.config;
    Rules {
        now: process.clock.now(),
        attempts: i64::from(config.jobs.attempts),
        fee_percent: config.market.fee_percent,
    }
}

/// A command, as a sentence.
pub fn in_words(command: &Command) -> String {
    match command {
        Command::Open(open) => match &open.attempt {
            Some(attempt) => format!("open {} with {} at {}", open.job.id, attempt.id, attempt.price),
            None => format!("open {} to wait", open.job.id),
        },
        Command::Begin(begin) => {
            format!("begin {} with {} at {}", begin.job, begin.attempt.id, begin.attempt.price)
        }
        Command::Suspend(suspend) => format!("suspend {} after {}", suspend.job, suspend.attempt),
        Command::Finish(finish) => {
            let attempt = finish.attempt.as_ref().map(|attempt| attempt.id);
            format!(
                "finish {} as {} after {attempt:?} for {}",
                finish.job,
                finish.state.name(),
                finish.charge
            )
        }
    }
}
