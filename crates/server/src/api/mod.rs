//! The API: thin handlers, one file for each resource. Existing clients' needs are in `clients`, what every handler
//! shares is in `extract`.

pub mod account;
pub mod api_keys;
pub mod batches;
pub mod bids;
pub mod clients;
pub mod conversations;
pub mod credits;
pub mod download;
pub mod errors;
pub mod extract;
pub mod health;
pub mod hook_shapes;
pub mod hooks;
pub mod hosts;
pub mod islands;
pub mod job_receipts;
pub mod job_shapes;
pub mod jobs;
pub mod key_shapes;
pub mod market;
pub mod market_shapes;
pub mod network;
pub mod openai;
pub mod openapi;
pub mod operation;
pub mod pairing;
pub mod payouts;
pub mod profile;
pub mod quote;
pub mod receipts;
pub mod shapes;
pub mod statement;
pub mod stream;
pub mod topups;
pub mod usage;
pub mod verification;
pub mod webhooks;
pub mod words;
pub mod workloads;

use operation::Operation;

/// Every operation of the API, in the order of the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    [
        account::operations(),
        profile::operations(),
        verification::operations(),
        conversations::operations(),
        jobs::operations(),
        batches::operations(),
        job_receipts::operations(),
        bids::operations(),
        stream::operations(),
        workloads::operations(),
        hosts::operations(),
        market::operations(),
        quote::operations(),
        network::operations(),
        api_keys::operations(),
        hooks::operations(),
        credits::operations(),
        receipts::operations(),
        topups::operations(),
        statement::operations(),
        usage::operations(),
        payouts::operations(),
        islands::operations(),
        pairing::operations(),
        openai::chat::operations(),
        openai::embeddings::operations(),
        openai::images::operations(),
        openai::models::operations(),
        health::operations(),
        webhooks::operations(),
        openapi::operations(),
    ]
    .concat()
}
