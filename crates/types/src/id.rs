//! Every kind of id, in one list.
//!
//! An id is a positive 63-bit integer: milliseconds since 2025 (41 bits), the number of the node that made it
//! (10 bits), a sequence (12 bits). So ids sort by time, new rows land at the end of an index, both database
//! engines store them as integers, and two coordinators never make the same one. People and clients see it
//! with a prefix, in Crockford's base 32: `job_0f8k2m4c9t1z0`.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use crate::time::Timestamp;

/// 2025-01-01T00:00:00Z in Unix milliseconds.
const EPOCH_MS: i64 = 1_735_689_600_000;
const SEQUENCE_BITS: u32 = 12;
const NODE_BITS: u32 = 10;
/// Thirteen base-32 digits hold 65 bits.
const DIGITS: usize = 13;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A text that is not an id of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_…")]
pub struct ParseIdError {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

/// What all ids have in common.
pub trait Id: Copy + Eq + Ord {
    /// The word in front, without the underscore.
    const PREFIX: &'static str;

    /// From the stored integer.
    fn from_i64(value: i64) -> Self;

    /// The stored integer.
    fn get(self) -> i64;

    /// When it was made, by the clock of who made it.
    fn made_at(self) -> Timestamp {
        Timestamp::from_millis((self.get() >> (NODE_BITS + SEQUENCE_BITS)).saturating_add(EPOCH_MS))
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;

            fn from_i64(value: i64) -> Self {
                Self(value)
            }

            fn get(self) -> i64 {
                self.0
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": concat!("^", $prefix, "_[0-9a-z]{13}$")})
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_id(f, $prefix, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_id(f, $prefix, self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                read_id($prefix, text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A ledger account: a wallet, an owner's earnings, or one of the network's own.
    AccountId "acc",
    /// An API key (the record, not the secret).
    ApiKeyId "key",
    /// One try of a job on one Island. Also the id of the hold it takes and of the transfer that settles it.
    AttemptId "att",
    /// A chat conversation.
    ConversationId "con",
    /// A delivery of an event to an endpoint.
    DeliveryId "dlv",
    /// An address that events are sent to.
    EndpointId "ep",
    /// Something that happened, as webhooks tell it.
    EventId "evt",
    /// An operator's grant of credits.
    GrantId "grt",
    /// An Island.
    IslandId "isl",
    /// A consumer's request.
    JobId "job",
    /// A letter that waits to be sent, or was.
    MailId "mal",
    /// A chat message.
    MessageId "msg",
    /// A machine that asks to become somebody's Island.
    PairingId "par",
    /// Earnings that are paid out. Also the id of the transfer that takes them.
    PayoutId "pay",
    /// One sale of a package.
    PurchaseId "pur",
    /// A request, as logged and answered in errors.
    RequestId "req",
    /// A movement in the ledger.
    TransferId "trf",
    /// A person who signed in.
    UserId "usr",
    /// One round of identity verification at the provider.
    VerificationId "ver",
}

fn write_id(f: &mut fmt::Formatter<'_>, prefix: &str, value: i64) -> fmt::Result {
    let mut digits = [0_u8; DIGITS];
    let mut rest = value.unsigned_abs();
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[usize::from((rest & 31) as u8)];
        rest >>= 5;
    }
    write!(f, "{prefix}_{}", std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
}

fn read_id(prefix: &'static str, text: &str) -> Result<i64, ParseIdError> {
    let error = ParseIdError { prefix };
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).ok_or(error)?;
    if digits.len() != DIGITS {
        return Err(error);
    }
    let mut value: u128 = 0;
    for digit in digits.bytes() {
        let position = ALPHABET.iter().position(|&letter| letter == digit).ok_or(error)?;
        value = value << 5 | u128::try_from(position).map_err(|_| error)?;
    }
    i64::try_from(value).ok().filter(|&value| value > 0).ok_or(error)
}

/// Makes ids that increase within this process and never repeat across nodes.
#[derive(Debug)]
pub struct IdGenerator {
    node: i64,
    /// The last (millisecond, sequence) pair given out, as one number.
    last: Mutex<i64>,
}

impl IdGenerator {
    /// A generator for node number `node` (the low ten bits count).
    #[must_use]
    pub const fn new(node: u16) -> Self {
        Self { node: (node & ((1 << NODE_BITS) - 1)) as i64, last: Mutex::new(0) }
    }

    /// The next id. If the clock stands still, goes back, or more than 4,096 ids are wanted in a millisecond,
    /// the sequence runs on into the next millisecond: ids never go backwards.
    pub fn next<I: Id>(&self, now: Timestamp) -> I {
        let milliseconds = (now.as_millis() - EPOCH_MS).max(1);
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *last = (milliseconds << SEQUENCE_BITS).max(*last + 1);
        let (milliseconds, sequence) = (*last >> SEQUENCE_BITS, *last & ((1 << SEQUENCE_BITS) - 1));
        I::from_i64((milliseconds << (NODE_BITS + SEQUENCE_BITS)) | (self.node << SEQUENCE_BITS) | sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_readable_and_come_back() {
        let ids = IdGenerator::new(7);
        let id: JobId = ids.next(Timestamp::from_millis(EPOCH_MS + 1000));
        assert_eq!(id.made_at().as_millis(), EPOCH_MS + 1000);
        let text = id.to_string();
        assert!(text.starts_with("job_") && text.len() == 17, "{text}");
        assert_eq!(text.parse(), Ok(id));
        assert!(text.parse::<AttemptId>().is_err());
        let bad = [
            "",
            "job_",
            "job_1",
            "job_zzzzzzzzzzzzz",
            "job_000000000000u",
            "job_0000000000000",
            "usr_0000000000001",
        ];
        for text in bad {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids_never_repeat_and_never_go_back() {
        let ids = IdGenerator::new(0);
        let mut previous = JobId::from_i64(0);
        for step in [5, 5, 5, 3, 900, 2].into_iter().flat_map(|ms| std::iter::repeat_n(ms, 5000)) {
            let id: JobId = ids.next(Timestamp::from_millis(EPOCH_MS + step));
            assert!(id > previous);
            previous = id;
        }
    }

    #[test]
    fn nodes_do_not_collide() {
        let now = Timestamp::from_millis(EPOCH_MS + 5);
        let (one, two) = (IdGenerator::new(1), IdGenerator::new(2));
        assert_ne!(one.next::<JobId>(now), two.next::<JobId>(now));
    }
}
