//! The keys that receipts of jobs are signed with: Ed25519 (RFC 8032), over the canonical writing of the receipt.
//!
//! They are kept in the database, so that every coordinator signs with the same one, and are made when the first is needed.
//! Old ones stay published after a new one was made: what they signed stays checkable.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use db::{Db, DbError};
use serde_json::{Value, json};
use types::rng::Random;
use types::time::Timestamp;

use super::store::{self, KeyRow};
use crate::app::App;
use crate::secrets;

/// A public key, as published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// The first letters of its hash.
    pub id: String,
    /// The key, in base64.
    pub key: String,
    /// Since when it signs.
    pub created_at: Timestamp,
}

/// Puts a signature to a receipt.
///
/// # Errors
/// A [`DbError`].
pub async fn sign(app: &App, receipt: Value) -> Result<Value, DbError> {
    let (id, seed, public, _) = newest(&app.db, &*app.random, app.clock.now()).await?;
    let broken = |_| DbError::Other(format!("the receipt key {id} cannot be used"));
    let seed = BASE64.decode(seed).map_err(|_| DbError::Other(format!("the receipt key {id} is broken")))?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(broken)?;
    let signature = BASE64.encode(pair.sign(canonical(&receipt).as_bytes()));
    Ok(json!({
        "receipt": receipt,
        "signature": {"algorithm": "Ed25519", "key_id": id, "public_key": public, "value": signature},
    }))
}

/// All public keys, the newest first. There is always one.
///
/// # Errors
/// A [`DbError`].
pub async fn published(app: &App) -> Result<Vec<PublicKey>, DbError> {
    newest(&app.db, &*app.random, app.clock.now()).await?;
    let keys = app.db.read("receipt_keys", async |tx| store::keys(tx).await).await?;
    Ok(keys.into_iter().map(|(id, _, key, created_at)| PublicKey { id, key, created_at }).collect())
}

/// Makes a new key, which signs from now on.
///
/// # Errors
/// A [`DbError`].
pub async fn renew(db: &Db, random: &dyn Random, now: Timestamp) -> Result<PublicKey, DbError> {
    let key = make(random, now)?;
    let (id, _, public, _) = key.clone();
    db.tx("receipt_key", async move |tx| store::insert_key(tx, &key).await).await?;
    Ok(PublicKey { id, key: public, created_at: now })
}

async fn newest(db: &Db, random: &dyn Random, now: Timestamp) -> Result<KeyRow, DbError> {
    let found = db.read("receipt_keys", async |tx| store::keys(tx).await).await?;
    if let Some(key) = found.into_iter().next() {
        return Ok(key);
    }
    let new = make(random, now)?;
    db.tx("receipt_key", async move |tx| {
        // Another request, or another coordinator, may have been first.
        if let Some(key) = store::keys(tx).await?.into_iter().next() {
            return Ok(key);
        }
        store::insert_key(tx, &new).await?;
        Ok::<_, DbError>(new.clone())
    })
    .await
}

fn make(random: &dyn Random, now: Timestamp) -> Result<KeyRow, DbError> {
    let mut seed = [0; 32];
    random.fill(&mut seed);
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
        .map_err(|_| DbError::Other("a receipt key could not be made".to_owned()))?;
    let public = BASE64.encode(pair.public_key().as_ref());
    Ok((key_id(&public), BASE64.encode(seed), public, now))
}

/// A key is named by the hash of its public half.
#[must_use]
pub fn key_id(public: &str) -> String {
    format!("rk_{}", secrets::hash(public).chars().take(16).collect::<String>())
}

/// Whether this public key (base64) made this signature (base64) of the receipt.
#[must_use]
pub fn verify(receipt: &Value, public: &str, signature: &str) -> bool {
    let (Ok(public), Ok(signature)) = (BASE64.decode(public), BASE64.decode(signature)) else { return false };
    UnparsedPublicKey::new(&ED25519, public).verify(canonical(receipt).as_bytes(), &signature).is_ok()
}

/// JSON in one way of writing it: no white space, the keys of every object in the order of their bytes. Receipts have no numbers
/// with a fraction, so that this is what RFC 8785 asks for.
#[must_use]
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort_unstable();
            let fields = keys.into_iter().map(|key| {
                format!(
                    "{}:{}",
                    Value::String(key.clone()),
                    object.get(key).map(canonical).unwrap_or_default()
                )
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use types::rng::SeededRandom;

    use super::*;

    #[test]
    fn one_way_of_writing() {
        let value = json!({"b": [1, {"d": null, "c": "x\"y"}], "a": true});
        assert_eq!(canonical(&value), r#"{"a":true,"b":[1,{"c":"x\"y","d":null}]}"#);
    }

    /// RFC 8032, 7.1, test 2.
    #[test]
    fn signatures_agree_with_the_standard() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                        085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(pair.sign(b"r").as_ref(), hex(expected));
    }

    #[test]
    fn what_was_changed_is_noticed() {
        let (_, seed, public, _) = make(&SeededRandom::new(3), Timestamp::from_millis(0)).unwrap();
        let pair = Ed25519KeyPair::from_seed_unchecked(&BASE64.decode(seed).unwrap()).unwrap();
        let receipt = json!({"charge": "2", "job_id": "job_1"});
        let signature = BASE64.encode(pair.sign(canonical(&receipt).as_bytes()));
        assert!(verify(&receipt, &public, &signature));
        assert!(verify(&json!({"job_id": "job_1", "charge": "2"}), &public, &signature));
        assert!(!verify(&json!({"job_id": "job_1", "charge": "1"}), &public, &signature));
        let (_, _, other, _) = make(&SeededRandom::new(4), Timestamp::from_millis(0)).unwrap();
        assert!(!verify(&receipt, &other, &signature));
        assert!(!verify(&receipt, "?", &signature) && !verify(&receipt, &public, "AAAA"));
    }
}
