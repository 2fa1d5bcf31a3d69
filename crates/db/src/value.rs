//! What goes into a statement and what comes out of it.

use types::id::{self, Id};
use types::money::{Cents, Credits, MicroCredits};
use types::time::Timestamp;

use crate::DbError;

/// A parameter, borrowed for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param<'a> {
    /// Nothing.
    Null,
    /// A number; ids, times and amounts are numbers too.
    Int(i64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// A value read from a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// A row of a result.
#[derive(Clone, Debug)]
pub struct Row(pub(crate) Vec<Value>);

impl Row {
    /// The value of column number `column`, from 0.
    ///
    /// # Errors
    /// [`DbError::Type`] if it is of another type or there is no such column.
    pub fn get<T: FromValue>(&self, column: usize) -> Result<T, DbError> {
        let value = self.0.get(column).unwrap_or(&Value::Null);
        T::from_value(value).ok_or(DbError::Type {
            column,
            expected: std::any::type_name::<T>(),
            found: match value {
                Value::Null => "null",
                Value::Int(_) => "a number",
                Value::Text(_) => "text",
                Value::Blob(_) => "bytes",
            },
        })
    }
}

/// What can be read from a column.
pub trait FromValue: Sized {
    /// The value as this type, if it is one.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Int(number) = value { Some(*number) } else { None }
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).map(|number| number != 0)
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.clone()) } else { None }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Blob(bytes) = value { Some(bytes.clone()) } else { None }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        if matches!(value, Value::Null) { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Value> for Param<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Int(number) => Self::Int(*number),
            Value::Text(text) => Self::Text(text),
            Value::Blob(bytes) => Self::Blob(bytes),
        }
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Blob(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Param<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Blob(bytes)
    }
}

impl<'a> From<&'a Option<String>> for Param<'a> {
    fn from(text: &'a Option<String>) -> Self {
        text.as_deref().map_or(Self::Null, Self::Text)
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! small_numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for Param<'_> {
            fn from(number: $number) -> Self {
                Self::Int(i64::from(number))
            }
        }
    )*};
}

small_numbers!(i64, i32, u32, u16, u8, bool);

/// Numbers that have a type of their own: stored as the plain number.
macro_rules! wrapped_numbers {
    ($($wrapper:ty: $into:expr, $from:expr;)*) => {$(
        impl From<$wrapper> for Param<'_> {
            fn from(value: $wrapper) -> Self {
                Self::Int($into(value))
            }
        }

        impl FromValue for $wrapper {
            fn from_value(value: &Value) -> Option<Self> {
                i64::from_value(value).map($from)
            }
        }
    )*};
}

wrapped_numbers! {
    MicroCredits: MicroCredits::get, MicroCredits::new;
    Credits: Credits::get, Credits::new;
    Cents: Cents::get, Cents::new;
    Timestamp: Timestamp::as_millis, Timestamp::from_millis;
    id::AccountId: Id::get, Id::from_i64;
    id::ApiKeyId: Id::get, Id::from_i64;
    id::AttemptId: Id::get, Id::from_i64;
    id::ConversationId: Id::get, Id::from_i64;
    id::DeliveryId: Id::get, Id::from_i64;
    id::EndpointId: Id::get, Id::from_i64;
    id::EventId: Id::get, Id::from_i64;
    id::GrantId: Id::get, Id::from_i64;
    id::IslandId: Id::get, Id::from_i64;
    id::JobId: Id::get, Id::from_i64;
    id::MailId: Id::get, Id::from_i64;
    id::MessageId: Id::get, Id::from_i64;
    id::PairingId: Id::get, Id::from_i64;
    id::PayoutId: Id::get, Id::from_i64;
    id::PurchaseId: Id::get, Id::from_i64;
    id::TransferId: Id::get, Id::from_i64;
    id::UserId: Id::get, Id::from_i64;
    id::VerificationId: Id::get, Id::from_i64;
}
