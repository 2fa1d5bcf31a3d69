//! What API keys look like to programs.

use ledger::{Period, Usage};
use schemars::JsonSchema;
use serde::Serialize;
use types::id::ApiKeyId;
use types::money::MicroCredits;
use types::time::Timestamp;

use crate::accounts::api_keys::KeyInUse;

/// Something for each period that a limit is counted over. Days, weeks (from Monday) and months are those of UTC.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PerPeriod<T> {
    /// This day.
    pub day: T,
    /// This month.
    pub month: T,
    /// In all, for ever.
    pub total: T,
    /// This week.
    pub week: T,
}

/// How far a limit is used.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LimitUsage {
    /// The most that may be spent in the period, in credits; null for no limit.
    pub limit: Option<MicroCredits>,
    /// What jobs that run hold now, in credits. It counts as used until they end.
    pub held: MicroCredits,
    /// What was charged in the period so far, in credits.
    pub spent: MicroCredits,
    /// What is left of the limit, in credits; null for no limit.
    pub left: Option<MicroCredits>,
    /// When the period begins anew; null for the total.
    pub resets_at: Option<Timestamp>,
}

/// An API key, without its secret.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KeyView {
    /// Which one: `key_…`.
    pub id: ApiKeyId,
    /// What its owner calls it.
    pub name: String,
    /// The first eight characters of the secret.
    pub prefix: String,
    /// What it may do: `read` (look), `write` (submit jobs, buy, and all that `manage` may) and `manage` (keys, webhooks and
    /// Islands, without spending).
    #[schemars(with = "Vec<super::words::Scope>")]
    pub scopes: Vec<&'static str>,
    /// The same as `limits.total`.
    pub limit: Option<MicroCredits>,
    /// The most it may spend, in credits; null for no limit.
    pub limits: PerPeriod<Option<MicroCredits>>,
    /// How far its limits are used.
    pub usage: PerPeriod<LimitUsage>,
    /// Addresses and ranges of addresses that it may be used from; empty for anywhere.
    pub allowed_ips: Vec<String>,
    /// Until when a secret that was replaced still opens; null when none does.
    pub old_secret_valid_until: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The same as `created_at`, as the JavaScript client names it.
    #[serde(rename = "createdAt")]
    pub created_at_too: Timestamp,
    /// When it was last used, to the minute or so; null for never.
    pub last_used_at: Option<Timestamp>,
    /// The same as `last_used_at`.
    #[serde(rename = "lastUsedAt")]
    pub last_used_at_too: Option<Timestamp>,
    /// When it ends or ended; null for never.
    pub expires_at: Option<Timestamp>,
    /// The same as `expires_at`.
    #[serde(rename = "expiresAt")]
    pub expires_at_too: Option<Timestamp>,
}

/// A key with its secret, in each of the places where an existing client looks for it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NewKey {
    /// The secret: `ak_…`. It is shown only here.
    pub key: String,
    /// The same again, for clients that read it there.
    pub data: NewKeyData,
    /// The key.
    #[serde(flatten)]
    pub view: KeyView,
}

/// A key with its secret.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NewKeyData {
    /// The secret.
    pub key: String,
    /// The key, for the command line.
    pub api_key: KeyView,
    /// The key, for the JavaScript client.
    pub data: KeyView,
    /// The key.
    #[serde(flatten)]
    pub view: KeyView,
}

/// A key that is no more.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RevokedKey {
    /// Which one.
    pub id: ApiKeyId,
    /// Always true.
    pub revoked: bool,
}

/// An amount of credits, as a number or as a text in decimals.
#[derive(Clone, Copy, Debug, JsonSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "it is read field by field, so that numbers keep their digits; this describes it"
)]
enum Amount {
    /// As a number.
    Number(f64),
    /// As a text.
    Text(&'static str),
}

/// Limits: what is not given stays as it is, `null` is none.
#[derive(Clone, Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is read field by field; this describes it")]
struct LimitsGiven {
    /// The most it may ever spend, in credits.
    total: Option<Amount>,
    /// The most it may spend a month.
    month: Option<Amount>,
    /// The most it may spend a week, from Monday.
    week: Option<Amount>,
    /// The most it may spend a day.
    day: Option<Amount>,
}

/// A key to be made.
#[derive(Clone, Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is read field by field; this describes it")]
pub struct NewKeyRequest {
    /// What to call it: 1 to 64 characters.
    name: String,
    /// `read`, `write` and `manage`, separated by commas. Those of the key that asks, if not given.
    scopes: Option<String>,
    /// The same as `limits.total`.
    limit: Option<Amount>,
    /// The most it may spend, by period.
    limits: Option<LimitsGiven>,
    /// When it ends; never, if `null`. That of the key that asks, if not given.
    expires_at: Option<Timestamp>,
    /// At most 20 addresses or ranges (CIDR) that it may be used from. Those of the key that asks, if not given.
    allowed_ips: Option<Vec<String>>,
}

/// What is to be changed of a key.
#[derive(Clone, Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is read field by field; this describes it")]
pub struct KeyChanges {
    /// Another name: 1 to 64 characters.
    name: Option<String>,
    /// The same as `limits.total`.
    limit: Option<Amount>,
    /// Other limits, by period.
    limits: Option<LimitsGiven>,
    /// Another end; `null` for none.
    expires_at: Option<Timestamp>,
    /// Other places; empty or `null` for anywhere.
    allowed_ips: Option<Vec<String>>,
}

/// How a key gets its new secret.
#[derive(Clone, Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is read field by field; this describes it")]
pub struct KeyRotation {
    /// For how many seconds the secret it had still opens: 0 (if not given) to 604800, which is seven days.
    grace_seconds: Option<i64>,
}

impl KeyView {
    /// As it is now.
    #[must_use]
    pub fn of(one: &KeyInUse, now: Timestamp) -> Self {
        let (key, cap) = (&one.key, &one.cap);
        let limits = cap.limits;
        let usage = |usage: &Usage| LimitUsage {
            limit: usage.limit,
            held: cap.held,
            spent: usage.spent,
            left: usage.left().map(|left| left.max(MicroCredits::ZERO)),
            resets_at: usage.until,
        };
        Self {
            id: key.id,
            name: key.name.clone(),
            prefix: key.prefix.clone(),
            scopes: key.scopes.words(),
            limit: limits.total,
            limits: PerPeriod {
                total: limits.get(Period::Total),
                month: limits.get(Period::Month),
                week: limits.get(Period::Week),
                day: limits.get(Period::Day),
            },
            usage: {
                let [total, month, week, day] = cap.usage();
                PerPeriod { total: usage(&total), month: usage(&month), week: usage(&week), day: usage(&day) }
            },
            allowed_ips: key.allowed.iter().map(ToString::to_string).collect(),
            old_secret_valid_until: key.old_until.filter(|until| *until > now),
            created_at: key.created_at,
            created_at_too: key.created_at,
            last_used_at: key.last_used_at,
            last_used_at_too: key.last_used_at,
            expires_at: key.expires_at,
            expires_at_too: key.expires_at,
        }
    }
}

impl NewKey {
    /// A key with its secret.
    #[must_use]
    pub fn of(one: &KeyInUse, secret: &str, now: Timestamp) -> Self {
        let view = KeyView::of(one, now);
        let data = NewKeyData {
            key: secret.to_owned(),
            api_key: view.clone(),
            data: view.clone(),
            view: view.clone(),
        };
        Self { key: secret.to_owned(), data, view }
    }
}
