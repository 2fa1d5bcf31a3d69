//! The economy, step by step: everything that happens goes through the real book of its Cargo and the real ledger.

use std::collections::BTreeMap;

use ledger::AccountKind;
use market::{Book, Command, Event, Limits, Match, Order, Reservation};
use types::id::{Id, IslandId, JobId, TransferId};
use types::money::MicroCredits;
use types::time::{DAY_MS, MINUTE_MS, Timestamp};

use super::agents::{CARGOS, Consumer, DAY, Island, REVIEW, TICK_MINUTES};
use super::bank::Bank;
use super::record::Record;
use super::watch;
use crate::Result;
use crate::simulate::dice::Dice;

/// How often a job is tried again elsewhere after an Island failed it.
const TRIES: usize = 3;
/// How busy each hour of the day is, in percent of the mean.
const HOURS: [i64; 24] = [
    55, 45, 38, 35, 35, 40, 52, 70, 92, 112, 125, 132, 135, 132, 130, 130, 132, 135, 140, 145, 138, 120, 95,
    72,
];

/// How large the economy is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Simulated days.
    pub days: usize,
    /// Islands there are at first; more come later.
    pub islands: usize,
    /// Consumers.
    pub consumers: usize,
}

/// What one job wants, and where it is.
#[derive(Debug)]
struct Job {
    consumer: usize,
    order: Order,
}

#[derive(Debug)]
struct Attempt {
    job: JobId,
    island: usize,
    price: MicroCredits,
    reservation: Reservation,
}

/// Everything there is.
#[derive(Debug)]
pub struct World {
    dice: Dice,
    size: Size,
    /// The step, from 0.
    tick: usize,
    books: Vec<Book>,
    pub islands: Vec<Island>,
    pub consumers: Vec<Consumer>,
    /// For each Cargo, its consumers' places.
    customers: Vec<Vec<usize>>,
    pub bank: Bank,
    jobs: BTreeMap<JobId, Job>,
    attempts: BTreeMap<TransferId, Attempt>,
    /// Which attempts end at which step.
    ends: BTreeMap<usize, Vec<TransferId>>,
    numbers: i64,
    pub record: Record,
}

impl World {
    /// At the beginning of the first day.
    pub async fn new(seed: u64, size: Size) -> Result<Self> {
        let dice = Dice::new(seed);
        let shares = CARGOS.iter().map(|cargo| cargo.islands);
        let mut islands = Vec::new();
        // A tenth as many come each day after the first.
        for number in 0..size.islands + size.islands * size.days.saturating_sub(1) / 10 {
            let enters = match number.checked_sub(size.islands) {
                None => dice.below(20),
                Some(late) => DAY * (1 + late * 10 / size.islands) + dice.below(DAY),
            };
            let cargo = dice.weighted(shares.clone());
            islands.push(Island::new(&dice, i64::try_from(number)? + 1, cargo, enters));
        }
        let mut customers = vec![Vec::new(); CARGOS.len()];
        let mut consumers = Vec::new();
        for number in 0..size.consumers {
            let cargo = dice.weighted(shares.clone());
            customers[cargo].push(number);
            consumers.push(Consumer::new(&dice, i64::try_from(number)? + 1, cargo));
        }
        let bank = Bank::open().await?;
        let owners = islands.iter().map(|island| (island.account, AccountKind::Earnings));
        let wallets = consumers.iter().map(|consumer| (consumer.account, AccountKind::Wallet));
        bank.accounts(owners.chain(wallets).collect(), Timestamp::from_millis(0)).await?;
        Ok(Self {
            dice,
            size,
            tick: 0,
            books: CARGOS.iter().map(|_| Book::new(Limits::default())).collect(),
            islands,
            consumers,
            customers,
            bank,
            jobs: BTreeMap::new(),
            attempts: BTreeMap::new(),
            ends: BTreeMap::new(),
            numbers: 0,
            record: Record::default(),
        })
    }

    /// Lives through all days, then lets what runs come to its end.
    pub async fn live(&mut self) -> Result<()> {
        for _ in 0..self.size.days * DAY {
            if self.tick.is_multiple_of(DAY) {
                self.begin_day();
            }
            self.step().await?;
            self.record.tick(self.tick, &self.islands);
            self.tick += 1;
        }
        for book in 0..self.books.len() {
            self.apply(book, Command::Expire { now: Timestamp::from_millis(i64::MAX) })?;
        }
        while let Some((&last, _)) = self.ends.first_key_value() {
            self.tick = last;
            self.finish()?;
            self.settle_up().await?;
            // What failed at the end waits for nobody.
            for book in 0..self.books.len() {
                self.apply(book, Command::Expire { now: Timestamp::from_millis(i64::MAX) })?;
            }
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        // On some day of the past.
        let ticks = i64::try_from(self.tick).unwrap_or(i64::MAX);
        Timestamp::from_millis(DAY_MS.saturating_add(ticks.saturating_mul(TICK_MINUTES * MINUTE_MS)))
    }

    fn begin_day(&mut self) {
        if self.tick > 0 {
            self.islands.iter_mut().filter(|island| island.returns < self.tick).for_each(Island::close_day);
        }
        for consumer in &mut self.consumers {
            self.bank.grant(consumer.account, consumer.budget);
            consumer.funds += consumer.budget;
            consumer.granted += consumer.budget;
        }
    }

    async fn step(&mut self) -> Result<()> {
        self.finish()?;
        self.come_and_go()?;
        let now = self.now();
        for book in 0..self.books.len() {
            self.apply(book, Command::Expire { now })?;
            self.arrive(book)?;
        }
        self.settle_up().await?;
        self.islands.iter_mut().filter(|island| island.online).for_each(Island::tick);
        Ok(())
    }

    /// Attempts whose time has come end.
    fn finish(&mut self) -> Result<()> {
        let now = self.tick;
        while let Some(entry) = self.ends.first_entry().filter(|entry| *entry.key() <= now) {
            for id in entry.remove() {
                // Those of Islands that left have ended before.
                let Some(attempt) = self.attempts.remove(&id) else { continue };
                let island = &mut self.islands[attempt.island];
                let spoilt = self.dice.below(1000) < usize::try_from(island.faults)?;
                island.ended(spoilt);
                island.busy -= 1;
                let (cargo, account) = (island.cargo, island.account);
                let (price, reservation) = (attempt.price, attempt.reservation);
                if spoilt {
                    self.bank.release(id);
                    self.apply(cargo, Command::Release { reservation })?;
                    self.fail(&attempt)?;
                } else {
                    let earned = self.bank.settle(id, price, account)?;
                    island.earned += earned.get();
                    let job = self.jobs.remove(&attempt.job).ok_or("a job ends twice")?;
                    self.consumers[job.consumer].served(price.get());
                    self.record.served(self.tick, cargo, price);
                    self.apply(cargo, Command::Release { reservation })?;
                }
            }
        }
        Ok(())
    }

    /// An Island did not do its job: another may try, if there is time.
    fn fail(&mut self, attempt: &Attempt) -> Result<()> {
        let mut job = self.jobs.remove(&attempt.job).ok_or("a job fails after its end")?;
        let consumer = &mut self.consumers[job.consumer];
        consumer.funds += attempt.price.get();
        let cargo = consumer.cargo;
        job.order.excluded.push(self.islands[attempt.island].ask.island);
        self.record.failed += 1;
        if job.order.excluded.len() >= TRIES {
            self.record.unserved(self.tick, cargo);
            return Ok(());
        }
        let order = job.order.clone();
        self.jobs.insert(attempt.job, job);
        self.apply(cargo, Command::Submit(order))
    }

    /// Islands enter, leave for some hours, come back with what they ask now, or look at their price.
    fn come_and_go(&mut self) -> Result<()> {
        for place in 0..self.islands.len() {
            let island = &mut self.islands[place];
            let cargo = island.cargo;
            if !island.online {
                if !island.gone && island.returns <= self.tick {
                    island.online = true;
                    let ask = island.ask.clone();
                    self.apply(cargo, Command::SetAsk(ask))?;
                }
            } else if island.gone || self.dice.below(600) == 0 {
                self.leave(place)?;
            } else if (self.tick + place).is_multiple_of(REVIEW) {
                let rank = self.books[cargo].rank(island.ask.island);
                island.review(&self.dice, rank);
                let ask = island.ask.clone();
                self.apply(cargo, Command::SetAsk(ask))?;
            }
        }
        Ok(())
    }

    /// What runs there fails.
    fn leave(&mut self, place: usize) -> Result<()> {
        let island = &mut self.islands[place];
        island.online = false;
        island.busy = 0;
        island.returns = self.tick + 20 + self.dice.below(DAY);
        let (cargo, number) = (island.cargo, island.ask.island);
        self.apply(cargo, Command::RemoveAsk { island: number })?;
        let here = self.attempts.iter().filter(|(_, attempt)| attempt.island == place);
        for id in here.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(attempt) = self.attempts.remove(&id) {
                self.bank.release(id);
                self.fail(&attempt)?;
            }
        }
        Ok(())
    }

    /// Consumers want something. How many do changes with the hour, and a little from day to day.
    fn arrive(&mut self, cargo: usize) -> Result<()> {
        let (day, hour) = (self.tick / DAY, self.tick % DAY * 24 / DAY);
        let kind = &CARGOS[cargo];
        // About two slots an Island, of which four in five are to work.
        let slots = self.size.islands * 2 * usize::try_from(kind.islands)? / 100;
        let mean = i64::try_from(slots * 800 / kind.ticks)?;
        let weekend = if day % 7 >= 5 { 80 } else { 100 };
        // A fashion: images are wanted by half as many again on two days.
        let fashion = if cargo == 2 && (day % 10 == 6 || day % 10 == 7) { 150 } else { 100 };
        let permille = mean * HOURS[hour] / 100 * weekend / 100 * fashion / 100;
        let permille = permille * self.dice.between(80, 120) / 100;
        let mut number = permille / 1000;
        number += i64::from(self.dice.between(0, 999) < permille % 1000);
        for _ in 0..number {
            let Some(&consumer) = self.dice.pick(&self.customers[cargo]) else { break };
            self.want(consumer)?;
        }
        Ok(())
    }

    fn want(&mut self, place: usize) -> Result<()> {
        let now = self.now();
        let consumer = &self.consumers[place];
        let (cargo, bid) = (consumer.cargo, consumer.bid());
        if consumer.funds < bid.get() {
            self.record.out_of_budget += 1;
            return Ok(());
        }
        self.numbers += 1;
        let job = JobId::from_i64(self.numbers);
        let patience = i64::try_from(consumer.patience)? * TICK_MINUTES * MINUTE_MS;
        let order = Order {
            job,
            user: consumer.user,
            bid,
            excluded: Vec::new(),
            region: consumer.region.clone(),
            model: consumer.model.clone(),
            min_trust: consumer.min_trust,
            deadline: now.plus_millis(patience),
            priority: 0,
            may_wait: true,
        };
        self.jobs.insert(job, Job { consumer: place, order: order.clone() });
        self.apply(cargo, Command::Submit(order))
    }

    /// Tells a book something, and does what follows.
    fn apply(&mut self, cargo: usize, command: Command) -> Result<()> {
        let mut events = Vec::new();
        self.books[cargo].apply(command, &mut events);
        self.record.commands += 1;
        for event in events {
            match event {
                Event::Matched(matched) => self.begin(&matched)?,
                Event::Waiting { .. } => self.record.waited += 1,
                Event::Expired { job } | Event::Refused { job, .. } => {
                    let job = self.jobs.remove(&job).ok_or("an unknown job waited")?;
                    let lowest = self.books[cargo].lowest_ask();
                    self.record.too_dear += u64::from(lowest.is_none_or(|lowest| job.order.bid < lowest));
                    self.consumers[job.consumer].disappointed();
                    self.record.unserved(self.tick, cargo);
                }
                Event::AskRefused { island, reason } => {
                    return Err(format!("the ask of {island} was refused: {reason:?}").into());
                }
            }
        }
        Ok(())
    }

    /// A job has got an Island: that is looked at, and the credits are held.
    fn begin(&mut self, matched: &Match) -> Result<()> {
        let job = self.jobs.get(&matched.job).ok_or("an unknown job is matched")?;
        let rivals = watch::Rivals { islands: &self.islands, cargo: self.consumers[job.consumer].cargo };
        rivals.check(&job.order, matched)?;
        self.record.watched += 1;
        let island = place(matched.reservation.island)?;
        self.islands[island].busy += 1;
        let consumer = &mut self.consumers[job.consumer];
        consumer.funds -= matched.price.get();
        let expires = Timestamp::from_millis(i64::MAX);
        let id = self.bank.hold(consumer.account, matched.price, expires);
        let (job, price, reservation) = (matched.job, matched.price, matched.reservation);
        let end = self.tick + CARGOS[consumer.cargo].ticks;
        self.attempts.insert(id, Attempt { job, island, price, reservation });
        self.ends.entry(end).or_default().push(id);
        Ok(())
    }

    /// What came together goes to the ledger. A job whose consumer has no credits left, because other jobs that waited were
    /// served first, does not run: its slot goes to the next.
    async fn settle_up(&mut self) -> Result<()> {
        loop {
            let refused = self.bank.flush(self.now()).await?;
            if refused.is_empty() {
                return Ok(());
            }
            for id in refused {
                let attempt = self.attempts.remove(&id).ok_or("an unknown hold was refused")?;
                let job = self.jobs.remove(&attempt.job).ok_or("an unknown job was refused")?;
                self.record.no_credits += 1;
                let consumer = &mut self.consumers[job.consumer];
                consumer.funds += attempt.price.get();
                let cargo = consumer.cargo;
                self.record.unserved(self.tick, cargo);
                self.islands[attempt.island].busy -= 1;
                self.apply(cargo, Command::Release { reservation: attempt.reservation })?;
            }
        }
    }
}

/// Islands are numbered from 1.
fn place(island: IslandId) -> Result<usize> {
    Ok(usize::try_from(island.get() - 1)?)
}
