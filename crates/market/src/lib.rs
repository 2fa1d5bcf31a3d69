//! The matching engine of the Compute Exchange: one [`Book`] per Cargo, commands in, events out.
//!
//! What is guaranteed:
//!
//! * **Pure.** The same commands in the same order give the same events and the same [`Book::state_hash`], on
//!   every machine: no clock, no I/O, no chance, no floats, no iteration order that depends on addresses.
//! * **The cheapest wins (I10).** At the moment of a match no eligible Island with a free slot had a lower ask.
//!   [`Match::considered`] shows it.
//! * **The price is the ask (I5).** The clearing price is the ask of the chosen Island at the moment of the
//!   match, never the bid, and never above it.
//! * **Nobody waits for nothing.** After every command, no waiting job could be matched; a job that nothing
//!   available suits does not hold up those behind it.
//! * **Capacity neither leaks nor multiplies.** A reservation frees its slot once. Releasing it again, or after
//!   its Island left, changes nothing; an Island that comes back starts with all slots free.
//! * **Cheap.** A match costs O(log n) in the number of asks, however many cheaper Islands are busy or in
//!   other regions. An ask change costs O(log n). Everything that can grow has a limit ([`Limits`]).
//!
//! What the book does not do: it does not know wallets, deadlines or health. Whoever drives it takes the hold
//! after a match, withdraws jobs whose time is over and removes the asks of Islands that are gone.

mod asks;
mod book;
mod command;
mod limits;
mod matching;
mod queue;

pub use asks::AskView;
pub use book::Book;
pub use command::{Ask, Command, Considered, Event, Health, Match, Order, Refusal, Reservation, Verdict};
pub use limits::Limits;
pub use queue::WaitingView;
