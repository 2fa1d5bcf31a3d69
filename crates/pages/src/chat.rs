//! `/chat` and `/chat/{conversation_id}`.

use askama::Template;

use crate::layout::Layout;

/// A conversation, or the empty page that starts one.
#[derive(Clone, Debug, Template)]
#[template(path = "chat.html")]
pub struct Chat {
    /// The frame.
    pub layout: Layout,
    /// The user's conversations, newest first.
    pub conversations: Vec<ConversationLink>,
    /// The one being shown; `None` on `/chat`.
    pub conversation: Option<Conversation>,
    /// Its messages, oldest first.
    pub turns: Vec<Turn>,
    /// What can answer.
    pub cargos: Vec<CargoOption>,
    /// Max price to start with, or nothing.
    pub bid: String,
}

/// An entry of the list of conversations.
#[derive(Clone, Debug)]
pub struct ConversationLink {
    /// `con_…`
    pub id: String,
    /// First words of it.
    pub title: String,
    /// It is the one being shown.
    pub current: bool,
}

/// The conversation being shown.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// `con_…`
    pub id: String,
    /// First words of it.
    pub title: String,
}

/// One message.
#[derive(Clone, Debug)]
pub enum Turn {
    /// What the user wrote.
    User {
        /// As written.
        text: String,
    },
    /// What an Island answered.
    Answer(Box<Answer>),
}

/// An answer, finished or not.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Id of the message, for `/app/chat/answers/{id}/again`.
    pub id: String,
    /// What is there of it so far.
    pub text: String,
    /// Who answered, how fast, for how much; once it is finished.
    pub receipt: Option<Receipt>,
    /// The job that still runs or waits: the page attaches to its stream.
    pub running_job: Option<String>,
    /// The job that has ended: it has a receipt.
    pub ended_job: Option<String>,
    /// Why there is no (complete) answer.
    pub error: Option<Problem>,
    /// Which button offers another try.
    pub again: Again,
}

/// Who did a job, how fast, for how much.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Name of the Island.
    pub island: String,
    /// `2.4`
    pub seconds: String,
    /// Credits: `2`.
    pub cost: String,
}

/// A problem in one sentence, and where to solve it.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The sentence.
    pub text: String,
    /// A link that helps: address and words.
    pub link: Option<(String, String)>,
}

/// The button under an answer that offers another try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Again {
    /// None: not the last answer, or still running.
    #[default]
    Nothing,
    /// The last answer, and it is good.
    Regenerate,
    /// It failed.
    Retry,
}

/// An entry of the Cargo selector.
#[derive(Clone, Debug)]
pub struct CargoOption {
    /// For the request.
    pub slug: String,
    /// As shown.
    pub name: String,
    /// What an ask is the price of, when that is not a request: `1,000 tokens`.
    pub unit: Option<String>,
    /// Lowest ask, if any Island is online: `2`.
    pub best_ask: Option<String>,
    /// The user's own max price for it, for each unit.
    pub own_bid: Option<String>,
    /// Chosen at first.
    pub selected: bool,
}

impl Receipt {
    /// `Palma · 2.4 s · 2 credits`; the scripts write the same line.
    #[must_use]
    pub fn line(&self) -> String {
        let unit = if matches!(self.cost.as_str(), "1" | "1.00") { "credit" } else { "credits" };
        format!("{} · {} s · {} {unit}", self.island, self.seconds, self.cost)
    }
}

impl CargoOption {
    pub(crate) fn label(&self) -> String {
        match &self.best_ask {
            Some(ask) => {
                let per = self.unit.as_ref().map(|unit| format!(" per {unit}")).unwrap_or_default();
                format!("{} · from {ask} {}{per}", self.name, credits(ask))
            }
            None => format!("{} · no Island online", self.name),
        }
    }
}

/// The noun that follows an amount.
pub(crate) fn credits(amount: &str) -> &'static str {
    if matches!(amount, "1" | "1.00") { "credit" } else { "credits" }
}
