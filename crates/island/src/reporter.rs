//! How an attempt speaks to the coordinator.
//!
//! Guarantees: outputs are numbered from 1 without gaps, no frame is larger than the protocol allows, and
//! whoever reports waits while the outbox is full.

use std::sync::Arc;

use tokio_tungstenite::tungstenite::Message;
use types::id::AttemptId;
use types::island_protocol::FromIsland;

use crate::outbox::Outbox;
use crate::tally::Tally;

/// The most text in one frame, in bytes. Escaped as JSON it is at most six times as long.
const MAX_CHUNK_BYTES: usize = 64 * 1024;

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
    outbox: Arc<Outbox>,
    tally: Arc<Tally>,
}

impl Reporter {
    pub(crate) const fn new(attempt_id: AttemptId, outbox: Arc<Outbox>, tally: Arc<Tally>) -> Self {
        Self { attempt_id, last_seq: 0, outbox, tally }
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
