//! The coordinator through the doors its users use: the real binary, real sockets, a real database.
//!
//! Each test starts a server of its own and ends with [`world::World::finish`], which checks what must always hold: the
//! audit passes and the server logged no error.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod access;
mod batches;
mod busy;
mod by_program;
mod coordinators;
mod crash;
mod doubt;
mod exchange;
mod hooks;
mod hooks_money;
mod idempotency;
mod input;
mod island_owners;
mod islands;
mod islands_broken;
mod keys;
mod limits;
mod mail;
mod metering;
mod migrate;
mod money;
mod openai;
mod openapi;
mod outage;
mod pages;
mod pairing;
mod payouts;
mod purchases;
mod rates;
mod receipts;
mod recipes;
mod repeats;
mod start;
mod statements;
mod storm;
mod stripe;
mod stripe_incidents;
mod tidy;
mod topups;
mod trouble;
mod usage;
mod waiting;
mod world;
