//! Messages between an Island and its coordinator: JSON text frames over one WebSocket, one message a frame, an
//! object whose only key is the message's name: `{"output":{"attempt_id":"att_…","seq":1,"chunk":"Hi"}}`. Field names follow those of the existing public agent where it has them
//! (`seq`, `chunk`, `step`/`total`, `image_data`, `lease_expires`), so that a bridge to it stays thin.
//!
//! The conversation: the Island connects with its token as a bearer, says [`FromIsland::Hello`], and is
//! answered by [`ToIsland::Welcome`] or [`ToIsland::Refused`]. From then on the coordinator assigns attempts and the
//! Island answers each with any number of outputs and exactly one of `done`, `failed`, `rejected`. All
//! messages of an attempt travel in order on the one connection.
//!
//! **Versions.** The Island names the newest version it speaks; the coordinator answers with the version both will
//! speak, from [`OLDEST_PROTOCOL`] to [`PROTOCOL_VERSION`], and refuses an older one. Unknown
//! fields are ignored on both sides; an unknown message type is ignored by the Island and
//! counted against it by the coordinator.
//!
//! **Resumption** (from version 2). A connection may break while attempts run. The messages of an Island about attempts
//! (`output`, `progress`, `image`, `done`, `failed`, `rejected`) are numbered in the order in which they are sent, from 1,
//! over the whole *session*, which may outlive its connection by as long as a lease. The coordinator tells with
//! [`ToIsland::Received`] how many it has; the Island keeps what comes after. It reconnects with the session's name in
//! `hello`; the `welcome` says whether the session goes on and how many messages had arrived; the Island sends the rest
//! again, in order, and then goes on. So no output is lost and none is taken twice. If the session is over, or the
//! coordinator does not know it, everything that ran in it is given up on both sides.
//!
//! **More than text** (from version 3). Where a model calls tools, refuses, or shows how it came to its answer, those pieces travel as
//! [`FromIsland::Delta`]; the vectors of texts as [`FromIsland::Embeddings`]. Both are numbered messages, and share the
//! `seq` of `output`. To a coordinator of an older version an Island does not say them; an Island of an older version serves chats
//! as before, and what its model does beyond text is lost there.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::id::{AttemptId, IslandId, JobId};
use crate::money::MicroCredits;

/// The newest version spoken here.
pub const PROTOCOL_VERSION: u32 = 3;

/// The version from which an Island may say [`FromIsland::Delta`] and [`FromIsland::Embeddings`].
pub const DELTAS_SINCE: u32 = 3;

/// The oldest version still understood: without sessions and resumption.
pub const OLDEST_PROTOCOL: u32 = 1;

/// The coordinator acknowledges at least after this many numbered messages, and with every heartbeat.
pub const RECEIVED_EVERY: u64 = 64;

/// The most models one offer may name.
pub const MAX_MODELS: usize = 8;

/// The largest frame either side may send, in bytes. An image travels whole, as base64.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// The most Cargos one Island may offer.
pub const MAX_OFFERS: usize = 256;

/// The most slots one Island may offer for a Cargo.
pub const MAX_SLOTS: u32 = 10_000;

/// What an Island says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromIsland {
    /// The first message.
    Hello {
        /// The protocol version it speaks.
        protocol: u32,
        /// The agent's own version.
        agent_version: String,
        /// What the machine is.
        #[serde(default)]
        capabilities: Capabilities,
        /// The Cargos it serves.
        offers: Vec<Offer>,
        /// The session that broke off and is to go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// With `session`: the attempts still in work, or whose end was not acknowledged.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        running: Vec<AttemptId>,
    },
    /// Replaces all offers: an ask changed, or Cargos and slots came or went. Running attempts keep the price they
    /// were matched at.
    Offers {
        /// The Cargos it serves from now on.
        offers: Vec<Offer>,
    },
    /// Sent at least every [`ToIsland::Welcome::heartbeat_secs`]. Renews the lease of each attempt it lists.
    Heartbeat {
        /// Attempts in work.
        running: Vec<AttemptId>,
    },
    /// A piece of text.
    Output {
        /// Which attempt.
        attempt_id: AttemptId,
        /// From 1, without gaps.
        seq: u64,
        /// The text.
        chunk: String,
    },
    /// From version 3: a piece of an answer that is no text.
    Delta {
        /// Which attempt.
        attempt_id: AttemptId,
        /// Counted together with `output`.
        seq: u64,
        /// The piece.
        delta: MessageDelta,
    },
    /// From version 3: the vectors of some texts, in the order of the texts; the next message has those that follow.
    Embeddings {
        /// Which attempt.
        attempt_id: AttemptId,
        /// Counted together with `output`.
        seq: u64,
        /// Each vector as its numbers (32 bits, little-endian) in base64, which is short and exact.
        vectors: Vec<String>,
    },
    /// How far an image has come.
    Progress {
        /// Which attempt.
        attempt_id: AttemptId,
        /// Steps done.
        step: u32,
        /// Steps in all.
        total: u32,
    },
    /// A finished image.
    Image {
        /// Which attempt.
        attempt_id: AttemptId,
        /// The file, in base64.
        image_data: String,
        /// `png`, `jpeg` or `webp`.
        format: String,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// The seed it was made from, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seed: Option<u64>,
    },
    /// The attempt is complete.
    Done {
        /// Which attempt.
        attempt_id: AttemptId,
        /// What the backend counted. It can lower a charge, never raise it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<ReportedUsage>,
        /// Why the text ended: `stop`, `length`, …
        #[serde(default, skip_serializing_if = "Option::is_none")]
        finish_reason: Option<String>,
    },
    /// The attempt failed, was cancelled, or was cut short.
    Failed {
        /// Which attempt.
        attempt_id: AttemptId,
        /// A sentence for the consumer; no secrets, no paths.
        error: String,
        /// Whether another Island could do better. False when the input itself is at fault.
        #[serde(default = "yes")]
        retryable: bool,
    },
    /// The attempt was not begun (no free slot, draining, unknown Cargo).
    Rejected {
        /// Which attempt.
        attempt_id: AttemptId,
        /// Why.
        reason: String,
    },
    /// No new work, please; what runs will be finished. The Island leaves the book at once.
    Draining {},
}

/// What the coordinator says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToIsland {
    /// The Island is known and in the book.
    Welcome {
        /// The protocol version both will speak.
        protocol: u32,
        /// Who the Island is.
        island_id: IslandId,
        /// Its name, as the owner gave it.
        name: String,
        /// Send a heartbeat at least this often.
        heartbeat_secs: u32,
        /// An attempt not renewed for this long is given up.
        lease_secs: u32,
        /// Offers that were not taken into the book, with the reason; empty when all were.
        #[serde(default)]
        refused_offers: Vec<RefusedOffer>,
        /// The name of this session: a secret, to be named when reconnecting. Nothing in version 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// Whether the session named in `hello` goes on. If not, everything that ran is to be given up.
        #[serde(default)]
        resumed: bool,
        /// How many numbered messages of the session have arrived.
        #[serde(default)]
        received: u64,
    },
    /// From version 2: how many numbered messages of the session have arrived.
    Received {
        /// That many.
        messages: u64,
        /// What the Island did today, as the coordinator counts; at least once a minute while it changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        today: Option<Today>,
    },
    /// The connection is not wanted; it closes after this.
    Refused {
        /// `unsupported_protocol`, `replaced`, `suspended`, `not_approved`, `revoked`, `too_many_messages`,
        /// `too_many_connections`, `too_slow`, `bad_message`.
        code: String,
        /// A sentence for the owner.
        message: String,
        /// Whether connecting again can help.
        retry: bool,
    },
    /// New offers were taken.
    OffersTaken {
        /// Those that were not, with the reason.
        #[serde(default)]
        refused_offers: Vec<RefusedOffer>,
    },
    /// Run this.
    Assign {
        /// The attempt.
        attempt_id: AttemptId,
        /// The job it belongs to.
        job_id: JobId,
        /// The Cargo's slug.
        workload: String,
        /// What the consumer asked for, as validated by the coordinator.
        input: Box<RawValue>,
        /// Until when the attempt is the Island's, in Unix milliseconds; heartbeats move it.
        lease_expires: i64,
        /// The most that the Island's owner earns by it.
        earns: MicroCredits,
        /// The model the consumer asked for, one of those offered; otherwise the Island chooses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// Stop this attempt and answer `failed`.
    Cancel {
        /// The attempt.
        attempt_id: AttemptId,
    },
}

/// A piece of a model's message that is no text, in the shape of the `OpenAI` API's stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageDelta {
    /// Pieces of calls of tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallDelta>,
    /// A piece of a refusal to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// A piece of how the model came to its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
}

/// A piece of a call of a tool. Pieces with the same index belong together: texts are put behind each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCallDelta {
    /// Which call of the message, from 0.
    pub index: u32,
    /// The name of the call, to which the tool's answer refers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `function`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionDelta>,
}

/// A piece of what is called, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionDelta {
    /// The function's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A piece of its arguments, which are JSON when complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
}

impl MessageDelta {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The bytes of what the model itself said: names of functions, arguments, and texts.
    #[must_use]
    pub fn said_bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let functions = self.tool_calls.iter().filter_map(|call| call.function.as_ref());
        let called = functions.map(|function| length(&function.name) + length(&function.arguments));
        called.sum::<usize>() + length(&self.refusal) + length(&self.reasoning_content)
    }
}

/// One Cargo an Island serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The Cargo's slug.
    pub workload: String,
    /// The asking price: a decimal string, credits per unit of the Cargo.
    pub ask: String,
    /// How many attempts it runs at once.
    pub slots: u32,
    /// The models it can be served with, the usual one first. Consumers can ask for one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
}

/// What an Island did since midnight (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Today {
    /// Attempts that were paid.
    pub jobs: u64,
    /// What its owner earned by them.
    pub earned: MicroCredits,
}

/// An offer that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedOffer {
    /// The Cargo's slug.
    pub workload: String,
    /// Why, as a sentence.
    pub reason: String,
}

/// What a machine is. All optional, all for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The graphics card.
    #[serde(default)]
    pub gpu_model: Option<String>,
    /// Its memory, in MiB.
    #[serde(default)]
    pub gpu_vram_mb: Option<u32>,
    /// Processor cores.
    #[serde(default)]
    pub cpu_cores: Option<u32>,
    /// Memory, in MiB.
    #[serde(default)]
    pub ram_mb: Option<u32>,
    /// Where it stands, such as `eu-west`.
    #[serde(default)]
    pub region: Option<String>,
}

/// Tokens as counted by a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedUsage {
    /// Tokens of the prompt.
    #[serde(default)]
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer.
    #[serde(default)]
    pub completion_tokens: Option<u64>,
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    #[test]
    fn messages_look_as_documented() {
        let attempt_id = AttemptId::from_i64(1);
        let output = FromIsland::Output { attempt_id, seq: 1, chunk: "a\"b".into() };
        let text = serde_json::to_string(&output).unwrap();
        assert_eq!(text, r#"{"output":{"attempt_id":"att_0000000000001","seq":1,"chunk":"a\"b"}}"#);
        assert!(matches!(serde_json::from_str(&text), Ok(FromIsland::Output { seq: 1, .. })));

        let calls = r#"{"delta":{"attempt_id":"att_0000000000001","seq":2,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"tell","arguments":"{\"a\""}}]}}}"#;
        let Ok(FromIsland::Delta { delta, .. }) = serde_json::from_str(calls) else { panic!("{calls}") };
        assert_eq!(delta.said_bytes(), "tell".len() + "{\"a\"".len());
        assert_eq!(serde_json::to_string(&FromIsland::Delta { attempt_id, seq: 2, delta }).unwrap(), calls);
        assert!(MessageDelta::default().is_empty());

        let failed = r#"{"failed":{"attempt_id":"att_0000000000001","error":"no","extra":1}}"#;
        assert!(matches!(serde_json::from_str(failed), Ok(FromIsland::Failed { retryable: true, .. })));

        let assign = ToIsland::Assign {
            attempt_id,
            job_id: JobId::from_i64(2),
            workload: "llm-chat".to_owned(),
            input: RawValue::from_string(r#"{"prompt":"hi"}"#.to_owned()).unwrap(),
            lease_expires: 5,
            earns: MicroCredits::new(1_800_000),
            model: None,
        };
        let text = serde_json::to_string(&assign).unwrap();
        assert!(text.contains(r#""earns":1.8}"#), "{text}");
        assert!(matches!(
            serde_json::from_str(&text),
            Ok(ToIsland::Assign { earns, input, .. }) if earns == MicroCredits::new(1_800_000) && input.get().len() == 15
        ));
        assert!(serde_json::from_str::<FromIsland>(r#"{"draining":{}}"#).is_ok());
        assert!(serde_json::from_str::<FromIsland>(r#"{"sing":{}}"#).is_err());
    }
}
