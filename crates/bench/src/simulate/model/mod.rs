//! What must be the case, foretold without a look at the program's own code: naive lists, one thing after another.
//!
//! The simulation knows what it broke on purpose, so nothing is left open here: a commit that was made to fail has not
//! happened, one whose answer was lost has. Every answer and every balance is foretold exactly.

pub mod books;
mod caps;
pub mod jobs;
pub mod purchases;

use std::collections::{BTreeMap, BTreeSet};

use ledger::Outcome;

use self::books::{Books, Changes};
use self::jobs::{Attempt, Job, Requests};
use self::purchases::Purchase;
use super::faults::{Fate, Told};

/// Everything that is true.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub books: Books,
    /// Users who may spend.
    pub verified: BTreeSet<i64>,
    /// Keys that are none any more.
    pub revoked: BTreeSet<i64>,
    pub jobs: BTreeMap<i64, Job>,
    pub attempts: BTreeMap<i64, Attempt>,
    /// What was asked before, by user and key: the fingerprint and the job.
    pub requests: Requests,
    /// Cleared prices: how many, and their sum.
    pub trades: (i64, i64),
    pub purchases: BTreeMap<i64, Purchase>,
    /// Events of the payment provider that are remembered.
    pub events: BTreeSet<String>,
    /// How many grants there were.
    pub grants: i64,
    /// Who has which number.
    pub nodes: BTreeMap<u16, Node>,
    /// Holds that belong to no job.
    pub strays: BTreeSet<i64>,
    /// Jobs that changed since they were last compared.
    pub touched: BTreeSet<i64>,
}

/// A coordinator's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Which process has it; 0 is nobody.
    pub run: u64,
    /// Where that was started.
    pub slot: usize,
    /// Its signs of life.
    pub beat: u64,
}

impl Model {
    /// A network without people.
    pub fn new() -> Self {
        Self { books: Books::new(), ..Self::default() }
    }

    /// Commands straight to the ledger: their outcomes, and what whoever sent them is told.
    pub fn submit(&mut self, commands: &[ledger::Command], now: i64, fate: Fate) -> (Vec<Outcome>, Told) {
        let mut draft = self.books.draft(now);
        let outcomes: Vec<Outcome> = commands.iter().map(|command| draft.apply(command)).collect();
        let changes = draft.changes();
        self.keep_if(fate, changes);
        (outcomes, fate.told())
    }

    /// A command that must not be refused, or the transaction fails.
    pub fn submit_one(&mut self, command: &ledger::Command, now: i64, fate: Fate) -> Told {
        let mut draft = self.books.draft(now);
        if draft.apply(command).is_err() {
            return fate.told_refusal();
        }
        let changes = draft.changes();
        self.keep_if(fate, changes);
        fate.told()
    }

    fn keep_if(&mut self, fate: Fate, changes: Changes) {
        if fate.is_kept() {
            self.books.keep(changes);
        }
    }

    /// Whether a process still has its number.
    pub fn owns(&self, number: u16, run: u64) -> bool {
        self.nodes.get(&number).is_some_and(|node| node.run == run)
    }

    /// The number that a coordinator started in this slot gets: the one it had, or the lowest that is free.
    pub fn number_for(&self, slot: usize) -> u16 {
        let own = self.nodes.iter().find(|(_, node)| node.run != 0 && node.slot == slot);
        let is_free = |number: &u16| self.nodes.get(number).is_none_or(|node| node.run == 0);
        own.map(|(number, _)| *number).or_else(|| (0..1024).find(is_free)).unwrap_or_default()
    }

    /// The open jobs of a coordinator, and with them its number, are taken from it.
    pub fn hand_over(&mut self, from: u16, to: u16) {
        if let Some(node) = self.nodes.get_mut(&from) {
            node.run = 0;
        }
        for (id, job) in self.jobs.iter_mut().filter(|(_, job)| job.node == from && job.is_open()) {
            job.node = to;
            self.touched.insert(*id);
        }
    }

    /// Open jobs of a coordinator, oldest first.
    pub fn open_jobs(&self, node: u16) -> Vec<i64> {
        let of = self.jobs.iter().filter(|(_, job)| job.node == node && job.is_open());
        of.map(|(id, _)| *id).collect()
    }
}
