//! Faults on purpose, for tests and for the simulation.

use std::fmt::Debug;

/// A moment in the life of a transaction at which something can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultPoint {
    /// Nothing has been done yet. A fault here is a database that cannot be written.
    BeforeBegin,
    /// The closures of a group have run. A fault here is a commit that fails: nothing is kept.
    BeforeCommit,
    /// The commit stands and nobody has been told. A fault here is an answer that is lost: an embedded database cannot
    /// find out and answers [`crate::DbError::Unknown`]; one across a network loses its connection and finds out.
    AfterCommit,
}

/// Decides where something goes wrong. Asked on the writer's thread, for groups of transactions that write, in order.
pub trait Faults: Debug + Send + Sync {
    /// Whether it goes wrong here.
    fn fails(&self, point: FaultPoint) -> bool;
}
