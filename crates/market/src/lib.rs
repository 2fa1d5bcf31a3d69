//! The matching engine of the Compute Exchange: one [`Book`] per Cargo, commands in, events out.
//!
//! What is guaranteed:
//!
//! * **Pure.** The same commands in the same order give the same events and the same [`Book::state_hash`], on
//!   every machine: no clock, no I/O, no chance, no floats, no iteration order that depends on addresses.
//! * **The cheapest wins (I10).** At the moment of a match no eligible Island with a free slot had a lower ask.
//!   [`Match::considered`] shows it. Eligible is who is in the region, names the model, is trusted far enough and did not
//!   fail the job before, each if the order asks for it; and an Island of last resort ([`Health::LastResort`]) only
//!   while no other that is eligible and within the bid has a free slot.
//! * **The price is the ask (I5).** The clearing price is the ask of the chosen Island at the moment of the
//!   match, never the bid, and never above it.
//! * **Nobody waits for nothing.** After every command, no waiting job could be matched; a job that nothing
//!   available suits does not hold up those behind it.
//! * **Capacity neither leaks nor multiplies.** A reservation frees its slot once. Releasing it again, or after
//!   its Island left, changes nothing; an Island that comes back starts with all slots free.
//! * **Cheap.** A match costs O(log n) in the number of asks, however many cheaper Islands are busy, of last resort,
//!   or do not suit, and however many jobs wait for other things. An ask change costs O(log n), one that changes
//!   nothing next to nothing. Everything that can grow has a limit ([`Limits`]).
//!
//! An Island of last resort and the jobs that wait: a waiting job never keeps such an Island waiting in the hope of a
//! better one. When its slot becomes free, or it enters, the first waiting job it suits gets it at once, as nothing
//! else is free for that job then. It is part of every lowest ask that is told ([`Book::best_ask`],
//! [`Event::Waiting`]), because who bids that much does start there.
//!
//! What the book does not do: it does not know wallets or the time, and judges nobody's health. Whoever drives it takes the
//! hold after a match, says how late it is ([`Command::Expire`]), says how healthy and trusted an Island is, and
//! removes the asks of those that are gone.

mod asks;
mod book;
mod command;
mod limits;
mod matching;
mod names;
mod queue;
mod ranked;
mod shelves;
mod suit;

pub use asks::AskView;
pub use book::Book;
pub use command::{Ask, Command, Considered, Event, Health, Match, Order, Refusal, Reservation, Verdict};
pub use limits::Limits;
pub use queue::{BidLevel, WaitingView};
pub use shelves::PriceLevel;
