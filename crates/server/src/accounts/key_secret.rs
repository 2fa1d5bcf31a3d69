//! What an API key looks like: `ak_`, forty random letters and digits, and six more that are a checksum of the rest.
//!
//! So a program that looks for leaked secrets can tell a key from a text that looks like one, and a mistyped key is refused
//! without asking the database. Keys from before there was a checksum have forty letters and stay what they are.

use types::rng::Random;

use crate::secrets;

/// What a scanner looks for.
pub const PATTERN: &str = "ak_[0-9a-hjkmnp-tv-z]{46}";

const PREFIX: &str = "ak_";
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const RANDOM: usize = 40;
const CHECK: usize = 6;

/// A new key.
#[must_use]
pub fn new(random: &dyn Random) -> String {
    let mut key = secrets::new(random, PREFIX);
    let check = checksum(&key);
    key.extend(check.iter().copied().map(char::from));
    key
}

/// Whether a text can be a key: what cannot need not be looked for.
#[must_use]
pub fn can_be(text: &str) -> bool {
    let Some(letters) = text.strip_prefix(PREFIX) else { return false };
    if !letters.bytes().all(|letter| LETTERS.contains(&letter)) {
        return false;
    }
    match letters.len() {
        RANDOM => true,
        len if len == RANDOM + CHECK => {
            let (rest, check) = text.split_at(text.len() - CHECK);
            checksum(rest) == check.as_bytes()
        }
        _ => false,
    }
}

/// The lower thirty bits of the CRC-32 (IEEE 802.3) of a text, five by five, the highest first.
fn checksum(text: &str) -> [u8; CHECK] {
    let mut crc = u32::MAX;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    let crc = !crc;
    std::array::from_fn(|index| {
        let shift = 5 * (CHECK - 1 - index);
        usize::try_from((crc >> shift) & 31).map_or(b'0', |digit| LETTERS[digit])
    })
}

#[cfg(test)]
mod tests {
    use types::rng::SeededRandom;

    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        // CRC-32 of "123456789" is 0xCBF43926: 00 10111 11101 00001 11001 00100 110 without its upper two bits.
        let bits = 0xCBF4_3926_u32 & 0x3fff_ffff;
        let expected: Vec<u8> =
            (0..6).rev().map(|five| LETTERS[((bits >> (5 * five)) & 31) as usize]).collect();
        assert_eq!(checksum("123456789").to_vec(), expected);
    }

    #[test]
    fn one_wrong_letter_is_found() {
        let random = SeededRandom::new(1);
        let key = new(&random);
        assert_eq!(key.len(), 49);
        assert!(can_be(&key));
        for place in 3..key.len() {
            let other = if key.as_bytes()[place] == b'0' { "1" } else { "0" };
            let mut wrong = key.clone();
            wrong.replace_range(place..=place, other);
            assert!(!can_be(&wrong), "{wrong}");
        }
    }

    #[test]
    fn what_can_be_a_key() {
        let old = secrets::new(&SeededRandom::new(2), "ak_");
        assert!(can_be(&old), "from before there was a checksum");
        for text in
            ["", "ak_", "ak_short", "it_0000000000000000000000000000000000000000", &old[1..], &old[..42]]
        {
            assert!(!can_be(text), "{text}");
        }
        assert!(!can_be(&old.replace("ak_", "AK_")));
        assert!(!can_be(&format!("{}é", &old[..41])));
    }
}
