//! The vocabulary of Archipelago.
//!
//! Everything here is a value: money that cannot overflow quietly ([`money`]), ids that cannot be mixed up
//! ([`id`]), time and chance that are handed in rather than reached for ([`time`], [`rng`]), the messages
//! between coordinator and Island ([`island_protocol`]), and what an image file says of
//! itself ([`image_header`]). No I/O beyond reading the system clock and the system's random source, each in exactly one
//! place.

pub mod id;
pub mod image_header;
pub mod island_protocol;
pub mod money;
pub mod rng;
#[cfg(feature = "schema")]
mod schema;
pub mod time;
pub mod units;
