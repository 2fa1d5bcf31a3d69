//! The network that is simulated: coordinators on one database, people, Islands, a payment provider, and time.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Arc;

use db::FaultPoint;
use server::accounts::api_keys::ApiKey;
use server::accounts::{self, NewUser, User};
use server::{credits, identity};
use tokio::time::Instant;
use types::id::{AccountId, Id, IslandId};
use types::money::MicroCredits;
use types::rng::SeededRandom;
use types::time::{TestClock, Timestamp};

use super::buying::{Buyer, Delivery};
use super::check::Watcher;
use super::dice::{Dice, Digest};
use super::faults::{Fate, Fates, Plan, Saboteur};
use super::model::Model;
use super::place::{Engine, Place};
use super::process::Process;
use super::profile::Profile;
use super::requests::Clients;
use super::shop::Shop;
use crate::Result;

/// How many of the last steps are told when something is wrong.
const TOLD: usize = 30;
/// 2026-01-28, three days before a month ends.
const BEGINNING_MS: i64 = 1_769_558_400_000;

/// The network.
#[derive(Debug)]
pub struct World {
    pub engine: Engine,
    pub dice: Dice,
    pub profile: Profile,
    pub place: Place,
    pub slots: Vec<Slot>,
    pub people: Vec<Person>,
    pub islands: Vec<Island>,
    pub model: Model,
    pub shop: Arc<Shop>,
    pub clients: Clients,
    pub buyers: Vec<Buyer>,
    pub deliveries: Vec<Delivery>,
    pub log: Log,
    pub watcher: Watcher,
    /// For what the program itself draws.
    pub random: SeededRandom,
    /// How many processes there have been.
    pub runs: u64,
    /// Milliseconds that have passed, whatever the clocks say.
    pub elapsed: i64,
    pub began: Instant,
    /// Nothing is broken on purpose any more.
    pub calm: bool,
}

/// A place for a coordinator, with the clock of its machine.
#[derive(Debug)]
pub struct Slot {
    pub clock: Arc<TestClock>,
    pub process: Option<Process>,
}

/// Somebody.
#[derive(Debug)]
pub struct Person {
    pub user: User,
    pub keys: Vec<ApiKey>,
}

/// A machine that works for credits.
#[derive(Debug)]
pub struct Island {
    pub id: IslandId,
    pub owner: usize,
    pub earnings: AccountId,
    pub ask: i64,
    pub online: bool,
}

/// What happened, in words.
#[derive(Debug, Default)]
pub struct Log {
    pub step: u32,
    pub digest: Digest,
    pub last: VecDeque<String>,
    pub verbose: bool,
}

impl Log {
    /// Something happened.
    pub fn say(&mut self, text: &str) {
        let line = format!("{:>6}  {text}", self.step);
        self.digest.add(&line);
        if self.verbose {
            // Nothing is lost when nobody listens.
            drop(writeln!(std::io::stdout(), "{line}"));
        }
        if self.last.len() == TOLD {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }
}

impl World {
    /// The network of a seed, with its people, before anything happens.
    pub async fn new(seed: u64, engine: Engine, verbose: bool) -> Result<Self> {
        let dice = Dice::new(seed);
        let profile = Profile::new(&dice);
        let begins = BEGINNING_MS + dice.between(0, 40 * 86_400_000);
        let slot = |skew| Slot {
            clock: Arc::new(TestClock::new(Timestamp::from_millis(begins + skew))),
            process: None,
        };
        let slots = (0..profile.coordinators).map(|_| slot(dice.between(-1500, 1500))).collect();
        let mut world = Self {
            engine,
            place: Place::new(engine)?,
            slots,
            people: Vec::new(),
            islands: Vec::new(),
            model: Model::new(),
            shop: Arc::new(Shop::default()),
            clients: Clients::default(),
            buyers: Vec::new(),
            deliveries: Vec::new(),
            log: Log { verbose, ..Log::default() },
            watcher: Watcher::default(),
            random: SeededRandom::new(dice.any()),
            runs: 0,
            elapsed: 0,
            began: Instant::now(),
            calm: true,
            profile,
            dice,
        };
        world.log.say(&format!("seed {seed}: {:?}", world.profile));
        while world.slots[0].process.is_none() {
            world.start().await?;
        }
        for slot in 0..world.slots.len() {
            while world.slots[slot].process.as_ref().is_some_and(|process| process.recovery.is_some()) {
                world.resume().await?;
            }
        }
        world.settle_people().await?;
        world.calm = false;
        Ok(world)
    }

    /// Makes the people, their keys and their Islands.
    async fn settle_people(&mut self) -> Result<()> {
        let Some(process) = self.take(Process::serves) else { return Err("nobody serves".into()) };
        let app = Arc::clone(&process.app);
        for number in 0..self.profile.people {
            let (email, now) = (format!("person{number}@example.org"), app.clock.now());
            let (new, verification) = (NewUser::new(&app.ids, now), app.ids.next(now));
            // Everybody but, at times, the last.
            let verified = number + 1 < self.profile.people || self.dice.percent(70);
            let made = app.db.tx("user", async move |tx| {
                let user = accounts::find_or_create(tx, &email, new).await?;
                if verified {
                    identity::verify_by_operator(tx, user.id, verification, now).await?;
                }
                Ok::<_, db::DbError>(user)
            });
            let user = made.await?;
            self.model.books.open_account(user.wallet.get());
            self.model.books.open_account(user.earnings.get());
            if verified {
                self.model.verified.insert(user.id.get());
            }
            let keys = self.make_keys(&process, &user).await?;
            let given = self.dice.between(1, 4 * self.profile.dearest);
            self.foretell_grant(user.wallet, given, process.now(), Fate::Kept);
            credits::grant(&app, &user, MicroCredits::new(given), "to begin with").await?;
            self.people.push(Person { user, keys });
        }
        for _ in 0..self.profile.islands {
            let owner = self.dice.below(self.people.len());
            let earnings = self.people[owner].user.earnings;
            let ask = self.price();
            self.islands.push(Island {
                id: app.ids.next(app.clock.now()),
                owner,
                earnings,
                ask,
                online: true,
            });
        }
        self.put(process);
        Ok(())
    }

    /// Ends all processes; answers where the data are.
    pub async fn close(mut self) -> Place {
        for slot in &mut self.slots {
            if let Some(process) = slot.process.take() {
                process.kill().await;
            }
        }
        self.place
    }

    /// What an Island asks: never a round number.
    pub fn price(&self) -> i64 {
        self.dice.between(0, self.profile.dearest)
    }

    /// A process that is as wanted, taken out of its slot; to be [put](Self::put) back.
    pub fn take(&mut self, wanted: impl Fn(&Process) -> bool) -> Option<Process> {
        let slots = self.slots.iter().enumerate();
        let fitting: Vec<usize> = slots
            .filter(|(_, slot)| slot.process.as_ref().is_some_and(&wanted))
            .map(|(index, _)| index)
            .collect();
        let slot = *self.dice.pick(&fitting)?;
        self.slots[slot].process.take()
    }

    /// Puts a process back.
    pub fn put(&mut self, process: Process) {
        let slot = process.slot;
        self.slots[slot].process = Some(process);
    }

    /// All processes.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.slots.iter().filter_map(|slot| slot.process.as_ref())
    }

    /// Maybe breaks one of the next transactions; answers what will become of them.
    pub fn break_something(&self, saboteur: &Saboteur) -> Fates {
        let points = [
            FaultPoint::BeforeBegin,
            FaultPoint::BeforeCommit,
            FaultPoint::AfterCommit,
            FaultPoint::AfterCommit,
        ];
        self.break_at(saboteur, &points, &[0, 0, 0, 1, 2])
    }

    /// The same, at one of these points and transactions.
    pub fn break_at(&self, saboteur: &Saboteur, points: &[FaultPoint], numbers: &[u32]) -> Fates {
        let plan = if !self.calm && self.dice.percent(self.profile.faults) {
            let (point, number) = (self.dice.pick(points), self.dice.pick(numbers));
            point.zip(number).map(|(point, number)| Plan { point: *point, number: *number })
        } else {
            None
        };
        saboteur.follow(plan);
        Fates::new(plan, self.engine == Engine::Postgres)
    }

    /// Time passes, on every machine alike.
    pub fn pass_time(&mut self, milliseconds: i64) {
        self.elapsed += milliseconds;
        for slot in &self.slots {
            slot.clock.advance_millis(milliseconds);
        }
    }

    /// A moment of the time that never jumps.
    pub fn moment(&self) -> Instant {
        self.began + std::time::Duration::from_millis(self.elapsed.unsigned_abs())
    }
}
