//! What moved when, by pages and as a file.

use std::collections::HashMap;

use db::{Db, DbError, OpenOptions, params};
use ledger::statement::Filter;
use ledger::{Command, TransferKind, system};
use reqwest::Response;
use serde_json::{Value, json};
use server::credits::export::{Export, Format};
use tokio::time::timeout;
use types::id::{AccountId, IdGenerator};
use types::money::MicroCredits;
use types::time::{Clock, SystemClock, Timestamp};

use crate::world::inside::Inside;
use crate::world::{PATIENCE, User, World};

const STATEMENT: &str = "/api/v1/credits/transactions";
const EXPORT: &str = "/api/v1/credits/export";
/// More than three pages of an export.
const MANY: usize = 1700;

/// A grant of one credit.
fn grant(ids: &IdGenerator, now: Timestamp, to: AccountId, note: &str) -> Command {
    Command::Transfer {
        id: ids.next(now),
        kind: TransferKind::Grant,
        from: system::grants(),
        to,
        amount: MicroCredits::new(1_000_000),
        note: Some(note.to_owned()),
    }
}

impl World {
    /// Moves credits as another process would, at a time.
    async fn move_credits(
        &self,
        now: Timestamp,
        commands: impl FnOnce(AccountId) -> Vec<Command>,
        of: &User,
    ) {
        let db = Db::open(&self.database, OpenOptions::command()).await.unwrap();
        let email = of.email.clone();
        let wallet = db.read("wallet", async move |tx| {
            tx.query_one("SELECT wallet_id FROM users WHERE email = $1", &params![&email]).await?.get(0)
        });
        let commands = commands(wallet.await.unwrap_or_else(|error: DbError| panic!("{error}")));
        let moved = db.tx("move", async move |tx| ledger::submit(tx, &commands, now).await).await.unwrap();
        assert!(moved.outcomes.iter().all(Result::is_ok), "{moved:?}");
    }

    /// So many grants of one credit each, with a note, at once.
    async fn grant_many(&self, to: &User, lines: usize, note: &str) {
        let ids = IdGenerator::new(900);
        let now = SystemClock.now();
        self.move_credits(now, |wallet| (0..lines).map(|_| grant(&ids, now, wallet, note)).collect(), to)
            .await;
    }

    async fn exports_open(&self) -> String {
        let metrics =
            self.http.get(format!("{}/metrics", self.url)).send().await.unwrap().text().await.unwrap();
        let line = metrics.lines().find(|line| line.starts_with("archipelago_exports_open"));
        line.map(|line| line.rsplit(' ').next().unwrap().to_owned()).unwrap_or_default()
    }
}

impl User {
    async fn open(&self, path: &str) -> Response {
        let request = self.http().get(format!("{}{path}", self.url())).bearer_auth(&self.key);
        let response = timeout(PATIENCE, request.send()).await.expect("an answer in time").unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response
    }

    async fn text(&self, path: &str) -> String {
        timeout(PATIENCE, self.open(path).await.text()).await.expect("a whole file in time").unwrap()
    }

    /// All pages of a statement.
    async fn walk(&self, query: &str) -> Vec<Value> {
        let (mut lines, mut cursor) = (Vec::new(), String::new());
        loop {
            let (status, body) = self.get(&format!("{STATEMENT}?limit=3{query}{cursor}")).await;
            assert_eq!(status, 200, "{body}");
            lines.extend(body["data"].as_array().unwrap().clone());
            let Some(next) = body["next_cursor"].as_str() else { return lines };
            cursor = format!("&cursor={next}");
        }
    }
}

/// The cells of a file, by the letter of RFC 4180.
fn parse_csv(text: &str) -> Vec<HashMap<String, String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {
                assert_eq!(letters.next(), Some('\n'), "lines end with CR LF");
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            '\n' if !quoted => panic!("a line that ends with LF alone"),
            letter => cell.push(letter),
        }
    }
    assert!(row.is_empty() && cell.is_empty() && !quoted, "the last line ends too");
    let header = rows.remove(0);
    let named = |row: Vec<String>| {
        assert_eq!(row.len(), header.len(), "{row:?}");
        header.iter().cloned().zip(row).collect()
    };
    rows.into_iter().map(named).collect()
}

fn column<'a>(lines: &'a [Value], name: &str) -> Vec<&'a Value> {
    lines.iter().map(|line| &line[name]).collect()
}

#[tokio::test]
async fn a_statement_by_kind_and_time_while_rows_arrive() {
    let world = World::new().await;
    let island = world.island("palma", "2", 5).await.works_by_itself();
    let ana = world.user("ana", "100").await;
    for _ in 0..4 {
        let job = ana.job(json!({})).await;
        ana.ended(&job).await;
        world.grant_many(&ana, 2, "between").await;
    }
    let all = ana.walk("").await;
    assert_eq!(
        column(&all, "seq"),
        (1..=13).rev().map(Value::from).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
    let jobs = ana.walk("&kind=job").await;
    assert_eq!(jobs.len(), 4);
    let amounts = (&jobs[0]["amount"], &jobs[0]["amount_micros"], &jobs[0]["balance_micros"]);
    assert_eq!(amounts, (&json!(-2), &json!(-2_000_000), &json!(98_000_000)));
    assert_eq!(jobs[0]["island"], json!("palma"));
    assert!(jobs.iter().all(|line| line["job_id"].is_string() && line["note"].is_null()), "{jobs:?}");

    // From the moment of one line (it is included) to that of another (it is not).
    let (from, to) = (all[8]["at"].as_str().unwrap(), all[3]["at"].as_str().unwrap());
    let between = ana.walk(&format!("&from={from}&to={to}")).await;
    let expected: Vec<&Value> = all
        .iter()
        .filter(|line| {
            let at = line["at"].as_str().unwrap();
            at >= from && at < to
        })
        .collect();
    assert_eq!(between.iter().collect::<Vec<_>>(), expected);
    assert!((1..13).contains(&between.len()));
    let offset = from.replace('Z', "%2B00:00");
    assert_eq!(ana.walk(&format!("&from={offset}&to={to}")).await, between);

    // What comes in front moves nothing behind.
    let (_, first) = ana.get(&format!("{STATEMENT}?limit=2&kind=grant")).await;
    world.grant_many(&ana, 5, "later").await;
    let next = first["next_cursor"].as_str().unwrap();
    let (_, second) = ana.get(&format!("{STATEMENT}?limit=2&kind=grant&cursor={next}")).await;
    let before = ana.walk("&kind=grant").await;
    assert_eq!(first["data"].as_array().unwrap()[..], before[5..7]);
    assert_eq!(second["data"].as_array().unwrap()[..], before[7..9]);

    // The Island's owner earned; the wallet's cursor is none of the earnings'.
    let owner = world.key_for("palma-owner@example.org", &[]).await;
    let earned = owner.walk("&account=earnings").await;
    assert_eq!(column(&earned, "amount"), vec![&json!(1.8); 4]);
    assert_eq!(owner.walk("&account=earnings&kind=grant").await, Vec::<Value>::new());
    assert_eq!(owner.walk("").await, Vec::<Value>::new());
    let (status, body) = ana.get(&format!("{STATEMENT}?account=earnings&cursor={next}")).await;
    assert_eq!((status, &body["error"]["param"]), (422, &json!("cursor")));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn what_is_no_statement_is_refused_by_name() {
    let world = World::new().await;
    let ana = world.user("ana", "1").await;
    let period = "from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z";
    for (path, query, field) in [
        (STATEMENT, "kind=theft", "kind"),
        (STATEMENT, "kind=", "kind"),
        (STATEMENT, "kind=released", "kind"),
        (STATEMENT, "from=yesterday", "from"),
        (STATEMENT, "from=2026-11-01", "from"),
        (STATEMENT, "from=2026-11-01T00:00:00+01:00", "from"),
        (STATEMENT, "to=2026-13-01T00:00:00Z", "to"),
        (STATEMENT, period, "to"),
        (STATEMENT, "from=2026-11-01T00:00:00Z&to=2026-11-01T00:00:00Z", "to"),
        (STATEMENT, "account=fees", "account"),
        (STATEMENT, "limit=0", "limit"),
        (STATEMENT, "cursor=1.1&kind=grant", "cursor"),
        (EXPORT, "format=xlsx", "format"),
        (EXPORT, "account=3", "account"),
        (EXPORT, "kind=theft", "kind"),
        (EXPORT, period, "to"),
        ("/api/v1/credits/balance", "at=now", "at"),
        ("/api/v1/credits/balance", "at=9999-01-01T00:00:00Z", "at"),
        ("/api/v1/credits/balance", "account=sales", "account"),
    ] {
        let (status, body) = ana.get(&format!("{path}?{query}")).await;
        assert_eq!((status, &body["error"]["param"]), (422, &json!(field)), "{query}: {body}");
    }
    let writer = world.key_for(&ana.email, &["--scopes", "write"]).await;
    for path in [STATEMENT, EXPORT, "/api/v1/credits/balance"] {
        assert_eq!(writer.get(path).await.0, 403);
    }
    world.finish().await;
}

#[tokio::test]
async fn what_there_is_and_what_there_was() {
    let world = World::new().await;
    let mut island = world.island("palma", "2", 5).await;
    let ana = world.user("ana", "10").await;
    let balance = async |query: &str| {
        let (status, body) = ana.get(&format!("/api/v1/credits/balance{query}")).await;
        assert_eq!(status, 200, "{body}");
        body["data"].clone()
    };
    let is = |found: &Value, expected: [Value; 4]| {
        let names = ["balance", "held", "available", "debt"];
        assert_eq!(names.map(|name| found[name].clone()), expected, "{found}");
    };
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    let held = balance("").await;
    is(&held, [json!(10), json!(2), json!(8), json!(0)]);
    assert_eq!((&held["account"], &held["available_micros"]), (&json!("wallet"), &json!(8_000_000)));
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    ana.ended(&job).await;
    is(&balance("").await, [json!(8), json!(0), json!(8), json!(0)]);

    // What a refund could not take from the wallet is owed.
    let (ids, now) = (IdGenerator::new(900), SystemClock.now());
    let take = |from| Command::TakeBack {
        id: ids.next(now),
        from,
        to: system::grants(),
        amount: MicroCredits::new(9_500_000),
        note: Some("disputed".to_owned()),
    };
    world.move_credits(now, |wallet| vec![take(wallet)], &ana).await;
    is(&balance("").await, [json!(0), json!(0), json!(0), json!(1.5)]);

    let lines = ana.walk("").await;
    let at = |line: &Value| format!("?at={}", line["at"].as_str().unwrap());
    is(&balance(&at(&lines[2])).await, [json!(10), Value::Null, Value::Null, json!(0)]);
    is(&balance(&at(&lines[1])).await, [json!(8), Value::Null, Value::Null, json!(0)]);
    is(&balance(&at(&lines[0])).await, [json!(0), Value::Null, Value::Null, json!(1.5)]);
    is(&balance("?at=2020-01-01T00:00:00Z").await, [json!(0), Value::Null, Value::Null, json!(0)]);
    is(&balance("?account=earnings").await, [json!(0), json!(0), json!(0), json!(0)]);
    let owner = world.key_for("palma-owner@example.org", &[]).await;
    let (_, earned) = owner.get("/api/v1/credits/balance?account=earnings").await;
    assert_eq!((&earned["data"]["account"], &earned["data"]["balance"]), (&json!("earnings"), &json!(1.8)));
    world.finish().await;
}

#[tokio::test]
async fn a_file_has_what_the_statement_has() {
    let world = World::new().await;
    let island = world.island("palma", "2.000001", 5).await.works_by_itself();
    let ana = world.user("ana", "100").await;
    assert_eq!(ana.text(&format!("{EXPORT}?format=json&account=earnings")).await, "[]\n");
    let csv = ana.text(&format!("{EXPORT}?account=earnings")).await;
    assert_eq!((csv.lines().count(), csv.ends_with("\r\n")), (1, true), "a header and nothing else");

    let job = ana.job(json!({})).await;
    ana.ended(&job).await;
    let notes = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "a, \"b\"",
        "two\r\nlines",
        "größer",
        "=HYPERLINK(\"http://x\",\"y\")",
    ];
    for note in notes {
        let note = format!("--note={note}");
        world.admin(&["grant", "--email", &ana.email, "--credits", "0.5", &note]).await;
    }
    let statement = ana.walk("").await;
    assert_eq!(statement.len(), notes.len() + 2);
    let json: Value = serde_json::from_str(&ana.text(&format!("{EXPORT}?format=json")).await).unwrap();
    assert_eq!(json.as_array().unwrap(), &statement);

    let rows = parse_csv(&ana.text(&format!("{EXPORT}?format=csv")).await);
    assert_eq!(rows.len(), statement.len());
    for (row, line) in rows.iter().zip(&statement) {
        for name in ["at", "kind", "workload_name", "island", "job_id", "id"] {
            assert_eq!(row[name], line[name].as_str().unwrap_or_default(), "{name}");
        }
        for name in ["seq", "amount_micros", "balance_micros"] {
            assert_eq!(row[name], line[name].to_string(), "{name}");
        }
        let note = line["note"].as_str().unwrap_or_default();
        let guard = if note.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
        assert_eq!(row["note"], format!("{guard}{note}"));
    }
    let (charge, grant) = (&rows[notes.len()], &rows[0]);
    assert_eq!((charge["amount"].as_str(), charge["balance"].as_str()), ("-2.000001", "97.999999"));
    assert_eq!((grant["amount"].as_str(), grant["balance"].as_str()), ("0.5", "101.999999"));

    // Only some of it.
    assert_eq!(parse_csv(&ana.text(&format!("{EXPORT}?kind=job")).await).len(), 1);
    let from = &statement[2]["at"].as_str().unwrap();
    assert_eq!(parse_csv(&ana.text(&format!("{EXPORT}?from={from}")).await).len(), 3);

    let response = ana.open(&format!("{EXPORT}?format=csv")).await;
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/csv; charset=utf-8; header=present");
    let today = SystemClock.now().date();
    assert_eq!(
        header("content-disposition"),
        format!("attachment; filename=\"archipelago-wallet-{today}.csv\"")
    );
    assert_eq!(header("cache-control"), "no-store");

    // The operator's file is the same.
    let printed = async |args: &[&str]| {
        let output =
            world.command("admin").args(["statement", "--email", &ana.email]).args(args).output().await;
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(printed(&[]).await, ana.text(EXPORT).await);
    let json = ana.text(&format!("{EXPORT}?format=json")).await;
    assert_eq!(printed(&["--format", "json"]).await, json);
    assert_eq!(printed(&["--json"]).await, json);
    assert_eq!(printed(&["--json", "--account", "earnings"]).await, "[]\n");
    for (args, word) in
        [(["--account", "fees"], "--account must be"), (["--format", "xml"], "--format must be")]
    {
        let output =
            world.command("admin").args(["statement", "--email", &ana.email]).args(args).output().await;
        assert!(String::from_utf8_lossy(&output.unwrap().stderr).contains(word));
    }
    island.abort();
    world.finish().await;
}

/// Longer than what lies between the server and a client that does not read, so that pages are read while others wait.
#[tokio::test]
async fn a_long_file_is_whole_while_rows_arrive_and_slow_readers_keep_nobody_waiting() {
    let world = World::new().await;
    let ana = world.user("ana", "1").await;
    world.grant_many(&ana, MANY, &"long ".repeat(3000)).await;
    let csv = format!("{EXPORT}?format=csv");
    // More than there are readers of the database, and nobody takes anything.
    let mut idle = Vec::new();
    for _ in 0..5 {
        idle.push(ana.open(&csv).await);
    }
    assert_eq!(world.exports_open().await, "5");
    let mut slow = ana.open(&csv).await;
    let mut text = slow.chunk().await.unwrap().unwrap().to_vec();
    world.grant_many(&ana, 10, "later").await;
    assert_eq!(ana.credits().await.0, (MANY + 11).to_string());
    while let Some(chunk) = timeout(PATIENCE, slow.chunk()).await.expect("more of it in time").unwrap() {
        text.extend_from_slice(&chunk);
    }
    let rows = parse_csv(&String::from_utf8(text).unwrap());
    let numbers: Vec<String> = rows.iter().map(|row| row["seq"].clone()).collect();
    assert_eq!(numbers, (1..=MANY + 1).rev().map(|seq| seq.to_string()).collect::<Vec<_>>());
    let json: Value = serde_json::from_str(&ana.text(&format!("{EXPORT}?format=json")).await).unwrap();
    assert_eq!(json.as_array().unwrap().len(), MANY + 11);

    // Who goes away leaves nothing behind.
    drop((idle, slow));
    let freed = timeout(PATIENCE, async { while world.exports_open().await != "0" {} });
    freed.await.expect("what was open is closed");
    world.finish().await;
}

/// Memory holds one page of a file, however long the file is.
#[tokio::test]
async fn a_file_is_written_in_parts_of_a_page() {
    let inside = Inside::open(OpenOptions::server()).await;
    let ana = inside.user("ana").await;
    let (app, wallet, now) = (&inside.app, ana.wallet, inside.app.clock.now());
    let ids = IdGenerator::new(900);
    let grants: Vec<Command> = (0..1700).map(|_| grant(&ids, now, wallet, "x")).collect();
    app.db.tx("grants", async move |tx| ledger::submit(tx, &grants, now).await).await.unwrap();
    for format in [Format::Csv, Format::Json] {
        let mut file = Export::new(wallet, Filter::default(), format);
        let (mut parts, mut lines) = (0, 0);
        while let Some(part) = file.part(app).await.unwrap() {
            parts += 1;
            lines += part.lines().filter(|line| line.contains("grant")).count();
            assert!((1..=501).contains(&part.lines().count()), "{} lines at once", part.lines().count());
        }
        assert_eq!((parts, lines), (4, 1700), "{format:?}");
    }
    inside.finish().await;
}

/// A file that cannot be ended is broken off: no client takes half of it for all.
#[tokio::test]
async fn a_file_that_is_not_whole_does_not_end_well() {
    let mut world = World::new().await;
    let ana = world.user("ana", "1").await;
    world.grant_many(&ana, MANY, &"long ".repeat(3000)).await;
    let mut half = ana.open(EXPORT).await;
    half.chunk().await.unwrap().unwrap();
    world.terminate();
    // It takes no more connections when it has heard.
    while world.http.get(format!("{}/health", world.url)).send().await.is_ok() {}
    let end = timeout(PATIENCE, async {
        loop {
            match half.chunk().await {
                Ok(Some(_)) => {}
                end => return end,
            }
        }
    });
    assert!(end.await.expect("it ends").is_err(), "a client sees that something is missing");
    world.ended().await;
    assert_eq!(world.audit().await["ok"], json!(true));
    assert!(!world.log().contains("ERROR"), "{}", world.log());
}
