//! What happened, in two-hour periods, for the report and the charts.

use types::money::MicroCredits;

use super::agents::{CARGOS, DAY, Island};
use crate::stats::{count, ratio};

/// Steps of a period.
pub const PERIOD: usize = 40;
/// Periods of a day.
pub const PERIODS: usize = DAY / PERIOD;

/// One Cargo in one period.
#[derive(Clone, Debug, Default)]
pub struct Period {
    /// Clearing prices of the jobs that ended in it, in micro-credits.
    prices: Vec<i64>,
    /// What Islands asked at its end.
    asks: Vec<i64>,
    /// Jobs that ended without having been served.
    pub unserved: u64,
    /// Slots that worked, added up over its steps.
    pub worked: u64,
    /// Slots that were there.
    pub online: u64,
}

/// Everything that is reported.
#[derive(Debug, Default)]
pub struct Record {
    /// For each Cargo, its periods.
    cargos: [Vec<Period>; CARGOS.len()],
    /// Commands that the books were told.
    pub commands: u64,
    /// Matches that were looked at.
    pub watched: u64,
    /// Jobs that waited at first.
    pub waited: u64,
    /// Attempts that Islands spoilt, or left.
    pub failed: u64,
    /// Jobs not done that bid less than anybody asked when their time was over.
    pub too_dear: u64,
    /// Jobs that were not even submitted, because the day's budget was spent.
    pub out_of_budget: u64,
    /// Jobs that had an Island, but whose consumer had no credits left.
    pub no_credits: u64,
}

/// A band of prices, in credits.
#[derive(Clone, Copy, Debug)]
pub struct Band {
    /// A tenth is below.
    pub low: f64,
    /// Half is below.
    pub middle: f64,
    /// A tenth is above.
    pub high: f64,
}

impl Band {
    /// How wide it is beside its middle.
    pub fn dispersion(self) -> f64 {
        ratio(self.high - self.low, self.middle).unwrap_or_default()
    }

    fn of(values: &[i64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let at = |percent: usize| credits(sorted[last * percent / 100]);
        Some(Self { low: at(10), middle: at(50), high: at(90) })
    }
}

impl Period {
    /// Of the prices at which jobs were done.
    pub fn cleared(&self) -> Option<Band> {
        Band::of(&self.prices)
    }

    /// Of what Islands asked.
    pub fn asked(&self) -> Option<Band> {
        Band::of(&self.asks)
    }

    /// Jobs that were done.
    pub fn served(&self) -> u64 {
        u64::try_from(self.prices.len()).unwrap_or(u64::MAX)
    }
}

impl Record {
    /// A job was done.
    pub fn served(&mut self, tick: usize, cargo: usize, price: MicroCredits) {
        self.period(tick, cargo).prices.push(price.get());
    }

    /// A job was not.
    pub fn unserved(&mut self, tick: usize, cargo: usize) {
        self.period(tick, cargo).unserved += 1;
    }

    /// A step has passed.
    pub fn tick(&mut self, tick: usize, islands: &[Island]) {
        for island in islands.iter().filter(|island| island.online) {
            let period = self.period(tick, island.cargo);
            period.worked += u64::from(island.busy);
            period.online += u64::from(island.ask.slots);
            if tick % PERIOD == PERIOD - 1 {
                period.asks.push(island.ask.ask.get());
            }
        }
    }

    /// The periods of a Cargo.
    pub fn periods(&self, cargo: usize) -> &[Period] {
        &self.cargos[cargo]
    }

    /// Jobs done, of all Cargos.
    pub fn all_served(&self) -> u64 {
        self.cargos.iter().flatten().map(Period::served).sum()
    }

    /// Jobs not done.
    pub fn all_unserved(&self) -> u64 {
        self.cargos.iter().flatten().map(|period| period.unserved).sum()
    }

    /// The sum of all clearing prices, in micro-credits.
    pub fn charged(&self) -> i64 {
        self.cargos.iter().flatten().flat_map(|period| &period.prices).sum()
    }

    /// What ends after the last day counts to its last period.
    fn period(&mut self, tick: usize, cargo: usize) -> &mut Period {
        let periods = &mut self.cargos[cargo];
        let place = tick / PERIOD;
        if periods.len() <= place {
            periods.resize_with(place + 1, Period::default);
        }
        &mut periods[place]
    }
}

/// For people.
pub fn credits(micros: i64) -> f64 {
    count(micros.unsigned_abs()) / 1e6 * if micros < 0 { -1.0 } else { 1.0 }
}
