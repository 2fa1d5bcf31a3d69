//! Batches: one Cargo, asked for up to a hundred inputs with one request.
//!
//! A batch costs nothing and holds nothing. Each of its inputs becomes an ordinary job when its turn comes, at most so many at
//! once, and that job is matched, held for, charged and recovered like any other. Guarantees:
//!
//! * an input is started at most once: it has the id of its job from the moment the batch is written, so whether it was
//!   started is whether that job is there, and a job is written once (a second one would have the same primary key);
//! * a batch that was answered is driven to its end, over restarts and takeovers, by one coordinator at a time: the one
//!   in its row ([`drive`], [`recover`]);
//! * a batch whose user cannot pay any more ends `failed` and says why; what was not started costs nothing.

pub mod drive;
pub mod live;
pub mod look;
pub mod recover;
pub(crate) mod store;
pub mod submit;

use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;
use types::id::{ApiKeyId, IslandId, JobId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;
use types::units::Units;

use crate::jobs::{self, Usage};

/// Most inputs in a batch.
pub const MAX_INPUTS: usize = 100;
/// How many inputs are worked on at once unless the request says otherwise.
pub const USUAL_PARALLELISM: usize = 10;
/// Most bytes of output that are put together for an answer. Beyond that each job is to be asked for its own.
pub const MAX_MERGED_BYTES: usize = 16 * 1024 * 1024;

/// A batch, as stored.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which one: an id like that of a job, because it can be asked for like one.
    pub id: JobId,
    /// The number of the coordinator that drives it while it is open.
    pub node: u16,
    /// Whose.
    pub user: UserId,
    /// The key it came with.
    pub key: Option<ApiKeyId>,
    /// The Cargo's number.
    pub workload: i64,
    /// How far it is.
    pub state: State,
    /// How outputs are put together.
    pub merge: Merge,
    /// What a failure means for the others.
    pub fail_mode: FailMode,
    /// How many inputs are worked on at once.
    pub parallelism: usize,
    /// The most each input may cost, if the consumer said so.
    pub bid: Option<MicroCredits>,
    /// Where Islands must stand.
    pub region: Option<String>,
    /// The model they must name.
    pub model: Option<String>,
    /// How far they must be trusted, as in [`jobs::Job`].
    pub min_trust: u8,
    /// Breaks ties between jobs of the same user.
    pub priority: u8,
    /// How many inputs it has.
    pub size: usize,
    /// How long they are together.
    pub input_bytes: usize,
    /// When it came.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed: a code and a sentence.
    pub error: Option<(String, String)>,
    /// Whether its user wants it no more.
    pub cancel_wanted: bool,
}

/// One input, with what has become of it.
#[derive(Clone, Debug)]
pub struct Child {
    /// Where it stands in the batch, from 0.
    pub position: usize,
    /// Its job, which is there once it was started.
    pub job: JobId,
    /// How far it is.
    pub state: ChildState,
    /// Why it failed or was not started: a code and a sentence.
    pub error: Option<(String, String)>,
    /// The last Island tried.
    pub island: Option<IslandId>,
    /// The most it may cost, once it was started.
    pub bid: Option<MicroCredits>,
    /// What it cost.
    pub charge: MicroCredits,
    /// For how much of the Cargo.
    pub units: Units,
    /// What was counted.
    pub usage: Usage,
    /// When an Island began to work on it.
    pub started_at: Option<Timestamp>,
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Some inputs are not done.
    Running,
    /// Done: at least one input succeeded, and none had to.
    Succeeded,
    /// Not done.
    Failed,
    /// The consumer wanted it no more.
    Cancelled,
}

/// How far an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// Not started.
    Pending,
    /// Started; its job waits for an Island.
    Queued,
    /// An Island works on it.
    Running,
    /// Done.
    Succeeded,
    /// Not done.
    Failed,
    /// Not wanted any more, or never started.
    Cancelled,
}

/// How outputs are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// One after the other, in the order of the inputs, with a line break between two.
    Concat,
    /// One JSON array: the elements of outputs that are JSON arrays, other outputs as a text each.
    Flatten,
}

/// What a failure means for the other inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailMode {
    /// Nothing: what succeeds is the result.
    BestEffort,
    /// They are cancelled, or not started.
    FailFast,
}

impl State {
    const ALL: [Self; 4] = [Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// As stored and as written in answers about batches.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Running)
    }
}

impl ChildState {
    /// As written in answers about batches.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// How far the input of a job is.
    #[must_use]
    pub const fn of_job(state: jobs::State) -> Self {
        match state {
            jobs::State::Pending => Self::Queued,
            jobs::State::Running => Self::Running,
            jobs::State::Completed => Self::Succeeded,
            jobs::State::Failed | jobs::State::Timeout => Self::Failed,
            jobs::State::Cancelled => Self::Cancelled,
        }
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl Merge {
    /// As stored and as written in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Concat => "concat",
            Self::Flatten => "flatten",
        }
    }

    /// From what is stored or asked for.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Concat, Self::Flatten].into_iter().find(|merge| merge.name() == name)
    }

    /// Puts outputs together, which are in the order of their inputs.
    #[must_use]
    pub fn merge(self, outputs: &[String]) -> String {
        match self {
            Self::Concat => outputs.join("\n"),
            Self::Flatten => {
                let mut elements = Elements::default();
                outputs.iter().for_each(|output| elements.extend(output));
                elements.close()
            }
        }
    }
}

/// A list in the making. Elements are taken as they are written, so that numbers keep their digits, and go straight into the
/// text: there may be millions of them.
#[derive(Debug, Default)]
struct Elements(String);

impl Elements {
    fn push(&mut self, element: &str) {
        self.0.push(if self.0.is_empty() { '[' } else { ',' });
        self.0.push_str(element);
    }

    /// The elements of a list; anything else is one element, a text.
    fn extend(&mut self, output: &str) {
        let before = self.0.len();
        let mut reading = serde_json::Deserializer::from_str(output);
        let read = (&mut reading).deserialize_seq(&mut *self);
        if read.and_then(|()| reading.end()).is_err() {
            self.0.truncate(before);
            self.push(&serde_json::to_string(output).unwrap_or_default());
        }
    }

    fn close(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('[');
        }
        self.0.push(']');
        self.0
    }
}

impl<'de> Visitor<'de> for &mut Elements {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element::<&RawValue>()? {
            self.push(element.get());
        }
        Ok(())
    }
}

impl FailMode {
    /// As stored and as written in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BestEffort => "best_effort",
            Self::FailFast => "fail_fast",
        }
    }

    /// From what is stored or asked for.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::BestEffort, Self::FailFast].into_iter().find(|mode| mode.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(merge: Merge, outputs: &[&str]) -> String {
        merge.merge(&outputs.iter().map(|output| (*output).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn outputs_are_put_together_in_order() {
        assert_eq!(merged(Merge::Concat, &["one", "two\n", ""]), "one\ntwo\n\n");
        assert_eq!(merged(Merge::Concat, &[]), "");
        assert_eq!(merged(Merge::Flatten, &[]), "[]");
    }

    #[test]
    fn lists_are_flattened_and_what_is_no_list_is_a_text() {
        let outputs = [" [1, 2.50, {\"a\": [3]}] ", "plain \"text\"", "[]", "7", "[1,", "[[8]]"];
        let flat = "[1,2.50,{\"a\": [3]},\"plain \\\"text\\\"\",\"7\",\"[1,\",[8]]";
        assert_eq!(merged(Merge::Flatten, &outputs), flat);
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        assert!(State::ALL.into_iter().all(|state| State::from_name(state.name()) == Some(state)));
        assert_eq!(Merge::from_name("flatten"), Some(Merge::Flatten));
        assert_eq!(FailMode::from_name("fail_fast"), Some(FailMode::FailFast));
        assert_eq!((Merge::from_name("zip"), FailMode::from_name("")), (None, None));
    }
}
