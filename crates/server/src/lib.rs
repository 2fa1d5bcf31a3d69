//! The coordinator of Archipelago. This list is the table of contents; ARCHITECTURE.md is the map.

pub mod accounts;
pub mod api;
pub mod app;
pub mod audit;
pub mod background;
pub mod batches;
pub mod chat;
pub mod cli;
pub mod config;
pub mod credits;
pub mod demo;
pub mod error;
pub mod hooks;
pub mod idempotency;
pub mod identity;
pub mod islands;
pub mod job_receipts;
pub mod jobs;
pub mod limits;
pub mod live;
pub mod mail;
pub mod marketplace;
pub mod nodes;
pub mod payouts;
pub mod promo;
pub mod providers;
pub mod purchases;
pub mod receipts;
pub mod router;
pub mod secrets;
pub mod telemetry;
pub mod topups;
pub mod usage;
pub mod web;

use db::{Migration, MigrationSet};

/// The schema, in the order in which it is applied.
pub const MIGRATIONS: &[MigrationSet] = &[
    ledger::MIGRATIONS,
    MigrationSet {
        name: "server",
        migrations: &[
            Migration {
                name: "accounts, purchases, jobs, Islands, market, conversations",
                sqlite: include_str!("../migrations/sqlite/0001_first.sql"),
                postgres: include_str!("../migrations/postgres/0001_first.sql"),
            },
            Migration {
                name: "coordinators, and whose jobs are whose",
                sqlite: include_str!("../migrations/sqlite/0002_coordinators.sql"),
                postgres: include_str!("../migrations/postgres/0002_coordinators.sql"),
            },
            Migration {
                name: "a cap for every API key",
                sqlite: include_str!("../migrations/sqlite/0003_limits.sql"),
                postgres: include_str!("../migrations/postgres/0003_limits.sql"),
            },
            Migration {
                name: "room for the end of an attempt",
                sqlite: include_str!("../migrations/sqlite/0004_room.sql"),
                postgres: include_str!("../migrations/postgres/0004_room.sql"),
            },
            Migration {
                name: "mail to be sent, receipts",
                sqlite: include_str!("../migrations/sqlite/0005_mail.sql"),
                postgres: include_str!("../migrations/postgres/0005_mail.sql"),
            },
            Migration {
                name: "lots, refunds, disputes, events of providers",
                sqlite: include_str!("../migrations/sqlite/0006_payments.sql"),
                postgres: include_str!("../migrations/postgres/0006_payments.sql"),
            },
            Migration {
                name: "payouts",
                sqlite: include_str!("../migrations/sqlite/0007_payouts.sql"),
                postgres: include_str!("../migrations/postgres/0007_payouts.sql"),
            },
            Migration {
                name: "auto top-up, balance alerts, promo codes",
                sqlite: include_str!("../migrations/sqlite/0008_topups.sql"),
                postgres: include_str!("../migrations/postgres/0008_topups.sql"),
            },
            Migration {
                name: "prices by the unit, bids, receipts of jobs",
                sqlite: include_str!("../migrations/sqlite/0009_metering.sql"),
                postgres: include_str!("../migrations/postgres/0009_metering.sql"),
            },
            Migration {
                name: "rates: distributions, trades, unserved jobs, snapshots, asks set by owners",
                sqlite: include_str!("../migrations/sqlite/0010_rates.sql"),
                postgres: include_str!("../migrations/postgres/0010_rates.sql"),
            },
            Migration {
                name: "Islands: standing, statistics, pairing",
                sqlite: include_str!("../migrations/sqlite/0011_islands.sql"),
                postgres: include_str!("../migrations/postgres/0011_islands.sql"),
            },
            Migration {
                name: "the first answers to requests",
                sqlite: include_str!("../migrations/sqlite/0012_answers.sql"),
                postgres: include_str!("../migrations/postgres/0012_answers.sql"),
            },
            Migration {
                name: "answers beyond text",
                sqlite: include_str!("../migrations/sqlite/0013_messages.sql"),
                postgres: include_str!("../migrations/postgres/0013_messages.sql"),
            },
            Migration {
                name: "batches",
                sqlite: include_str!("../migrations/sqlite/0014_batches.sql"),
                postgres: include_str!("../migrations/postgres/0014_batches.sql"),
            },
            Migration {
                name: "usage by the day",
                sqlite: include_str!("../migrations/sqlite/0015_usage.sql"),
                postgres: include_str!("../migrations/postgres/0015_usage.sql"),
            },
            Migration {
                name: "webhooks: endpoints, events, deliveries",
                sqlite: include_str!("../migrations/sqlite/0016_webhooks.sql"),
                postgres: include_str!("../migrations/postgres/0016_webhooks.sql"),
            },
            Migration {
                name: "API keys: expiry, addresses, rotation, alerts",
                sqlite: include_str!("../migrations/sqlite/0017_keys.sql"),
                postgres: include_str!("../migrations/postgres/0017_keys.sql"),
            },
            Migration {
                name: "one tree a table",
                sqlite: include_str!("../migrations/sqlite/0018_rowids.sql"),
                postgres: include_str!("../migrations/postgres/0018_rowids.sql"),
            },
        ],
    },
];
