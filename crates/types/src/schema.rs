//! How amounts, times and ids look in JSON, for the OpenAPI document.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::money::MicroCredits;
use crate::time::Timestamp;
use crate::units::Units;

impl JsonSchema for MicroCredits {
    fn schema_name() -> Cow<'static, str> {
        "Credits".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        if generator.contract().is_deserialize() {
            return json_schema!({
                "anyOf": [
                    {"type": "number"},
                    {"type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,6})?$", "maxLength": 32},
                ],
                "description": "Credits (100 = $1) with at most six decimals: a number, or a decimal string.",
                "examples": [2.5],
            });
        }
        json_schema!({
            "type": "number",
            "description": "Credits (100 = $1), exact to six decimals.",
            "examples": [2.5],
        })
    }
}

impl JsonSchema for Units {
    fn schema_name() -> Cow<'static, str> {
        "Units".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "number",
            "minimum": 0,
            "description": "How much of a Cargo, in its unit: requests, thousands of tokens, images. Exact to five decimals.",
            "examples": [1],
        })
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "A moment, RFC 3339, UTC, to the millisecond.",
            "examples": ["2026-01-31T12:00:00.000Z"],
        })
    }
}
