//! Several transactions that share one commit: what a busy server does all the time. One of them may fail, which must take back
//! nothing of its neighbours; the commit may fail, or its answer be lost, which happens to all of them. A batch of commands
//! waits behind them for a transaction of its own.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use db::{DbError, FaultPoint};
use futures_util::future::join_all;
use server::accounts::User;
use server::credits;
use server::jobs::commit::{Asked, commit_batch};
use types::money::MicroCredits;

use super::faults::{Fate, Fates, Told};
use super::model::jobs::Answer;
use super::operator::{differs, submit, told_of_move};
use super::process::{Process, Sent};
use super::world::World;
use crate::Result;

/// One of the transactions, with what is foretold of it.
enum Part {
    Grant(User, i64),
    Move(User),
    Operator(Vec<ledger::Command>),
    InVain(Vec<ledger::Command>),
    Batch(Vec<Sent>),
}

/// What one of them was answered.
#[derive(Debug, PartialEq)]
enum Said {
    /// It has nothing to say.
    Nothing,
    Told(Told),
    Moved((Told, i64)),
    Submitted(Told, Vec<ledger::Outcome>),
    Answers(Vec<Answer>),
}

type Running = Pin<Box<dyn Future<Output = Said>>>;

impl World {
    /// Several transactions share a commit.
    pub async fn together(&mut self) -> Result<bool> {
        let Some(mut process) = self.take(Process::serves) else { return Ok(false) };
        let mut parts: Vec<Part> = (0..2 + self.dice.below(4)).map(|_| self.part(&process)).collect();
        if !process.queue.is_empty() {
            parts.push(Part::Batch(process.queue.drain(..).collect()));
        }
        // Not at the beginning: each would then be tried by itself, in an order nobody has chosen.
        let points = [FaultPoint::BeforeCommit, FaultPoint::AfterCommit];
        let numbers: &[u32] = if matches!(parts.last(), Some(Part::Batch(_))) { &[0, 1] } else { &[0] };
        let mut fates = self.break_at(&process.saboteur, &points, numbers);
        let fate = fates.next();
        let foretold = self.foretell_together(&process, &parts, fate, &mut fates);
        self.forget_ended_strays();
        let said = run_together(&process, &parts).await;
        process.saboteur.follow(None);
        self.log.say(&format!("{}: {} transactions together, {fate:?}", process.name(), parts.len()));
        for ((part, foretold), said) in parts.into_iter().zip(foretold).zip(said) {
            match (part, foretold, said) {
                (Part::Batch(batch), Said::Answers(foretold), Said::Answers(answers)) => {
                    self.answered(&mut process, batch, (foretold, answers))?;
                }
                (_, foretold, said) if foretold == said => self.log.say(&format!("  one of them: {said:?}")),
                (_, foretold, said) => differs("one of several transactions", foretold, said)?,
            }
        }
        self.put(process);
        Ok(true)
    }

    /// What each is answered. Each sees what those before it did, even if nothing of it is kept in the end.
    fn foretell_together(
        &mut self,
        process: &Process,
        parts: &[Part],
        fate: Fate,
        fates: &mut Fates,
    ) -> Vec<Said> {
        let mut before = (fate == Fate::NotKept).then(|| self.model.clone());
        let tried = if before.is_some() { Fate::KeptUntold } else { fate };
        let now = process.now();
        let told = |told| if tried != fate && told == Told::Unknown { Told::Unwritable } else { told };
        let mut foretold = Vec::new();
        for part in parts {
            foretold.push(match part {
                Part::Grant(user, amount) => {
                    Said::Told(told(self.foretell_grant(user.wallet, *amount, now, tried)))
                }
                Part::Move(user) => {
                    let (moved, amount) = self.foretell_move(user, now, tried);
                    Said::Moved((told(moved), amount))
                }
                Part::Operator(commands) => {
                    let (outcomes, submitted) = self.model.submit(commands, now, tried);
                    let outcomes = if submitted == Told::Ok { outcomes } else { Vec::new() };
                    Said::Submitted(told(submitted), outcomes)
                }
                Part::InVain(_) => Said::Told(fate.told_refusal()),
                Part::Batch(batch) => {
                    // What came before it is over.
                    if let Some(before) = before.take() {
                        self.model = before;
                    }
                    let asked: Vec<Asked> = batch.iter().map(|sent| sent.asked.clone()).collect();
                    Said::Answers(self.model.commit(&asked, process.committer(), fates))
                }
            });
        }
        if let Some(before) = before {
            self.model = before;
        }
        foretold
    }

    fn part(&mut self, process: &Process) -> Part {
        let person = self.dice.below(self.people.len());
        let user = self.people[person].user.clone();
        match self.dice.below(6) {
            0 | 1 => Part::Grant(user, self.amount(9)),
            2 => Part::Move(user),
            3 | 4 => Part::Operator((0..3).filter_map(|_| self.operators_command(process)).collect()),
            _ => Part::InVain((0..3).filter_map(|_| self.operators_command(process)).collect()),
        }
    }
}

/// Runs them all in one transaction, but for the batch: the first of it waits until the others have queued up.
async fn run_together(process: &Process, parts: &[Part]) -> Vec<Said> {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let db = process.app.db.clone();
    let mut all: Vec<Running> = vec![Box::pin(async move {
        let waited = db.tx("gate", async move |_| {
            // It is told to go on by the end of the other side being dropped.
            let _ = gate.lock().unwrap_or_else(PoisonError::into_inner).recv();
            Ok::<_, DbError>(())
        });
        drop(waited.await);
        Said::Nothing
    })];
    all.extend(parts.iter().map(|part| running(process, part)));
    all.push(Box::pin(async move {
        drop(open);
        Said::Nothing
    }));
    let mut said = join_all(all).await;
    said.pop();
    said.remove(0);
    said
}

fn running(process: &Process, part: &Part) -> Running {
    let app = Arc::clone(&process.app);
    match part {
        Part::Grant(user, amount) => {
            let (user, amount) = (user.clone(), MicroCredits::new(*amount));
            Box::pin(async move { Said::Told(Told::of(&credits::grant(&app, &user, amount, "").await)) })
        }
        Part::Move(user) => {
            let user = user.clone();
            Box::pin(async move {
                Said::Moved(told_of_move(
                    &credits::move_earnings(&app, &user, &server::idempotency::Once::unclaimed()).await,
                ))
            })
        }
        Part::Operator(commands) => {
            let commands = commands.clone();
            Box::pin(async move {
                let answer = submit(&app, commands).await;
                Said::Submitted(Told::of(&answer), answer.unwrap_or_default())
            })
        }
        Part::InVain(commands) => {
            let (commands, now, pace) = (commands.clone(), process.clock_now(), app.pace);
            Box::pin(async move {
                let taken_back: std::result::Result<(), DbError> = app
                    .db
                    .tx("in vain", async move |tx| {
                        ledger::submit_at(tx, &commands, now, &pace).await?;
                        Err(DbError::Other("taken back".to_owned()))
                    })
                    .await;
                Said::Told(Told::of(&taken_back))
            })
        }
        Part::Batch(batch) => {
            let asked: Vec<Asked> = batch.iter().map(|sent| sent.asked.clone()).collect();
            Box::pin(async move { Said::Answers(commit_batch(&app, asked).await) })
        }
    }
}
