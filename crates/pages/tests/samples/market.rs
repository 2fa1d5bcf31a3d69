//! The Exchange and the user's Islands.

use pages::chart::{self, Ask, Bid, Moment, Prices};
use pages::exchange::{
    BidRow, Cargo, Exchange, ExchangeRow, LevelRow, PointRow, Stat, Suggestion, TradeRow, WindowLink,
};
use pages::islands::{
    AskRow, ConfirmAsk, IslandRow, Islands, NewToken, PayoutAccount, PayoutRow, Payouts, ScheduleOption,
    TokenRow, Work,
};
use pages::usage::{BatchRow, Choice, Usage, UsageFilter, UsageRow, UsageTable};
use pages::{Badge, Nav, Template, Tone};

use super::{HOSTILE, Sample, member, poor, public, when};

fn rows() -> Vec<ExchangeRow> {
    let row = |slug: &str, name: &str, unit: &str, ask: Option<&str>, traded: bool| ExchangeRow {
        slug: slug.into(),
        name: name.into(),
        unit: unit.into(),
        best_ask: ask.map(Into::into),
        last: traded.then(|| "2.00".into()),
        mean: traded.then(|| "2.11".into()),
        change: traded.then(|| "+12.5 %".into()),
        jobs: if traded { "1840".into() } else { "0".into() },
        spark: chart::spark(
            &(0..24)
                .map(|hour| (traded && hour % 9 > 1).then_some(2_000_000 + hour % 5 * 90_000))
                .collect::<Vec<_>>(),
            if traded { "24 hours: from 1.50 to 3.25".into() } else { "No trades in 24 hours".into() },
        ),
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

/// Moments with a gap, a lonely trade and a quiet time.
fn moments() -> Vec<Moment> {
    (0..96_i64)
        .map(|index| {
            let traded = !(30..45).contains(&index) && index % 17 != 3 || index == 38;
            let mean = 2_100_000 + (index * 37 % 23) * 20_000 - (index - 48).abs() * 6_000;
            Moment {
                tick: (index % 24 == 6).then(|| format!("{:02}:00", index / 4 % 24)),
                text: format!("22 Nov, {:02}:{:02}: mean 2.11; 14 jobs", index / 4, index % 4 * 15),
                prices: traded.then_some(Prices {
                    mean,
                    last: mean + 60_000,
                    low: mean - 250_000,
                    high: mean + 400_000,
                }),
                jobs: if traded { 4 + index * 7 % 19 } else { 0 },
            }
        })
        .collect()
}

fn cargo(full: bool) -> Cargo {
    let stat = |label, value: &str, note: &str| Stat {
        label,
        value: value.into(),
        none: value.starts_with("No"),
        note: note.into(),
    };
    let window =
        |label: &str, current| WindowLink { href: "?window=7d".into(), label: label.into(), current };
    let ask = |price: i64, free, slots| Ask {
        price: price * 10_000,
        free,
        slots,
        text: format!("{}.{:02}", price / 100, price % 100),
    };
    let bid = |price: i64, jobs| Bid { price: price * 10_000, jobs, text: format!("1.{price}") };
    let suggestion = |price: &str| Suggestion { price: price.into(), why: HOSTILE.into() };
    let asks = [ask(150, 0, 4), ask(175, 2, 6), ask(200, 1, 2), ask(260, 8, 8), ask(325, 3, 16)];
    let bids = [bid(140, 3), bid(120, 5), bid(90, 9)];
    let chart = || {
        let summary = "In the last 24 hours prices were from 1.50 to 3.25; the last was 2.00.";
        chart::history("price", "Price of LLM Chat".into(), summary.into(), &moments())
    };
    let depth = || {
        let summary = "14 of 36 slots are free, asks begin at 1.50; 17 jobs wait, bidding up to 1.40.";
        chart::depth("depth", "Depth of the book".into(), summary.into(), &asks, &bids)
    };
    let price = |value: &str| if full { value.to_owned() } else { "No trades".to_owned() };
    Cargo {
        layout: if full { member("LLM Chat", Nav::Exchange) } else { public("Image generation") },
        slug: "llm-chat".into(),
        name: "LLM Chat (standard)".into(),
        description: "A capable general assistant. Typically 1-5 credits a request.".into(),
        unit: "request".into(),
        stats: vec![
            stat("Best free ask", &price("1.75"), "14 of 36 slots free"),
            stat("Last price", &price("2.00"), "+12.5 % in 24 h"),
            stat("Mean", &price("2.11"), "of 24 hours, by units"),
            stat("Median", &price("2.00"), "of 24 hours"),
            stat("Lowest–highest", &price("1.50–3.25"), "of 24 hours"),
            stat("Jobs", "1840", "in 24 hours"),
            stat("Islands", "14", "online now"),
            stat("Waiting", "17", "jobs, bidding up to 1.40"),
        ],
        windows: vec![
            window("1 h", false),
            window("24 h", true),
            window("7 d", false),
            window("30 d", false),
        ],
        window: "24 hours".into(),
        price: full.then(chart).flatten(),
        points: full
            .then(|| PointRow {
                when: "22 Nov, 14:30".into(),
                mean: "2.11".into(),
                range: "1.50–3.25".into(),
                last: "2.00".into(),
                jobs: "14".into(),
            })
            .into_iter()
            .collect(),
        bid: full.then(|| suggestion("2.50")),
        ask: full.then(|| suggestion("2.00")),
        unserved: full.then(|| "37 jobs went unserved in the last 24 hours, bidding up to 3.20.".into()),
        depth: full.then(depth).flatten(),
        levels: asks
            .iter()
            .filter(|_| full)
            .map(|ask| LevelRow {
                price: ask.text.clone(),
                free: ask.free.to_string(),
                slots: ask.slots.to_string(),
                islands: "2".into(),
            })
            .collect(),
        bids: bids
            .iter()
            .filter(|_| full)
            .map(|bid| BidRow { price: bid.text.clone(), jobs: bid.jobs.to_string() })
            .collect(),
        more: None,
        trades: full
            .then(|| TradeRow {
                when: when("22 Nov 2026, 11:58 UTC"),
                price: "2.00".into(),
                units: "0.734".into(),
            })
            .into_iter()
            .collect(),
        fee_percent: "10".into(),
    }
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
    let island = |name: &str, status: Badge| IslandRow {
        name: name.into(),
        status,
        running: "1".into(),
        id: format!("isl_{}", name.len()),
        since: Some(when("22 Nov 2026, 08:00 UTC")),
        karma: "82".into(),
        karma_parts: "success 90, speed 50, uptime 97".into(),
        success: (name == "Palma").then(|| "97%".into()),
        today: "3.40".into(),
        suspended: name != "Palma",
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
                island("Palma", Badge::new("online", Tone::Good)),
                island(HOSTILE, Badge::new("offline", Tone::Plain)),
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
        work: full.then(work),
        asks: if full { vec![ask_row("1", true), ask_row("2", false)] } else { Vec::new() },
        confirm: None,
        pair_command: "island pair --coordinator http://127.0.0.1:4000".into(),
    }
}

fn work() -> Work {
    let bar = |index: i64| chart::Bar {
        tick: (index % 6 == 0).then(|| format!("{index:02}:00")),
        text: format!("22 Nov, {index:02}:00: 2.40 credits, 3 jobs"),
        amount: if index % 5 == 3 { 0 } else { 1_000_000 + index * 37 % 11 * 400_000 },
    };
    let summary = "In the last 24 hours your Islands earned 37.80 credits with 42 jobs.";
    let bars: Vec<chart::Bar> = (0..24).map(bar).collect();
    Work {
        windows: vec![WindowLink { href: "?window=24h#work".into(), label: "24 h".into(), current: true }],
        window: "24 hours".into(),
        chart: chart::bars("earned", "Earnings over time, credits".into(), summary.into(), "Earned", &bars),
        earned: "37.80".into(),
        jobs: "42".into(),
        success: Some("97.6%".into()),
        online: None,
    }
}

fn ask_row(key: &str, set: bool) -> AskRow {
    AskRow {
        key: key.into(),
        action: "/islands/isl_1/asks/llm-chat".into(),
        cargo: "LLM Chat Standard".into(),
        slug: "llm-chat".into(),
        island: HOSTILE.into(),
        price: "2.00".into(),
        value: "2".into(),
        unit: "request".into(),
        agent: set.then(|| "1.50".into()),
        rank: "3rd cheapest of 12; the next cheaper asks 1.80.".into(),
        unserved: set.then(|| "37 jobs went unserved in the last 24 hours, bidding up to 3.20.".into()),
        suggested: Some(("1.80".into(), "An Island is free at this ask.".into())),
    }
}

/// A change that is to be confirmed.
fn confirming() -> Islands {
    let confirm = ConfirmAsk {
        action: "/islands/isl_1/asks/llm-chat".into(),
        cargo: "LLM Chat Standard".into(),
        island: HOSTILE.into(),
        old: "1.50".into(),
        new: "150.00".into(),
        value: "150".into(),
        unit: "request".into(),
    };
    Islands { confirm: Some(confirm), new_token: None, payouts: None, ..islands(true) }
}

fn usage_row(name: &str, credits: &str, share: &str) -> UsageRow {
    UsageRow {
        name: name.into(),
        href: Some("/usage?from=2026-11-01&to=2026-11-30&workload=llm-chat".into()),
        credits: credits.into(),
        share: share.into(),
        jobs: "1,204".into(),
        failed: "3".into(),
        tokens: "812,000".into(),
    }
}

fn usage(full: bool) -> Usage {
    let choice = |value: &str, label: &str| Choice {
        value: value.into(),
        label: label.into(),
        selected: value == "llm-chat",
    };
    let stat =
        |label, value: &str| Stat { label, value: value.into(), none: false, note: "≈ $12.34".into() };
    let bar = |index: i64| chart::Bar {
        tick: (index % 7 == 0).then(|| format!("{} Nov", index + 1)),
        text: format!("{} Nov 2026: 1.50 credits, 2 jobs", index + 1),
        amount: index * 1_000_000,
    };
    let bars: Vec<chart::Bar> = (0..30).map(bar).collect();
    let summary = "1,234.00 credits in 30 days.".to_owned();
    let table = |id, title, what| UsageTable {
        id,
        title,
        what,
        rows: vec![usage_row("LLM Chat", "1,100.50", "100%"), usage_row(HOSTILE, "133.50", "12%")],
        more: Some("3 more are not listed; the files have every job.".into()),
    };
    let batch = BatchRow {
        id: "job_0f8k2m4c9t1z0".into(),
        when: when("22 Nov 2026, 11:58 UTC"),
        workload: "LLM Chat".into(),
        state: Badge { text: "Failed".into(), tone: Tone::Bad },
        done: "97 of 100".into(),
        cost: "97.00".into(),
        error: Some(HOSTILE.into()),
    };
    Usage {
        layout: if full { member("Usage", Nav::Usage) } else { poor("Usage", Nav::Usage) },
        views: Vec::new(),
        earned: false,
        filter: UsageFilter {
            view: "spent",
            from: "2026-11-01".into(),
            to: "2026-11-30".into(),
            workloads: vec![choice("llm-chat", "LLM Chat")],
            keys: vec![choice("none", "None: asked for on pages"), choice("key_1", HOSTILE)],
            hosts: if full { vec![choice("isl_1", HOSTILE)] } else { Vec::new() },
            active: full,
            problem: (!full).then(|| "from must be a day.".into()),
            csv: "/usage/export?format=csv".into(),
            json: "/usage/export?format=json".into(),
        },
        stats: vec![
            stat("Credits spent", "1,234.00"),
            stat("Jobs", "1,204"),
            stat("A completed job", "1.02"),
            stat("Tokens", "812,000"),
        ],
        span: "1 Nov 2026 to 30 Nov 2026".into(),
        chart: full
            .then(|| chart::bars("usage", "Spent by day, credits".into(), summary, "Spent", &bars))
            .flatten(),
        days: if full { vec![usage_row("30 Nov 2026", "29.00", "3%")] } else { Vec::new() },
        tables: if full {
            vec![table("by-cargo", "By Cargo", "Cargo"), table("by-key", "By API key", "API key")]
        } else {
            Vec::new()
        },
        empty: !full,
        batches: if full { vec![batch] } else { Vec::new() },
    }
}

fn usage_earned() -> Usage {
    let link = |label: &str, current| WindowLink { href: "/usage".into(), label: label.into(), current };
    Usage { views: vec![link("Spent", false), link("Earned", true)], earned: true, ..usage(true) }
}

pub fn pages() -> askama::Result<Vec<Sample>> {
    let exchange = |layout, rows| Exchange { layout, rows, fee_percent: "10".into() }.render();
    Ok(vec![
        ("exchange", exchange(member("Exchange", Nav::Exchange), rows())?),
        ("exchange_public", exchange(public("Exchange"), rows())?),
        ("exchange_empty", exchange(poor("Exchange", Nav::Exchange), Vec::new())?),
        ("cargo", cargo(true).render()?),
        ("cargo_empty", cargo(false).render()?),
        ("islands", islands(true).render()?),
        ("islands_confirm", confirming().render()?),
        ("islands_empty", islands(false).render()?),
        ("usage", usage(true).render()?),
        ("usage_empty", usage(false).render()?),
        ("usage_earned", usage_earned().render()?),
    ])
}
