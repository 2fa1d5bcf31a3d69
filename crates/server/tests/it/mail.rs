//! Mail: what leaves by which way, and that it leaves once.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use db::{Db, DbError, OpenOptions, params};
use server::config::Config;
use server::mail::letters::{Line, LowBalance, Receipt, SignIn};
use server::mail::outbox::{LEASE_MS, TRIES, claim, deliver_once, erase_once, queue};
use server::mail::{BoxFuture, Mailer, Outgoing, SendError, Transport};
use types::money::{Cents, Credits, MicroCredits};
use types::time::{Clock, DAY_MS, MINUTE_MS, TestClock, Timestamp};

use crate::world::inside::Inside;
use crate::world::smtp::SmtpServer;
use crate::world::{PATIENCE, World};

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// Remembers what it was given, and does what it was told.
#[derive(Debug, Default)]
struct Told {
    sent: Mutex<Vec<String>>,
    failing: Mutex<Option<SendError>>,
}

#[derive(Debug)]
struct Memory(Arc<Told>);

impl Transport for Memory {
    fn send<'a>(&'a self, letter: &'a Outgoing) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            if let Some(error) = self.0.failing.lock().unwrap().clone() {
                return Err(error);
            }
            tokio::task::yield_now().await;
            self.0.sent.lock().unwrap().push(letter.key.clone());
            Ok(())
        })
    }
}

fn memory() -> (Mailer, Arc<Told>) {
    let told = Arc::new(Told::default());
    (Mailer::new(Box::new(Memory(Arc::clone(&told)))), told)
}

fn low() -> LowBalance {
    LowBalance {
        site: "https://islands.example".to_owned(),
        available: MicroCredits::new(4_000_000),
        threshold: MicroCredits::new(10_000_000),
    }
}

fn receipt() -> Receipt {
    Receipt {
        site: "https://islands.example".to_owned(),
        number: Line::from("R-1"),
        date: "2026-11-22".to_owned(),
        description: Line::from("Voyager \u{2014} Müller\r\nBcc: x@y.example"),
        credits: Credits::new(500),
        amount: Cents::new(499),
        tax: None,
        test_mode: false,
        pdf: b"%PDF-1.7 not really".to_vec(),
    }
}

async fn put(inside: &Inside, key: &str) {
    let (id, key) = (inside.app.ids.next(NOW), key.to_owned());
    inside
        .app
        .db
        .tx("put", async move |tx| queue(tx, id, &low(), "ana@example.org", &key, NOW).await)
        .await
        .unwrap();
}

/// (sent, failed, attempts, due) of a letter.
async fn row(db: &Db, key: &str) -> (bool, bool, i64, i64) {
    let key = key.to_owned();
    db.read("row", async move |tx| {
        let sql = "SELECT sent_at, failed_at, attempts, due_at FROM mail_outbox WHERE dedupe_key = $1";
        let row = tx.query_one(sql, &params![&key]).await?;
        let (sent, failed): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
        Ok::<_, DbError>((sent.is_some(), failed.is_some(), row.get(2)?, row.get(3)?))
    })
    .await
    .unwrap()
}

fn config(more: &str) -> Config {
    let text = format!("[mail]\nfrom = \"Archipelago <no-reply@islands.example>\"\n{more}");
    Config::load(Some((std::path::Path::new("test.toml"), &text)), []).unwrap()
}

fn smtp(port: u16, security: &str) -> Mailer {
    let more = format!(
        "transport = \"smtp\"\n[mail.smtp]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"{security}\"\n"
    );
    Mailer::from_config(&config(&more)).unwrap()
}

#[tokio::test]
async fn a_letter_is_queued_once_and_only_with_what_it_tells_of() {
    let inside = Inside::open(OpenOptions::server()).await;
    put(&inside, "low:1").await;
    put(&inside, "low:1").await;
    // A transaction that is not kept keeps no letter.
    let id = inside.app.ids.next(NOW);
    let broken: Result<(), DbError> = inside
        .app
        .db
        .tx("broken", async move |tx| {
            queue(tx, id, &low(), "ana@example.org", "low:2", NOW).await?;
            Err(DbError::Other("no".to_owned()))
        })
        .await;
    assert!(broken.is_err());
    let (mailer, told) = memory();
    let clock = TestClock::new(NOW);
    assert_eq!(deliver_once(&inside.app.db, &mailer, &clock).await.unwrap(), 1);
    assert_eq!(deliver_once(&inside.app.db, &mailer, &clock).await.unwrap(), 0);
    assert_eq!(*told.sent.lock().unwrap(), ["low:1"]);
    put(&inside, "low:1").await;
    clock.advance_millis(DAY_MS);
    assert_eq!(deliver_once(&inside.app.db, &mailer, &clock).await.unwrap(), 0, "sent is sent");
    inside.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_coordinators_send_each_letter_once() {
    let inside = Inside::open(OpenOptions::server()).await;
    let beside = inside.beside().await;
    for number in 0..40 {
        put(&inside, &format!("low:{number}")).await;
    }
    let (mailer, told) = memory();
    let (mailer, taken) = (Arc::new(mailer), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> = [&inside, &beside, &inside, &beside]
        .into_iter()
        .map(|world| {
            let (db, mailer, taken) = (world.app.db.clone(), Arc::clone(&mailer), Arc::clone(&taken));
            tokio::spawn(async move {
                let clock = TestClock::new(NOW);
                loop {
                    match deliver_once(&db, &mailer, &clock).await.unwrap() {
                        0 => return,
                        many => drop(taken.fetch_add(many, Ordering::SeqCst)),
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let mut sent = told.sent.lock().unwrap().clone();
    assert_eq!((sent.len(), taken.load(Ordering::SeqCst)), (40, 40));
    sent.sort();
    sent.dedup();
    assert_eq!(sent.len(), 40, "none twice");
    drop(beside);
    inside.finish().await;
}

#[tokio::test]
async fn a_letter_whose_worker_died_is_sent_by_the_next() {
    let inside = Inside::open(OpenOptions::server()).await;
    put(&inside, "low:1").await;
    let clock = TestClock::new(NOW);
    assert_eq!(claim(&inside.app.db, clock.now()).await.unwrap().len(), 1);
    // The worker is gone. Until its lease is over the letter is its own.
    let (mailer, told) = memory();
    clock.advance_millis(LEASE_MS - 1);
    assert_eq!(deliver_once(&inside.app.db, &mailer, &clock).await.unwrap(), 0);
    clock.advance_millis(1);
    assert_eq!(deliver_once(&inside.app.db, &mailer, &clock).await.unwrap(), 1);
    assert_eq!(*told.sent.lock().unwrap(), ["low:1"]);
    inside.finish().await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_tried_again_and_then_given_up() {
    let inside = Inside::open(OpenOptions::server()).await;
    put(&inside, "low:1").await;
    let (mailer, told) = memory();
    *told.failing.lock().unwrap() = Some(SendError::NotNow("away".to_owned()));
    let clock = TestClock::new(NOW);
    let mut waits = Vec::new();
    for _ in 1..TRIES {
        assert_eq!(deliver_once(&inside.app.db, &mailer, &clock).await.unwrap(), 1);
        assert_eq!(deliver_once(&inside.app.db, &mailer, &clock).await.unwrap(), 0);
        let due = row(&inside.app.db, "low:1").await.3;
        waits.push((due - clock.now().as_millis()) / MINUTE_MS);
        clock.advance_millis(due - clock.now().as_millis());
    }
    assert_eq!(waits, [1, 5, 30, 120, 360, 360, 360]);
    assert_eq!(deliver_once(&inside.app.db, &mailer, &clock).await.unwrap(), 1);
    let (sent, failed, attempts, _) = row(&inside.app.db, "low:1").await;
    assert_eq!((sent, failed, attempts), (false, true, TRIES));
    // What is refused for good is not tried again at all.
    put(&inside, "low:2").await;
    *told.failing.lock().unwrap() = Some(SendError::Refused("no such user".to_owned()));
    assert_eq!(deliver_once(&inside.app.db, &mailer, &clock).await.unwrap(), 1);
    let (sent, failed, attempts, _) = row(&inside.app.db, "low:2").await;
    assert_eq!((sent, failed, attempts), (false, true, 1));
    clock.advance_millis(30 * DAY_MS);
    assert_eq!(deliver_once(&inside.app.db, &mailer, &clock).await.unwrap(), 0);
    inside.finish().await;
}

#[tokio::test]
async fn old_letters_are_erased_but_not_forgotten() {
    let inside = Inside::open(OpenOptions::server()).await;
    put(&inside, "low:1").await;
    let (mailer, _) = memory();
    let clock = TestClock::new(NOW);
    deliver_once(&inside.app.db, &mailer, &clock).await.unwrap();
    put(&inside, "low:2").await;
    let later = NOW.plus_millis(31 * DAY_MS);
    assert_eq!(erase_once(&inside.app.db, NOW.plus_millis(29 * DAY_MS)).await.unwrap(), 0);
    assert_eq!(erase_once(&inside.app.db, later).await.unwrap(), 1, "not the one that waits");
    assert_eq!(erase_once(&inside.app.db, later).await.unwrap(), 0);
    put(&inside, "low:1").await;
    assert!(row(&inside.app.db, "low:1").await.0, "it is still known that it was sent");
    inside.finish().await;
}

#[tokio::test]
async fn a_mail_server_gets_both_parts_and_the_attachment() {
    let server = SmtpServer::start(&[]).await;
    let mailer = smtp(server.port, "none");
    mailer.send_now(&receipt(), "ana@example.org", "receipt:1", NOW).await.unwrap();
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert_eq!((mail.from.as_str(), mail.to.as_str()), ("no-reply@islands.example", "ana@example.org"));
    let (head, body) = mail.data.split_once("\r\n\r\n").unwrap();
    for line in
        ["From: Archipelago <no-reply@islands.example>", "To: ana@example.org", "Subject: Your receipt R-1"]
    {
        assert!(head.lines().any(|found| found == line), "{line} in {head}");
    }
    assert!(head.contains("Message-ID: <") && head.contains("Auto-Submitted: auto-generated"), "{head}");
    assert!(!head.contains("Bcc"), "{head}");
    for part in ["multipart/alternative", "text/plain", "text/html", "application/pdf", "receipt-R-1.pdf"] {
        assert!(mail.data.contains(part), "{part} in {}", mail.data);
    }
    // base64 of the file
    assert!(body.contains("JVBERi0xLjcgbm90IHJlYWxseQ=="), "{body}");
}

#[tokio::test]
async fn a_mail_server_that_says_later_is_asked_later_and_one_that_says_no_is_believed() {
    let inside = Inside::open(OpenOptions::server()).await;
    let server =
        SmtpServer::start(&["451 4.3.0 try again", "250 ok", "550 5.1.1 no such user", "535 5.7.8 who?"])
            .await;
    let mailer = smtp(server.port, "none");
    let clock = TestClock::new(NOW);
    put(&inside, "low:1").await;
    deliver_once(&inside.app.db, &mailer, &clock).await.unwrap();
    assert_eq!(row(&inside.app.db, "low:1").await, (false, false, 1, NOW.as_millis() + MINUTE_MS));
    clock.advance_millis(MINUTE_MS);
    deliver_once(&inside.app.db, &mailer, &clock).await.unwrap();
    assert!(row(&inside.app.db, "low:1").await.0);
    assert_eq!(server.mails().len(), 1);
    put(&inside, "low:2").await;
    deliver_once(&inside.app.db, &mailer, &clock).await.unwrap();
    assert!(row(&inside.app.db, "low:2").await.1, "550 is for good");
    put(&inside, "low:3").await;
    deliver_once(&inside.app.db, &mailer, &clock).await.unwrap();
    let (sent, failed, ..) = row(&inside.app.db, "low:3").await;
    assert!(!sent && !failed, "a wrong password is the operator's to mend, not the letter's end");
    inside.finish().await;
}

#[tokio::test]
async fn a_mail_server_without_encryption_is_told_nothing_when_it_is_required() {
    let server = SmtpServer::start(&[]).await;
    let mailer = smtp(server.port, "starttls");
    let letter =
        SignIn { site: "https://a.example".to_owned(), link: "https://a.example/login/secret".to_owned() };
    let sent = mailer.send_now(&letter, "ana@example.org", "x", NOW).await;
    assert!(sent.is_err());
    assert_eq!(server.mails().len(), 0);
    assert!(!server.heard().contains("MAIL FROM"), "{}", server.heard());
}

#[tokio::test]
async fn nobody_there_is_not_now() {
    let port = SmtpServer::start(&[]).await.into_closed_port().await;
    let (mailer, letter) = (smtp(port, "none"), low());
    let sent = tokio::time::timeout(PATIENCE, mailer.send_now(&letter, "ana@example.org", "x", NOW));
    assert!(matches!(sent.await.unwrap(), Err(SendError::NotNow(_))));
}

#[tokio::test]
async fn files_are_whole_mails_and_a_letter_sent_again_is_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config("transport = \"file\"\n");
    config.data_dir = folder.path().to_path_buf();
    let mailer = Mailer::from_config(&config).unwrap();
    for _ in 0..2 {
        mailer.send_now(&receipt(), "ana+b@example.org", "receipt:1", NOW).await.unwrap();
    }
    let files: Vec<_> =
        std::fs::read_dir(folder.path().join("mail")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    assert!(files[0].file_name().unwrap().to_str().unwrap().starts_with("ana+b@example.org-"));
    let text = std::fs::read_to_string(&files[0]).unwrap();
    assert!(text.contains("\r\nTo: ana+b@example.org\r\n") || text.starts_with("To: ana"), "{text}");
    assert!(text.contains("multipart/mixed") && text.contains("application/pdf"), "{text}");
    let bad = mailer.send_now(&low(), "a b@\r\nBcc: c@d.example", "x", NOW).await;
    assert!(matches!(bad, Err(SendError::Refused(_))));
}

#[tokio::test]
async fn a_mail_server_that_is_away_does_not_stop_the_start_and_is_seen() {
    let port = SmtpServer::start(&[]).await.into_closed_port().await;
    let world = World::with(&format!(
        "[mail]\ntransport = \"smtp\"\nfrom = \"a@islands.example\"\n\
         [mail.smtp]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\n"
    ))
    .await;
    let seen = async {
        loop {
            let metrics = world.http.get(format!("{}/metrics", world.url)).send().await.unwrap();
            if metrics.text().await.unwrap().contains("archipelago_mail_server_failures_total 1") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("it is counted");
    assert!(world.log().contains("mail cannot be sent now"));
    world.finish().await;
}
