//! The page of a job.

use pages::chat::Problem;
use pages::job::{Ask, Attempt, JobPage, JobReceipt, Waiting};
use pages::{Badge, Nav, Template, Tone, When};

use super::{HOSTILE, Sample, member, poor};

fn at(time: &str) -> When {
    When { iso: format!("2026-11-22T{time}:00Z"), text: format!("22 Nov 2026, {time} UTC") }
}

fn job(state: &str, tone: Tone) -> JobPage {
    JobPage {
        layout: member("LLM Chat Standard", Nav::None),
        id: "job_01jd2kq8v6x3m".into(),
        cargo: "LLM Chat Standard".into(),
        state: Badge { text: state.into(), tone },
        created: at("11:58"),
        seconds: Some("2.4".into()),
        open: false,
        waiting: None,
        problem: None,
        receipt: None,
    }
}

fn ask(island: &str, ask: &str, reason: &str, chosen: bool) -> Ask {
    Ask { island: island.into(), ask: ask.into(), reason: reason.into(), chosen }
}

fn attempt(number: i64, island: &str, settled: bool) -> Attempt {
    let amount = |text: &str| if settled { text.to_owned() } else { "0".to_owned() };
    Attempt {
        number,
        island: island.into(),
        state: Badge {
            text: if settled { "settled" } else { "given back" }.into(),
            tone: if settled { Tone::Good } else { Tone::Plain },
        },
        error: (!settled).then(|| format!("The Island did not take the job. {HOSTILE}")),
        price: "2".into(),
        hold: "2.4".into(),
        charge: amount("0.96"),
        fee: amount("0.096"),
        earned: amount("0.864"),
        own: false,
        asks_complete: settled,
        asks: vec![
            ask("isl_01jd2kq8v6x3a", "1.5", "All of its slots were in use.", false),
            ask("isl_01jd2kq8v6x3b", "1.8", "It stands in another region than the job asked for.", false),
            ask("isl_01jd2kq8v6x3c", "2", "The job went there.", true),
        ],
    }
}

pub fn pages() -> askama::Result<Vec<Sample>> {
    let waiting = Waiting {
        place: Some(3),
        unit: "1,000 tokens".into(),
        unit_bid: "1.00".into(),
        best_ask: Some("1.50".into()),
        gap: Some("0.50".into()),
        bid: "1.00".into(),
        needed: Some("1.5".into()),
        deadline: at("12:08"),
        error: Some("The new max price must be above the present bid, 1.".into()),
    };
    let waits = JobPage {
        layout: poor("LLM Chat Standard", Nav::None),
        seconds: None,
        open: true,
        waiting: Some(waiting),
        ..job("waiting", Tone::Warn)
    };
    let receipt = JobReceipt {
        bid: Some("5.00, the ceiling of the Cargo".into()),
        charge: Some("0.96".into()),
        amount: "0.48 × 1,000 tokens".into(),
        attempts: vec![attempt(1, HOSTILE, false), attempt(2, "Palma", true)],
    };
    let done = JobPage { receipt: Some(receipt.clone()), ..job("completed", Tone::Good) };
    let failed = JobPage {
        problem: Some(Problem { text: format!("The Island could not finish. {HOSTILE}"), link: None }),
        receipt: Some(JobReceipt { attempts: vec![attempt(1, "Naxos", false)], ..receipt.clone() }),
        ..job("failed", Tone::Bad)
    };
    let mut seen_by_owner = attempt(1, "Palma", true);
    seen_by_owner.asks.clear();
    let owners = JobPage {
        receipt: Some(JobReceipt { bid: None, charge: None, attempts: vec![seen_by_owner], ..receipt }),
        ..job("completed", Tone::Good)
    };
    Ok(vec![
        ("job_waiting", waits.render()?),
        ("job", done.render()?),
        ("job_failed", failed.render()?),
        ("job_owner", owners.render()?),
    ])
}
