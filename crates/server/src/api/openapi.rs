//! `GET /api/v1/openapi.json`: what this API is, for programs.

use axum::Json;
use serde_json::Value;

use crate::api::operation::{Access, Operation, document};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/openapi.json", "getOpenApi", show)
            .says("This document", "")
            .tag("Server")
            .access(Access::Public)
            .answers::<Value>(200, "An OpenAPI 3.1 document."),
    ]
}

/// The handler.
pub async fn show() -> Json<&'static Value> {
    Json(&document::DOCUMENT)
}
