//! The operator's hand, and what people do with credits beside jobs: grants, earnings, keys and their limits, commands straight
//! to the ledger.

use std::sync::Arc;

use db::DbError;
use ledger::{Command, Limits, Outcome, TransferKind, system};
use server::accounts::User;
use server::accounts::api_keys::{self, ApiKey, KeyError, KeyInUse, KeyRequest, LimitChange, Scopes};
use server::app::App;
use server::credits::{self, MoveError};
use server::idempotency::Once;
use types::id::{AccountId, Id, TransferId};
use types::money::MicroCredits;
use types::time::{Clock, SECOND_MS};

use super::faults::{Fate, Told};
use super::process::Process;
use super::world::World;
use crate::Result;

/// How an answer that was not foretold is told.
pub fn differs<F: std::fmt::Debug, T: std::fmt::Debug>(what: &str, foretold: F, told: T) -> Result<()> {
    Err(format!("{what}: foretold {foretold:?}, but it was {told:?}").into())
}

/// What an earning that was moved, or was not, tells.
pub fn told_of_move(answer: &std::result::Result<MicroCredits, MoveError>) -> (Told, i64) {
    match answer {
        Ok(amount) => (Told::Ok, amount.get()),
        Err(MoveError::Nothing) => (Told::Refused, 0),
        Err(MoveError::Db(error)) => (Told::of_error(error), 0),
    }
}

/// Submits commands in a transaction of their own.
pub async fn submit(app: &Arc<App>, commands: Vec<Command>) -> std::result::Result<Vec<Outcome>, DbError> {
    let (now, pace) = (app.clock.now(), app.pace);
    app.db
        .tx("operator", async move |tx| Ok(ledger::submit_at(tx, &commands, now, &pace).await?.outcomes))
        .await
}

impl World {
    /// Keys for a user: none, one, or two, most of them with limits.
    pub async fn make_keys(&mut self, process: &Process, user: &User) -> Result<Vec<ApiKey>> {
        let mut keys = Vec::new();
        for number in 0..self.dice.below(3) {
            let request = KeyRequest::new(&format!("key {number}"), Scopes::ALL, &LimitChange::default())?;
            let (KeyInUse { key, cap }, _) =
                api_keys::create(&process.app, user, None, request, &Once::unclaimed()).await?;
            self.model.books.open_cap(cap.id, cap.limits);
            if self.dice.percent(70) {
                let limit = vec![Command::Limit { cap: cap.id, limits: self.limits() }];
                let foretold = self.model.submit(&limit, process.now(), Fate::Kept);
                self.check_submitted(&submit(&process.app, limit).await, foretold)?;
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// Up to so many credits, never a round number.
    pub fn amount(&self, most: i64) -> i64 {
        self.dice.between(1, most * 1_000_000)
    }

    /// A command of the operator: new, or one from before, or one with the id of one from before.
    pub fn operators_command(&mut self, process: &Process) -> Option<Command> {
        let before = self.watcher.operated.len();
        if before > 0 && self.dice.percent(25) {
            let command = self.dice.pick(&self.watcher.operated)?.clone();
            return Some(match command {
                Command::TakeBack { id, from, to, amount, note } if self.dice.percent(30) => {
                    Command::TakeBack { id, from, to, amount: MicroCredits::new(amount.get() + 1), note }
                }
                command => command,
            });
        }
        let id = process.app.ids.next(process.clock.now());
        let person = self.dice.pick(&self.people)?;
        let wallet = person.user.wallet;
        // Somebody who may not spend shows nothing new for long.
        let blocked = |account: &AccountId| self.model.books.is_frozen(account.get());
        let frozen = self.people.iter().flat_map(|one| [one.user.wallet, one.user.earnings]).find(blocked);
        let caps: Vec<i64> = self.model.books.caps().map(|(id, _)| id).collect();
        let strays: Vec<i64> = self.model.strays.iter().copied().collect();
        let command = match self.dice.below(10) {
            0..2 => {
                let most = if self.dice.percent(85) { 3 } else { 200 };
                let amount = MicroCredits::new(self.amount(most) - 1);
                Command::TakeBack { id, from: wallet, to: system::grants(), amount, note: None }
            }
            2..4 => match frozen {
                Some(account) => Command::Freeze { account, frozen: self.dice.percent(20) },
                None if self.dice.percent(80) => Command::Freeze { account: wallet, frozen: true },
                None => Command::Freeze { account: person.user.earnings, frozen: true },
            },
            4..6 => Command::Transfer {
                id,
                kind: TransferKind::Grant,
                from: system::grants(),
                to: wallet,
                amount: MicroCredits::new(self.amount(20)),
                note: None,
            },
            6 => Command::Expire { hold: TransferId::from_i64(*self.dice.pick(&strays)?) },
            _ => Command::Limit { cap: *self.dice.pick(&caps)?, limits: self.limits() },
        };
        if !matches!(command, Command::Freeze { .. } | Command::Limit { .. }) {
            self.watcher.remember_operated(command.clone());
        }
        Some(command)
    }

    fn limits(&self) -> Limits {
        let limit = |percent, most: i64| {
            let most = most * self.profile.dearest;
            self.dice.percent(percent).then(|| MicroCredits::new(self.dice.between(0, most)))
        };
        Limits { total: limit(30, 40), day: limit(40, 6), week: limit(30, 12), month: limit(30, 20) }
    }

    /// A few of the operator's commands, in one transaction.
    pub async fn operate(&mut self) -> Result<bool> {
        let Some(process) = self.take(Process::serves) else { return Ok(false) };
        let commands: Vec<Command> =
            (0..=self.dice.below(4)).filter_map(|_| self.operators_command(&process)).collect();
        let fate = self.break_something(&process.saboteur).next();
        let (outcomes, told) = self.model.submit(&commands, process.now(), fate);
        let answer = submit(&process.app, commands.clone()).await;
        self.log.say(&format!("{}: the operator sends {commands:?}: {answer:?}", process.name()));
        self.forget_ended_strays();
        self.check_submitted(&answer, (outcomes, told))?;
        self.put(process);
        Ok(true)
    }

    /// Compares what the ledger answered.
    pub fn check_submitted(
        &self,
        answer: &std::result::Result<Vec<Outcome>, DbError>,
        (outcomes, told): (Vec<Outcome>, Told),
    ) -> Result<()> {
        match answer {
            Ok(answered) if told == Told::Ok && *answered == outcomes => Ok(()),
            Err(error) if told != Told::Ok && Told::of_error(error) == told => Ok(()),
            answer => differs("the ledger's outcomes", (told, outcomes), answer),
        }
    }

    /// Strays that have ended are none any more.
    pub fn forget_ended_strays(&mut self) {
        let open = self.model.books.holds();
        self.model.strays.retain(|id| open.contains_key(id));
    }

    /// The operator grants credits.
    pub async fn grant(&mut self) -> Result<bool> {
        let Some(process) = self.take(Process::serves) else { return Ok(false) };
        // Most often to whoever has least.
        let poorest = (0..self.people.len()).min_by_key(|&person| {
            let wallet = self.people[person].user.wallet.get();
            self.model.books.available(wallet) - self.model.books.debt(wallet)
        });
        let anybody = self.dice.below(self.people.len());
        let person = poorest.filter(|_| self.dice.percent(60)).unwrap_or(anybody);
        let amount = self.amount(4 * self.profile.dearest / 1_000_000);
        let user = self.people[person].user.clone();
        let fate = self.break_something(&process.saboteur).next();
        let foretold = self.foretell_grant(user.wallet, amount, process.now(), fate);
        let answer = credits::grant(&process.app, &user, MicroCredits::new(amount), "simulated").await;
        self.log.say(&format!("{}: {amount} are granted to person {person}: {answer:?}", process.name()));
        if Told::of(&answer) != foretold {
            differs("a grant", foretold, &answer)?;
        }
        self.put(process);
        Ok(true)
    }

    /// What a grant is answered.
    pub fn foretell_grant(&mut self, wallet: AccountId, amount: i64, now: i64, fate: Fate) -> Told {
        let command = self.movement(TransferKind::Grant, system::grants(), wallet, amount);
        let told = self.model.submit_one(&command, now, fate);
        if fate.is_kept() && told != Told::Refused {
            self.model.grants += 1;
        }
        told
    }

    /// A transfer whose id the program chooses; here it only has to be one of its own.
    fn movement(&mut self, kind: TransferKind, from: AccountId, to: AccountId, amount: i64) -> Command {
        self.watcher.unnamed -= 1;
        let id = TransferId::from_i64(self.watcher.unnamed);
        Command::Transfer { id, kind, from, to, amount: MicroCredits::new(amount), note: None }
    }

    /// Somebody moves their earnings into the wallet.
    pub async fn move_earnings(&mut self) -> Result<bool> {
        let Some(process) = self.take(Process::serves) else { return Ok(false) };
        let person = self.dice.below(self.people.len());
        let user = self.people[person].user.clone();
        let fate = self.break_something(&process.saboteur).next();
        let foretold = self.foretell_move(&user, process.now(), fate);
        let answer = credits::move_earnings(&process.app, &user, &Once::unclaimed()).await;
        self.log.say(&format!("{}: person {person} moves earnings: {answer:?}", process.name()));
        if told_of_move(&answer) != foretold {
            differs("moving earnings", foretold, &answer)?;
        }
        self.put(process);
        Ok(true)
    }

    /// What moving earnings is answered, and how much that is.
    pub fn foretell_move(&mut self, user: &User, now: i64, fate: Fate) -> (Told, i64) {
        let amount = self.model.books.available(user.earnings.get());
        if amount <= 0 {
            return (fate.told_refusal(), 0);
        }
        let command = self.movement(TransferKind::EarningsToWallet, user.earnings, user.wallet, amount);
        let told = self.model.submit_one(&command, now, fate);
        (told, if told == Told::Ok { amount } else { 0 })
    }

    /// Somebody revokes a key.
    pub async fn revoke(&mut self) -> Result<bool> {
        let Some(process) = self.take(Process::serves) else { return Ok(false) };
        let person = self.dice.below(self.people.len());
        if let Some(key) = self.dice.pick(&self.people[person].keys).map(|key| key.id) {
            let fate = self.break_something(&process.saboteur).next();
            let answer =
                api_keys::revoke(&process.app, &self.people[person].user, None, key, &Once::unclaimed())
                    .await;
            self.log.say(&format!("{}: person {person} revokes {key}: {answer:?}", process.name()));
            let told = match &answer {
                Ok(()) => Told::Ok,
                Err(KeyError::Db(error)) => Told::of_error(error),
                Err(_) => Told::Refused,
            };
            let new = !self.model.revoked.contains(&key.get());
            let foretold = if new { fate.told() } else { fate.told_refusal() };
            if foretold != told {
                differs("revoking a key", foretold, answer)?;
            }
            if fate.is_kept() {
                self.model.revoked.insert(key.get());
            }
        }
        self.put(process);
        Ok(true)
    }

    /// A hold is taken that belongs to no job, as a defect might leave one behind.
    pub async fn stray(&mut self) -> Result<bool> {
        let Some(process) = self.take(Process::serves) else { return Ok(false) };
        let now = process.clock.now();
        let id: TransferId = process.app.ids.next(now);
        let person = self.dice.below(self.people.len());
        let command = Command::Hold {
            id,
            account: self.people[person].user.wallet,
            amount: MicroCredits::new(self.amount(3)),
            cap: None,
            expires_at: now.plus_millis(self.dice.between(0, 100 * SECOND_MS)),
        };
        let fate = self.break_something(&process.saboteur).next();
        let foretold = self.model.submit(std::slice::from_ref(&command), process.now(), fate);
        let answer = submit(&process.app, vec![command]).await;
        self.log.say(&format!("{}: a stray hold {id} on person {person}: {answer:?}", process.name()));
        self.model.strays.insert(id.get());
        self.forget_ended_strays();
        self.check_submitted(&answer, foretold)?;
        self.put(process);
        Ok(true)
    }
}
