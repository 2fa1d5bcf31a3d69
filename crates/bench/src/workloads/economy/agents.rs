//! Who takes part: Islands that have costs and set prices, consumers that have budgets and bid.

use market::{Ask, Health};
use types::id::{AccountId, Id, IslandId, UserId};
use types::money::MicroCredits;

use crate::simulate::dice::Dice;

/// A step of the simulation is so many minutes of the day.
pub const TICK_MINUTES: i64 = 3;
/// Steps of a day.
pub const DAY: usize = 480;
/// Micro-credits in a credit.
const CREDIT: i64 = 1_000_000;
/// How often an Island looks at its price, in steps: hourly.
pub const REVIEW: usize = 20;
/// Steps a machine lasts: three years.
const LIFE: i64 = 3 * 365 * 480;

const REGIONS: [&str; 3] = ["eu", "us", "asia"];

/// A Cargo of this economy.
#[derive(Debug)]
pub struct Cargo {
    /// Its name.
    pub name: &'static str,
    /// How many steps a job takes.
    pub ticks: usize,
    /// Which share of the Islands serves it, in percent.
    pub islands: u64,
    /// What a job is worth to the consumer in the middle, in credits.
    pub worth: i64,
    /// The models there are for it, each rarer than the one before.
    pub models: [&'static str; 2],
}

/// All of them. A job is a batch of requests that keeps one slot busy for 3, 6 or 9 minutes.
pub const CARGOS: [Cargo; 3] = [
    Cargo { name: "chat, standard", ticks: 1, islands: 45, worth: 3, models: ["small", "medium"] },
    Cargo { name: "chat, large", ticks: 2, islands: 30, worth: 6, models: ["large", "huge"] },
    Cargo { name: "images", ticks: 3, islands: 25, worth: 9, models: ["diffusion", "flow"] },
];

/// A machine and its owner.
#[derive(Debug)]
pub struct Island {
    /// The ask as the book has it while it is online.
    pub ask: Ask,
    /// Which Cargo it serves.
    pub cargo: usize,
    /// The owner's earnings.
    pub account: AccountId,
    /// Electricity for a slot that works, in micro-credits a step.
    power: i64,
    /// What a slot loses in worth, in micro-credits a step, working or not.
    wear: i64,
    /// How many of a thousand jobs it spoils.
    pub faults: u64,
    /// Whether it takes jobs.
    pub online: bool,
    /// It has lost money for too long and does not come back.
    pub gone: bool,
    /// When it enters, or comes back.
    pub returns: usize,
    /// How many of its slots work, by the simulation's own count.
    pub busy: u32,
    /// What it earned so far after the fee, in micro-credits.
    pub earned: i64,
    /// What it cost so far.
    pub spent: i64,
    /// Earned less spent at the end of the day before.
    balance: i64,
    bad_days: u32,
    /// Since the last look at the price.
    hour: Hour,
}

#[derive(Debug, Default)]
struct Hour {
    worked: u64,
    online: u64,
    done: u64,
    spoilt: u64,
}

impl Island {
    /// One that enters at `enters`. What it asks at first is its cost times whatever its owner thinks right.
    pub fn new(dice: &Dice, number: i64, cargo: usize, enters: usize) -> Self {
        // Some have cheap electricity and some an old machine that is paid for, few have both.
        let watts = dice.between(150, 450);
        let kilowatt_hour = dice.one_of([6, 12, 20, 28, 36, 45]) * CREDIT;
        let power = watts * kilowatt_hour * TICK_MINUTES / 60_000;
        let wear = dice.between(60_000, 350_000) * CREDIT / LIFE;
        let slots = dice.one_of([1, 1, 2, 4]);
        let ticks = i64::try_from(CARGOS[cargo].ticks).unwrap_or(1);
        let price = (power + wear) * ticks * dice.between(105, 500) / 100;
        let mut models = vec![CARGOS[cargo].models[0].to_owned()];
        if dice.percent(30) {
            models.push(CARGOS[cargo].models[1].to_owned());
        }
        let ask = Ask {
            region: Some(dice.one_of(REGIONS).to_owned()),
            models,
            trust: dice.one_of([0, 1, 1, 2]),
            latency_ms: dice.one_of([40, 80, 150, 300]),
            ..Ask::new(IslandId::from_i64(number), rounded(price), slots)
        };
        Self {
            ask,
            cargo,
            account: AccountId::from_i64(1_000_000 + number),
            power,
            wear,
            faults: if dice.percent(4) { 300 } else { 3 },
            online: false,
            gone: false,
            returns: enters,
            busy: 0,
            earned: 0,
            spent: 0,
            balance: 0,
            bad_days: 0,
            hour: Hour::default(),
        }
    }

    /// What one more job costs it: electricity, and the part of the wear that comes of working.
    fn marginal(&self) -> i64 {
        let ticks = i64::try_from(CARGOS[self.cargo].ticks).unwrap_or(1);
        (self.power + self.wear / 3) * ticks
    }

    /// A step passes.
    pub fn tick(&mut self) {
        let (slots, busy) = (self.ask.slots, self.busy);
        self.spent += i64::from(slots) * self.wear + i64::from(busy) * self.power;
        self.hour.worked += u64::from(busy);
        self.hour.online += u64::from(slots);
    }

    /// A job came to its end.
    pub fn ended(&mut self, spoilt: bool) {
        self.hour.done += 1;
        self.hour.spoilt += u64::from(spoilt);
    }

    /// Looks at the hour that passed and at its place by price. Who is nearly always busy asks more; who is often idle asks
    /// less, the dearer the more so, but not less than a job costs. Also says how healthy it is found to be.
    pub fn review(&mut self, dice: &Dice, rank: Option<(usize, usize)>) {
        let Hour { worked, online, done, spoilt } = std::mem::take(&mut self.hour);
        let busy = 100 * worked / online.max(1);
        let (place, of) = rank.unwrap_or((1, 1));
        let dear = i64::try_from(100 * place / of.max(1)).unwrap_or(100);
        let permille = match busy {
            90.. => 1000 + dice.between(10, 50),
            75..90 => 1000 + dice.between(0, 15),
            50..75 => 1000 - dice.between(0, 10),
            _ => 1000 - dice.between(10, 20) - dear * 3 / 10,
        };
        let floor = self.marginal() * 10 / 9;
        self.ask.ask = rounded((self.ask.ask.get() * permille / 1000).max(floor));
        if done >= 5 {
            self.ask.health = match 100 * spoilt / done {
                0..15 => Health::Normal,
                15..40 => Health::Low,
                _ => Health::LastResort,
            };
        }
    }

    /// Looks at the day that passed: who has lost money three days in a row gives up.
    pub fn close_day(&mut self) {
        let balance = self.earned - self.spent;
        self.bad_days = if balance < self.balance { self.bad_days + 1 } else { 0 };
        self.balance = balance;
        if self.bad_days >= 3 {
            self.gone = true;
        }
    }
}

/// Prices are said to the thousandth of a credit.
fn rounded(micros: i64) -> MicroCredits {
    MicroCredits::new((micros + 999) / 1000 * 1000)
}

/// Somebody who wants jobs done.
#[derive(Debug)]
pub struct Consumer {
    /// Who.
    pub user: UserId,
    /// The wallet.
    pub account: AccountId,
    /// What is granted each day, in micro-credits.
    pub budget: i64,
    /// What is neither spent nor held, by the simulation's own count.
    pub funds: i64,
    /// All that was granted.
    pub granted: i64,
    /// Which Cargo.
    pub cargo: usize,
    /// What a job is worth, in micro-credits: the bid never passes it.
    worth: i64,
    /// What is bid at the moment.
    bid: i64,
    /// How many steps a job may wait.
    pub patience: usize,
    /// The region all jobs must run in.
    pub region: Option<String>,
    /// The model all jobs want.
    pub model: Option<String>,
    /// How far an Island must be trusted.
    pub min_trust: u8,
}

impl Consumer {
    /// One who wants jobs of this Cargo.
    pub fn new(dice: &Dice, number: i64, cargo: usize) -> Self {
        let kind = &CARGOS[cargo];
        // A few would pay nearly anything, many only a little.
        let percent = dice.one_of([35, 60, 80, 100, 120, 160, 240]) + dice.between(-10, 10);
        let worth = kind.worth * CREDIT * percent / 100;
        let picky = dice.percent(20);
        Self {
            user: UserId::from_i64(number),
            account: AccountId::from_i64(2_000_000 + number),
            budget: worth * dice.one_of([20, 40, 80]),
            funds: 0,
            granted: 0,
            cargo,
            worth,
            bid: worth * dice.between(40, 100) / 100,
            patience: dice.one_of([2, 5, 10, 20]),
            region: (picky && dice.percent(40)).then(|| dice.one_of(REGIONS).to_owned()),
            model: (picky && dice.percent(50)).then(|| dice.one_of(kind.models).to_owned()),
            min_trust: if picky { dice.one_of([0, 1, 2]) } else { 0 },
        }
    }

    /// What the next job may cost.
    pub fn bid(&self) -> MicroCredits {
        MicroCredits::new(self.bid)
    }

    /// A job was done at this price: the next bid comes nearer to it, but not too near.
    pub fn served(&mut self, price: i64) {
        self.bid = (self.bid * 98 / 100).max(price * 13 / 10).min(self.worth);
    }

    /// A job found nobody in time: more is bid, as far as it is worth it.
    pub fn disappointed(&mut self) {
        self.bid = (self.bid * 112 / 100).min(self.worth);
    }
}
