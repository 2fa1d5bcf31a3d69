//! What every engine promises, and what only one of them can be asked.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

#[macro_use]
mod common;
mod copy;
mod postgres;
mod proxy;
mod sqlite;
mod statements;
mod tls;
mod transactions;
