//! The ledger: the only code that moves credits.
//!
//! [`submit`] takes a slice of [`Command`]s inside a transaction and answers each with an [`Outcome`] or a
//! [`Refusal`]; one command is a batch of one. It runs in fixed phases (read what is touched, in sorted order;
//! decide in memory with the pure rules of [`rules`]; write what changed), so the number of statements does not
//! depend on the number of commands. The commands of a batch take effect in order; a refused one changes nothing for its
//! neighbours.
//!
//! What is guaranteed, by rule here and again by constraint in the tables:
//!
//! * entries of a transfer sum to zero, and so does everything (I1);
//! * a wallet's posted − held is never negative (I2);
//! * a hold ends once: settled, released or expired (I3, I7), and is charged at most its amount (I5);
//! * what the consumer pays is what the Island's owner and the network get (I8);
//! * the same command again gets the first answer, another command with its id is refused (I9);
//! * entries and transfers are never changed (I12).
//!
//! The ledger knows accounts, holds, transfers and caps; nothing of jobs, purchases or people.
#![deny(clippy::float_arithmetic)]

mod account;
pub mod audit;
mod command;
pub mod rules;
pub mod statement;
mod store;
mod submit;

pub use account::{Account, AccountKind, Balance, Cap, Hold, HoldState, system};
pub use command::{Applied, Command, Outcome, Refusal, TransferKind};
use db::{Migration, MigrationSet};
pub use store::{balance, freeze, holds_expired, holds_open, open_account, open_cap};
pub use submit::{Submitted, submit};

/// The ledger's tables.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    name: "ledger",
    migrations: &[Migration {
        name: "accounts, caps, holds, transfers, entries",
        sqlite: include_str!("../migrations/sqlite/0001_ledger.sql"),
        postgres: "",
    }],
};
