//! Fields that are one of a few words, ways of writing an amount, and what a query may say: types for the document of the API.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

macro_rules! words {
    ($($(#[doc = $doc:literal])* $name:ident [$($word:literal),* $(,)?];)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub &'static str);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                debug_assert!([$($word),*].contains(&self.0), "{} is not a {}", self.0, stringify!($name));
                serializer.serialize_str(self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string", "enum": [$($word),*],
                    "description": concat!($($doc, "\n",)*).trim(),
                })
            }
        }
    )*};
}

words! {
    /// How far a job is: `pending` (waits for an Island), `running`, then one of the others for good.
    JobStatus ["pending", "running", "completed", "failed", "cancelled", "timeout"];
    /// Where a bid came from: `explicit` (given with the job), `preference` (your saved bid for the Cargo), `ceiling` (the Cargo's
    /// default).
    BidOrigin ["explicit", "preference", "ceiling"];
    /// What an ask is the price of: a request, a thousand tokens, or an image of the usual size and steps.
    PriceUnit ["request", "1k_tokens", "image"];
    /// Whether your identity is verified, which spending asks for.
    VerificationStatus ["unverified", "pending", "verified", "rejected"];
    /// How far the Island must be trusted: `any`, `established` (it has done many jobs well), `approved` (by the operator).
    Trust ["any", "established", "approved"];
    /// What the Python SDK takes for the kind of a Cargo.
    Runtime ["container", "wasm"];
    /// How far back to look.
    Window ["1h", "24h", "7d", "30d"];
    /// Which of your accounts: `wallet` (what you can spend) or `earnings` (what your Islands earned).
    AccountName ["wallet", "earnings"];
    /// What a movement of credits was for.
    MovementKind [
        "job", "purchase", "grant", "earnings_to_wallet", "taken_back", "repaid", "given_back", "payout", "payout_returned",
    ];
    /// How a file is written.
    FileFormat ["csv", "json"];
    /// Why this bid is suggested: `plenty_free` (enough slots are free at the best ask), `best_ask` (nothing was traded lately),
    /// `nine_of_ten_cleared` (nine of ten jobs of the last 24 hours cost no more), `lowest_busy_ask` (nothing is free).
    BidWhy ["plenty_free", "best_ask", "nine_of_ten_cleared", "lowest_busy_ask"];
    /// Why this ask is suggested: `median_cleared`, `lowest_free_ask` (another Island is free for less than the median),
    /// `median_unserved` (jobs that bid more went unserved), `unserved_only` (nothing was traded).
    AskWhy ["median_cleared", "lowest_free_ask", "median_unserved", "unserved_only"];
    /// An event of a job's stream: `status`, `token` (a piece of text), `progress` (a step of an image), `image`, `error`, and at
    /// the end `done`.
    EventType ["status", "token", "progress", "image", "error", "done"];
    /// How far a batch is.
    BatchState ["pending", "running", "succeeded", "failed", "cancelled"];
    /// How far an input of a batch is: `pending` (not started), `queued` (waits for an Island), `running`, then one of the others.
    InputState ["pending", "queued", "running", "succeeded", "failed", "cancelled"];
    /// How outputs are put together: one after the other, or as one JSON array.
    MergeStrategy ["concat", "flatten"];
    /// What a failure means for the other inputs: nothing, or their end.
    FailMode ["best_effort", "fail_fast"];
    /// How far a purchase is.
    PurchaseState ["created", "pending", "granted", "failed", "expired"];
    /// How far a purchase is, or what became of its money since.
    PurchaseStanding [
        "created", "pending", "granted", "failed", "expired", "partly_refunded", "refunded", "disputed", "lost",
    ];
    /// Whether an Island can get jobs.
    HostStatus ["online", "offline", "suspended"];
    /// How far a payout is.
    PayoutState ["wanted", "sending", "sent", "paid", "failed", "cancelled"];
    /// When earnings are paid out.
    PayoutSchedule ["manual", "daily", "weekly", "monthly"];
    /// Whether a rule of auto top-up buys.
    TopupState ["active", "paused"];
    /// What a key may do: look; submit jobs, buy, and all that `manage` may; manage keys, webhooks and Islands.
    Scope ["read", "write", "manage"];
    /// What jobs cost you, or what your Islands earned.
    UsageView ["spent", "earned"];
    /// What is summed apart.
    UsageGroup ["day", "workload", "key", "host"];
    /// Who a receipt is for, which decides what it shows.
    ReceiptFor ["consumer", "island_owner"];
    /// How an attempt ended for the money: charged (`settled`) or given back (`released`).
    AttemptState ["running", "settled", "released"];
}

macro_rules! schemas {
    ($($(#[doc = $doc:literal])* $name:ident $schema:tt;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

schemas! {
    /// A bid: credits as a number or as a decimal string.
    Bid {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000},
            {"type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,6})?$", "maxLength": 32},
        ],
        "description": "The most the whole job may cost, in credits, with at most six decimals: a number, or a decimal string.",
    };
    /// An ask: credits as a number or as a decimal string.
    Ask {
        "anyOf": [
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,6})?$", "maxLength": 32},
        ],
        "description": "Credits for one unit, with at most six decimals: a number, or a decimal string.",
    };
    /// How many rows.
    PageLimit {"type": "integer", "minimum": 1, "maximum": 100, "default": 20};
    /// How many rows to leave out.
    PageOffset {"type": "integer", "minimum": 0, "maximum": 1_000_000, "default": 0};
    /// The name of a Cargo in addresses.
    Slug {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[a-z0-9._-]+$"};
    /// An API key, or `none`.
    KeyOrNone {"type": "string", "pattern": "^(key_[0-9a-z]{13}|none)$"};
    /// Where the next part of a list begins.
    Cursor {"type": "string", "minLength": 1, "maxLength": 128};
    /// A file of text.
    TextFile {"type": "string"};
    /// A file of bytes.
    BinaryFile {"type": "string", "format": "binary"};
    /// An exact number as text.
    DecimalText {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$", "examples": ["2.5"]};
    /// Any JSON object.
    AnyObject {"type": "object"};
    /// A count.
    Count {"type": "integer", "minimum": 0};
}
