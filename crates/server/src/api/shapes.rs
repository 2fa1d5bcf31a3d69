//! Shapes that answers of several operations have.

use schemars::JsonSchema;
use serde::Serialize;

/// Nearly every answer: what was asked for stands in `data`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Data<T> {
    /// What was asked for.
    pub data: T,
}

/// A part of a longer list, by number.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Listed<T> {
    /// This part.
    pub data: Vec<T>,
    /// Where in the list it stands.
    pub meta: Meta,
}

/// Where a part of a list stands.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Meta {
    /// How many there are in all.
    pub total: i64,
    /// How many were asked for.
    pub limit: u32,
    /// How many come before this part.
    pub offset: u32,
}

/// A part of a list that grows at its front, by cursor.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Paged<T> {
    /// This part.
    pub data: Vec<T>,
    /// What to send as `cursor` for the next part; null at the end.
    pub next_cursor: Option<String>,
}
