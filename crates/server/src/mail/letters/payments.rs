//! Letters about purchases, what is bought by itself, and money that goes back.

use types::money::{Cents, Credits, MicroCredits};

use super::{Content, Kind, Letter, Line};

/// A purchase is paid.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// What people reach the server by.
    pub site: String,
    /// As printed: `R-1042`.
    pub number: Line,
    /// The day: `2026-11-22`.
    pub date: String,
    /// What was bought.
    pub description: Line,
    /// How many credits.
    pub credits: Credits,
    /// For how much, tax included.
    pub amount: Cents,
    /// `includes 19% VAT: $0.80`, if there is tax.
    pub tax: Option<Line>,
    /// No real money moved.
    pub test_mode: bool,
    /// The receipt itself.
    pub pdf: Vec<u8>,
}

impl Letter for Receipt {
    fn kind(&self) -> Kind {
        Kind::Receipt
    }

    fn content(&self) -> Content {
        let mut content = Content::new(&self.site, format!("Your receipt {}", self.number))
            .say(format!("Thank you. {} credits are in your wallet; the receipt is attached.", self.credits));
        if self.test_mode {
            content = content.say("TEST MODE: this was a sandbox payment. No real money moved.");
        }
        content = content
            .fact("Receipt", &self.number)
            .fact("Date", &self.date)
            .fact("Item", &self.description)
            .fact("Credits", self.credits)
            .fact("Total", self.amount);
        if let Some(tax) = &self.tax {
            content = content.fact("Tax", tax);
        }
        content
            .link("See your purchases", format!("{}/credits", self.site))
            .attach(format!("receipt-{}.pdf", file_name(&self.number)), self.pdf.clone())
    }
}

/// What of a number may stand in the name of a file.
fn file_name(number: &Line) -> String {
    number.to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// A payment that was to arrive later did not.
#[derive(Clone, Debug)]
pub struct PaymentFailed {
    /// What people reach the server by.
    pub site: String,
    /// The package.
    pub package: Line,
    /// For how much.
    pub amount: Cents,
}

impl Letter for PaymentFailed {
    fn kind(&self) -> Kind {
        Kind::PaymentFailed
    }

    fn content(&self) -> Content {
        Content::new(&self.site, "Your payment did not arrive")
            .say("No credits were added and nothing was charged. You can buy again, perhaps with another way to pay.")
            .fact("Package", &self.package)
            .fact("Amount", self.amount)
            .link("Buy credits", format!("{}/credits", self.site))
    }
}

/// Credits were bought by themselves.
#[derive(Clone, Debug)]
pub struct TopUpDone {
    /// What people reach the server by.
    pub site: String,
    /// How many credits.
    pub credits: Credits,
    /// For how much.
    pub amount: Cents,
    /// What is available now.
    pub available: MicroCredits,
    /// Below how much they are bought.
    pub threshold: MicroCredits,
}

impl Letter for TopUpDone {
    fn kind(&self) -> Kind {
        Kind::TopUpDone
    }

    fn content(&self) -> Content {
        Content::new(&self.site, format!("{} credits were added by auto top-up", self.credits))
            .say("Your balance was low, so credits were bought with your saved card, as you had asked.")
            .fact("Credits", self.credits)
            .fact("Charged", self.amount)
            .fact("Available credits now", self.available.display_grouped())
            .fact("Bought when below", self.threshold.display_grouped())
            .link("Change auto top-up", format!("{}/credits", self.site))
    }
}

/// Credits could not be bought by themselves.
#[derive(Clone, Debug)]
pub struct TopUpDeclined {
    /// What people reach the server by.
    pub site: String,
    /// For how much.
    pub amount: Cents,
    /// Why, in a few words: `the card was declined`.
    pub reason: Line,
    /// What is available.
    pub available: MicroCredits,
}

impl Letter for TopUpDeclined {
    fn kind(&self) -> Kind {
        Kind::TopUpDeclined
    }

    fn content(&self) -> Content {
        Content::new(&self.site, "Auto top-up was declined")
            .say("Your card was not charged. Please buy credits yourself, or save another card.")
            .fact("Amount", self.amount)
            .fact("Why", &self.reason)
            .fact("Available credits", self.available.display_grouped())
            .link("Buy credits", format!("{}/credits", self.site))
    }
}

/// The bank wants to hear the buyer first (3-D Secure).
#[derive(Clone, Debug)]
pub struct TopUpNeedsConfirmation {
    /// What people reach the server by.
    pub site: String,
    /// For how much.
    pub amount: Cents,
    /// How many credits.
    pub credits: Credits,
    /// Where it is confirmed.
    pub confirm_url: String,
}

impl Letter for TopUpNeedsConfirmation {
    fn kind(&self) -> Kind {
        Kind::TopUpNeedsConfirmation
    }

    fn content(&self) -> Content {
        Content::new(&self.site, "Please confirm your auto top-up")
            .say("Your bank wants you to confirm this payment. Nothing is charged, and no credits are added, until you do.")
            .fact("Amount", self.amount)
            .fact("Credits", self.credits)
            .link("Confirm the payment", &self.confirm_url)
    }
}

/// No more is bought by itself.
#[derive(Clone, Debug)]
pub struct TopUpPaused {
    /// What people reach the server by.
    pub site: String,
    /// Why, in a few words: `the card was declined three times`.
    pub reason: Line,
    /// The day from which on it goes on by itself, if it does.
    pub until: Option<String>,
}

impl Letter for TopUpPaused {
    fn kind(&self) -> Kind {
        Kind::TopUpPaused
    }

    fn content(&self) -> Content {
        let (text, label) = match &self.until {
            None => (
                "No credits are bought by themselves until you switch it on again.".to_owned(),
                "Switch it on again",
            ),
            Some(day) => (format!("No credits are bought by themselves before {day}."), "Change auto top-up"),
        };
        Content::new(&self.site, "Auto top-up is paused")
            .say(text)
            .fact("Why", &self.reason)
            .link(label, format!("{}/credits", self.site))
    }
}

/// Money went back.
#[derive(Clone, Debug)]
pub struct RefundMade {
    /// What people reach the server by.
    pub site: String,
    /// Of which purchase.
    pub package: Line,
    /// How much money.
    pub amount: Cents,
    /// How many credits were taken back for it.
    pub credits: MicroCredits,
}

impl Letter for RefundMade {
    fn kind(&self) -> Kind {
        Kind::RefundMade
    }

    fn content(&self) -> Content {
        Content::new(&self.site, format!("We refunded {}", self.amount))
            .say("It usually arrives within five to ten days, the way you paid. You need not do anything.")
            .fact("Purchase", &self.package)
            .fact("Refunded", self.amount)
            .fact("Credits taken back", self.credits.display_grouped())
            .link("See your purchases", format!("{}/credits", self.site))
    }
}

/// The buyer's bank asks for the money back.
#[derive(Clone, Debug)]
pub struct DisputeOpened {
    /// What people reach the server by.
    pub site: String,
    /// Of which purchase.
    pub package: Line,
    /// How much money.
    pub amount: Cents,
    /// How many credits cannot be spent meanwhile.
    pub frozen: MicroCredits,
}

impl Letter for DisputeOpened {
    fn kind(&self) -> Kind {
        Kind::DisputeOpened
    }

    fn content(&self) -> Content {
        Content::new(&self.site, "A payment of yours is disputed")
            .say("Your bank asked for this payment back. Its credits are frozen until that is decided.")
            .fact("Purchase", &self.package)
            .fact("Amount", self.amount)
            .fact("Credits frozen", self.frozen.display_grouped())
            .link("See your purchases", format!("{}/credits", self.site))
            .say("If this was a mistake, please ask your bank to withdraw the dispute.")
    }
}

/// How a dispute ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisputeOutcome {
    /// The payment stands: the credits can be spent again.
    PaymentStands,
    /// The buyer has the money back, and we the credits.
    MoneyReturned,
}

/// It was decided who keeps the money.
#[derive(Clone, Debug)]
pub struct DisputeDecided {
    /// What people reach the server by.
    pub site: String,
    /// Of which purchase.
    pub package: Line,
    /// How much money.
    pub amount: Cents,
    /// How many credits it is about.
    pub credits: MicroCredits,
    /// How it ended.
    pub outcome: DisputeOutcome,
}

impl Letter for DisputeDecided {
    fn kind(&self) -> Kind {
        Kind::DisputeDecided
    }

    fn content(&self) -> Content {
        let (subject, text, label) = match self.outcome {
            DisputeOutcome::PaymentStands => (
                "The dispute is settled: your credits are free again",
                "The payment stands. You need not do anything.",
                "Credits free again",
            ),
            DisputeOutcome::MoneyReturned => (
                "The dispute is settled: the payment went back to you",
                "Your bank returned the payment, so its credits were taken back. What was already spent is a debt, which the next credits you buy pay first.",
                "Credits taken back",
            ),
        };
        Content::new(&self.site, subject)
            .say(text)
            .fact("Purchase", &self.package)
            .fact("Amount", self.amount)
            .fact(label, self.credits.display_grouped())
            .link("See your balance", format!("{}/credits", self.site))
    }
}

/// More was spent than was paid for.
#[derive(Clone, Debug)]
pub struct Debt {
    /// What people reach the server by.
    pub site: String,
    /// How much is owed.
    pub debt: MicroCredits,
}

impl Letter for Debt {
    fn kind(&self) -> Kind {
        Kind::Debt
    }

    fn content(&self) -> Content {
        Content::new(&self.site, "Your account owes credits")
            .say("A payment went back after its credits were spent. New jobs are refused until the debt is paid; the next credits you buy pay it first.")
            .fact("Owed, in credits", self.debt.display_grouped())
            .fact("About", self.debt.approximate_usd())
            .link("Buy credits", format!("{}/credits", self.site))
    }
}
