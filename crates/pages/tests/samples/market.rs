//! The Exchange and the user's Islands.

use pages::exchange::{Day, Exchange, ExchangeRow};
use pages::islands::{
    AskView, IslandRow, Islands, NewToken, PayoutAccount, PayoutRow, Payouts, ScheduleOption, TokenRow,
};
use pages::{Badge, Nav, Template, Tone};

use super::{HOSTILE, Sample, member, poor, public, when};

fn rows() -> Vec<ExchangeRow> {
    let row = |slug: &str, name: &str, unit: &str, ask: Option<&str>, traded: bool| ExchangeRow {
        slug: slug.into(),
        name: name.into(),
        unit: unit.into(),
        best_ask: ask.map(Into::into),
        last: traded.then(|| "2.00".into()),
        day: traded.then(|| Day { low: "1.50".into(), high: "3.25".into(), average: "2.11".into() }),
        islands: if ask.is_some() { "14".into() } else { "0".into() },
        waiting: if ask.is_some() { "0".into() } else { "3".into() },
    };
    vec![
        row("llm-chat", "LLM Chat Standard", "request", Some("1.50"), true),
        row("llm-chat-hq", "LLM Chat High quality", "request", Some("6.00"), true),
        row("sdxl", "Image generation", "image", Some("12.00"), false),
        row("embed", "Embeddings", "1k tokens", None, false),
    ]
}

fn payouts() -> Payouts {
    let row = |status: Badge, error: Option<&str>, can_cancel| PayoutRow {
        id: "pay_1".into(),
        date: when("3 Oct 2026"),
        credits: "3,100.00".into(),
        amount: "$31.00".into(),
        status,
        error: error.map(Into::into),
        can_cancel,
    };
    Payouts {
        available: "3,100.00".into(),
        available_usd: "$31.00".into(),
        pending: "12.00".into(),
        hold_days: "7".into(),
        paid: "5,000.00".into(),
        minimum: "2,500.00".into(),
        account: PayoutAccount::Ready,
        can_pay: true,
        most: "3100".into(),
        least: "2500".into(),
        attempt: "sample-attempt".into(),
        schedules: vec![ScheduleOption {
            value: "weekly".into(),
            label: "Every week".into(),
            selected: true,
        }],
        history: vec![
            row(Badge::new("on its way", Tone::Warn), None, true),
            row(Badge::new("failed, credits are back", Tone::Bad), Some(HOSTILE), false),
        ],
    }
}

fn islands(full: bool) -> Islands {
    let ask = |cargo: &str, price: &str| AskView {
        cargo: cargo.into(),
        price: price.into(),
        unit: "request".into(),
    };
    let island = |name: &str, status: Badge, asks: Vec<AskView>| IslandRow {
        id: "isl_1".into(),
        suspended: name.len() > 5,
        name: name.into(),
        status,
        asks,
        running: "1".into(),
    };
    let token = |name: &str, used: bool| TokenRow {
        id: "tok_1".into(),
        name: name.into(),
        prefix: "isl_9f3c".into(),
        created: when("3 Oct 2026"),
        last_used: used.then(|| when("22 Nov 2026, 11:58")),
    };
    Islands {
        layout: if full { member("Islands", Nav::Islands) } else { poor("Islands", Nav::Islands) },
        islands: if full {
            vec![
                island(
                    "Palma",
                    Badge::new("online", Tone::Good),
                    vec![ask("LLM Chat Standard", "1.50"), ask("LLM Chat High quality", "6.00")],
                ),
                island(HOSTILE, Badge::new("offline", Tone::Plain), Vec::new()),
            ]
        } else {
            Vec::new()
        },
        tokens: if full { vec![token("Palma", true), token("Naxos", false)] } else { Vec::new() },
        earnings: if full { "37.80".into() } else { "0.00".into() },
        earnings_usd: if full { "≈ $0.38".into() } else { "≈ $0.00".into() },
        can_move: full,
        payouts: full.then(payouts),
        new_token: full.then(|| NewToken {
            name: "Naxos".into(),
            token: "isl_9f3c0aa1b2c3d4e5f60718293a4b5c6d".into(),
            command:
                "island --coordinator http://127.0.0.1:4000 --token isl_9f3c0aa1b2c3d4e5f60718293a4b5c6d"
                    .into(),
        }),
        fee_percent: "10".into(),
    }
}

pub fn pages() -> askama::Result<Vec<Sample>> {
    let exchange = |layout, rows| Exchange { layout, rows, fee_percent: "10".into() }.render();
    Ok(vec![
        ("exchange", exchange(member("Exchange", Nav::Exchange), rows())?),
        ("exchange_public", exchange(public("Exchange"), rows())?),
        ("exchange_empty", exchange(poor("Exchange", Nav::Exchange), Vec::new())?),
        ("islands", islands(true).render()?),
        ("islands_empty", islands(false).render()?),
    ])
}
