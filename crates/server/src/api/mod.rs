//! The API: thin handlers, one file for each resource. Existing clients' needs are in `clients`, what every handler
//! shares is in `extract`.

pub mod account;
pub mod api_keys;
pub mod bids;
pub mod clients;
pub mod credits;
pub mod errors;
pub mod extract;
pub mod health;
pub mod hosts;
pub mod islands;
pub mod job_receipts;
pub mod jobs;
pub mod market;
pub mod openai;
pub mod pairing;
pub mod payouts;
pub mod quote;
pub mod receipts;
pub mod statement;
pub mod stream;
pub mod topups;
pub mod webhooks;
pub mod workloads;
