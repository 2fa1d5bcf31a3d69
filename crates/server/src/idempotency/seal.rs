//! Answers that show a secret lie sealed in the database: AES-256-GCM under a key made from the API key they were asked with.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

/// Opens and closes the answers to one API key.
#[derive(Clone)]
pub struct Seal([u8; 32]);

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// The seal of an API key. Another label than the one its stored hash has (none): neither tells the other.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"archipelago answer seal\0");
        digest.update(secret.as_bytes());
        Self(digest.finalize().into())
    }

    /// A text, sealed. Empty, so of no use to anybody, if chance or the cipher failed.
    #[must_use]
    pub fn close(&self, text: &str) -> String {
        let Ok(key) = RandomizedNonceKey::new(&AES_256_GCM, &self.0) else { return String::new() };
        let mut sealed = text.as_bytes().to_vec();
        match key.seal_in_place_append_tag(Aad::empty(), &mut sealed) {
            Ok(nonce) => BASE64.encode([nonce.as_ref().as_slice(), &sealed].concat()),
            Err(_) => String::new(),
        }
    }

    /// What was sealed, if it was by this seal.
    #[must_use]
    pub fn open(&self, sealed: &str) -> Option<String> {
        let sealed = BASE64.decode(sealed).ok()?;
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.0).ok()?;
        let mut text = text.to_vec();
        let text = key.open_in_place(nonce, Aad::empty(), &mut text).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_opens() {
        let sealed = Seal::of("ak_one").close("{\"key\":\"ak_new\"}");
        assert!(!sealed.contains("ak_new"));
        assert_eq!(Seal::of("ak_one").open(&sealed).as_deref(), Some("{\"key\":\"ak_new\"}"));
        assert_eq!(Seal::of("ak_two").open(&sealed), None);
        assert_eq!(Seal::of("ak_one").open("nonsense"), None);
        assert_ne!(Seal::of("ak_one").close("x"), Seal::of("ak_one").close("x"));
    }
}
