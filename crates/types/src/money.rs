//! Money: integers in types that refuse to mix.
//!
//! * [`MicroCredits`] is the unit of the ledger: 10⁻⁶ credit.
//! * [`Credits`] is a whole number of credits, as packages and grants are counted.
//! * [`Cents`] is US cents, as card payments are counted.
//!
//! There are no `+` and `-` operators: arithmetic is checked and says when it cannot be done, because a panic
//! (or a wrapped number) in settlement is an outage. No float appears in this module (incident 84); amounts
//! from outside are read from their decimal text, never through a float.
#![deny(clippy::float_arithmetic)]

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;

/// Micro-credits in one credit.
pub const MICROS_PER_CREDIT: i64 = 1_000_000;

/// The most that any single amount may be: ten thousand million credits. Far below `i64::MAX`, so that sums of
/// a bounded number of amounts cannot overflow.
pub const MAX_AMOUNT: MicroCredits = MicroCredits(10_000_000_000 * MICROS_PER_CREDIT);

/// An amount of credits in micro-credits (10⁻⁶ credit). Signed: entries of a transfer have both signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroCredits(i64);

/// A whole number of credits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credits(i64);

/// An amount in US cents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cents(i64);

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a decimal number at all (letters, `NaN`, empty).
    #[error("must be a number of credits, such as 2.5")]
    NotANumber,
    /// More than six decimals.
    #[error("has more than six decimals; the smallest unit is 0.000001 credit")]
    TooPrecise,
    /// Larger than any amount may be.
    #[error("is too large")]
    TooLarge,
}

/// A sum or product that leaves the range of amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("amount out of range")]
pub struct OutOfRange;

impl MicroCredits {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From a number of micro-credits.
    #[must_use]
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// The number of micro-credits.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Whether this is more than nothing.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// `self + other`.
    ///
    /// # Errors
    /// [`OutOfRange`] if the sum does not fit.
    pub const fn plus(self, other: Self) -> Result<Self, OutOfRange> {
        match self.0.checked_add(other.0) {
            Some(sum) => Ok(Self(sum)),
            None => Err(OutOfRange),
        }
    }

    /// `self - other`.
    ///
    /// # Errors
    /// [`OutOfRange`] if the difference does not fit.
    pub const fn minus(self, other: Self) -> Result<Self, OutOfRange> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Ok(Self(difference)),
            None => Err(OutOfRange),
        }
    }

    /// The opposite amount. `i64::MIN` is not a legal amount and saturates.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self(self.0.saturating_neg())
    }

    /// `percent` of this amount, rounded down to the micro-credit, so that the remainder stays with the one who
    /// pays the fee: amount = share + (amount − share), exactly (I8, incident 86).
    #[must_use]
    pub fn percent_rounded_down(self, percent: u8) -> Self {
        let share = i128::from(self.0) * i128::from(percent) / 100;
        Self(i64::try_from(share).unwrap_or(self.0))
    }

    /// Reads a decimal number, exactly. Exponents are understood because JSON writers use them
    /// (`1e-06`); signs too, so that the caller can say "must be positive" rather than "not a number".
    ///
    /// # Errors
    /// [`AmountError`] says what is wrong with the text.
    pub fn parse_decimal(text: &str) -> Result<Self, AmountError> {
        let scaled = parse_scaled(text, 6)?;
        if scaled.unsigned_abs() > MAX_AMOUNT.0.unsigned_abs() {
            return Err(AmountError::TooLarge);
        }
        Ok(Self(scaled))
    }

    /// With at least two and up to six decimals and thousands separated, as people read it: `1,234.50`.
    #[must_use]
    pub fn display_grouped(self) -> String {
        let text = self.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
        format!("{sign}{}.{fraction:0<2}", group_thousands(digits))
    }

    /// The approximate value in US dollars at 100 credits a dollar, rounded half away from zero to the cent.
    #[must_use]
    pub fn approximate_usd(self) -> Cents {
        // One credit is one cent, so a cent is a million micro-credits.
        let half = MICROS_PER_CREDIT / 2;
        let cents = if self.0 >= 0 {
            self.0.saturating_add(half) / MICROS_PER_CREDIT
        } else {
            self.0.saturating_sub(half) / MICROS_PER_CREDIT
        };
        Cents(cents)
    }
}

impl Credits {
    /// From a whole number of credits.
    #[must_use]
    pub const fn new(credits: i64) -> Self {
        Self(credits)
    }

    /// The number of credits.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// In micro-credits.
    ///
    /// # Errors
    /// [`OutOfRange`] above [`MAX_AMOUNT`].
    pub const fn micros(self) -> Result<MicroCredits, OutOfRange> {
        match self.0.checked_mul(MICROS_PER_CREDIT) {
            Some(micros) if micros <= MAX_AMOUNT.0 && micros >= -MAX_AMOUNT.0 => Ok(MicroCredits(micros)),
            _ => Err(OutOfRange),
        }
    }
}

impl Cents {
    /// From a number of US cents.
    #[must_use]
    pub const fn new(cents: i64) -> Self {
        Self(cents)
    }

    /// The number of US cents.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Reads dollars with up to two decimals: `4.99`.
    ///
    /// # Errors
    /// [`AmountError`] says what is wrong with the text.
    pub fn parse_dollars(text: &str) -> Result<Self, AmountError> {
        parse_scaled(text, 2).map(Self)
    }
}

/// Plain decimal text without grouping and without trailing zeros: `12.5`, `-0.000001`, `3`.
impl fmt::Display for MicroCredits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let per_credit = MICROS_PER_CREDIT.unsigned_abs();
        let (whole, micros) = (magnitude / per_credit, magnitude % per_credit);
        let sign = if self.0 < 0 { "-" } else { "" };
        if micros == 0 {
            write!(f, "{sign}{whole}")
        } else {
            let fraction = format!("{micros:06}");
            write!(f, "{sign}{whole}.{}", fraction.trim_end_matches('0'))
        }
    }
}

/// With thousands separated: `1,100`.
impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}", group_thousands(&self.0.unsigned_abs().to_string()))
    }
}

/// As dollars: `$1,234.50`.
impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}${}.{:02}", group_thousands(&(magnitude / 100).to_string()), magnitude % 100)
    }
}

impl FromStr for MicroCredits {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse_decimal(text)
    }
}

/// In JSON an amount is an exact decimal number of credits: `12.5`. (Only JSON is written with this.)
impl Serialize for MicroCredits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// Reads a JSON number or a decimal string of credits, exactly. For use where the value is not buffered
/// through `serde_json::Value` first (a buffered number may already have lost digits).
impl<'de> Deserialize<'de> for MicroCredits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        parse_json_amount(raw.get()).map_err(D::Error::custom)
    }
}

/// Reads the text of a JSON value, a number or a string holding one, as an amount.
///
/// # Errors
/// [`AmountError`] says what is wrong with it.
pub fn parse_json_amount(json: &str) -> Result<MicroCredits, AmountError> {
    let json = json.trim();
    let text = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(json);
    MicroCredits::parse_decimal(text)
}

fn group_thousands(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Reads `[sign]digits[.digits][e[sign]digits]` as an integer scaled by `10^decimals`, exactly.
fn parse_scaled(text: &str, decimals: i32) -> Result<i64, AmountError> {
    // No amount needs more; a longer text is only there to be slow.
    if text.len() > 64 {
        return Err(if text.bytes().all(|b| b.is_ascii_digit()) {
            AmountError::TooLarge
        } else {
            AmountError::NotANumber
        });
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, exponent.parse::<i32>().map_err(|_| AmountError::NotANumber)?.clamp(-100, 100))
        }
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.as_bytes().first() {
        Some(b'-') => (true, &mantissa[1..]),
        Some(b'+') => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(AmountError::NotANumber);
    }
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    if significant.trim_start_matches('0').is_empty() {
        return Ok(0);
    }
    // value = significant × 10^shift, in scaled units; the lengths are at most 64.
    let length = |text: &str| i32::try_from(text.len()).unwrap_or(i32::MAX);
    let shift = exponent + decimals - length(fraction) + (length(&digits) - length(significant));
    if shift < 0 {
        return Err(AmountError::TooPrecise);
    }
    let magnitude: i64 = significant.trim_start_matches('0').parse().map_err(|_| AmountError::TooLarge)?;
    let scaled = u32::try_from(shift)
        .ok()
        .and_then(|shift| 10_i64.checked_pow(shift))
        .and_then(|factor| magnitude.checked_mul(factor))
        .ok_or(AmountError::TooLarge)?;
    Ok(if negative { -scaled } else { scaled })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(text: &str) -> Result<i64, AmountError> {
        MicroCredits::parse_decimal(text).map(MicroCredits::get)
    }

    #[test]
    fn amounts_are_read_exactly() {
        use AmountError::{NotANumber, TooLarge, TooPrecise};
        let cases = [
            ("0", Ok(0)),
            ("1", Ok(1_000_000)),
            ("2.5", Ok(2_500_000)),
            (".5", Ok(500_000)),
            ("5.", Ok(5_000_000)),
            ("-1", Ok(-1_000_000)),
            ("+1", Ok(1_000_000)),
            ("0.000001", Ok(1)),
            ("1e-06", Ok(1)),
            ("1E3", Ok(1_000_000_000)),
            ("1.0000000", Ok(1_000_000)),
            ("0.0000000000", Ok(0)),
            ("0.0000001", Err(TooPrecise)),
            ("1.0000001", Err(TooPrecise)),
            ("1e-7", Err(TooPrecise)),
            ("1e-999999", Err(TooPrecise)),
            ("1e99999", Err(TooLarge)),
            ("99999999999999999999", Err(TooLarge)),
            ("10000000001", Err(TooLarge)),
            ("", Err(NotANumber)),
            (".", Err(NotANumber)),
            ("-", Err(NotANumber)),
            ("NaN", Err(NotANumber)),
            ("inf", Err(NotANumber)),
            ("1,5", Err(NotANumber)),
            ("1 ", Err(NotANumber)),
            ("0x10", Err(NotANumber)),
            ("1e", Err(NotANumber)),
            ("--1", Err(NotANumber)),
            ("١", Err(NotANumber)),
        ];
        for (text, expected) in cases {
            assert_eq!(micros(text), expected, "{text:?}");
        }
    }

    #[test]
    fn amounts_are_shown() {
        let cases = [
            (0, "0", "0.00"),
            (1, "0.000001", "0.000001"),
            (-1, "-0.000001", "-0.000001"),
            (12_500_000, "12.5", "12.50"),
            (1_234_567_000_000, "1234567", "1,234,567.00"),
            (-1_234_500_000, "-1234.5", "-1,234.50"),
        ];
        for (micros, plain, grouped) in cases {
            let amount = MicroCredits::new(micros);
            assert_eq!(amount.to_string(), plain);
            assert_eq!(amount.display_grouped(), grouped);
            assert_eq!(serde_json::to_string(&amount).unwrap(), plain);
        }
        assert_eq!(Cents::new(123_450).to_string(), "$1,234.50");
        assert_eq!(Cents::new(499).to_string(), "$4.99");
        assert_eq!(Credits::new(1100).to_string(), "1,100");
    }

    #[test]
    fn a_credit_is_about_a_cent() {
        let cases = [(0, 0), (1_234_000_000, 1234), (499_999, 0), (500_000, 1), (-500_000, -1)];
        for (micros, cents) in cases {
            assert_eq!(MicroCredits::new(micros).approximate_usd(), Cents::new(cents));
        }
    }

    /// Dollars are multiplied as text, not as a float: 2.11 is 211 cents, as are all its neighbours.
    #[test]
    fn incident_085_every_price_converts_exactly() {
        for cents in 0..=1_000_000_i64 {
            let text = format!("{}.{:02}", cents / 100, cents % 100);
            assert_eq!(Cents::parse_dollars(&text), Ok(Cents::new(cents)));
        }
    }

    proptest! {
        #[test]
        fn incident_084_text_and_amount_agree(micros in -MAX_AMOUNT.0..=MAX_AMOUNT.0) {
            let amount = MicroCredits::new(micros);
            prop_assert_eq!(MicroCredits::parse_decimal(&amount.to_string()), Ok(amount));
            prop_assert_eq!(
                MicroCredits::parse_decimal(&amount.display_grouped().replace(',', "")), Ok(amount));
            let json = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<MicroCredits>(&json).unwrap(), amount);
            let quoted = format!("\"{amount}\"");
            prop_assert_eq!(serde_json::from_str::<MicroCredits>(&quoted).unwrap(), amount);
        }

        #[test]
        fn a_share_and_its_rest_are_the_whole(micros in 0..=MAX_AMOUNT.0, percent in 0_u8..=100) {
            let amount = MicroCredits::new(micros);
            let share = amount.percent_rounded_down(percent);
            prop_assert!(share >= MicroCredits::ZERO && share <= amount);
            prop_assert_eq!(share.plus(amount.minus(share).unwrap()), Ok(amount));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,80}") {
            let _ = MicroCredits::parse_decimal(&text);
            let _ = parse_json_amount(&text);
        }
    }
}
