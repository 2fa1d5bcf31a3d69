//! The Compute Exchange: runs one pure `market::Book` per Cargo and hands out permits.
//!
//! A [`Permit`] is a reserved slot on an Island at a frozen price. Dropping it gives the slot back, whatever happened to
//! the job (incident 95), and lets the next waiting job have it. Jobs that wait get their permit through a channel.

pub mod config;
pub mod depth;
pub mod measure;
pub mod overrides;
pub mod quote;
pub mod rates;
pub mod recent;
pub mod size;
pub(crate) mod store;
pub mod suggest;
pub mod tape;
pub mod upkeep;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use market::{Ask, Book, Command, Event, Limits, Match, Order, Reservation};
use tokio::sync::{Notify, oneshot};
use types::id::{IslandId, JobId};
use types::money::MicroCredits;

use self::measure::Measure;
use self::recent::Recent;
use crate::config::{Unit, WorkloadConfig, WorkloadKind};

/// A Cargo of this network.
#[derive(Clone, Debug)]
pub struct Workload {
    /// A small number, for existing clients.
    pub id: i64,
    /// As clients name it.
    pub slug: String,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// What it takes and gives.
    pub kind: WorkloadKind,
    /// The bid of a job that names none, per unit.
    pub ceiling: MicroCredits,
    /// What an ask is the price of.
    pub unit: Unit,
    /// How its jobs are measured.
    pub measure: Measure,
    /// Memory of the graphics card it wants, in MiB.
    pub required_vram_mb: Option<u32>,
    /// Memory it wants, in MiB.
    pub required_ram_mb: Option<u32>,
}

/// All Cargos and their books.
#[derive(Debug)]
pub struct Marketplace {
    markets: Vec<Arc<Market>>,
    by_slug: HashMap<String, usize>,
    by_id: HashMap<i64, usize>,
    /// Asks that owners set here.
    pub overrides: overrides::Overrides,
    /// How large the network was when it was last counted.
    pub size: size::LastSize,
    /// Told when anything has changed that pages show.
    pub moved: Arc<Notify>,
}

/// One Cargo and its book.
#[derive(Debug)]
pub struct Market {
    /// The Cargo.
    pub workload: Arc<Workload>,
    /// What its jobs lately took.
    pub recent: Recent,
    state: Mutex<State>,
    moved: Arc<Notify>,
    this: Weak<Self>,
}

#[derive(Debug)]
struct State {
    book: Book,
    waiting: HashMap<JobId, oneshot::Sender<Permit>>,
}

/// A reserved slot on an Island, at a frozen price.
#[derive(Debug)]
pub struct Permit {
    /// What was matched, with the asks that were considered.
    pub matched: Match,
    market: Weak<Market>,
    reservation: Reservation,
}

impl Permit {
    /// The Island.
    #[must_use]
    pub const fn island(&self) -> IslandId {
        self.matched.reservation.island
    }

    /// The clearing price.
    #[must_use]
    pub const fn price(&self) -> MicroCredits {
        self.matched.price
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(market) = self.market.upgrade() {
            market.apply(Command::Release { reservation: self.reservation });
        }
    }
}

/// What became of an order.
#[derive(Debug)]
pub enum Placed {
    /// An Island was free.
    Matched(Permit),
    /// The job waits; its permit comes through the channel.
    Waiting {
        /// Brings the permit.
        permit: oneshot::Receiver<Permit>,
        /// The lowest ask of any Island eligible for it, busy or above the bid.
        best_ask: Option<MicroCredits>,
    },
    /// Too many wait already.
    Refused,
}

impl Marketplace {
    /// The Cargos of the configuration with the numbers they have in the database.
    #[must_use]
    pub fn new(workloads: Vec<Workload>) -> Self {
        let by_slug =
            workloads.iter().enumerate().map(|(index, workload)| (workload.slug.clone(), index)).collect();
        let by_id = workloads.iter().enumerate().map(|(index, workload)| (workload.id, index)).collect();
        let moved = Arc::new(Notify::new());
        let market = |workload| {
            Arc::new_cyclic(|this: &Weak<Market>| Market {
                workload: Arc::new(workload),
                recent: Recent::default(),
                state: Mutex::new(State { book: Book::new(Limits::default()), waiting: HashMap::new() }),
                moved: Arc::clone(&moved),
                this: Weak::clone(this),
            })
        };
        let markets = workloads.into_iter().map(market).collect();
        Self {
            markets,
            by_slug,
            by_id,
            overrides: overrides::Overrides::default(),
            size: size::LastSize::default(),
            moved,
        }
    }

    /// All markets, in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> &[Arc<Market>] {
        &self.markets
    }

    /// The market of a Cargo.
    #[must_use]
    pub fn get(&self, slug: &str) -> Option<&Arc<Market>> {
        self.by_slug.get(slug).and_then(|&index| self.markets.get(index))
    }

    /// The market of a Cargo by its number.
    #[must_use]
    pub fn by_id(&self, id: i64) -> Option<&Arc<Market>> {
        self.by_id.get(&id).and_then(|&index| self.markets.get(index))
    }
}

impl Market {
    /// Finds the cheapest available Island for a job, or lets the job wait.
    #[must_use]
    pub fn place(&self, order: Order) -> Placed {
        let job = order.job;
        let mut state = self.lock();
        let mut events = Vec::new();
        state.book.apply(Command::Submit(order), &mut events);
        self.moved.notify_one();
        match events.pop() {
            Some(Event::Matched(matched)) => Placed::Matched(self.permit(matched)),
            Some(Event::Waiting { best_ask, .. }) => {
                let (sender, permit) = oneshot::channel();
                state.waiting.insert(job, sender);
                Placed::Waiting { permit, best_ask }
            }
            _ => Placed::Refused,
        }
    }

    /// A waiting job waits no longer.
    pub fn withdraw(&self, job: JobId) {
        self.lock().waiting.remove(&job);
        self.apply(Command::Withdraw { job });
    }

    /// Jobs whose deadline has passed wait no longer: their channels are closed.
    pub fn expire(&self, now: types::time::Timestamp) {
        self.apply(Command::Expire { now });
    }

    /// A waiting job pays up to this for each unit from now on.
    pub fn rebid(&self, job: JobId, bid: MicroCredits) {
        self.apply(Command::Rebid { job, bid });
    }

    /// Puts an Island's ask into the book. Answers whether it was taken.
    pub fn set_ask(&self, ask: Ask) -> bool {
        self.apply(Command::SetAsk(ask))
    }

    /// An Island leaves.
    pub fn remove_ask(&self, island: IslandId) {
        self.apply(Command::RemoveAsk { island });
    }

    /// The lowest ask with a free slot.
    #[must_use]
    pub fn best_ask(&self) -> Option<MicroCredits> {
        self.lock().book.best_ask()
    }

    /// The lowest ask, busy or not.
    #[must_use]
    pub fn lowest_ask(&self) -> Option<MicroCredits> {
        self.lock().book.lowest_ask()
    }

    /// A waiting job's place: 1 is next.
    #[must_use]
    pub fn place_in_queue(&self, job: JobId) -> Option<usize> {
        self.lock().book.place(job)
    }

    /// (lowest ask, Islands in the book, jobs waiting).
    #[must_use]
    pub fn snapshot(&self) -> (Option<MicroCredits>, usize, usize) {
        let state = self.lock();
        (state.book.lowest_ask(), state.book.ask_count(), state.book.waiting_count())
    }

    /// Applies a command and hands permits to the jobs that waited for them. Answers whether nothing was refused.
    fn apply(&self, command: Command) -> bool {
        let mut permits = Vec::new();
        let mut taken = true;
        {
            let mut state = self.lock();
            let mut events = Vec::new();
            state.book.apply(command, &mut events);
            for event in events {
                match event {
                    Event::Matched(matched) => {
                        let sender = state.waiting.remove(&matched.job);
                        permits.push((sender, self.permit(matched)));
                    }
                    Event::AskRefused { .. } | Event::Refused { .. } => taken = false,
                    // Whoever drives the job learns it by its channel being closed.
                    Event::Expired { job } => drop(state.waiting.remove(&job)),
                    Event::Waiting { .. } => {}
                }
            }
        }
        self.moved.notify_one();
        // Outside the lock: a permit nobody wants any more is dropped, which comes back here.
        for (sender, permit) in permits {
            if let Some(sender) = sender {
                drop(sender.send(permit));
            }
        }
        taken
    }

    fn permit(&self, matched: Match) -> Permit {
        Permit { reservation: matched.reservation, matched, market: Weak::clone(&self.this) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workload {
    /// A configured Cargo with the number it has in the database. The configuration has been checked before.
    #[must_use]
    pub fn new(id: i64, config: &WorkloadConfig) -> Self {
        Self {
            id,
            slug: config.slug.clone(),
            name: config.name.clone(),
            description: config.description.clone(),
            kind: config.kind,
            ceiling: config.ceiling.parse().unwrap_or_default(),
            unit: config.unit,
            measure: config.measure(),
            required_vram_mb: config.required_vram_mb,
            required_ram_mb: config.required_ram_mb,
        }
    }
}

#[cfg(test)]
mod tests {
    use types::id::{Id, UserId};

    use super::*;

    fn market() -> Arc<Market> {
        let config = WorkloadConfig {
            slug: "chat".to_owned(),
            aliases: Vec::new(),
            name: "Chat".to_owned(),
            description: String::new(),
            kind: WorkloadKind::Chat,
            ceiling: "5".to_owned(),
            unit: Unit::Request,
            prompt_percent: None,
            bytes_per_token: None,
            answer_tokens: None,
            base_side: None,
            base_steps: None,
            required_vram_mb: None,
            required_ram_mb: None,
        };
        Arc::clone(&Marketplace::new(vec![Workload::new(1, &config)]).all()[0])
    }

    fn order(job: i64) -> Order {
        Order {
            job: JobId::from_i64(job),
            user: UserId::from_i64(1),
            bid: MicroCredits::new(10),
            excluded: Vec::new(),
            region: None,
            model: None,
            min_trust: 0,
            deadline: types::time::Timestamp::from_millis(i64::MAX),
            priority: 0,
            may_wait: true,
        }
    }

    /// A slot comes back whatever becomes of the job, and a permit nobody waits for any more goes on to the next.
    #[test]
    fn incident_095_a_dropped_permit_frees_its_slot() {
        let market = market();
        market.set_ask(Ask::new(IslandId::from_i64(1), MicroCredits::new(5), 1));
        let Placed::Matched(permit) = market.place(order(1)) else { panic!("not matched") };
        assert_eq!(permit.price(), MicroCredits::new(5));
        let Placed::Waiting { permit: gone, .. } = market.place(order(2)) else { panic!("not waiting") };
        let Placed::Waiting { permit: mut waiting, .. } = market.place(order(3)) else {
            panic!("not waiting")
        };
        drop(gone);
        assert!(waiting.try_recv().is_err());
        drop(permit);
        let permit = waiting.try_recv().unwrap();
        assert_eq!(permit.matched.job, JobId::from_i64(3));
        drop(permit);
        assert_eq!(market.best_ask(), Some(MicroCredits::new(5)));
    }
}
