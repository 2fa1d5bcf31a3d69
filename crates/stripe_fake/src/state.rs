//! What the fake remembers: Stripe's objects as JSON, in the order in which they were made.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::card::Card;
use crate::error::ApiError;
use crate::faults::Faults;
use crate::http::{Recorded, Stored};

/// What an endpoint answers.
pub(crate) type Answer = Result<Value, ApiError>;

/// A clock: seconds since 1970.
pub(crate) type ClockFn = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The version events have, and answers to requests that name none.
pub(crate) const API_VERSION: &str = "2025-09-30.clover";

/// The objects of one kind, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Value>,
    by_id: HashMap<String, usize>,
}

/// Everything.
pub(crate) struct State {
    pub(crate) base: String,
    pub(crate) clock: ClockFn,
    pub(crate) clock_offset: i64,
    seed: u64,
    made: u64,
    tables: HashMap<String, Table>,
    pub(crate) events: Vec<Value>,
    /// Events that somebody has taken with a 2xx.
    pub(crate) delivered: HashSet<String>,
    /// The request in work: its id and its idempotency key.
    pub(crate) request: Option<(String, Option<String>)>,
    pub(crate) recorded: Vec<Recorded>,
    pub(crate) stored: HashMap<(String, String), Stored>,
    pub(crate) faults: Faults,
    /// How each payment method behaves.
    pub(crate) cards: HashMap<String, Card>,
    /// The fingerprint of the next card.
    pub(crate) next_fingerprint: Option<String>,
    /// A checkout's payment intent before the checkout shows it.
    pub(crate) attempts: HashMap<String, String>,
    /// What a checkout was asked to give its payment intent.
    pub(crate) intent_data: HashMap<String, Value>,
    /// When open checkouts expire.
    pub(crate) expiries: BTreeSet<(i64, String)>,
    /// What is only shown when asked for: lines of checkouts, outputs of verifications.
    pub(crate) hidden: HashMap<(String, &'static str), Value>,
    /// Whether new refunds wait for `settle_refund`.
    pub(crate) slow_refunds: bool,
    /// Cents available to the platform ("") and to each account.
    pub(crate) available: HashMap<String, i64>,
    /// Cents that have come in and are not available yet.
    pub(crate) pending: HashMap<String, i64>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("base", &self.base).field("events", &self.events.len()).finish()
    }
}

impl State {
    pub(crate) fn new(base: String, clock: ClockFn, seed: u64) -> Self {
        Self {
            base,
            clock,
            clock_offset: 0,
            seed,
            made: 0,
            tables: HashMap::new(),
            events: Vec::new(),
            delivered: HashSet::new(),
            request: None,
            recorded: Vec::new(),
            stored: HashMap::new(),
            faults: Faults::default(),
            cards: HashMap::new(),
            next_fingerprint: None,
            attempts: HashMap::new(),
            intent_data: HashMap::new(),
            expiries: BTreeSet::new(),
            hidden: HashMap::new(),
            slow_refunds: false,
            available: HashMap::new(),
            pending: HashMap::new(),
        }
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        (self.clock)() + self.clock_offset
    }

    /// A new id.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}{}", self.letters(24))
    }

    /// `count` letters and digits nobody has had before.
    pub(crate) fn letters(&mut self, count: usize) -> String {
        const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        self.made += 1;
        let mut text = String::with_capacity(count);
        let mut round = 0_u64;
        while text.len() < count {
            let mut number = mix(self.seed ^ mix(self.made) ^ mix(round << 48));
            for _ in 0..10 {
                let digit = usize::try_from(number % 62).unwrap_or_default();
                text.push(char::from(DIGITS[digit]));
                number /= 62;
            }
            round += 1;
        }
        text.truncate(count);
        text
    }

    /// Keeps `object`, new or changed.
    pub(crate) fn put(&mut self, object: &Value) {
        let kind = text(object, "object").to_owned();
        let id = text(object, "id").to_owned();
        let table = self.tables.entry(kind).or_default();
        match table.by_id.get(&id) {
            Some(&at) => table.rows[at] = object.clone(),
            None => {
                table.by_id.insert(id, table.rows.len());
                table.rows.push(object.clone());
            }
        }
    }

    /// The object, if there is one.
    pub(crate) fn find(&self, kind: &str, id: &str) -> Option<&Value> {
        let table = self.tables.get(kind)?;
        table.by_id.get(id).map(|&at| &table.rows[at])
    }

    /// The object of any kind, if there is one.
    pub(crate) fn find_any(&self, id: &str) -> Option<&Value> {
        self.tables.values().find_map(|table| table.by_id.get(id).map(|&at| &table.rows[at]))
    }

    /// A copy of the object, or the error for a path that names nothing.
    pub(crate) fn get(&self, kind: &str, id: &str) -> Answer {
        self.find(kind, id).cloned().ok_or_else(|| ApiError::no_such(kind, id, "id").not_found())
    }

    /// A copy of the object, or the error for a parameter that names nothing.
    pub(crate) fn get_for(&self, kind: &str, id: &str, param: &str) -> Answer {
        self.find(kind, id).cloned().ok_or_else(|| ApiError::no_such(kind, id, param))
    }

    /// All objects of a kind, oldest first.
    pub(crate) fn all(&self, kind: &str) -> &[Value] {
        self.tables.get(kind).map_or(&[], |table| &table.rows)
    }

    /// Writes an event with a copy of `object`.
    pub(crate) fn emit(&mut self, kind: &str, object: &Value) {
        self.emit_for(kind, object, None);
    }

    /// Writes an event that happened on a connected account.
    pub(crate) fn emit_for(&mut self, kind: &str, object: &Value, account: Option<&str>) {
        let id = self.id("evt_");
        let (request, key) = match &self.request {
            Some((id, key)) => (json!(id), json!(key)),
            None => (Value::Null, Value::Null),
        };
        let mut event = json!({
            "id": id,
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now(),
            "data": {"object": object},
            "livemode": false,
            "pending_webhooks": 1,
            "request": {"id": request, "idempotency_key": key},
            "type": kind,
        });
        if let Some(account) = account {
            event["account"] = json!(account);
        }
        self.events.push(event);
    }

    /// Keeps `object` and writes the event about it.
    pub(crate) fn put_and_emit(&mut self, object: &Value, kind: &str) {
        self.put(object);
        self.emit(kind, object);
    }

    /// Notes a movement of the balance of `account` ("" is the platform), and says its id.
    pub(crate) fn book(&mut self, account: &str, movement: &Movement<'_>) -> Value {
        let id = self.id("txn_");
        let net = movement.amount - movement.fee;
        let now = self.now();
        let pending = self.pending.entry(account.to_owned()).or_default();
        let waits = movement.kind == "charge" || (net < 0 && *pending >= -net && movement.kind != "transfer");
        if waits {
            *pending += net;
        } else {
            *self.available.entry(account.to_owned()).or_default() += net;
        }
        let transaction = json!({
            "id": id,
            "object": "balance_transaction",
            "amount": movement.amount,
            "available_on": now,
            "created": now,
            "currency": "usd",
            "description": Value::Null,
            "exchange_rate": Value::Null,
            "fee": movement.fee,
            "fee_details": if movement.fee == 0 { json!([]) } else {
                json!([{"amount": movement.fee, "application": Value::Null, "currency": "usd",
                    "description": "Stripe processing fees", "type": "stripe_fee"}])
            },
            "net": net,
            "reporting_category": movement.category,
            "source": movement.source,
            "status": if waits { "pending" } else { "available" },
            "type": movement.kind,
        });
        if account.is_empty() {
            self.put(&transaction);
        }
        transaction
    }
}

/// Money that comes or goes.
pub(crate) struct Movement<'a> {
    pub(crate) kind: &'a str,
    pub(crate) category: &'a str,
    pub(crate) source: &'a str,
    pub(crate) amount: i64,
    pub(crate) fee: i64,
}

/// A step of chance.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The text in a field, or nothing.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// The number in a field, or nought.
pub(crate) fn int(object: &Value, field: &str) -> i64 {
    object[field].as_i64().unwrap_or_default()
}

/// Whether a field is true.
pub(crate) fn yes(object: &Value, field: &str) -> bool {
    object[field].as_bool().unwrap_or_default()
}
