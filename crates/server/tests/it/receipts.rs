//! Receipts: one for each purchase that was paid, under numbers without a gap, for its buyer only.

use std::sync::Arc;

use db::{Db, DbError, Engine, OpenOptions, params};
use serde_json::{Value, json};
use server::accounts::User;
use server::purchases::sandbox::Choice;
use server::purchases::{self, Purchase, PurchaseError, State};
use server::receipts::seller::Seller;
use server::receipts::{self, Receipt, pdf};
use types::id::Id;
use types::money::Cents;

use crate::world::World;
use crate::world::browser::Browser;
use crate::world::inside::Inside;

/// A purchase that is paid, but not granted yet.
async fn paid(inside: &Inside, user: &User, attempt: &str) -> Purchase {
    let purchase = purchases::buy(&inside.app, user, "starter", attempt).await.unwrap();
    let sandbox = inside.app.sandbox_payments.as_ref().unwrap();
    let checkout = sandbox.checkout(purchase.session.as_deref().unwrap()).await.unwrap().unwrap();
    sandbox.choose(&checkout, Choice::Pay).await.unwrap();
    purchase
}

async fn numbers(db: &Db) -> Vec<i64> {
    db.read("numbers", async move |tx| {
        let rows = tx.query("SELECT number FROM receipts ORDER BY number", &params![]).await?;
        rows.iter().map(|row| row.get(0)).collect::<Result<_, DbError>>()
    })
    .await
    .unwrap()
}

async fn script(db: &Db, sql: &str) {
    let sql = sql.to_owned();
    db.tx("script", async move |tx| tx.execute_script(&sql).await).await.unwrap();
}

/// What a PDF of ours shows, line by line.
fn text(pdf: &[u8]) -> String {
    let source: String = pdf.iter().map(|&byte| char::from(byte)).collect();
    let mut shown = String::new();
    for line in source.lines().filter_map(|line| line.strip_suffix(" Tj")) {
        if let Some(literal) = line.strip_prefix('(').and_then(|line| line.strip_suffix(')')) {
            shown += &literal.replace("\\(", "(").replace("\\)", ")");
        } else if let Some(hex) = line.strip_prefix('<').and_then(|line| line.strip_suffix('>')) {
            let bytes = hex.as_bytes().chunks(2);
            shown.extend(
                bytes.map(|pair| {
                    char::from(u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                }),
            );
        }
        shown.push('\n');
    }
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_purchases_at_once_have_the_numbers_from_one_to_fifty() {
    let inside = Arc::new(Inside::open(OpenOptions::server()).await);
    let beside = inside.beside().await;
    let ana = inside.user("ana").await;
    let mut bought = Vec::new();
    for number in 0..50 {
        bought.push(paid(&inside, &ana, &format!("buy {number}")).await.id);
    }
    let tasks: Vec<_> = bought
        .iter()
        .enumerate()
        .flat_map(|(number, &id)| {
            // Each by two at once, and by two coordinators.
            [&inside.app, if number % 2 == 0 { &beside.app } else { &inside.app }].map(|app| {
                let app = Arc::clone(app);
                tokio::spawn(async move { purchases::fulfil(&app, id, None).await.unwrap() })
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().state, State::Granted);
    }
    assert_eq!(numbers(&inside.app.db).await, (1..=50).collect::<Vec<i64>>());
    drop(beside);
    Arc::try_unwrap(inside).ok().unwrap().finish().await;
}

#[tokio::test]
async fn a_grant_that_fails_uses_up_no_number_and_sends_no_letter() {
    let inside = Inside::open(OpenOptions::server()).await;
    let (ana, db) = (inside.user("ana").await, &inside.app.db);
    let first = paid(&inside, &ana, "first").await;
    purchases::fulfil(&inside.app, first.id, None).await.unwrap();
    let second = paid(&inside, &ana, "second").await;
    // The very last statement of the grant is refused: the letter.
    let (broken, mended) = match db.engine() {
        Engine::Sqlite => (
            "CREATE TRIGGER broken BEFORE INSERT ON mail_outbox BEGIN SELECT raise(ABORT, 'broken'); END",
            "DROP TRIGGER broken",
        ),
        Engine::Postgres => (
            "CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''broken''; END';
             CREATE TRIGGER broken BEFORE INSERT ON mail_outbox FOR EACH ROW EXECUTE FUNCTION break()",
            "DROP TRIGGER broken ON mail_outbox",
        ),
    };
    script(db, broken).await;
    assert!(purchases::fulfil(&inside.app, second.id, None).await.is_err());
    assert_eq!(numbers(db).await, [1]);
    script(db, mended).await;
    let third = paid(&inside, &ana, "third").await;
    purchases::fulfil(&inside.app, third.id, None).await.unwrap();
    purchases::fulfil(&inside.app, second.id, None).await.unwrap();
    purchases::fulfil(&inside.app, second.id, None).await.unwrap();
    assert_eq!(numbers(db).await, [1, 2, 3]);
    let letters: i64 = db
        .read("letters", async move |tx| {
            let sql = "SELECT count(*) FROM mail_outbox WHERE kind = 'receipt' AND attachment IS NOT NULL";
            tx.query_one(sql, &params![]).await?.get(0)
        })
        .await
        .unwrap();
    assert_eq!(letters, 3);
    inside.finish().await;
}

#[tokio::test]
async fn a_receipt_is_its_buyers_and_is_issued_later_when_there_was_none() {
    let inside = Inside::open(OpenOptions::server()).await;
    let (ana, ben) = (inside.user("ana").await, inside.user("ben").await);
    let purchase = paid(&inside, &ana, "first").await;
    let early = receipts::find(&inside.app, ana.id, purchase.id).await;
    assert!(matches!(early, Err(PurchaseError::NotFound)), "not paid, no receipt");
    purchases::fulfil(&inside.app, purchase.id, None).await.unwrap();
    let other = receipts::find(&inside.app, ben.id, purchase.id).await;
    assert!(matches!(other, Err(PurchaseError::NotFound)));
    let (issued, _) = receipts::find(&inside.app, ana.id, purchase.id).await.unwrap();
    assert_eq!((issued.number, issued.printed_number().as_str()), (1, "R-1"));
    // As if it had been granted before there were receipts.
    script(&inside.app.db, "DELETE FROM receipts; DELETE FROM receipt_counter").await;
    let (again, _) = receipts::find(&inside.app, ana.id, purchase.id).await.unwrap();
    let (once_more, _) = receipts::find(&inside.app, ana.id, purchase.id).await.unwrap();
    assert_eq!((again.number, once_more.number), (1, 1));
    assert_eq!(again.payment_ref, issued.payment_ref);
    assert!(issued.payment_ref.is_some());
    inside.finish().await;
}

fn sample() -> Receipt {
    let seller = Seller {
        name: "Inselbüro GmbH".to_owned(),
        address: "Hafenstraße 1\n20095 Hamburg\nGermany".to_owned(),
        email: "billing@islands.example".to_owned(),
        vat_id: "DE123456789".to_owned(),
        tax_label: "VAT".to_owned(),
        tax_percent: "19".to_owned(),
        receipt_prefix: "R-".to_owned(),
    };
    Receipt {
        number: 1042,
        purchase: Id::from_i64(77),
        issued_at: types::time::Timestamp::from_millis(1_795_000_000_000),
        seller,
        buyer: receipts::Party { email: "ana@example.org".to_owned(), name: "Ana (漢)".to_owned() },
        description: "Voyager: 2,800 credits".to_owned(),
        credits: types::money::Credits::new(2800),
        amount: Cents::new(2499),
        currency: "usd".to_owned(),
        tax_basis_points: 1900,
        tax: Cents::new(399),
        provider: "stripe".to_owned(),
        payment_ref: Some("pi_123".to_owned()),
    }
}

#[test]
fn the_page_says_everything_and_is_always_the_same() {
    let receipt = sample();
    let page = pdf::render(&receipt, Cents::default());
    assert!(page.starts_with(b"%PDF-1.") && page.trim_ascii_end().ends_with(b"%%EOF"));
    assert_eq!(page, pdf::render(&receipt, Cents::default()));
    let shown = text(&page);
    let date = receipt.issued_at.date();
    for fact in [
        "Receipt",
        "R-1042",
        &date,
        "Inselb\u{fc}ro GmbH",
        "Hafenstra\u{df}e 1",
        "20095 Hamburg",
        "billing@islands.example",
        "VAT ID: DE123456789",
        "Ana (?)",
        "ana@example.org",
        "Voyager: 2,800 credits",
        "2,800",
        "$24.99",
        "Total (USD)",
        "includes 19% VAT: $3.99",
        "Payment reference: pi_123",
    ] {
        assert!(shown.lines().any(|line| line == fact), "{fact} in\n{shown}");
    }
    assert!(!shown.contains("TEST MODE") && !shown.contains("Refunded"), "{shown}");
    let refunded = text(&pdf::render(&receipt, Cents::new(500)));
    assert!(refunded.contains("Refunded: $5.00"), "{refunded}");
    let test = Receipt { provider: "sandbox".to_owned(), tax_basis_points: 0, ..sample() };
    let shown = text(&pdf::render(&test, Cents::default()));
    assert!(shown.contains("TEST MODE") && !shown.contains("includes"), "{shown}");
}

#[test]
fn hostile_text_stays_on_the_page() {
    let mut receipt = sample();
    receipt.buyer.name = ") Tj ET Q endstream \\( <</Type".repeat(40);
    receipt.seller.address = "x".repeat(5000);
    let page = pdf::render(&receipt, Cents::default());
    let count = |what: &[u8]| page.windows(what.len()).filter(|window| window == &what).count();
    assert_eq!(count(b"\nendstream"), 1);
    let shown = text(&page);
    assert!(shown.contains("Payment reference: pi_123"), "{shown}");
}

#[tokio::test]
async fn receipts_are_served_to_their_buyer() {
    let world =
        World::with("[mail]\ntransport = \"file\"\n[seller]\nname = \"Inselbuero\"\ntax_percent = \"19\"\n")
            .await;
    let (ana, ben) = (world.user("ana", "0").await, world.user("ben", "0").await);
    let (status, bought) = ana.post("/api/v1/credits/purchases", &json!({"package": "starter"})).await;
    assert_eq!(status, 201, "{bought}");
    let purchase = bought["data"]["id"].as_str().unwrap().to_owned();
    let address = format!("/api/v1/credits/purchases/{purchase}/receipt");
    assert_eq!(ana.get(&address).await.0, 404, "not paid yet");
    let mut browser = Browser::new(&world.url);
    browser.sign_in(&ana.email, world.folder.path()).await;
    let checkout = crate::world::browser::path_of(bought["data"]["checkout_url"].as_str().unwrap());
    let paid = browser.send(&checkout, &checkout, &[("action", "pay")]).await;
    assert_eq!(paid.status, 303, "{}", paid.text);
    assert_eq!(browser.get(&paid.location).await.status, 303);

    let headers = [("accept", "application/json")];
    let (status, receipt) = ana.request("GET", &address, &headers, None).await;
    assert_eq!(status, 200, "{receipt}");
    let data = &receipt["data"];
    assert_eq!(
        (&data["number"], &data["amount_cents"], &data["tax"]["included_cents"], &data["test_mode"]),
        (&json!("R-1"), &json!(499), &json!(80), &json!(true))
    );
    assert_eq!((&data["seller"]["name"], &data["buyer"]["email"]), (&json!("Inselbuero"), &json!(ana.email)));
    let (status, file) = ana.get(&address).await;
    assert_eq!(status, 200);
    assert!(matches!(&file, Value::String(file) if file.starts_with("%PDF-") && file.contains("Inselbuero")));
    assert_eq!(ben.get(&address).await.0, 404);

    let page = format!("/credits/receipts/{purchase}.pdf");
    assert!(browser.get("/credits").await.text.contains(&page));
    let shown = browser.get(&page).await;
    assert_eq!(shown.status, 200);
    assert!(shown.text.contains("includes 19% VAT: $0.80"));
    let mut other = Browser::new(&world.url);
    assert_ne!(other.get(&page).await.status, 200, "signed out");
    other.sign_in(&ben.email, world.folder.path()).await;
    assert_eq!(other.get(&page).await.status, 404);
    world.finish().await;
}
