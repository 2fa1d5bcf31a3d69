//! Secrets: made from 200 random bits, stored as SHA-256, compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use types::rng::Random;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A new secret: `prefix` and forty letters and digits.
#[must_use]
pub fn new(random: &dyn Random, prefix: &str) -> String {
    let mut bytes = [0; 40];
    random.fill(&mut bytes);
    let letters = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
    prefix.chars().chain(letters).collect()
}

/// What is stored of a secret.
#[must_use]
pub fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// A fingerprint of a request, to tell whether a repeated one is the same.
#[must_use]
pub fn fingerprint(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part.as_bytes());
    }
    hex(&digest.finalize())
}

/// Whether two secrets are the same, without telling by the time it takes how far they agree.
#[must_use]
pub fn equal(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// HMAC-SHA-256, in hexadecimal.
#[must_use]
pub fn sign(key: &str, message: &[u8]) -> String {
    // HMAC takes keys of any length, so this cannot fail; an empty signature matches nothing.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return String::new() };
    mac.update(message);
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use types::rng::SeededRandom;

    use super::*;

    #[test]
    fn secrets_are_long_and_different() {
        let random = SeededRandom::new(1);
        let (one, two) = (new(&random, "ak_"), new(&random, "ak_"));
        assert_ne!(one, two);
        assert_eq!(one.len(), 43);
        assert!(equal(&hash(&one), &hash(&one)) && !equal(&hash(&one), &hash(&two)));
    }

    #[test]
    fn signatures_agree_with_the_standard() {
        // RFC 4231, test case 2.
        assert_eq!(
            sign("Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_fingerprint_knows_where_parts_end() {
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
    }
}
