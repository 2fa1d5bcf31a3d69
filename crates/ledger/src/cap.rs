//! Caps: limits on what may be held and spent in one name, in all and by calendar period (UTC).
//!
//! What is held counts against every limit, because it may be spent at any moment (incident 4); what is charged counts in the
//! period in which it is charged. A period begins anew when its time has come; a clock that jumps back does not open an old one
//! again.

use types::money::MicroCredits;
use types::time::Timestamp;

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

    /// What is left of each limit there is. Below zero when a limit was lowered under what had been used.
    pub fn left(&self) -> impl Iterator<Item = (Period, MicroCredits)> {
        let limits = [
            (Period::Total, self.limits.total, self.spent),
            (Period::Day, self.limits.day, self.day.spent),
            (Period::Week, self.limits.week, self.week.spent),
            (Period::Month, self.limits.month, self.month.spent),
        ];
        limits.into_iter().filter_map(|(period, limit, spent)| {
            let used = self.held.plus(spent).ok()?;
            Some((period, limit?.minus(used).ok()?))
        })
    }

    /// Reserves `amount`.
    ///
    /// # Errors
    /// [`Refusal::CapExceeded`] with the limit that leaves least.
    pub fn hold(self, amount: MicroCredits) -> Result<Self, Refusal> {
        let tightest = self.left().min_by_key(|(_, left)| *left);
        if let Some((period, available)) = tightest.filter(|(_, left)| *left < amount) {
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
