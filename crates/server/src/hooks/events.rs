//! What is told, and how it looks: `{"type": …, "timestamp": …, "data": …}`.

use schemars::JsonSchema;
use serde::Serialize;
use types::id::{ApiKeyId, EndpointId, JobId, PayoutId, PurchaseId};
use types::money::{Cents, MicroCredits};
use types::time::Timestamp;
use types::units::Units;

macro_rules! kinds {
    ($($name:ident $word:literal $says:literal,)*) => {
        /// What an event is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $(#[doc = $says] $name,)*
        }

        impl Kind {
            /// All there are, but the test.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As programs see it: it stays what it is.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// For people.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self {
                    $(Self::$name => $says,)*
                }
            }
        }
    };
}

kinds! {
    BalanceLow "balance.low" "The balance fell below an alert that you set.",
    BalanceExhausted "balance.exhausted" "No credits are left.",
    TopUpSucceeded "topup.succeeded" "Credits were bought by themselves.",
    TopUpFailed "topup.failed" "They could not be; `reason` says why.",
    JobCompleted "job.completed" "A job ended well.",
    JobFailed "job.failed" "A job failed, or no Island took it in time.",
    BatchCompleted "batch.completed" "All jobs of a batch have ended.",
    KeyLimitWarning "key.limit_warning" "80 percent of an API key's spending limit are used.",
    KeyLimitReached "key.limit_reached" "The limit is used up, or refused a job.",
    VerificationUpdated "verification.updated" "The check of your identity was decided.",
    PayoutCreated "payout.created" "Earnings left your account to be paid out.",
    PayoutSent "payout.sent" "The provider has taken the payout over.",
    PayoutPaid "payout.paid" "It has arrived, as far as the provider knows.",
    PayoutFailed "payout.failed" "It could not be paid; the credits are back.",
    PayoutCancelled "payout.cancelled" "You called it off; the credits are back.",
    DisputeOpened "dispute.opened" "A bank asks for the money of a purchase back; its credits are frozen.",
    DisputeWon "dispute.won" "The payment stands; the credits are free again.",
    DisputeLost "dispute.lost" "The money went back, and the credits of the purchase with it.",
}

/// The type of the event that a test sends; every endpoint gets it.
pub const TEST: &str = "webhook.test";

impl Kind {
    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    name: &'static str,
    data: String,
}

impl Event {
    /// With what is told of it.
    #[must_use]
    pub fn new(kind: Kind, data: &impl Serialize) -> Self {
        Self { name: kind.name(), data: serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned()) }
    }

    /// The one of a test.
    #[must_use]
    pub fn test(data: &Test) -> Self {
        let data = serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned());
        Self { name: TEST, data }
    }

    /// Its type.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What is sent.
    #[must_use]
    pub fn body(&self, now: Timestamp) -> String {
        format!(r#"{{"type":"{}","timestamp":"{now}","data":{}}}"#, self.name, self.data)
    }
}

/// Of `balance.low` and `balance.exhausted`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BalanceData {
    /// What can be spent, in credits.
    pub available: MicroCredits,
    /// The alert that was crossed, in credits.
    pub threshold: MicroCredits,
}

/// Of `topup.succeeded` and `topup.failed`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TopUpData {
    /// The purchase, if it came to one: `pur_…`.
    pub purchase_id: Option<PurchaseId>,
    /// How many credits were, or would have been bought.
    pub credits: Option<i64>,
    /// What was, or would have been charged, in US cents.
    pub amount_cents: Option<i64>,
    /// Why it failed, in a few words; null if it did not.
    pub reason: Option<String>,
    /// Nothing more is bought by itself until you do something.
    pub paused: bool,
}

/// Of `job.completed` and `job.failed`. Its output is at `GET /api/v1/jobs/{id}`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct JobData {
    /// The job: `job_…`.
    pub id: JobId,
    /// `completed`, `failed` or `timeout`.
    pub status: &'static str,
    /// The slug of its Cargo; null if the network has it no longer.
    pub workload: Option<String>,
    /// What it was charged, in credits.
    pub cost: MicroCredits,
    /// How much of the Cargo was charged for, in its unit.
    pub units: Units,
    /// A stable word for why it failed.
    pub error_code: Option<String>,
    /// The same as a sentence.
    pub error: Option<String>,
    /// When it ended.
    pub completed_at: Timestamp,
}

/// Of `batch.completed`. Its results are at `GET /api/v1/jobs/{id}/batch-status`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BatchData {
    /// The batch: the id that was answered when it was made.
    pub id: JobId,
    /// `succeeded`, `failed` or `cancelled`.
    pub status: &'static str,
    /// How many inputs it had.
    pub inputs: usize,
    /// When it ended.
    pub completed_at: Timestamp,
}

/// Of `key.limit_warning` and `key.limit_reached`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KeyData {
    /// The key: `key_…`.
    pub key_id: ApiKeyId,
    /// What you call it.
    pub name: String,
    /// The first eight characters of its secret.
    pub prefix: String,
    /// What the limit is counted over: `total`, `month`, `week` or `day`.
    pub period: &'static str,
    /// The limit, in credits.
    pub limit: MicroCredits,
    /// What counts against it: charged, or held for running jobs; in credits.
    pub used: MicroCredits,
    /// When the period begins anew; null for the total.
    pub resets_at: Option<Timestamp>,
}

/// Of `verification.updated`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VerificationData {
    /// `verified`, `rejected` or `unverified`.
    pub status: &'static str,
}

/// Of `payout.…`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PayoutData {
    /// The payout: `pay_…`.
    pub id: PayoutId,
    /// What leaves the earnings, in credits.
    pub credits: MicroCredits,
    /// What is paid, in US cents.
    pub amount_cents: i64,
    /// Why it failed; null if it did not.
    pub error: Option<String>,
}

/// Of `dispute.…`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DisputeData {
    /// The purchase whose payment is disputed: `pur_…`.
    pub purchase_id: PurchaseId,
    /// The money it is about, in US cents.
    pub amount_cents: i64,
    /// The credits that are frozen now.
    pub frozen: MicroCredits,
}

/// Of `webhook.test`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Test {
    /// The endpoint it is for: `ep_…`.
    pub webhook_id: EndpointId,
    /// A sentence.
    pub message: &'static str,
}

impl PayoutData {
    /// Of a payout of so much.
    #[must_use]
    pub fn new(id: PayoutId, credits: MicroCredits, amount: Cents, error: Option<&str>) -> Self {
        Self { id, credits, amount_cents: amount.get(), error: error.map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_type_time_and_data() {
        let data =
            BalanceData { available: MicroCredits::new(1_500_000), threshold: MicroCredits::new(2_000_000) };
        let body = Event::new(Kind::BalanceLow, &data).body(Timestamp::from_millis(1_700_000_000_000));
        assert_eq!(
            body,
            r#"{"type":"balance.low","timestamp":"2023-11-14T22:13:20.000Z","data":{"available":1.5,"threshold":2}}"#
        );
    }

    #[test]
    fn names_come_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(*kind));
            assert!(kind.says().ends_with('.'));
        }
        assert_eq!(Kind::from_name(TEST), None);
    }
}
