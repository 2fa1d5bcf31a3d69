//! Caps: limits on what may be held and spent in one name, in all and by calendar period (UTC).
//!
//! What is held counts against every limit, because it may be spent at any moment (incident 4); what is charged counts in the
//! period in which it is charged. A period begins anew when its time has come; a clock that jumps back does not open an old one
//! again.

use types::money::MicroCredits;
use types::time::{DAY_MS, Timestamp};

use crate::Refusal;

/// What a limit is counted over. Days, weeks (from Monday) and months are those of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// For ever.
    Total,
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
}

/// The limits of a cap; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub total: Option<MicroCredits>,
    /// A day.
    pub day: Option<MicroCredits>,
    /// A week.
    pub week: Option<MicroCredits>,
    /// A month.
    pub month: Option<MicroCredits>,
}

/// What was spent since a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// When the period began.
    pub start: Timestamp,
    /// What was charged since.
    pub spent: MicroCredits,
}

/// How far one limit of a cap is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Which one.
    pub period: Period,
    /// What it allows.
    pub limit: Option<MicroCredits>,
    /// Charged in the period so far.
    pub spent: MicroCredits,
    /// What counts against the limit: charged, or reserved by open holds.
    pub used: MicroCredits,
    /// When the period begins anew.
    pub until: Option<Timestamp>,
}

/// A cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// Which one.
    pub id: i64,
    /// What it allows.
    pub limits: Limits,
    /// Reserved by open holds.
    pub held: MicroCredits,
    /// Charged so far, in all.
    pub spent: MicroCredits,
    /// Charged this day.
    pub day: Window,
    /// Charged this week.
    pub week: Window,
    /// Charged this month.
    pub month: Window,
}

impl Period {
    /// All of them, the longest first.
    pub const ALL: [Self; 4] = [Self::Total, Self::Month, Self::Week, Self::Day];

    /// When the one that begins at `start` is over.
    #[must_use]
    pub fn end(self, start: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Total => None,
            Self::Day => Some(start.plus_millis(DAY_MS)),
            Self::Week => Some(start.plus_millis(7 * DAY_MS)),
            Self::Month => Some(start.plus_millis(32 * DAY_MS).month_start()),
        }
    }

    /// As written in the API and in sentences.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Total => "",
            Self::Day => " today",
            Self::Week => " this week",
            Self::Month => " this month",
        }
    }
}

impl Limits {
    /// A limit in all, or none.
    #[must_use]
    pub const fn total(limit: Option<MicroCredits>) -> Self {
        Self { total: limit, day: None, week: None, month: None }
    }

    /// The limit of a period.
    #[must_use]
    pub const fn get(&self, period: Period) -> Option<MicroCredits> {
        match period {
            Period::Total => self.total,
            Period::Day => self.day,
            Period::Week => self.week,
            Period::Month => self.month,
        }
    }

    /// With another limit of a period.
    #[must_use]
    pub const fn with(mut self, period: Period, limit: Option<MicroCredits>) -> Self {
        match period {
            Period::Total => self.total = limit,
            Period::Day => self.day = limit,
            Period::Week => self.week = limit,
            Period::Month => self.month = limit,
        }
        self
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Usage {
    /// What is left of the limit, if there is one. Below zero when it was lowered under what had been used.
    #[must_use]
    pub const fn left(&self) -> Option<MicroCredits> {
        match self.limit {
            Some(limit) => Some(MicroCredits::new(limit.get().saturating_sub(self.used.get()))),
            None => None,
        }
    }
}

impl Window {
    fn at(self, start: Timestamp) -> Self {
        if start > self.start { Self { start, spent: MicroCredits::ZERO } } else { self }
    }

    fn with(self, charged: MicroCredits) -> Result<Self, Refusal> {
        Ok(Self { spent: sum(self.spent, charged)?, ..self })
    }
}

impl Cap {
    /// A cap of which nothing has been used.
    #[must_use]
    pub fn new(id: i64, limits: Limits) -> Self {
        let (held, spent) = (MicroCredits::ZERO, MicroCredits::ZERO);
        let (day, week, month) = (Window::default(), Window::default(), Window::default());
        Self { id, limits, held, spent, day, week, month }
    }

    /// As it is at `now`: periods that have passed begin anew.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        Self {
            day: self.day.at(now.day_start()),
            week: self.week.at(now.week_start()),
            month: self.month.at(now.month_start()),
            ..self
        }
    }

    /// How far each period is used, whether it has a limit or not. Of the cap as it is [`at`](Self::at) a time.
    #[must_use]
    pub fn usage(&self) -> [Usage; 4] {
        Period::ALL.map(|period| {
            let window = match period {
                Period::Total => Window { start: Timestamp::default(), spent: self.spent },
                Period::Day => self.day,
                Period::Week => self.week,
                Period::Month => self.month,
            };
            Usage {
                period,
                limit: self.limits.get(period),
                spent: window.spent,
                used: MicroCredits::new(self.held.get().saturating_add(window.spent.get())),
                until: period.end(window.start),
            }
        })
    }

    /// Reserves `amount`.
    ///
    /// # Errors
    /// [`Refusal::CapExceeded`] with the limit that leaves least.
    pub fn hold(self, amount: MicroCredits) -> Result<Self, Refusal> {
        let usage = self.usage().into_iter();
        let tightest =
            usage.filter_map(|usage| Some((usage.period, usage.left()?))).min_by_key(|(_, left)| *left);
        if let Some((period, left)) = tightest.filter(|(_, left)| *left < amount) {
            let available = left.max(MicroCredits::ZERO);
            return Err(Refusal::CapExceeded { period, required: amount, available });
        }
        Ok(Self { held: sum(self.held, amount)?, ..self })
    }

    /// Ends a hold of `amount` of which `charged` is spent.
    ///
    /// # Errors
    /// [`Refusal::AmountOutOfRange`] when the numbers do not fit.
    pub fn end(self, amount: MicroCredits, charged: MicroCredits) -> Result<Self, Refusal> {
        let out_of_range = |_| Refusal::AmountOutOfRange { field: "cap" };
        Ok(Self {
            held: self.held.minus(amount).map_err(out_of_range)?,
            spent: sum(self.spent, charged)?,
            day: self.day.with(charged)?,
            week: self.week.with(charged)?,
            month: self.month.with(charged)?,
            ..self
        })
    }
}

fn sum(one: MicroCredits, other: MicroCredits) -> Result<MicroCredits, Refusal> {
    one.plus(other).map_err(|_| Refusal::AmountOutOfRange { field: "cap" })
}
