//! Letters about an account and its balance.

use types::money::MicroCredits;

use super::{Content, Kind, Letter, Line};

/// A link that signs in.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// What people reach the server by.
    pub site: String,
    /// The link: a secret.
    pub link: String,
}

impl Letter for SignIn {
    fn kind(&self) -> Kind {
        Kind::SignIn
    }

    fn content(&self) -> Content {
        Content::new(&self.site, "Sign in to Archipelago")
            .say("Open this link to sign in. It works once, for fifteen minutes.")
            .link("Sign in", &self.link)
            .say("If you did not ask for it, you need not do anything.")
    }
}

/// Few credits are left.
#[derive(Clone, Debug)]
pub struct LowBalance {
    /// What people reach the server by.
    pub site: String,
    /// What is available.
    pub available: MicroCredits,
    /// Below how much people are told.
    pub threshold: MicroCredits,
}

impl Letter for LowBalance {
    fn kind(&self) -> Kind {
        Kind::LowBalance
    }

    fn content(&self) -> Content {
        Content::new(&self.site, "Your credits are running low")
            .say("Jobs stop when no credits are left. Buy some in time and nothing is interrupted.")
            .fact("Available credits", self.available.display_grouped())
            .fact("You are told below", self.threshold.display_grouped())
            .link("Buy credits", format!("{}/credits", self.site))
    }
}

/// No credits are left.
#[derive(Clone, Debug)]
pub struct BalanceExhausted {
    /// What people reach the server by.
    pub site: String,
    /// What is available: too little for anything.
    pub available: MicroCredits,
}

impl Letter for BalanceExhausted {
    fn kind(&self) -> Kind {
        Kind::BalanceExhausted
    }

    fn content(&self) -> Content {
        Content::new(&self.site, "Your credits are used up")
            .say("New jobs are refused until you buy credits. Nothing else has changed: your keys and conversations are where they were.")
            .fact("Available credits", self.available.display_grouped())
            .link("Buy credits", format!("{}/credits", self.site))
    }
}

/// The account cannot spend.
#[derive(Clone, Debug)]
pub struct AccountFrozen {
    /// What people reach the server by.
    pub site: String,
    /// Why, in a few words: `a payment is disputed`.
    pub reason: Line,
    /// Whom to ask; may be empty.
    pub contact: Line,
}

impl Letter for AccountFrozen {
    fn kind(&self) -> Kind {
        Kind::AccountFrozen
    }

    fn content(&self) -> Content {
        let content = Content::new(&self.site, "Your account is frozen for now")
            .say("New jobs are refused. Your credits are still there, and you can still sign in.")
            .fact("Why", &self.reason)
            .link("Look at your account", format!("{}/credits", self.site));
        if self.contact == Line::default() {
            return content.say("If you think this is a mistake, please tell the operator of this network.");
        }
        content.say(format!("If you think this is a mistake, please write to {}.", self.contact))
    }
}

/// The check of the identity cannot go on.
#[derive(Clone, Debug)]
pub struct IdentityNeedsInput {
    /// What people reach the server by.
    pub site: String,
    /// Why, in a few words: `the picture of the document was blurred`.
    pub reason: Line,
}

impl Letter for IdentityNeedsInput {
    fn kind(&self) -> Kind {
        Kind::IdentityNeedsInput
    }

    fn content(&self) -> Content {
        Content::new(&self.site, "We could not verify you yet")
            .say("Please try once more; it takes about two minutes. Have a valid document at hand.")
            .fact("What was missing", &self.reason)
            .link("Verify again", format!("{}/verify", self.site))
    }
}
