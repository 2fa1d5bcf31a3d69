//! What we write to people. Each letter is a struct of facts; its words stand in `content`, once for both parts, and one
//! template lays out each part. A new letter is a line in the list of kinds, a struct, and a sample in the test that renders all.

mod account;
mod earnings;
mod islands;
mod payments;
#[cfg(test)]
mod tests;

use std::fmt;

use askama::Template;

pub use account::{
    AccountFrozen, BalanceExhausted, IdentityNeedsInput, KeyLimit, LowBalance, SignIn, WebhookOff,
};
pub use earnings::{EarningsStatement, PayoutFailed, PayoutSent};
pub use islands::{IslandBack, IslandGone};
pub use payments::{
    Debt, DisputeDecided, DisputeOpened, DisputeOutcome, PaymentFailed, Receipt, RefundMade, TopUpDeclined,
    TopUpDone, TopUpNeedsConfirmation, TopUpPaused,
};

use super::{Attachment, Mail};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $word:literal,)*) => {
        /// What a letter is about; the struct of its facts has the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As stored, and as counted on `/metrics`: letters that wait have it, so it stays what it is.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

kinds! {
    /// A link that signs in.
    SignIn "sign_in",
    /// A purchase is paid.
    Receipt "receipt",
    /// A payment that was to arrive later did not.
    PaymentFailed "payment_failed",
    /// Credits were bought by themselves.
    TopUpDone "top_up_done",
    /// They could not be.
    TopUpDeclined "top_up_declined",
    /// The bank wants to hear the buyer first.
    TopUpNeedsConfirmation "top_up_needs_confirmation",
    /// No more is bought by itself.
    TopUpPaused "top_up_paused",
    /// Few credits are left.
    LowBalance "low_balance",
    /// None are.
    BalanceExhausted "balance_exhausted",
    /// Money went back.
    RefundMade "refund_made",
    /// The buyer's bank asks for the money back.
    DisputeOpened "dispute_opened",
    /// It was decided who keeps it.
    DisputeDecided "dispute_decided",
    /// More was spent than was paid for.
    Debt "debt",
    /// The account cannot spend.
    AccountFrozen "account_frozen",
    /// Earnings are on their way.
    PayoutSent "payout_sent",
    /// They came back.
    PayoutFailed "payout_failed",
    /// What was earned in a month.
    EarningsStatement "earnings_statement",
    /// An Island is gone.
    IslandGone "island_gone",
    /// It is back.
    IslandBack "island_back",
    /// The check of the identity cannot go on.
    IdentityNeedsInput "identity_needs_input",
    /// The limit of an API key is nearly or wholly used.
    KeyLimit "key_limit",
    /// An address that events were sent to gets none any more.
    WebhookOff "webhook_off",
}

impl Kind {
    /// From what is stored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// Text from outside: one line, of a reasonable length, without characters that control anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(String);

/// Longer than anything that is meant well.
const LINE: usize = 200;

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        // Among them what turns the direction of the text around, which can make an address look like another.
        let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let ends = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        let text: String =
            text.chars().filter(|&c| !turns(c)).map(|c| if ends(c) { ' ' } else { c }).collect();
        let words: Vec<&str> = text.split_whitespace().collect();
        Self(words.join(" ").chars().take(LINE).collect())
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A letter: facts that know how they are told.
pub trait Letter: Send + Sync {
    /// What it is about.
    fn kind(&self) -> Kind;

    /// What it says.
    fn content(&self) -> Content;

    /// Both parts of it.
    ///
    /// # Errors
    /// Only when a template is broken.
    fn to_mail(&self) -> Result<Mail, askama::Error> {
        let content = self.content();
        Ok(Mail {
            kind: self.kind(),
            subject: Line::from(content.subject.as_str()).0,
            text: AsText { content: &content }.render()?,
            html: AsHtml { content: &content }.render()?,
            attachment: content.attachment,
        })
    }
}

/// What a letter says, for any way of showing it.
#[derive(Clone, Debug, Default)]
pub struct Content {
    subject: String,
    heading: String,
    before: Vec<String>,
    facts: Vec<Fact>,
    action: Option<Action>,
    after: Vec<String>,
    site: String,
    attachment: Option<Attachment>,
}

#[derive(Clone, Debug)]
struct Fact {
    label: &'static str,
    value: String,
}

#[derive(Clone, Debug)]
struct Action {
    label: &'static str,
    url: String,
}

impl Content {
    /// A letter with this subject, which is also its heading.
    fn new(site: &str, subject: impl Into<String>) -> Self {
        let subject = subject.into();
        Self { heading: subject.clone(), subject, site: site.to_owned(), ..Self::default() }
    }

    /// A paragraph: before the facts, or after the link.
    fn say(mut self, text: impl Into<String>) -> Self {
        let place = if self.action.is_some() { &mut self.after } else { &mut self.before };
        place.push(text.into());
        self
    }

    fn fact(mut self, label: &'static str, value: impl fmt::Display) -> Self {
        self.facts.push(Fact { label, value: value.to_string() });
        self
    }

    /// The one thing to do. What is no address of a page is left out.
    fn link(mut self, label: &'static str, url: impl Into<String>) -> Self {
        let url = url.into();
        let fine = url.starts_with("https://") || url.starts_with("http://");
        if fine && !url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            self.action = Some(Action { label, url });
        }
        self
    }

    fn attach(mut self, name: String, bytes: Vec<u8>) -> Self {
        self.attachment = Some(Attachment { name, bytes });
        self
    }
}

#[derive(Template)]
#[template(path = "mail/letter.txt")]
struct AsText<'a> {
    content: &'a Content,
}

#[derive(Template)]
#[template(path = "mail/letter.html")]
struct AsHtml<'a> {
    content: &'a Content,
}
