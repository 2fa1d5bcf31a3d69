//! Letters about an account and its balance.

use types::money::MicroCredits;
use types::time::Timestamp;

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

/// The limit of an API key is nearly or wholly used.
#[derive(Clone, Debug)]
pub struct KeyLimit {
    /// What people reach the server by.
    pub site: String,
    /// What its owner calls the key.
    pub key: Line,
    /// Its first letters.
    pub prefix: String,
    /// Which one.
    pub key_id: String,
    /// What the limit is counted over: `day`.
    pub period: &'static str,
    /// What is used: charged, or held for running jobs.
    pub used: MicroCredits,
    /// What may be used.
    pub limit: MicroCredits,
    /// Nothing is left, or not enough for a job that was asked for.
    pub reached: bool,
    /// When the period begins anew.
    pub resets_at: Option<Timestamp>,
}

impl Letter for KeyLimit {
    fn kind(&self) -> Kind {
        Kind::KeyLimit
    }

    fn content(&self) -> Content {
        let (subject, text) = if self.reached {
            (
                "An API key has reached its limit",
                "Jobs that it asks for are refused until the period begins anew or you raise the limit.",
            )
        } else {
            ("An API key nears its limit", "When the limit is used up, jobs that it asks for are refused.")
        };
        let period = match self.period {
            "total" => "in all".to_owned(),
            period => format!("per {period}"),
        };
        let content = Content::new(&self.site, subject)
            .say(text)
            .fact("API key", format!("{} ({}...)", self.key, self.prefix))
            .fact("Limit", format!("{} credits {period}", self.limit.display_grouped()))
            .fact("Used", format!("{} credits", self.used.display_grouped()));
        let content = match self.resets_at {
            Some(at) => content.fact("Begins anew", at.date()),
            None => content,
        };
        content.link("Change the limit", format!("{}/settings/keys/{}", self.site, self.key_id))
    }
}

/// An address that events were sent to gets none any more.
#[derive(Clone, Debug)]
pub struct WebhookOff {
    /// What people reach the server by.
    pub site: String,
    /// The address.
    pub url: Line,
    /// Why, in a few words.
    pub reason: Line,
}

impl Letter for WebhookOff {
    fn kind(&self) -> Kind {
        Kind::WebhookOff
    }

    fn content(&self) -> Content {
        Content::new(&self.site, "A webhook of yours was switched off")
            .say("No more events are sent to it. What was not delivered can be sent again from its log once it is on again.")
            .fact("Address", &self.url)
            .fact("Why", &self.reason)
            .link("Look at your webhooks", format!("{}/settings/webhooks", self.site))
    }
}
