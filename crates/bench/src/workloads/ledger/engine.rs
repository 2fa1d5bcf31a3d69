//! Whoever can be asked to move credits durably.

use std::time::{Duration, Instant};

use super::baseline::Baseline;
use super::books::Books;
use super::driver::{Item, Limits};
#[cfg(feature = "tigerbeetle")]
use super::tigerbeetle::TigerBeetle;
use super::trade::Totals;
use crate::Result;

/// One of them, with its accounts opened and funded.
#[derive(Debug)]
pub enum Engine {
    /// Our ledger, on either database.
    Books(Books),
    /// What people write without one.
    Baseline(Baseline),
    /// TigerBeetle.
    #[cfg(feature = "tigerbeetle")]
    TigerBeetle(TigerBeetle),
    /// A fake for tests of the driver.
    #[cfg(test)]
    Fake(super::fake::Fake),
}

impl Engine {
    /// Whether a cycle is a hold and a settlement, or one transaction.
    pub const fn holds(&self) -> bool {
        !matches!(self, Self::Baseline(_))
    }

    /// What it is given at once.
    pub const fn limits(&self) -> Limits {
        match self {
            Self::Books(books) => books.limits,
            Self::Baseline(baseline) => baseline.limits(),
            #[cfg(feature = "tigerbeetle")]
            Self::TigerBeetle(tigerbeetle) => tigerbeetle.limits,
            #[cfg(test)]
            Self::Fake(fake) => fake.limits,
        }
    }

    /// Does all of `items`; they are durable when it answers.
    pub async fn apply(&self, items: &[Item]) -> Result<()> {
        match self {
            Self::Books(books) => books.apply(items).await,
            Self::Baseline(baseline) => baseline.apply(items).await,
            #[cfg(feature = "tigerbeetle")]
            Self::TigerBeetle(tigerbeetle) => tigerbeetle.apply(items).await,
            #[cfg(test)]
            Self::Fake(fake) => fake.apply(items).await,
        }
    }

    /// Does what has been put off and would have to be done some time; answers how long that took.
    pub async fn catch_up(&self) -> Result<Duration> {
        let since = Instant::now();
        if let Self::Books(books) = self {
            books.fold().await?;
        }
        Ok(since.elapsed())
    }

    /// That it holds what was done, to the micro-credit, and nothing else.
    pub async fn verify(&self, expected: Totals) -> Result<()> {
        match self {
            Self::Books(books) => books.verify(expected).await,
            Self::Baseline(baseline) => baseline.verify(expected).await,
            #[cfg(feature = "tigerbeetle")]
            Self::TigerBeetle(tigerbeetle) => tigerbeetle.verify(expected).await,
            #[cfg(test)]
            Self::Fake(fake) => fake.verify(expected),
        }
    }
}
