//! `/jobs/{id}`: one job: what it waits for while it waits, its receipt once it has ended.

use askama::Template;

use crate::chat::Problem;
use crate::layout::{Badge, Layout, When};

/// One job.
#[derive(Clone, Debug, Template)]
#[template(path = "job.html")]
pub struct JobPage {
    /// The frame.
    pub layout: Layout,
    /// `job_…`
    pub id: String,
    /// Name of its Cargo.
    pub cargo: String,
    /// How far it is.
    pub state: Badge,
    /// When it came.
    pub created: When,
    /// From the first attempt to the end, in seconds.
    pub seconds: Option<String>,
    /// It has not ended: the page follows it.
    pub open: bool,
    /// What it waits for, while it waits.
    pub waiting: Option<Waiting>,
    /// Why there is no (whole) answer.
    pub problem: Option<Problem>,
    /// Once it has ended.
    pub receipt: Option<JobReceipt>,
}

/// What a job waits for. Amounts are credits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its place in the queue: 1 is next.
    pub place: Option<usize>,
    /// What asks and bids are for: `request`, `1,000 tokens`.
    pub unit: String,
    /// What it pays at most, for each unit.
    pub unit_bid: String,
    /// The lowest ask of an Island that could run it, for each unit.
    pub best_ask: Option<String>,
    /// How far the bid is below that.
    pub gap: Option<String>,
    /// What it pays at most in all.
    pub bid: String,
    /// What it would have to pay in all to meet the best ask.
    pub needed: Option<String>,
    /// Until when it waits.
    pub deadline: When,
    /// What was wrong with the new bid.
    pub error: Option<String>,
}

/// What came of a job, and what it cost. Amounts are credits.
#[derive(Clone, Debug)]
pub struct JobReceipt {
    /// What the consumer pays at most and who said so; nothing for the owner of an Island.
    pub bid: Option<String>,
    /// What was charged; nothing for the owner of an Island.
    pub charge: Option<String>,
    /// How much of the Cargo: `0.48 × 1,000 tokens`.
    pub amount: String,
    /// Its attempts.
    pub attempts: Vec<Attempt>,
}

/// One try on one Island.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// From 1.
    pub number: i64,
    /// Name of the Island.
    pub island: String,
    /// How it ended.
    pub state: Badge,
    /// Why it failed.
    pub error: Option<String>,
    /// The clearing price, for each unit.
    pub price: String,
    /// What was held.
    pub hold: String,
    /// What was charged.
    pub charge: String,
    /// The network's share.
    pub fee: String,
    /// What the owner of the Island earned.
    pub earned: String,
    /// The consumer owns the Island.
    pub own: bool,
    /// The asks that were looked at, in the order of choice; none for the owner of an Island.
    pub asks: Vec<Ask>,
    /// Those are all that came before the chosen one.
    pub asks_complete: bool,
}

/// An ask that was looked at.
#[derive(Clone, Debug)]
pub struct Ask {
    /// `isl_…`
    pub island: String,
    /// For each unit.
    pub ask: String,
    /// What came of it, as a sentence.
    pub reason: String,
    /// The job went there.
    pub chosen: bool,
}
