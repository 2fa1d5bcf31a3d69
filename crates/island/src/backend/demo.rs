//! Answers without a model, for trying out a network.
//!
//! Guarantees: every text says at its very beginning, and every image in large letters, that it is a demo; the same
//! question gets the same answer. Vectors have no room for words: that no model made them is said of the Island and
//! where they are described, and each begins with the same numbers, which no model would give.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use types::island_protocol::{FromIsland, ReportedUsage};

use super::demo_picture::{self, MAX_SIDE};
use super::input::{ChatInput, EmbeddingInput, ImageInput};
use super::{Failure, Finished, Stopped, Work, packed, too_old};
use crate::reporter::Reporter;

/// What every text begins with.
const LABEL: &str = "[demo island] No model ran for this answer; it shows that the network works.";
/// How much of the question is quoted, in characters.
const QUOTE_CHARS: usize = 160;
/// The most pieces an answer is sent in.
const MAX_PIECES: usize = 60;
/// The most steps an image pretends to take.
const MAX_STEPS: u32 = 50;
/// Numbers of a vector when it is not said how many, and at most.
const DIMENSIONS: u32 = 64;
const MAX_DIMENSIONS: u32 = 4096;
/// The steps of an image that names none.
const STEPS: u32 = 10;

const REMARKS: [&str; 4] = [
    "A real Island would have asked its model now.",
    "An Island with a model would have had more to say.",
    "Behind another Island there could be a model of any size.",
    "Whoever runs this Island can put a model behind it.",
];

/// The backend that has no model.
#[derive(Debug)]
pub(crate) struct Demo {
    delay: Duration,
}

impl Demo {
    pub(super) const fn new(delay_ms: u64) -> Self {
        Self { delay: Duration::from_millis(delay_ms) }
    }

    /// Answers with text, word by word.
    pub(super) async fn chat(&self, work: Work<'_>, reporter: &mut Reporter) -> Result<Finished, Stopped> {
        let input = ChatInput::read(work.input)?;
        let question = input.question();
        let answer = answer(&question);
        let words: Vec<&str> = answer.split_inclusive(' ').collect();
        let allowed =
            input.max_tokens().and_then(|tokens| usize::try_from(tokens).ok()).unwrap_or(usize::MAX);
        let said = &words[..words.len().min(allowed)];
        for piece in said.chunks(words.len().div_ceil(MAX_PIECES)) {
            self.pause().await;
            reporter.output(piece.concat()).await?;
        }
        let count = |words: usize| u64::try_from(words).ok();
        let usage = ReportedUsage {
            prompt_tokens: count(question.split_whitespace().count()),
            completion_tokens: count(said.len()),
        };
        let finish_reason = if said.len() < words.len() { "length" } else { "stop" };
        Ok(Finished { usage: Some(usage), finish_reason: Some(finish_reason.to_owned()) })
    }

    /// Draws an image of the wanted size.
    pub(super) async fn image(&self, work: Work<'_>, reporter: &mut Reporter) -> Result<Finished, Stopped> {
        let input = ImageInput::read(work.input)?;
        let (width, height) = (input.width, input.height);
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(
                Failure::input(format!("The demo draws images of 1 to {MAX_SIDE} pixels a side.")).into()
            );
        }
        let total = input.steps.unwrap_or(STEPS).clamp(1, MAX_STEPS);
        reporter.progress(0, total).await?;
        for step in 1..=total {
            self.pause().await;
            reporter.progress(step, total).await?;
        }
        let seed = input.seed.unwrap_or_else(|| fingerprint(&input.prompt) >> 32);
        let pattern = fingerprint(&format!("{seed} {}", input.prompt));
        let draw = move || Some(STANDARD.encode(demo_picture::draw(width, height, pattern).ok()?));
        // Seconds for the largest: not on a thread that others wait for.
        let drawn = tokio::task::spawn_blocking(draw).await.ok().flatten();
        let image_data = drawn.ok_or_else(|| Failure::retryable("The demo image could not be drawn."))?;
        let (attempt_id, format) = (reporter.attempt_id(), "png".to_owned());
        reporter
            .send(&FromIsland::Image { attempt_id, image_data, format, width, height, seed: Some(seed) })
            .await?;
        Ok(Finished::default())
    }

    /// Vectors made of nothing but the letters of the texts.
    pub(super) async fn embed(&self, work: Work<'_>, reporter: &mut Reporter) -> Result<Finished, Stopped> {
        let input = EmbeddingInput::read(work.input)?;
        if !reporter.takes_deltas() {
            return Err(too_old("vectors").into());
        }
        let dimensions = input.dimensions.unwrap_or(DIMENSIONS).clamp(1, MAX_DIMENSIONS);
        self.pause().await;
        let vectors = input.input.all().iter().map(|text| packed(&vector(text, dimensions))).collect();
        reporter.embeddings(vectors).await?;
        let words = input.input.all().iter().map(|text| text.split_whitespace().count()).sum::<usize>();
        let usage = ReportedUsage { prompt_tokens: u64::try_from(words).ok(), completion_tokens: Some(0) };
        Ok(Finished { usage: Some(usage), finish_reason: None })
    }

    async fn pause(&self) {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
    }
}

/// The same for the same question, and different for another.
fn answer(question: &str) -> String {
    let mark = fingerprint(question);
    let words = question.split_whitespace().count();
    let mut quote: String = question.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = quote.char_indices().nth(QUOTE_CHARS) {
        quote.truncate(cut);
        quote.push('…');
    }
    let remark = usize::try_from(mark % 4).ok().and_then(|index| REMARKS.get(index)).unwrap_or(&REMARKS[0]);
    format!("{LABEL} You wrote {words} words: “{quote}” Their fingerprint is {mark:016x}. {remark}")
}

/// The same for the same text. Its first numbers are those of every demo vector; the others lie on a grid from -1 to 1.
fn vector(text: &str, dimensions: u32) -> Vec<f32> {
    let mut mark = fingerprint(text);
    let mut numbers = Vec::new();
    for place in 0..dimensions {
        // A step of a well-known generator: enough to tell texts apart.
        mark = mark.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = i8::from_le_bytes([mark.to_le_bytes()[7]]);
        numbers.push(if place < 2 { 1.0 } else { f32::from(number) / 128.0 });
    }
    numbers
}

/// FNV-1a: short, and the same on every machine.
fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_labelled_and_come_in_some_pieces() {
        for question in ["", "Hi", &"word ".repeat(500), &"ü".repeat(5000)] {
            let text = answer(question);
            assert!(text.starts_with("[demo island] No model ran"), "{text}");
            let words = text.split_inclusive(' ').count();
            let pieces = words.div_ceil(words.div_ceil(MAX_PIECES));
            assert!((20..=MAX_PIECES).contains(&pieces), "{pieces} for {question:?}");
            assert_eq!(text, answer(question));
        }
        assert_ne!(answer("a"), answer("b"));
    }

    #[test]
    fn vectors_are_the_same_for_the_same_text() {
        assert_eq!(vector("a", 64), vector("a", 64));
        assert_ne!(vector("a", 64), vector("b", 64));
        assert_eq!(vector("a", 8)[..2], [1.0, 1.0]);
        assert!(vector("a", 4096).iter().all(|number| (-1.0..=1.0).contains(number)));
    }
}
