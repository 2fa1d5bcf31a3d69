//! Parameters: forms whose names nest with brackets.

use serde_json::{Map, Value, json};

use crate::error::ApiError;

/// The parameters of a request.
#[derive(Clone, Debug)]
pub(crate) struct Params {
    pub(crate) value: Value,
    /// The connected account the request is about.
    pub(crate) account: Option<String>,
}

impl Params {
    /// A text; empty is none.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.value[name].as_str().filter(|text| !text.is_empty())
    }

    /// A text that has to be there.
    pub(crate) fn need(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name).ok_or_else(|| ApiError::missing(name))
    }

    /// The text as JSON, or null.
    pub(crate) fn json(&self, name: &str) -> Value {
        self.text(name).map_or(Value::Null, |text| json!(text))
    }

    /// A whole number.
    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.text(name).map(|text| number(name, text)).transpose()
    }

    /// An amount of money, at least one cent.
    pub(crate) fn amount(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.int(name)? {
            Some(amount) if amount < 1 => {
                Err(ApiError::bad(name, "This value must be greater than or equal to 1.")
                    .code("parameter_invalid_integer"))
            }
            other => Ok(other),
        }
    }

    /// Whether a parameter is `true`.
    pub(crate) fn yes(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// The metadata, checked.
    pub(crate) fn metadata(&self) -> Result<Value, ApiError> {
        metadata(&self.value["metadata"], &json!({}))
    }

    /// Puts new metadata over the old: what is empty is taken away.
    pub(crate) fn update_metadata(&self, object: &mut Value) -> Result<(), ApiError> {
        object["metadata"] = metadata(&self.value["metadata"], &object["metadata"])?;
        Ok(())
    }

    /// The parameters below a name.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self { value: self.value[name].clone(), account: self.account.clone() }
    }
}

/// The number a text says.
pub(crate) fn number(name: &str, text: &str) -> Result<i64, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad(name, format!("Invalid integer: {text}")).code("parameter_invalid_integer")
    })
}

fn metadata(given: &Value, before: &Value) -> Result<Value, ApiError> {
    let mut all: Map<String, Value> = before.as_object().cloned().unwrap_or_default();
    for (key, value) in given.as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if key.chars().count() > 40 || value.chars().count() > 500 {
            let message = "Metadata keys may have 40 characters and values 500.";
            return Err(ApiError::bad(&format!("metadata[{key}]"), message));
        }
        if value.is_empty() {
            all.remove(key);
        } else {
            all.insert(key.clone(), json!(value));
        }
    }
    if all.len() > 50 {
        return Err(ApiError::bad("metadata", "Metadata can have up to 50 keys."));
    }
    Ok(Value::Object(all))
}

/// Reads `a[b][0][c]=d&…`.
pub(crate) fn parse(form: &str) -> Value {
    let mut root = Value::Object(Map::new());
    for pair in form.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name);
        let mut keys = name.split('[').map(|key| key.trim_end_matches(']').to_owned());
        let first = keys.next().unwrap_or_default();
        let path: Vec<String> = std::iter::once(first).chain(keys).collect();
        insert(&mut root, &path, decode(value));
    }
    lists(root, false)
}

fn insert(at: &mut Value, path: &[String], value: String) {
    let Some((key, rest)) = path.split_first() else {
        *at = Value::String(value);
        return;
    };
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    if let Value::Object(map) = at {
        let key = if key.is_empty() { map.len().to_string() } else { key.clone() };
        insert(map.entry(key).or_insert(Value::Null), rest, value);
    }
}

/// Objects whose names are all numbers become lists.
fn lists(value: Value, as_is: bool) -> Value {
    let Value::Object(map) = value else { return value };
    let mut numbered: Vec<(usize, Value)> = Vec::new();
    if !as_is && !map.is_empty() && map.keys().all(|key| key.parse::<usize>().is_ok()) {
        for (key, value) in map {
            numbered.push((key.parse().unwrap_or_default(), lists(value, false)));
        }
        numbered.sort_by_key(|(at, _)| *at);
        return Value::Array(numbered.into_iter().map(|(_, value)| value).collect());
    }
    Value::Object(
        map.into_iter().map(|(key, value)| (key.clone(), lists(value, key == "metadata"))).collect(),
    )
}

/// Undoes the encoding of a form.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                    Some(decoded) => {
                        bytes.push(decoded);
                        rest = &after[2..];
                    }
                    None => bytes.push(b'%'),
                }
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
