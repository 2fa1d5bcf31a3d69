//! How an attempt speaks to the coordinator.
//!
//! Guarantees: outputs are numbered from 1 without gaps, no frame is larger than the protocol allows, and
//! whoever reports waits while the connection is slower than the backend.

use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use types::id::AttemptId;
use types::island_protocol::FromIsland;

/// The most text in one frame, in bytes. Escaped as JSON it is at most six times as long.
const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// The connection this attempt belonged to has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// A message as a frame.
pub(crate) fn frame(message: &FromIsland) -> Message {
    // The message types have nothing that JSON cannot say, so this does not fail.
    Message::text(serde_json::to_string(message).unwrap_or_default())
}

/// An attempt's end of the connection.
#[derive(Debug)]
pub(crate) struct Reporter {
    attempt_id: AttemptId,
    last_seq: u64,
    frames: mpsc::Sender<Message>,
}

impl Reporter {
    pub(crate) const fn new(attempt_id: AttemptId, frames: mpsc::Sender<Message>) -> Self {
        Self { attempt_id, last_seq: 0, frames }
    }

    /// Whose end this is.
    pub(crate) const fn attempt_id(&self) -> AttemptId {
        self.attempt_id
    }

    /// Sends text; nothing if there is none.
    pub(crate) async fn output(&mut self, mut text: String) -> Result<(), Gone> {
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
        self.frames.send(frame(message)).await.map_err(|_| Gone)
    }
}

#[cfg(test)]
mod tests {
    use types::id::Id;

    use super::*;

    #[tokio::test]
    async fn long_texts_are_cut_between_characters() {
        let (frames, mut sent) = mpsc::channel(100);
        let mut reporter = Reporter::new(AttemptId::from_i64(1), frames);
        let text = format!("a{}", "€".repeat(100_000));
        reporter.output(text.clone()).await.unwrap();
        reporter.output(String::new()).await.unwrap();
        drop(reporter);
        let (mut whole, mut expected_seq) = (String::new(), 1);
        while let Some(frame) = sent.recv().await {
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
