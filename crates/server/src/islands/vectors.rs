//! The vectors of texts, as an Island sends them and as they become the output of a job: one JSON document, written piece by
//! piece, so that it is stored, streamed and bounded like any text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::attempts::End;
use crate::config::WorkloadKind;
use crate::jobs::live::{LiveJob, TooMuch};

/// Vectors may take so many times the room of a text: a number takes eleven letters or so.
const ROOM: usize = 4;
/// Most numbers of one vector.
const MAX_DIMENSIONS: usize = 65_536;

/// What has come of the vectors of an attempt.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    count: i64,
    /// How many numbers each has.
    dimensions: usize,
}

impl Vectors {
    /// Takes the next vectors. Out of order, uneven, more than texts, or of what is no number, they are no answer.
    pub fn take(&mut self, live: &LiveJob, in_order: bool, vectors: &[String], most: usize) -> Option<End> {
        if !in_order {
            return Some(End::Malformed);
        }
        if live.is_cancelled() {
            return None;
        }
        let mut text = String::new();
        for vector in vectors {
            let Some(numbers) = unpack(vector).filter(|_| self.count < live.request.texts) else {
                return Some(End::Malformed);
            };
            if self.count == 0 {
                self.dimensions = numbers.len();
            }
            if numbers.len() != self.dimensions {
                return Some(End::Malformed);
            }
            text.push_str(if self.count == 0 { r#"{"object":"list","data":["# } else { "," });
            text.push_str(&format!(r#"{{"object":"embedding","index":{},"embedding":"#, self.count));
            text.push_str(&serde_json::to_string(&numbers).unwrap_or_default());
            text.push('}');
            self.count += 1;
        }
        live.push_text(&text, most.saturating_mul(ROOM)).err().map(|TooMuch| End::TooMuch)
    }

    /// What the end of an attempt is: with fewer vectors than texts it is not done.
    pub fn finish(&self, live: &LiveJob, end: End, most: usize) -> End {
        let done = matches!(end, End::Done { .. }) && live.workload.kind == WorkloadKind::Embedding;
        if !done || live.is_cancelled() || self.count == 0 {
            return end;
        }
        if self.count != live.request.texts {
            return End::Malformed;
        }
        live.push_text("]}", most.saturating_mul(ROOM)).map_or(End::TooMuch, |()| end)
    }
}

/// The numbers of a vector, if it is one: at least one, and all finite.
fn unpack(vector: &str) -> Option<Vec<f32>> {
    let bytes = STANDARD.decode(vector).ok()?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|&four| f32::from_le_bytes(four)).collect();
    let fine = rest.is_empty()
        && (1..=MAX_DIMENSIONS).contains(&numbers.len())
        && numbers.iter().all(|number| number.is_finite());
    fine.then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finite_numbers_are_a_vector() {
        let pack = |numbers: &[f32]| {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            STANDARD.encode(bytes)
        };
        let numbers = [0.1_f32, -1.5, 3.402_823_5e38, 1e-40];
        assert_eq!(unpack(&pack(&numbers)), Some(numbers.to_vec()));
        // Written as JSON and read again they are the same: clients that ask for base64 get what the Island sent.
        let text = serde_json::to_string(&numbers).unwrap();
        assert_eq!(serde_json::from_str::<Vec<f32>>(&text).unwrap(), numbers);
        for vector in
            [pack(&[]), pack(&[f32::NAN]), pack(&[f32::INFINITY]), "AAA=".to_owned(), "no".to_owned()]
        {
            assert_eq!(unpack(&vector), None, "{vector}");
        }
    }
}
