//! Credits, the sandbox pages, settings.

use pages::credits::{ActivityRow, Credits, CreditsReturn, Package, PurchaseRow, ReturnState};
use pages::sandbox::{CheckoutState, SandboxCheckout, SandboxIdentity};
use pages::settings::{KeyRow, NewKey, Settings};
use pages::{Badge, Flash, Nav, Template, Tone};

use super::{HOSTILE, Sample, member, poor, when};

fn packages() -> Vec<Package> {
    let package =
        |slug: &str, name: &str, price: &str, credits: &str, bonus: Option<&str>, after: &str| Package {
            slug: slug.into(),
            name: name.into(),
            price: price.into(),
            credits: credits.into(),
            bonus: bonus.map(Into::into),
            projected: after.into(),
            attempt: format!("att_{slug}"),
        };
    vec![
        package("starter", "Starter", "$4.99", "500", None, "994.00"),
        package("explorer", "Explorer", "$9.99", "1,050", Some("5%"), "1,544.00"),
        package("voyager", "Voyager", "$24.99", "2,750", Some("10%"), "3,244.00"),
        package("fleet", "Fleet", "$99.99", "12,000", Some("20%"), "12,494.00"),
    ]
}

fn purchases() -> Vec<PurchaseRow> {
    let row = |id: &str, date: &str, status: Option<Badge>| PurchaseRow {
        id: id.into(),
        date: when(date),
        package: "Starter".into(),
        credits: "500".into(),
        amount: "$4.99".into(),
        status,
    };
    vec![
        row("pur_3", "22 Nov 2026, 11:58", Some(Badge::new("pending", Tone::Warn))),
        row("pur_2", "21 Nov 2026, 09:12", None),
        row("pur_1", "3 Oct 2026, 18:40", Some(Badge::new("failed", Tone::Bad))),
    ]
}

fn activity() -> Vec<ActivityRow> {
    let row = |what: &str, amount: &str, balance: &str| ActivityRow {
        date: when("22 Nov 2026, 11:58"),
        what: what.into(),
        amount: amount.into(),
        incoming: amount.starts_with('+'),
        balance: balance.into(),
    };
    vec![
        row("LLM Chat Standard · Palma", "−2.00", "494.00"),
        row(&format!("Image · {HOSTILE}"), "−12.004211", "496.00"),
        row("Bought Starter", "+500.00", "508.004211"),
        row("Moved from earnings", "+8.004211", "8.004211"),
    ]
}

fn checkout(state: CheckoutState) -> askama::Result<String> {
    SandboxCheckout {
        id: "cs_test_0123456789abcdef".into(),
        csrf: "sample-csrf".into(),
        item: "Starter · 500 credits".into(),
        amount: "$4.99".into(),
        state,
        return_url: "/credits/return?purchase=pur_3".into(),
    }
    .render()
}

fn identity(closed: bool) -> askama::Result<String> {
    SandboxIdentity { id: "vs_1".into(), csrf: "sample-csrf".into(), closed }.render()
}

fn back(state: ReturnState) -> askama::Result<String> {
    CreditsReturn {
        layout: member("Payment", Nav::Credits),
        purchase_id: "pur_3".into(),
        package: "Starter".into(),
        credits: "500".into(),
        amount: "$4.99".into(),
        state,
    }
    .render()
}

fn settings(full: bool) -> Settings {
    let key = |name: &str, limit: Option<&str>, used: bool| KeyRow {
        id: "key_1".into(),
        name: name.into(),
        prefix: "ak_1a2b3".into(),
        scopes: "read, write".into(),
        limit: limit.map(Into::into),
        created: when("3 Oct 2026"),
        last_used: used.then(|| when("22 Nov 2026")),
    };
    Settings {
        layout: if full { member("Settings", Nav::Settings) } else { poor("Settings", Nav::Settings) },
        name: if full { HOSTILE.into() } else { String::new() },
        email: "robin@example.org".into(),
        verification: if full {
            Badge::new("verified", Tone::Good)
        } else {
            Badge::new("not verified", Tone::Plain)
        },
        verification_note: "You can spend credits.".into(),
        keys: if full {
            vec![key("laptop", Some("100.00"), true), key(HOSTILE, None, false)]
        } else {
            vec![]
        },
        new_key: full
            .then(|| NewKey { name: "laptop".into(), key: "ak_1a2b3c4d5e6f7g8h9i0jklmnopqrstuv".into() }),
    }
}

pub fn pages() -> askama::Result<Vec<Sample>> {
    let mut full = member("Credits", Nav::Credits);
    full.flash = Some(Flash::good("500 credits were added to your wallet."));
    let mut packages_poor = packages();
    for (package, after) in packages_poor.iter_mut().zip(["507.25", "1,057.25", "2,757.25", "12,007.25"]) {
        package.projected = after.into();
    }
    let credits = Credits {
        layout: full,
        packages: packages(),
        purchases: purchases(),
        activity: activity(),
        older: Some("/credits?before=12".into()),
        unverified: false,
    };
    let empty = Credits {
        layout: poor("Credits", Nav::Credits),
        packages: packages_poor,
        purchases: Vec::new(),
        activity: Vec::new(),
        older: None,
        unverified: true,
    };
    Ok(vec![
        ("credits", credits.render()?),
        ("credits_empty", empty.render()?),
        ("credits_waiting", back(ReturnState::Waiting)?),
        ("credits_done", back(ReturnState::Done)?),
        ("credits_failed", back(ReturnState::Failed)?),
        ("credits_cancelled", back(ReturnState::Cancelled)?),
        ("checkout", checkout(CheckoutState::Open)?),
        ("checkout_declined", checkout(CheckoutState::Declined)?),
        ("checkout_paid", checkout(CheckoutState::Paid)?),
        ("checkout_settling", checkout(CheckoutState::Settling)?),
        ("checkout_expired", checkout(CheckoutState::Expired)?),
        ("identity", identity(false)?),
        ("identity_closed", identity(true)?),
        ("settings", settings(true).render()?),
        ("settings_empty", settings(false).render()?),
    ])
}
