//! Credits, the sandbox pages, settings.

use pages::credits::{
    ActivityRow, AutoTopUp, Choice, Credits, CreditsReturn, Forms, KindOption, Package, PurchaseRow,
    ReturnState, StatementFilter,
};
use pages::sandbox::{CheckoutState, SandboxCheckout, SandboxIdentity};
use pages::settings::{BidField, Key, KeyBounds, KeyDraft, KeyRow, LimitField, LimitUse, NewKey, Settings};
use pages::webhooks::{DeliveryRow, EventBox, NewSecret, Webhook, WebhookForm, WebhookRow, Webhooks};
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
        receipt: status.is_none().then(|| format!("/credits/receipts/{id}.pdf")),
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

fn filter(active: bool) -> StatementFilter {
    let kind = |value: &str, label: &str| KindOption {
        value: value.into(),
        label: label.into(),
        selected: active && value == "job",
    };
    StatementFilter {
        kinds: vec![kind("job", "Job"), kind("purchase", "Bought"), kind("grant", "Granted by the operator")],
        from: if active { "2026-11-01".into() } else { String::new() },
        until: if active { "2026-10-30".into() } else { String::new() },
        active,
        backwards: active,
        csv: "/credits/export?format=csv".into(),
        json: "/credits/export?format=json".into(),
    }
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

fn limits(filled: bool) -> Vec<LimitField> {
    let field = |name: &str, label: &str, value: &str, error: Option<&str>, used: Option<&str>| LimitField {
        name: name.into(),
        label: label.into(),
        value: if filled { value.into() } else { String::new() },
        error: error.filter(|_| filled).map(Into::into),
        used: used.filter(|_| filled).map(Into::into),
    };
    let too_much = "Must not be more than the limit per month, 50.00.";
    vec![
        field("limit_day", "Per day", "5", None, Some("1.25 used; begins anew 23 Nov 2026, 00:00 UTC.")),
        field("limit_week", "Per week", HOSTILE, Some(too_much), None),
        field("limit_month", "Per month", "50", None, Some("12.40 used; begins anew 1 Dec 2026, 00:00 UTC.")),
        field("limit_total", "In all", "", None, None),
    ]
}

fn keys() -> Vec<KeyRow> {
    let limit = |text: &str, percent: u8| LimitUse { text: text.into(), percent, full: percent == 100 };
    let key = |name: &str, uses: Vec<LimitUse>, used: bool| KeyRow {
        id: "key_1".into(),
        name: name.into(),
        prefix: "ak_1a2b3".into(),
        scopes: "read, write".into(),
        uses,
        spent: "1,112.40".into(),
        created: when("3 Oct 2026"),
        last_used: used.then(|| when("22 Nov 2026")),
        ends: (name != "laptop").then(|| when("31 Dec 2026, 00:00 UTC")),
        expired: name == "ci",
        places: if used { 2 } else { 0 },
    };
    let all = vec![
        limit("5.00 of 5.00 today", 100),
        limit("12.40 of 25.00 this week", 49),
        limit("12.40 of 50.00 this month", 24),
        limit("112.40 of 10,000.00 in all", 1),
    ];
    vec![
        key("laptop", vec![limit("12.40 of 50.00 this month", 24)], true),
        key(HOSTILE, vec![], false),
        key("ci", all, true),
    ]
}

fn settings(full: bool) -> Settings {
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
        keys: if full { keys() } else { vec![] },
        new_key: full
            .then(|| NewKey { name: "laptop".into(), key: "ak_1a2b3c4d5e6f7g8h9i0jklmnopqrstuv".into() }),
        island_letters: true,
        bids: vec![
            BidField {
                slug: "llm-chat".into(),
                name: "LLM Chat Standard".into(),
                unit: "1,000 tokens".into(),
                ceiling: "5.00".into(),
                bid: if full { "2.5".into() } else { HOSTILE.into() },
                error: (!full).then(|| "Must be a number of credits.".into()),
            },
            BidField {
                slug: "sdxl".into(),
                name: "Image generation".into(),
                unit: "image".into(),
                ceiling: "50.00".into(),
                bid: String::new(),
                error: None,
            },
        ],
        draft: KeyDraft {
            name: String::new(),
            name_error: None,
            read: true,
            write: true,
            manage: false,
            scopes_error: None,
            limits: limits(false),
            bounds: KeyBounds::default(),
        },
    }
}

/// The form of a new key that was refused.
fn refused() -> askama::Result<String> {
    let mut page = settings(false);
    page.layout.flash =
        Some(Flash::bad("No key was made. See what is wrong with the form of the new key below."));
    page.draft = KeyDraft {
        name: HOSTILE.into(),
        name_error: Some("Give the key a name of 1 to 64 letters.".into()),
        read: false,
        write: false,
        manage: false,
        scopes_error: Some("Tick at least one.".into()),
        limits: limits(true),
        bounds: bounds(true),
    };
    page.render()
}

fn bounds(wrong: bool) -> KeyBounds {
    KeyBounds {
        expires: "2026-12-31".into(),
        expires_error: wrong.then(|| "Choose a day that is not over.".into()),
        allowed: if wrong { HOSTILE.into() } else { "198.51.100.0/24, 2001:db8::/32".into() },
        allowed_error: wrong.then(|| "Must be an address or a range of them.".into()),
    }
}

fn key(filled: bool) -> askama::Result<String> {
    Key {
        layout: member("API key laptop", Nav::Settings),
        id: "key_1".into(),
        title: if filled { HOSTILE.into() } else { "laptop".into() },
        prefix: "ak_1a2b3".into(),
        scopes: "read, write".into(),
        created: when("3 Oct 2026, 18:40 UTC"),
        spent: "112.40".into(),
        held: filled.then(|| "2.00".into()),
        name: "laptop".into(),
        name_error: None,
        limits: limits(filled),
        bounds: bounds(filled),
        expired: filled,
        old_until: filled.then(|| when("23 Nov 2026, 18:40 UTC")),
    }
    .render()
}

fn webhook_form(wrong: bool) -> WebhookForm {
    let event = |name: &str, says: &str| EventBox { name: name.into(), says: says.into(), ticked: wrong };
    WebhookForm {
        url: if wrong { HOSTILE.into() } else { "https://example.org/hooks".into() },
        url_error: wrong.then(|| "Must begin with https://.".into()),
        description: if wrong { HOSTILE.into() } else { String::new() },
        description_error: wrong.then(|| "Must have at most 200 characters, on one line.".into()),
        events: vec![
            event("job.completed", "A job ended well."),
            event("dispute.opened", "A bank asks for the money of a purchase back; its credits are frozen."),
        ],
    }
}

fn webhooks(full: bool) -> askama::Result<String> {
    let row = |url: &str, description: &str, state: Badge| WebhookRow {
        id: "ep_1".into(),
        url: url.into(),
        description: description.into(),
        events: "all events".into(),
        state,
    };
    let url =
        "https://a-rather-long-name.department.university.example/hooks/archipelago?token=0123456789abcdef";
    Webhooks {
        layout: member("Webhooks", Nav::Settings),
        webhooks: if full {
            vec![
                row(url, HOSTILE, Badge::new("on", Tone::Good)),
                row(HOSTILE, "", Badge::new("failing", Tone::Warn)),
            ]
        } else {
            vec![]
        },
        new_secret: full
            .then(|| NewSecret { url: url.into(), secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into() }),
        form: webhook_form(full),
        full: false,
    }
    .render()
}

fn webhook(filled: bool) -> askama::Result<String> {
    let delivery = |state: Badge, error: bool| {
        DeliveryRow {
        id: "dlv_1".into(),
        kind: "job.completed".into(),
        event: "evt_0f8k2m4c9t1z0".into(),
        created: when("22 Nov 2026, 11:58 UTC"),
        state,
        tries: "2 tries, last answered 500 after 35 ms".into(),
        next: error.then(|| when("22 Nov 2026, 12:08 UTC")),
        error: error.then(|| "500 Internal Server Error was answered.".into()),
        answer: error.then(|| HOSTILE.into()),
        body: "{\"type\":\"job.completed\",\"timestamp\":\"2026-11-22T11:58:00.000Z\",\"data\":{\"id\":\"job_0f8k2m4c9t1z0\"}}".into(),
    }
    };
    Webhook {
        layout: if filled { poor("Webhook", Nav::Settings) } else { member("Webhook", Nav::Settings) },
        id: "ep_1".into(),
        url: "https://example.org/hooks".into(),
        state: if filled { Badge::new("failing", Tone::Warn) } else { Badge::new("off", Tone::Bad) },
        note: filled.then(|| "No try has succeeded since 22 Nov 2026, 11:58 UTC. 3 events wait.".into()),
        enabled: filled,
        form: webhook_form(false),
        deliveries: if filled {
            vec![
                delivery(Badge::new("waiting", Tone::Warn), true),
                delivery(Badge::new("delivered", Tone::Good), false),
            ]
        } else {
            vec![]
        },
        older: filled.then(|| "/settings/webhooks/ep_1?before=dlv_1#log".into()),
    }
    .render()
}

fn forms() -> Forms {
    let choice =
        |value: &str, label: &str, selected| Choice { value: value.into(), label: label.into(), selected };
    Forms {
        auto: AutoTopUp {
            enabled: true,
            paused: true,
            problem: Some("Your bank wants you to confirm the payment.".into()),
            confirm_url: Some("/credits#package-starter".into()),
            threshold: "100".into(),
            monthly_max: "20.00".into(),
            packages: vec![
                choice("starter", "Starter: 500 credits for $4.99", true),
                choice("x", HOSTILE, false),
            ],
            charged: "$4.99".into(),
        },
        thresholds: vec!["0".into(), "100".into(), String::new()],
        below: true,
        attempt: "attempt".into(),
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
        filter: filter(false),
        unverified: false,
        debt: None,
        frozen: false,
        contact: String::new(),
        forms: forms(),
    };
    let filtered = Credits {
        layout: member("Credits", Nav::Credits),
        activity: Vec::new(),
        older: None,
        filter: filter(true),
        ..credits.clone()
    };
    let empty = Credits {
        layout: poor("Credits", Nav::Credits),
        packages: packages_poor,
        purchases: Vec::new(),
        activity: Vec::new(),
        older: None,
        filter: filter(false),
        unverified: true,
        debt: Some("700.00".to_owned()),
        frozen: true,
        contact: "help@example.org".to_owned(),
        forms: Forms::default(),
    };
    Ok(vec![
        ("webhooks", webhooks(true)?),
        ("webhooks_none", webhooks(false)?),
        ("webhook", webhook(true)?),
        ("webhook_off", webhook(false)?),
        ("credits", credits.render()?),
        ("credits_empty", empty.render()?),
        ("credits_filtered", filtered.render()?),
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
        ("settings_refused", refused()?),
        ("key", key(true)?),
        ("key_unlimited", key(false)?),
    ])
}
