//! `GET /api/v1/openapi.json`: what this API is, for programs.

use axum::Json;
use serde_json::Value;

use super::words::AnyObject;
use crate::api::operation::{Access, Operation, document};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/openapi.json", "getOpenApi", show)
            .says(
                "This document",
                "OpenAPI 3.1. It is the same for everybody, and made from the code that answers.",
            )
            .tag("Server")
            .access(Access::Public)
            .answers::<AnyObject>(200, "The document."),
    ]
}

/// The handler.
pub async fn show() -> Json<&'static Value> {
    Json(&document::DOCUMENT)
}
