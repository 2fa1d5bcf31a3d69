//! How an attempt speaks to the coordinator.
//!
//! Guarantees: outputs are numbered from 1 without gaps, no frame is larger than the protocol allows, and
//! whoever reports waits while the outbox is full.

use std::sync::Arc;

use tokio_tungstenite::tungstenite::Message;
use types::id::AttemptId;
use types::island_protocol::{DELTAS_SINCE, FromIsland, MessageDelta, PROTOCOL_VERSION};

use crate::outbox::Outbox;
use crate::tally::Tally;

/// The most text in one frame, in bytes. Escaped as JSON it is at most six times as long.
const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// The most base64 of vectors in one frame, in bytes, if there is more than one.
const MAX_VECTOR_BYTES: usize = 1024 * 1024;

/// The session this attempt belonged to has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// A message as a frame.
pub(crate) fn frame(message: &FromIsland) -> Message {
    // The message types have nothing that JSON cannot say, so this does not fail.
    Message::text(serde_json::to_string(message).unwrap_or_default())
}

/// An attempt's end of the session.
#[derive(Debug)]
pub(crate) struct Reporter {
    attempt_id: AttemptId,
    last_seq: u64,
    /// The version of the protocol that the coordinator understands.
    protocol: u32,
    outbox: Arc<Outbox>,
    tally: Arc<Tally>,
}

impl Reporter {
    pub(crate) const fn new(attempt_id: AttemptId, outbox: Arc<Outbox>, tally: Arc<Tally>) -> Self {
        Self { attempt_id, last_seq: 0, protocol: PROTOCOL_VERSION, outbox, tally }
    }

    /// The coordinator understands this version only.
    pub(crate) const fn speaks(&mut self, protocol: u32) {
        self.protocol = protocol;
    }

    /// Whether the coordinator takes answers that are no text and no image.
    pub(crate) const fn takes_deltas(&self) -> bool {
        self.protocol >= DELTAS_SINCE
    }

    /// Whose end this is.
    pub(crate) const fn attempt_id(&self) -> AttemptId {
        self.attempt_id
    }

    /// How many pieces of text were sent: about one token each.
    pub(crate) const fn pieces(&self) -> u64 {
        self.last_seq
    }

    /// Sends text; nothing if there is none.
    pub(crate) async fn output(&mut self, mut text: String) -> Result<(), Gone> {
        self.tally.said(text.len());
        while text.len() > MAX_CHUNK_BYTES {
            let border = (1..=MAX_CHUNK_BYTES).rev().find(|&border| text.is_char_boundary(border));
            let rest = text.split_off(border.unwrap_or(MAX_CHUNK_BYTES));
            self.output_chunk(text).await?;
            text = rest;
        }
        if text.is_empty() { Ok(()) } else { self.output_chunk(text).await }
    }

    async fn output_chunk(&mut self, chunk: String) -> Result<(), Gone> {
        self.last_seq += 1;
        self.send(&FromIsland::Output { attempt_id: self.attempt_id, seq: self.last_seq, chunk }).await
    }

    /// Sends a piece of an answer that is no text.
    pub(crate) async fn delta(&mut self, delta: MessageDelta) -> Result<(), Gone> {
        self.tally.said(delta.said_bytes());
        self.last_seq += 1;
        self.send(&FromIsland::Delta { attempt_id: self.attempt_id, seq: self.last_seq, delta }).await
    }

    /// Sends vectors, as many of them in one frame as it may hold.
    pub(crate) async fn embeddings(&mut self, vectors: Vec<String>) -> Result<(), Gone> {
        let mut rest = vectors.into_iter().peekable();
        while rest.peek().is_some() {
            let mut bytes = 0;
            let mut vectors = Vec::new();
            while let Some(vector) =
                rest.next_if(|next| vectors.is_empty() || bytes + next.len() <= MAX_VECTOR_BYTES)
            {
                bytes += vector.len();
                vectors.push(vector);
            }
            self.last_seq += 1;
            let (attempt_id, seq) = (self.attempt_id, self.last_seq);
            self.send(&FromIsland::Embeddings { attempt_id, seq, vectors }).await?;
        }
        Ok(())
    }

    /// Says how far an image has come.
    pub(crate) async fn progress(&self, step: u32, total: u32) -> Result<(), Gone> {
        self.send(&FromIsland::Progress { attempt_id: self.attempt_id, step, total }).await
    }

    /// Sends any message of this attempt.
    pub(crate) async fn send(&self, message: &FromIsland) -> Result<(), Gone> {
        self.outbox.push(message).await
    }
}

#[cfg(test)]
mod tests {
    use types::id::Id;

    use super::*;
    use crate::cost::Speeds;

    #[tokio::test]
    async fn many_vectors_go_in_several_frames() {
        let outbox = Arc::new(Outbox::new(true));
        let mut reporter =
            Reporter::new(AttemptId::from_i64(1), Arc::clone(&outbox), Arc::new(Tally::new(Speeds::new())));
        let all: Vec<String> = (0..5).map(|number| number.to_string().repeat(MAX_VECTOR_BYTES / 2)).collect();
        reporter.embeddings(all.clone()).await.unwrap();
        let (mut found, mut expected_seq) = (Vec::new(), 1);
        while let Some(frame) = outbox.next() {
            let Ok(FromIsland::Embeddings { seq, vectors, .. }) =
                serde_json::from_str(frame.to_text().unwrap())
            else {
                panic!("no vectors");
            };
            assert_eq!(seq, expected_seq);
            expected_seq += 1;
            found.extend(vectors);
        }
        assert!(found == all && expected_seq == 4, "{} in {expected_seq}", found.len());
    }

    #[tokio::test]
    async fn long_texts_are_cut_between_characters() {
        let outbox = Arc::new(Outbox::new(true));
        let tally = Arc::new(Tally::new(Speeds::new()));
        let mut reporter = Reporter::new(AttemptId::from_i64(1), Arc::clone(&outbox), tally);
        let text = format!("a{}", "€".repeat(100_000));
        reporter.output(text.clone()).await.unwrap();
        reporter.output(String::new()).await.unwrap();
        let (mut whole, mut expected_seq) = (String::new(), 1);
        while let Some(frame) = outbox.next() {
            let Ok(FromIsland::Output { seq, chunk, .. }) = serde_json::from_str(frame.to_text().unwrap())
            else {
                panic!("not an output: {frame}");
            };
            assert_eq!(seq, expected_seq);
            assert!(!chunk.is_empty() && chunk.len() <= MAX_CHUNK_BYTES);
            whole.push_str(&chunk);
            expected_seq += 1;
        }
        assert_eq!(whole, text);
        assert_eq!(expected_seq, 6);
    }
}
