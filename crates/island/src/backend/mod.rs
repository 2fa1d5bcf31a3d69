//! What does the work. A backend answers one attempt at a time through a [`Reporter`], and may be dropped at
//! any await: that is how an attempt is cancelled.

use serde_json::value::RawValue;
use types::island_protocol::ReportedUsage;

use crate::config::{BackendKind, ConfigError, Endpoint};
use crate::reporter::{Gone, Reporter};

mod demo;
mod demo_picture;
mod input;
mod openai;

pub(crate) use openai::{error_chain, is_loopback, read_limited};

/// A backend, ready to work.
#[derive(Debug)]
pub(crate) enum Backend {
    /// A server that speaks the `OpenAI` API.
    OpenAi(Box<openai::OpenAi>),
    /// No model at all, and it says so.
    Demo(demo::Demo),
}

/// One thing to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work<'a> {
    /// What kind of answer is wanted.
    pub(crate) endpoint: Endpoint,
    /// The model, as the backend calls it.
    pub(crate) model: &'a str,
    /// What the consumer asked for.
    pub(crate) input: &'a RawValue,
}

/// An attempt that is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Finished {
    /// What the backend counted.
    pub(crate) usage: Option<ReportedUsage>,
    /// Why the text ended.
    pub(crate) finish_reason: Option<String>,
}

/// An attempt that is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// A sentence for the consumer; no secrets, no addresses.
    pub(crate) sentence: String,
    /// Whether another Island could do better.
    pub(crate) retryable: bool,
    /// Whether the backend itself is well: it understood what it was asked, and said no.
    pub(crate) backend_is_well: bool,
}

/// Why a backend stopped early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It failed.
    Failed(Failure),
    /// The coordinator called it off.
    Cancelled,
    /// The connection to the coordinator is gone, and with it everybody who wanted the answer.
    Gone,
}

impl From<Gone> for Stopped {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl Failure {
    /// Another Island could do better.
    pub(crate) fn retryable(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), retryable: true, backend_is_well: false }
    }

    /// The input itself is at fault.
    pub(crate) fn input(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), retryable: false, backend_is_well: true }
    }

    /// The input asks for more than this backend has; another may have it.
    pub(crate) fn too_much_here(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), retryable: true, backend_is_well: true }
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a coordinator too old for an answer makes of an attempt.
fn too_old(what: &str) -> Failure {
    Failure {
        backend_is_well: true,
        ..Failure::retryable(format!("This network's coordinator is too old for {what}."))
    }
}

/// A vector as it travels: its numbers, little-endian, in base64.
fn packed(vector: &[f32]) -> String {
    use base64::Engine as _;
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

impl Backend {
    /// Makes the backend that a configuration describes; `key` is where it stands there, and `slots` how many
    /// requests it will get at once.
    pub(crate) fn new(key: &str, kind: &BackendKind, slots: usize) -> Result<Self, ConfigError> {
        match kind {
            BackendKind::OpenAi { .. } => {
                openai::OpenAi::new(key, kind, slots).map(|backend| Self::OpenAi(Box::new(backend)))
            }
            BackendKind::Demo { delay_ms } => Ok(Self::Demo(demo::Demo::new(*delay_ms))),
        }
    }

    /// Where it is, without secrets; `None` if it is in here.
    pub(crate) fn label(&self) -> Option<String> {
        match self {
            Self::OpenAi(backend) => Some(backend.label()),
            Self::Demo(_) => None,
        }
    }

    /// Whether there is no server behind it that could be away.
    pub(crate) const fn is_own(&self) -> bool {
        matches!(self, Self::Demo(_))
    }

    /// Whether it answers, and the models it lists, if it lists any.
    ///
    /// # Errors
    /// What is wrong, to be read after its name; for the owner only.
    pub(crate) async fn probe(&self) -> Result<Option<Vec<String>>, String> {
        match self {
            Self::OpenAi(backend) => backend.probe().await,
            Self::Demo(_) => Ok(None),
        }
    }

    /// Does the work and reports it piece by piece.
    pub(crate) async fn run(&self, work: Work<'_>, reporter: &mut Reporter) -> Result<Finished, Stopped> {
        match (self, work.endpoint) {
            (Self::OpenAi(backend), Endpoint::Chat) => backend.chat(work, reporter).await,
            (Self::OpenAi(backend), Endpoint::Images) => backend.image(work, reporter).await,
            (Self::OpenAi(backend), Endpoint::Embeddings) => backend.embed(work, reporter).await,
            (Self::Demo(backend), Endpoint::Chat) => backend.chat(work, reporter).await,
            (Self::Demo(backend), Endpoint::Images) => backend.image(work, reporter).await,
            (Self::Demo(backend), Endpoint::Embeddings) => backend.embed(work, reporter).await,
        }
    }
}
