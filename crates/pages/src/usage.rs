//! `/usage`: what jobs came to, and what Islands earned.

use askama::Template;

use crate::chart::Plot;
use crate::exchange::{Stat, WindowLink};
use crate::layout::{Badge, Layout, When};

/// Usage.
#[derive(Clone, Debug, Template)]
#[template(path = "usage.html")]
pub struct Usage {
    /// The frame.
    pub layout: Layout,
    /// What was spent, what was earned; nothing for whoever owns no Island.
    pub views: Vec<WindowLink>,
    /// What is shown is what Islands earned.
    pub earned: bool,
    /// The form above it.
    pub filter: UsageFilter,
    /// All of it in numbers.
    pub stats: Vec<Stat>,
    /// The days: `1 Nov to 30 Nov 2026`.
    pub span: String,
    /// Credits by day, if there were any.
    pub chart: Option<Plot>,
    /// The same as a table.
    pub days: Vec<UsageRow>,
    /// By Cargo, key and Island.
    pub tables: Vec<UsageTable>,
    /// Nothing was used in these days.
    pub empty: bool,
    /// The newest batches.
    pub batches: Vec<BatchRow>,
}

/// What the form says.
#[derive(Clone, Debug)]
pub struct UsageFilter {
    /// `spent` or `earned`.
    pub view: &'static str,
    /// `2026-11-01`
    pub from: String,
    /// `2026-11-30`
    pub to: String,
    /// Cargos to choose from.
    pub workloads: Vec<Choice>,
    /// Keys to choose from.
    pub keys: Vec<Choice>,
    /// Islands to choose from.
    pub hosts: Vec<Choice>,
    /// More than days is chosen.
    pub active: bool,
    /// What is wrong with what was chosen.
    pub problem: Option<String>,
    /// The file for spreadsheets.
    pub csv: String,
    /// The file for programs.
    pub json: String,
}

/// Something to choose.
#[derive(Clone, Debug)]
pub struct Choice {
    /// As sent.
    pub value: String,
    /// As shown.
    pub label: String,
    /// It is chosen.
    pub selected: bool,
}

/// Sums by one thing.
#[derive(Clone, Debug)]
pub struct UsageTable {
    /// For links: `by-cargo`.
    pub id: &'static str,
    /// `By Cargo`
    pub title: &'static str,
    /// `Cargo`
    pub what: &'static str,
    /// The most first.
    pub rows: Vec<UsageRow>,
    /// How many are left out, as a sentence.
    pub more: Option<String>,
}

/// A sum.
#[derive(Clone, Debug)]
pub struct UsageRow {
    /// What it is of.
    pub name: String,
    /// Where only this is shown.
    pub href: Option<String>,
    /// `1,234.50`
    pub credits: String,
    /// Of the largest in the table: `37%`.
    pub share: String,
    /// `14`
    pub jobs: String,
    /// `2`
    pub failed: String,
    /// `12,034`; what is said when nothing was counted.
    pub tokens: String,
}

/// A batch.
#[derive(Clone, Debug)]
pub struct BatchRow {
    /// Its id.
    pub id: String,
    /// When it came.
    pub when: When,
    /// The Cargo.
    pub workload: String,
    /// How far it is.
    pub state: Badge,
    /// `97 of 100`
    pub done: String,
    /// `97.00`
    pub cost: String,
    /// Why it failed.
    pub error: Option<String>,
}
