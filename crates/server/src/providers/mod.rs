//! What the clients of outside providers share: the signature on a webhook, and what a provider can answer.

pub mod events;
pub mod sandbox;
pub mod stripe;

use types::time::Timestamp;

use crate::secrets;

/// How far a signature's time may be from ours, in seconds. A replayed webhook is refused after that, and its event id
/// before.
pub const TOLERANCE_SECS: i64 = 300;

/// Why a provider did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It does not know what we speak of.
    #[error("the provider does not know {0}")]
    NotFound(String),
    /// It could not be reached, or failed; trying again may help.
    #[error("the provider could not be reached: {0}")]
    Unavailable(String),
    /// It says that what we ask for is wrong, or that we may not; trying again does not help.
    #[error("the provider refused ({status}): {message}")]
    Refused {
        /// The answer's HTTP status.
        status: u16,
        /// In the provider's words.
        message: String,
    },
    /// The card was not charged.
    #[error("the card was declined ({reason}): {message}")]
    Declined {
        /// The bank's reason, in the provider's words.
        reason: String,
        /// For people.
        message: String,
        /// The provider's name for the payment that did not happen.
        payment: Option<String>,
    },
    /// It answered something that is not understood.
    #[error("the provider answered something unknown: {0}")]
    Strange(String),
}

/// Why a webhook is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No signature, or not one of the known form.
    #[error("the webhook is not signed")]
    Missing,
    /// Signed at another time than now: a replay.
    #[error("the signature is too old or from the future")]
    Stale,
    /// Signed by somebody else, or changed on the way.
    #[error("the signature does not match")]
    Mismatch,
    /// Signed, but nothing we can read.
    #[error("the body is no event")]
    Unreadable,
}

/// The header that signs `body`: `t=<unix seconds>,v1=<hmac-sha-256 of "t.body">`, the form Stripe documents.
#[must_use]
pub fn signature(secret: &str, now: Timestamp, body: &str) -> String {
    let seconds = now.as_millis() / 1000;
    format!("t={seconds},v1={}", secrets::sign(secret, format!("{seconds}.{body}").as_bytes()))
}

/// Checks the header of a webhook against its raw body. Several secrets may be good at once, for rotation.
///
/// # Errors
/// A [`SignatureError`]; anything unclear is refused.
pub fn verify(
    secrets: &[String],
    header: Option<&str>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), SignatureError> {
    let header = header.ok_or(SignatureError::Missing)?;
    let parts: Vec<(&str, &str)> = header.split(',').filter_map(|part| part.trim().split_once('=')).collect();
    let time = parts.iter().find(|(name, _)| *name == "t").ok_or(SignatureError::Missing)?.1;
    let seconds: i64 = time.parse().map_err(|_| SignatureError::Missing)?;
    if (now.as_millis() / 1000).saturating_sub(seconds).saturating_abs() > TOLERANCE_SECS {
        return Err(SignatureError::Stale);
    }
    let mut message = format!("{time}.").into_bytes();
    message.extend_from_slice(body);
    let mut found = Err(SignatureError::Missing);
    for (_, given) in parts.iter().filter(|(name, _)| *name == "v1") {
        found = Err(SignatureError::Mismatch);
        if secrets
            .iter()
            .any(|secret| !secret.is_empty() && secrets::equal(&secrets::sign(secret, &message), given))
        {
            return Ok(());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fresh_signature_of_ours_is_good() {
        let now = Timestamp::from_millis(1_000_000_000);
        let keys = ["new".to_owned(), "old".to_owned()];
        let good = signature("old", now, "{}");
        let cases = [
            ("good", Some(good.clone()), "{}", now, Ok(())),
            ("none", None, "{}", now, Err(SignatureError::Missing)),
            ("empty", Some(String::new()), "{}", now, Err(SignatureError::Missing)),
            ("no v1", Some("t=1000000".to_owned()), "{}", now, Err(SignatureError::Missing)),
            ("other body", Some(good.clone()), "{ }", now, Err(SignatureError::Mismatch)),
            ("other key", Some(signature("bad", now, "{}")), "{}", now, Err(SignatureError::Mismatch)),
            ("empty key", Some(signature("", now, "{}")), "{}", now, Err(SignatureError::Mismatch)),
            ("in time", Some(good.clone()), "{}", now.plus_millis(300_000), Ok(())),
            ("late", Some(good.clone()), "{}", now.plus_millis(301_000), Err(SignatureError::Stale)),
            ("early", Some(good), "{}", now.plus_millis(-301_000), Err(SignatureError::Stale)),
        ];
        for (what, header, body, at, expected) in cases {
            assert_eq!(verify(&keys, header.as_deref(), body.as_bytes(), at), expected, "{what}");
        }
    }
}
