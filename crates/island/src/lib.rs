//! The provider's agent: it connects a machine's backend to an Archipelago coordinator and runs what it is
//! assigned.
//!
//! Guarantees:
//!
//! * Every attempt that is assigned is answered with exactly one of `done`, `failed` and `rejected`, after all of
//!   its outputs and in order, whatever the backend does (even if the code that serves it panics). Only when the
//!   connection ends first is there no answer: then everything in work is stopped, because the coordinator
//!   gives it to others.
//! * No more attempts of a Cargo run than slots are offered.
//! * The agent reconnects for ever, ever more slowly, unless it is told that this cannot help.
//! * Asked to stop, it takes nothing new and finishes what runs.
//! * Asks, slots and offers can change while it runs ([`Updater`], [`ConfigFile`]).
//!
//! An [`Agent`] holds one session at a time, over one connection; a session starts attempts (`runner`), which ask
//! a `backend` and speak through a `reporter`. No state outlives a connection but the `catalog` of what is served.

mod agent;
mod backend;
mod backoff;
mod catalog;
mod config;
mod config_file;
mod connection;
mod image_header;
mod machine;
mod reporter;
mod runner;
mod session;
mod sse;

pub use agent::{Agent, AgentError, Updater};
pub use config::{BackendConfig, BackendKind, Config, ConfigError, EXAMPLE, Endpoint, OfferConfig, Secret};
pub use config_file::{ConfigFile, ConfigFileError};
