//! The ledger: the only code that moves credits.
//!
//! [`submit`] takes a slice of [`Command`]s inside a transaction and answers each with an [`Outcome`] or a
//! [`Refusal`]; one command is a batch of one. It knows, decides and writes, in a fixed number of statements, whatever
//! the number of commands. The commands of a batch take effect in order; a refused one changes nothing for its neighbours.
//!
//! What is guaranteed, by rule here and again by constraint in the tables:
//!
//! * the legs of a transfer sum to zero, and so does everything (I1);
//! * a wallet's posted − held is never negative (I2);
//! * a hold ends once: settled, released or expired (I3, I7), and is charged at most its amount (I5);
//! * what the consumer pays is what the Island's owner and the network get (I8);
//! * the same command again gets the first answer, another command with its id is refused (I9);
//! * who is frozen or in debt does not spend (I11);
//! * transfers are never changed (I12).
//!
//! # How it is stored
//!
//! `ledger_transfers` is the history, one row a movement with its three legs in it: payer, payee, network. Each leg
//! carries its account's running balance and the transfer before it, so the statement of an account is a chain and
//! needs no index that every movement would have to enter somewhere in its middle. `ledger_journal` has what each batch
//! changed (accounts, holds and caps as they are after it); `ledger_accounts`, `ledger_holds` and `ledger_caps` follow it: with
//! each batch while there is little to do, by shares when there is much ([`fold`](fold())). `ledger_head` says how far everything
//! is. What a connection remembers from one batch to the next (`memory`) counts only if the head, read in the same
//! transaction, still carries the digest of it.
//!
//! Writers come one after another, in all processes: the `db` crate sees to that for both engines.
//!
//! The ledger knows accounts, holds, transfers and caps; nothing of jobs, purchases or people.
#![deny(clippy::float_arithmetic)]

mod account;
pub mod audit;
mod books;
mod cap;
mod command;
mod fold;
mod journal;
mod memory;
mod reading;
mod rules;
pub mod statement;
mod store;
mod submit;
mod transfer;

pub use account::{Account, AccountKind, Balance, Hold, HoldState, system};
pub use cap::{Cap, Limits, Period, Usage, Window};
pub use command::{Applied, Command, Outcome, Refusal, TransferKind};
use db::{Migration, MigrationSet};
pub use fold::{Pace, fold, is_folded};
pub use reading::{balance, balances, cap, caps, holds_expired, open_holds};
pub use store::{open_account, open_accounts, open_cap};
pub use submit::{Beginning, Submitted, begin, submit, submit_at};

/// The ledger's tables.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    name: "ledger",
    migrations: &[
        Migration {
            name: "accounts, caps, holds, transfers, entries",
            sqlite: include_str!("../migrations/sqlite/0001_ledger.sql"),
            // The first schema was there for SQLite only.
            postgres: "",
        },
        Migration {
            name: "legs in the row of their transfer, a journal",
            sqlite: include_str!("../migrations/sqlite/0002_journal.sql"),
            postgres: include_str!("../migrations/postgres/0002_journal.sql"),
        },
        Migration {
            name: "one tree a table",
            sqlite: include_str!("../migrations/sqlite/0003_rowids.sql"),
            postgres: include_str!("../migrations/postgres/0003_rowids.sql"),
        },
    ],
};
