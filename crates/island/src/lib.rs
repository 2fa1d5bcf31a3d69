//! The provider's agent: it connects a machine's backends to an Archipelago coordinator and runs what it is
//! assigned.
//!
//! Guarantees:
//!
//! * Every attempt that is assigned is answered with exactly one of `done`, `failed` and `rejected`, after all of
//!   its outputs and in order, whatever the backend does (even if the code that serves it panics), and however
//!   often the connection breaks: a session goes on where it was. Only when there is no connection for as long as a
//!   lease, or the coordinator has begun anew, is there no answer: then everything in work is stopped, because the
//!   coordinator gives it to others.
//! * No more attempts of a Cargo run than slots are offered, and what waits to be told is bounded: a backend is read
//!   no faster than the coordinator listens.
//! * What is offered is there: a backend that is down, a closed schedule or a model that is gone takes its
//!   offers out of the book, and no ask lies below the measured cost.
//! * The agent reconnects for ever, ever more slowly, unless it is told that this cannot help.
//! * Asked to stop, it takes nothing new and finishes what runs.
//! * Asks, slots and offers can change while it runs ([`Updater`], [`ConfigFile`]).
//!
//! An [`Agent`] holds one `session` at a time, over as many connections (`link`) as that takes; a link starts attempts
//! (`runner`), which ask a `backend` and speak through a `reporter` into the session's `outbox`. The `keeper` looks after
//! the backends (`site`) and so after the `catalog` of what is offered. The `tally` counts.

mod agent;
mod backend;
mod backoff;
mod catalog;
mod check;
mod config;
mod connection;
mod cost;
mod keeper;
mod link;
mod machine;
mod outbox;
mod pairing;
mod report;
mod reporter;
mod runner;
mod schedule;
mod session;
mod site;
mod sse;
mod state;
mod tally;
mod words;

pub use agent::{Agent, AgentError, Updater};
pub use check::{Finding, check};
pub use config::{
    BackendConfig, BackendKind, Config, ConfigError, ConfigFile, ConfigFileError, Cost, EXAMPLE, Endpoint,
    Models, OfferConfig, Schedule, Secret, Unit, Zone,
};
pub use pairing::{Code, PairError, Pairing};
pub use state::{Identity, State, StateError};
