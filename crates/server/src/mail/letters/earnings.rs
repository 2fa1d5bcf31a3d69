//! Letters to owners of Islands about what they earned.

use types::money::{Cents, MicroCredits};

use super::{Content, Kind, Letter, Line};

/// Earnings are on their way.
#[derive(Clone, Debug)]
pub struct PayoutSent {
    /// What people reach the server by.
    pub site: String,
    /// How much.
    pub amount: Cents,
    /// Where to: `bank account ending in 6789`.
    pub destination: Line,
    /// By when it arrives: `2026-11-26`; may be empty.
    pub arrives: Line,
}

impl Letter for PayoutSent {
    fn kind(&self) -> Kind {
        Kind::PayoutSent
    }

    fn content(&self) -> Content {
        let mut content = Content::new(&self.site, format!("Your payout of {} is on its way", self.amount))
            .say("Thank you for running an Island.")
            .fact("Amount", self.amount)
            .fact("To", &self.destination);
        if self.arrives != Line::default() {
            content = content.fact("Expected by", &self.arrives);
        }
        content.link("See your earnings", format!("{}/islands", self.site))
    }
}

/// A payout came back.
#[derive(Clone, Debug)]
pub struct PayoutFailed {
    /// What people reach the server by.
    pub site: String,
    /// How much.
    pub amount: Cents,
    /// Why, in a few words: `the account is closed`.
    pub reason: Line,
}

impl Letter for PayoutFailed {
    fn kind(&self) -> Kind {
        Kind::PayoutFailed
    }

    fn content(&self) -> Content {
        Content::new(&self.site, format!("Your payout of {} did not arrive", self.amount))
            .say("Nothing is lost: the amount is back in your earnings. Please look at your payout details, then ask for it again.")
            .fact("Amount", self.amount)
            .fact("Why", &self.reason)
            .link("See your earnings", format!("{}/islands", self.site))
    }
}

/// What was earned in a month.
#[derive(Clone, Debug)]
pub struct EarningsStatement {
    /// What people reach the server by.
    pub site: String,
    /// Which: `October 2026`.
    pub month: Line,
    /// What the Islands earned, after the network's share.
    pub earned: MicroCredits,
    /// How many jobs they did.
    pub jobs: u64,
    /// What was paid out.
    pub paid_out: Cents,
    /// What there is now.
    pub balance: MicroCredits,
}

impl Letter for EarningsStatement {
    fn kind(&self) -> Kind {
        Kind::EarningsStatement
    }

    fn content(&self) -> Content {
        Content::new(&self.site, format!("What your Islands earned in {}", self.month))
            .say("Thank you for being part of the network.")
            .fact("Jobs done", self.jobs)
            .fact("Earned, in credits", self.earned.display_grouped())
            .fact("Paid out", self.paid_out)
            .fact("Earnings now, in credits", self.balance.display_grouped())
            .link("See every movement", format!("{}/islands", self.site))
    }
}
