//! Our values on the wire.
//!
//! A statement is prepared for the types its first parameters have by nature, so that `$1 + 1` is as wide here as it is
//! in the embedded engine. Where there was nothing to go by the server chooses, from what the parameter stands beside; so
//! types are looked at before anything is sent, and numbers are written as wide as they are wanted.

use bytes::{Bytes, BytesMut};
use tokio_postgres::Row as Received;
use tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use crate::{DbError, Param, Row, Value};

/// Why a value could not be written.
pub type Failure = Box<dyn std::error::Error + Sync + Send>;

/// A number of type `NUMERIC` has digits of this base.
const BASE: i128 = 10_000;

/// The type a parameter has by nature.
pub fn natural_type(param: &Param<'_>) -> Type {
    match param {
        // The server decides.
        Param::Null => Type::UNKNOWN,
        Param::Int(_) => Type::INT8,
        Param::Text(_) => Type::TEXT,
        Param::Blob(_) => Type::BYTEA,
    }
}

/// Whether a statement has a place for each of so many parameters. The server does not mind one that is used nowhere.
pub fn check_number(sql: &str, given: usize) -> Result<(), DbError> {
    let numbers = sql.split('$').skip(1).filter_map(|rest| {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
        digits.parse::<usize>().ok()
    });
    let taken = numbers.max().unwrap_or_default();
    if given <= taken { Ok(()) } else { Err(wrong_number(sql, given, taken)) }
}

fn wrong_number(sql: &str, given: usize, taken: usize) -> DbError {
    DbError::Other(format!("{given} parameters were given where {taken} are taken: {sql}"))
}

/// Whether these parameters can be sent as these types.
pub fn check(sql: &str, types: &[Type], params: &[Param<'_>]) -> Result<(), DbError> {
    if types.len() != params.len() {
        return Err(wrong_number(sql, params.len(), types.len()));
    }
    let mut numbered = (1_usize..).zip(types.iter().zip(params));
    let Some((number, (wanted, param))) = numbered.find(|(_, (wanted, param))| !fits(param, wanted)) else {
        return Ok(());
    };
    let given = match param {
        Param::Null => "nothing",
        Param::Int(_) => "a number",
        Param::Text(_) => "text",
        Param::Blob(_) => "bytes",
    };
    Err(DbError::Other(format!("parameter {number} is {given} where {wanted} is taken: {sql}")))
}

/// Whether a parameter can be sent as this type. A number can be of any width that holds it.
pub fn fits(param: &Param<'_>, wanted: &Type) -> bool {
    match *param {
        Param::Null => true,
        Param::Int(number) => match *wanted {
            Type::INT8 | Type::NUMERIC => true,
            Type::INT4 => i32::try_from(number).is_ok(),
            Type::INT2 => i16::try_from(number).is_ok(),
            Type::BOOL => number == 0 || number == 1,
            _ => false,
        },
        Param::Text(_) => matches!(*wanted, Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME),
        Param::Blob(_) => *wanted == Type::BYTEA,
    }
}

/// A parameter that fits its type.
#[derive(Debug)]
pub struct One<'a>(pub Param<'a>);

impl ToSql for One<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        Ok(if write(&self.0, ty, out)? { IsNull::No } else { IsNull::Yes })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A column of parameters: number `column` of each row, as one array.
#[derive(Debug)]
pub struct Column<'a, 'p> {
    pub rows: &'a [&'a [Param<'p>]],
    pub column: usize,
}

impl<'p> Column<'_, 'p> {
    fn params(&self) -> impl Iterator<Item = &Param<'p>> {
        self.rows.iter().filter_map(|row| row.get(self.column))
    }
}

impl ToSql for Column<'_, '_> {
    /// An array's format: how many dimensions, whether there are nulls, the elements' type, then the length and the first
    /// index of the only dimension, then each element with its length in bytes.
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        let Kind::Array(element) = ty.kind() else { return Err("an array where none is taken".into()) };
        let nulls = self.params().any(|param| *param == Param::Null);
        out.extend_from_slice(&1_i32.to_be_bytes());
        out.extend_from_slice(&i32::from(nulls).to_be_bytes());
        out.extend_from_slice(&element.oid().to_be_bytes());
        out.extend_from_slice(&i32::try_from(self.rows.len())?.to_be_bytes());
        out.extend_from_slice(&1_i32.to_be_bytes());
        for param in self.params() {
            write_with_length(param, element, out)?;
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A parameter as the server wants it, so that what it was made of need not be kept until it is sent.
#[derive(Debug)]
pub struct Encoded(Option<Bytes>);

impl Encoded {
    /// What `param` is as type `ty`.
    pub fn new(param: &impl ToSql, ty: &Type) -> Result<Self, DbError> {
        let mut bytes = BytesMut::new();
        match param.to_sql(ty, &mut bytes) {
            Ok(IsNull::Yes) => Ok(Self(None)),
            Ok(IsNull::No) => Ok(Self(Some(bytes.freeze()))),
            Err(error) => Err(DbError::Other(format!("a parameter cannot be written: {error}"))),
        }
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, Bytes::len)
    }
}

impl ToSql for Encoded {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        let Some(bytes) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Writes a parameter as type `ty` with its length in bytes in front, which for nothing is -1.
pub fn write_with_length(param: &Param<'_>, ty: &Type, out: &mut BytesMut) -> Result<(), Failure> {
    let at = out.len();
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    if write(param, ty, out)? {
        let length = i32::try_from(out.len() - at - size_of::<i32>())?;
        let place = out.get_mut(at..at + size_of::<i32>()).ok_or("there is no place for a length")?;
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Writes a parameter as type `ty`. Answers whether there was anything to write: nulls have no bytes.
fn write(param: &Param<'_>, ty: &Type, out: &mut BytesMut) -> Result<bool, Failure> {
    match *param {
        Param::Null => return Ok(false),
        Param::Text(text) => out.extend_from_slice(text.as_bytes()),
        Param::Blob(bytes) => out.extend_from_slice(bytes),
        Param::Int(number) => match *ty {
            Type::INT8 => out.extend_from_slice(&number.to_be_bytes()),
            Type::INT4 => out.extend_from_slice(&i32::try_from(number)?.to_be_bytes()),
            Type::INT2 => out.extend_from_slice(&i16::try_from(number)?.to_be_bytes()),
            Type::BOOL => out.extend_from_slice(&[u8::from(number != 0)]),
            Type::NUMERIC => write_numeric(number, out)?,
            _ => return Err(format!("a number where {ty} is taken").into()),
        },
    }
    Ok(true)
}

/// `NUMERIC`: how many digits, the power of the first, the sign, how many decimals, then the digits.
fn write_numeric(number: i64, out: &mut BytesMut) -> Result<(), Failure> {
    let mut digits = Vec::new();
    let mut rest = i128::from(number).abs();
    while rest > 0 {
        digits.push(u16::try_from(rest % BASE)?);
        rest /= BASE;
    }
    let sign: u16 = if number < 0 { 0x4000 } else { 0 };
    let count = u16::try_from(digits.len())?;
    for part in [count, count.saturating_sub(1), sign, 0].into_iter().chain(digits.into_iter().rev()) {
        out.extend_from_slice(&part.to_be_bytes());
    }
    Ok(())
}

/// Reads a row, without its first `skip` columns.
pub fn read_row(received: &Received, skip: usize) -> Result<Row, DbError> {
    let mut values = Vec::with_capacity(received.len().saturating_sub(skip));
    for column in skip..received.len() {
        let read: Read = received.try_get(column).map_err(|error| DbError::Other(error.to_string()))?;
        values.push(match read {
            Read::Value(value) => value,
            Read::Unexpected { expected, found } => {
                return Err(DbError::Type { column: column - skip, expected, found });
            }
        });
    }
    Ok(Row(values))
}

/// A column as it came.
enum Read {
    Value(Value),
    Unexpected { expected: &'static str, found: &'static str },
}

impl<'a> FromSql<'a> for Read {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        Ok(Self::Value(match *ty {
            Type::INT8 => Value::Int(i64::from_be_bytes(raw.try_into()?)),
            Type::INT4 => Value::Int(i64::from(i32::from_be_bytes(raw.try_into()?))),
            Type::INT2 => Value::Int(i64::from(i16::from_be_bytes(raw.try_into()?))),
            Type::BOOL => Value::Int(i64::from(raw != [0])),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
                Value::Text(str::from_utf8(raw)?.to_owned())
            }
            Type::BYTEA => Value::Blob(raw.to_vec()),
            // What a function that answers nothing answers.
            Type::VOID => Value::Null,
            Type::NUMERIC => match read_numeric(raw) {
                Some(number) => Value::Int(number),
                None => {
                    let found = "a fraction or a number that is too large";
                    return Ok(Self::Unexpected { expected: "a whole number", found });
                }
            },
            Type::FLOAT4 | Type::FLOAT8 => {
                return Ok(Self::Unexpected { expected: "no float", found: "a float" });
            }
            _ => {
                let expected = "a number, text or bytes";
                return Ok(Self::Unexpected { expected, found: "a value of another type" });
            }
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failure> {
        Ok(Self::Value(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The whole number a `NUMERIC` is, if it is one that fits.
fn read_numeric(raw: &[u8]) -> Option<i64> {
    let mut parts =
        raw.chunks_exact(2).map(|part| part.try_into().map(u16::from_be_bytes).unwrap_or_default());
    let count = parts.next()?;
    let power = i32::from(parts.next()?.cast_signed());
    let sign = parts.next()?;
    let _decimals = parts.next()?;
    let sign = match sign {
        0 => 1,
        0x4000 => -1,
        // Neither a number nor finite.
        _ => return None,
    };
    let mut number: i128 = 0;
    for (position, digit) in (0_i32..i32::from(count)).zip(parts) {
        match u32::try_from(power - position) {
            Ok(power) => {
                let digit = i128::from(digit).checked_mul(BASE.checked_pow(power)?)?;
                number = number.checked_add(digit)?;
            }
            Err(_) if digit == 0 => {}
            Err(_) => return None,
        }
    }
    i64::try_from(sign * number).ok()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{read_numeric, write_numeric};

    #[test]
    fn whole_numbers_survive_as_numeric() {
        for number in [0, 1, -1, 9_999, 10_000, -10_000, 123_456_789_012, i64::MAX, i64::MIN] {
            let mut bytes = BytesMut::new();
            write_numeric(number, &mut bytes).unwrap();
            assert_eq!(read_numeric(&bytes), Some(number));
        }
    }

    #[test]
    fn what_is_no_whole_number_is_none() {
        let of = |parts: &[u16]| -> Vec<u8> { parts.iter().flat_map(|part| part.to_be_bytes()).collect() };
        // 20000 without its trailing zeros
        assert_eq!(read_numeric(&of(&[1, 1, 0, 0, 2])), Some(20_000));
        // 1.0 and 1.5
        assert_eq!(read_numeric(&of(&[2, 0, 0, 1, 1, 0])), Some(1));
        assert_eq!(read_numeric(&of(&[2, 0, 0, 1, 1, 5_000])), None);
        // not a number, and 10^40
        assert_eq!(read_numeric(&of(&[0, 0, 0xC000, 0])), None);
        assert_eq!(read_numeric(&of(&[1, 10, 0, 0, 1])), None);
        assert_eq!(read_numeric(&[0]), None);
    }
}
