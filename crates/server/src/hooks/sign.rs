//! Secrets and signatures as the Standard Webhooks have them: `v1,` and the base64 of an HMAC-SHA-256 over id, time and body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use types::id::EventId;
use types::rng::Random;
use types::time::Timestamp;

const PREFIX: &str = "whsec_";

/// A new secret: `whsec_` and the base64 of 32 random bytes.
#[must_use]
pub fn new_secret(random: &dyn Random) -> String {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    format!("{PREFIX}{}", BASE64.encode(bytes))
}

/// The header `webhook-signature`: one signature for each secret that is valid, the newest first.
#[must_use]
pub fn signature(secrets: &[String], id: &str, seconds: i64, body: &str) -> String {
    let signed: Vec<String> = secrets.iter().filter_map(|secret| sign(secret, id, seconds, body)).collect();
    signed.join(" ")
}

fn sign(secret: &str, id: &str, seconds: i64, body: &str) -> Option<String> {
    let key = BASE64.decode(secret.strip_prefix(PREFIX)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body.as_bytes());
    Some(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())))
}

/// The name of an event in `webhook-id`: the same at each try, and to each endpoint.
#[must_use]
pub fn message_id(event: EventId) -> String {
    event.to_string()
}

/// `webhook-timestamp`: whole seconds.
#[must_use]
pub const fn seconds(now: Timestamp) -> i64 {
    now.as_millis().div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_agree_with_the_standard() {
        // The example that the standard's own libraries are tested with.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(
            signature(std::slice::from_ref(&secret), id, 1_614_265_330, r#"{"test": 2432232314}"#),
            expected
        );
        let both = signature(
            &[new_secret(&types::rng::SeededRandom::new(1)), secret],
            id,
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert!(both.starts_with("v1,") && both.ends_with(&format!(" {expected}")), "{both}");
    }

    #[test]
    fn secrets_are_long_and_different() {
        let random = types::rng::SeededRandom::new(1);
        let (one, two) = (new_secret(&random), new_secret(&random));
        assert_ne!(one, two);
        assert_eq!(BASE64.decode(one.strip_prefix("whsec_").unwrap()).unwrap().len(), 32);
    }
}
