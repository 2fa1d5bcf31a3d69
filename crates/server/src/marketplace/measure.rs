//! How much of a Cargo a job takes: at most, known before it is matched, and in the end, by what was delivered.
//!
//! The coordinator counts. A token is a stated number of bytes of text (`bytes_per_token` of the Cargo), the last one
//! begun counting as whole: that can be checked by anybody who has the text, costs nothing, and no Island can raise it. What an
//! Island reports can lower it (incident 92). One ask prices both directions: a prompt token costs the Cargo's
//! `prompt_percent` of a token of the answer, so that the Island with the lower ask is the cheaper one for every job (I10).

use types::money::MicroCredits;
use types::units::Units;

use crate::jobs::{Ending, Usage};

/// How the jobs of a Cargo are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A request is one unit, whatever it takes.
    Request,
    /// A thousand tokens of the answer are one unit.
    Tokens {
        /// What a token of the prompt counts, in percent of one of the answer.
        prompt_percent: i64,
        /// Bytes that count as a token.
        bytes_per_token: i64,
        /// Tokens of the answer when the job does not say how many.
        answer_tokens: i64,
    },
    /// An image of so many pixels in so many steps is one unit; others count in proportion.
    Image {
        /// Pixels of an image that counts as one.
        pixels: i64,
        /// Steps of an image that counts as one.
        steps: i64,
    },
}

/// What a request asks for, as far as it decides what it can cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Bytes of text that go to the model.
    pub prompt_bytes: i64,
    /// Tokens of the answer at most, if it says so.
    pub max_tokens: Option<i64>,
    /// Pixels of the image.
    pub pixels: i64,
    /// Steps of the image.
    pub steps: i64,
    /// Texts whose vectors are wanted.
    pub texts: i64,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Bytes of output that the Island gave.
    pub relayed: usize,
    /// Bytes of them that went into the consumer's socket.
    pub delivered: usize,
    /// Pixels of the image, if one came.
    pub pixels: Option<i64>,
    /// What the Island says it counted.
    pub reported: Usage,
}

/// What is charged for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// How much of the Cargo.
    pub units: Units,
    /// Tokens, where anybody counted them.
    pub usage: Usage,
}

impl Measure {
    /// The most that a request can take.
    #[must_use]
    pub fn most(&self, request: &Request) -> Units {
        match *self {
            Self::Request => Units::ONE,
            Self::Tokens { .. } => {
                self.token_units(self.tokens(request.prompt_bytes), self.answer_limit(request))
            }
            Self::Image { .. } => self.image_units(request.pixels, request.steps),
        }
    }

    /// Tokens of the answer at most: as asked, or as usual for the Cargo. Nothing where tokens do not count.
    #[must_use]
    pub fn answer_limit(&self, request: &Request) -> i64 {
        match *self {
            Self::Tokens { answer_tokens, .. } => request.max_tokens.unwrap_or(answer_tokens),
            Self::Request | Self::Image { .. } => 0,
        }
    }

    /// What is charged for, by how the attempt ended. Nothing delivered is never charged (I6, incident 60).
    ///
    /// * A flat price: all of it when the attempt is complete; nothing when it broke, even half-way; when the
    ///   consumer cancels, all of it once any output reached the consumer (or everyone would read to the last word and cancel).
    /// * By tokens or images: what was given when it is complete; otherwise what had been delivered
    ///   into the consumer's socket. With any of an answer goes its whole prompt.
    /// * Nothing for an attempt that is void.
    #[must_use]
    pub fn bill(&self, request: &Request, ending: Ending, delivery: &Delivery) -> Bill {
        let bytes = match ending {
            Ending::Complete => delivery.relayed,
            Ending::Broken | Ending::CancelledByConsumer => delivery.delivered.min(delivery.relayed),
            Ending::Void => 0,
        };
        if bytes == 0 {
            return Bill::default();
        }
        // Of what broke off nobody knows how much the Island's count is about.
        let reported = if ending == Ending::Complete { delivery.reported } else { Usage::default() };
        match *self {
            Self::Request => Bill {
                units: if ending == Ending::Broken { Units::ZERO } else { Units::ONE },
                usage: bounded(reported, request.prompt_bytes, length(delivery.relayed)),
            },
            Self::Tokens { .. } => {
                let prompt = at_most(reported.prompt_tokens, self.tokens(request.prompt_bytes));
                let given = self.tokens(length(bytes)).min(self.answer_limit(request));
                let answer = at_most(reported.completion_tokens, given);
                Bill {
                    units: self.token_units(prompt, answer),
                    usage: Usage { prompt_tokens: Some(prompt), completion_tokens: Some(answer) },
                }
            }
            Self::Image { .. } => {
                let pixels = delivery.pixels.unwrap_or(0).min(request.pixels);
                Bill { units: self.image_units(pixels, request.steps), usage: Usage::default() }
            }
        }
    }

    /// Tokens that a text of so many bytes counts as.
    const fn tokens(&self, bytes: i64) -> i64 {
        match *self {
            Self::Tokens { bytes_per_token, .. } => (bytes + bytes_per_token - 1) / bytes_per_token,
            Self::Request | Self::Image { .. } => 0,
        }
    }

    fn token_units(&self, prompt: i64, answer: i64) -> Units {
        let Self::Tokens { prompt_percent, .. } = *self else { return Units::ZERO };
        // A thousand tokens of the answer are one unit, so one is a thousandth of it, and a percent of that 1/100,000.
        Units::from_parts(prompt.saturating_mul(prompt_percent).saturating_add(answer.saturating_mul(100)))
    }

    fn image_units(&self, pixels: i64, steps: i64) -> Units {
        let Self::Image { pixels: base_pixels, steps: base_steps } = *self else { return Units::ZERO };
        let wanted = i128::from(pixels) * i128::from(steps) * i128::from(Units::SCALE);
        let base = i128::from(base_pixels) * i128::from(base_steps);
        let parts = (wanted + base - 1) / base.max(1);
        Units::from_parts(i64::try_from(parts).unwrap_or(i64::MAX))
    }
}

/// What so much costs at an ask, never more than is held for it: nothing is held for work on one's own Island.
#[must_use]
pub fn cost(units: Units, ask: MicroCredits, held: MicroCredits) -> MicroCredits {
    units.cost(ask).map_or(held, |cost| cost.min(held))
}

fn at_most(reported: Option<i64>, counted: i64) -> i64 {
    reported.map_or(counted, |reported| reported.clamp(0, counted))
}

/// Counts for people where they decide no price. A token is at least one byte, so more tokens than bytes were never sent.
fn bounded(reported: Usage, prompt_bytes: i64, relayed_bytes: i64) -> Usage {
    let clamp = |count: Option<i64>, most: i64| count.map(|count| count.clamp(0, most));
    Usage {
        prompt_tokens: clamp(reported.prompt_tokens, prompt_bytes),
        completion_tokens: clamp(reported.completion_tokens, relayed_bytes),
    }
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Ending::{Broken, CancelledByConsumer, Complete, Void};

    const TOKENS: Measure = Measure::Tokens { prompt_percent: 25, bytes_per_token: 4, answer_tokens: 1000 };
    const IMAGE: Measure = Measure::Image { pixels: 1024 * 1024, steps: 30 };

    fn text(relayed: usize, delivered: usize, reported: Option<(i64, i64)>) -> Delivery {
        let reported = reported.map_or_else(Usage::default, |(prompt, completion)| Usage {
            prompt_tokens: Some(prompt),
            completion_tokens: Some(completion),
        });
        Delivery { relayed, delivered, pixels: None, reported }
    }

    #[test]
    fn incident_060_nothing_delivered_is_never_charged() {
        let cases = [
            (Complete, 5, 5, true),
            (Complete, 5, 0, true),
            (Complete, 0, 0, false),
            (Broken, 5, 5, false),
            (Broken, 0, 0, false),
            (CancelledByConsumer, 5, 5, true),
            (CancelledByConsumer, 5, 0, false),
            (CancelledByConsumer, 0, 0, false),
            (Void, 5, 5, false),
        ];
        for (ending, relayed, delivered, charged) in cases {
            let units =
                Measure::Request.bill(&Request::default(), ending, &text(relayed, delivered, None)).units;
            let expected = if charged { Units::ONE } else { Units::ZERO };
            assert_eq!(units, expected, "{ending:?} {relayed} {delivered}");
        }
        let request = Request { prompt_bytes: 4000, max_tokens: Some(10), ..Request::default() };
        for ending in [Complete, Broken, CancelledByConsumer, Void] {
            assert_eq!(TOKENS.bill(&request, ending, &text(0, 0, Some((1000, 10)))), Bill::default());
        }
    }

    #[test]
    fn tokens_are_charged_as_delivered_and_never_above_what_was_held() {
        let request = Request { prompt_bytes: 401, max_tokens: Some(100), ..Request::default() };
        // 101 tokens of the prompt at a quarter, 100 of the answer.
        assert_eq!(TOKENS.most(&request), Units::from_parts(101 * 25 + 100 * 100));
        let answer =
            |ending, delivery: &Delivery| TOKENS.bill(&request, ending, delivery).units.parts() - 101 * 25;
        assert_eq!(answer(Complete, &text(81, 0, None)), 21 * 100);
        assert_eq!(answer(Complete, &text(1_000_000, 0, None)), 100 * 100);
        assert_eq!(answer(Broken, &text(81, 40, None)), 10 * 100);
        assert_eq!(answer(CancelledByConsumer, &text(81, 41, None)), 11 * 100);
        assert_eq!(TOKENS.bill(&request, Broken, &text(81, 0, None)), Bill::default());
        let usual = Request { max_tokens: None, ..request };
        assert_eq!(TOKENS.most(&usual), Units::from_parts(101 * 25 + 1000 * 100));
    }

    #[test]
    fn incident_092_an_inflated_count_is_cut_and_a_lower_one_counts() {
        let request = Request { prompt_bytes: 8, max_tokens: Some(1000), ..Request::default() };
        let bill = |reported| TOKENS.bill(&request, Complete, &text(8, 8, reported)).usage;
        let usage =
            |prompt, completion| Usage { prompt_tokens: Some(prompt), completion_tokens: Some(completion) };
        assert_eq!(bill(Some((100_000, 100_000))), usage(2, 2));
        assert_eq!(bill(Some((1, 1))), usage(1, 1));
        assert_eq!(bill(Some((-5, -5))), usage(0, 0));
        assert_eq!(bill(None), usage(2, 2));
        let flat = Measure::Request.bill(&request, Complete, &text(8, 8, Some((100_000, 100_000))));
        assert_eq!((flat.units, flat.usage), (Units::ONE, usage(8, 8)));
    }

    #[test]
    fn an_image_counts_by_its_size_and_steps() {
        let request = |side: i64, steps| Request { pixels: side * side, steps, ..Request::default() };
        for (side, steps, parts) in
            [(1024, 30, 100_000), (512, 30, 25_000), (2048, 60, 800_000), (1000, 7, 22_253)]
        {
            assert_eq!(IMAGE.most(&request(side, steps)).parts(), parts, "{side} {steps}");
        }
        let given = |pixels, ending| {
            let delivery = Delivery { relayed: 9, delivered: 9, pixels: Some(pixels), ..Delivery::default() };
            IMAGE.bill(&request(1024, 30), ending, &delivery).units.parts()
        };
        assert_eq!(given(1024 * 1024, Complete), 100_000);
        assert_eq!(given(4096 * 4096, Complete), 100_000);
        assert_eq!(given(512 * 512, Complete), 25_000);
        assert_eq!(given(1024 * 1024, Void), 0);
    }
}
