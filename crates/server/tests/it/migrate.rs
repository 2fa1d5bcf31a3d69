//! Moving everything from one database to another with `archipelago migrate --from … --to …`.

use std::path::Path;

use pg_temp::PgTemp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::world::browser::{Browser, path_of};
use crate::world::{FakeIsland, PATIENCE, User, World};

const CONFIG: &str = "[coordinators]\ntakeover_secs = 3\n[mail]\ntransport = \"file\"";

fn sqlite(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("archipelago.db").display())
}

fn postgres() -> String {
    PgTemp::shared().unwrap().fresh_database().unwrap()
}

/// A server on SQLite, whatever the others run on.
async fn on_sqlite() -> World {
    let folder = tempfile::tempdir().unwrap();
    World::on(sqlite(folder.path()), folder, CONFIG).await
}

/// What a command ended with: whether it is pleased, what it answered, and what it said besides.
struct Ended {
    ok: bool,
    answer: String,
    said: String,
}

impl Ended {
    fn json(&self) -> Value {
        assert!(self.ok, "{}", self.said);
        serde_json::from_str(&self.answer).unwrap()
    }

    #[track_caller]
    fn refused(&self, because: &str) {
        assert!(!self.ok && self.answer.is_empty(), "{}", self.answer);
        let sentence = self.said.lines().last().unwrap();
        assert!(sentence.starts_with("archipelago: ") && sentence.contains(because), "{}", self.said);
    }
}

async fn ends(mut command: Command) -> Ended {
    let output = timeout(PATIENCE, command.kill_on_drop(true).output()).await.expect("it ends").unwrap();
    Ended {
        ok: output.status.success(),
        answer: String::from_utf8(output.stdout).unwrap(),
        said: String::from_utf8(output.stderr).unwrap(),
    }
}

impl World {
    async fn migrate(&self, from: &str, to: &str, more: &[&str]) -> Ended {
        let mut command = self.command("migrate");
        command.args(["--from", from, "--to", to]).args(more);
        ends(command).await
    }
}

/// What must not change.
async fn kept(ana: &User, job: &str) -> Vec<Value> {
    let mut answers = Vec::new();
    let job = format!("/api/v1/jobs/{job}");
    for path in [&job, "/api/v1/credits/transactions", "/api/v1/credits/purchases", "/api/v1/credits/balance"]
    {
        let (status, mut body) = ana.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        // A checkout's address is that of the server.
        let purchases = body["data"].as_array_mut().into_iter().flatten();
        purchases.for_each(|row| drop(row.as_object_mut().and_then(|row| row.remove("checkout_url"))));
        answers.push(body);
    }
    answers
}

async fn buy(ana: &User, browser: &mut Browser) {
    let (status, bought) = ana.post("/api/v1/credits/purchases", &json!({"package": "starter"})).await;
    assert_eq!(status, 201, "{bought}");
    let checkout = path_of(bought["data"]["checkout_url"].as_str().unwrap());
    let paid = browser.send(&checkout, &checkout, &[("action", "pay")]).await;
    assert_eq!(paid.status, 303, "{}", paid.text);
    assert_eq!(browser.get(&paid.location).await.location, "/credits?done=bought");
}

async fn works(island: &mut FakeIsland) {
    let work = island.work().await;
    island.output(work.attempt, 1, "hello").await;
    island.done(work.attempt).await;
}

/// A world in which everything has happened, and some of it is still going on.
struct Story {
    world: World,
    ana: User,
    capped: User,
    browser: Browser,
    token: String,
    /// At work when the server dies.
    _island: FakeIsland,
    completed: String,
    running: String,
    waiting: String,
    kept: Vec<Value>,
}

impl Story {
    async fn told() -> Self {
        let world = on_sqlite().await;
        let ana = world.user("ana", "100").await;
        let capped = world.key_for(&ana.email, &["--limit", "2"]).await;
        let mut browser = Browser::new(&world.url);
        browser.sign_in(&ana.email, world.folder.path()).await;
        buy(&ana, &mut browser).await;
        let token = world.island_token("palma-owner@example.org", "Palma").await;
        let mut island = FakeIsland::connect(&world.url, &token, "1", 1).await;
        let mut completed = String::new();
        for user in [&ana, &ana, &capped] {
            completed = user.job(json!({})).await;
            works(&mut island).await;
            assert_eq!(ana.ended(&completed).await["status"], json!("completed"));
        }
        let (running, waiting) = (ana.job(json!({})).await, ana.job(json!({"bid_price": "0.5"})).await);
        island.work().await;
        assert_eq!(ana.credits().await, ("596".to_owned(), "1".to_owned()));
        let kept = kept(&ana, &completed).await;
        Self { world, ana, capped, browser, token, _island: island, completed, running, waiting, kept }
    }

    /// On another server the story goes on.
    async fn goes_on(&mut self, there: &World) {
        for user in [&mut self.ana, &mut self.capped] {
            user.moved_to(&there.url);
        }
        self.browser.moved_to(&there.url);
        // What ran when the old server died is ended there like after any crash, and nobody is charged.
        let job = self.ana.ended(&self.running).await;
        assert_eq!((&job["error_code"], &job["cost"]), (&json!("interrupted"), &json!(0)), "{job}");
        assert_eq!(self.ana.credits().await, ("597".to_owned(), "0".to_owned()));
        let (mut was, mut is) = (self.kept.clone(), kept(&self.ana, &self.completed).await);
        let (was_balance, is_balance) = (was.pop().unwrap(), is.pop().unwrap());
        assert_eq!(was, is);
        assert_eq!(was_balance["data"]["posted"], is_balance["data"]["posted"]);

        // Still signed in, and able to sign in anew.
        assert_eq!(self.browser.get("/settings").await.status, 200);
        Browser::new(&there.url).sign_in(&self.ana.email, there.folder.path()).await;
        // The Island's token is known, the job that waited has waited, and the key's limit counts what was spent before.
        let mut island = FakeIsland::connect(&there.url, &self.token, "0.5", 1).await;
        works(&mut island).await;
        assert_eq!(self.ana.ended(&self.waiting).await["status"], json!("completed"));
        island.ask("1", 1).await;
        let last = self.capped.job(json!({})).await;
        works(&mut island).await;
        assert_eq!(self.ana.ended(&last).await["status"], json!("completed"));
        let (status, refused) = self.capped.submit(json!({})).await;
        assert!((400..500).contains(&status), "{refused}");
        buy(&self.ana, &mut self.browser).await;
        assert_eq!(self.ana.credits().await, ("1095.5".to_owned(), "0".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_moves_from_sqlite_to_postgres_and_goes_on_there() {
    let mut story = Story::told().await;
    let (from, to) = (story.world.database.clone(), postgres());
    let world = &mut story.world;
    // By its data directory, whether it is named or not.
    let refused = world.migrate(&from, &to, &[]).await;
    refused.refused("a server is running on the data directory");
    let mut elsewhere = Command::new(env!("CARGO_BIN_EXE_archipelago"));
    elsewhere.args(["migrate", "--from", &from, "--to", &to]);
    ends(elsewhere).await.refused("a server is running on the data directory");
    world.kill().await;

    let copied = world.migrate(&from, &to, &["--json"]).await;
    let answer = copied.json();
    assert_eq!(
        (&answer["ok"], &answer["complete_before"], &answer["left_out"], &answer["findings"]),
        (&json!(true), &json!(false), &json!([]), &json!([]))
    );
    assert_eq!((&answer["rows"], &answer["tables"]["users"]), (&answer["written"], &json!(2)), "{answer}");
    // A line for each table, since nobody looks at it on a terminal.
    for doing in ["copying   users  ", "copying   ledger_transfers  ", "checking  jobs  ", "auditing  "] {
        assert!(copied.said.contains(doing), "{doing}: {}", copied.said);
    }
    let again = world.migrate(&from, &to, &[]).await;
    assert!(again.ok && again.answer.starts_with("The copy is complete already: "), "{}", again.answer);
    assert!(again.answer.contains("The books balance."), "{}", again.answer);

    let mut there = World::on(to.clone(), tempfile::tempdir().unwrap(), CONFIG).await;
    story.goes_on(&there).await;
    // Whoever lives there is not disturbed, and what happened there is not overwritten.
    let refused = story.world.migrate(&from, &to, &[]).await;
    refused.refused("is running on the target postgres://");
    there.kill().await;
    let mut soon = story.world.command("migrate");
    soon.args(["--from", &from, "--to", &to]).env("ARCHIPELAGO__COORDINATORS__TAKEOVER_SECS", "2");
    ends(soon).await.refused("has been used since the copy of this source was finished");
    there.restart().await;
    story.ana.moved_to(&there.url);
    assert_eq!(story.ana.credits().await.0, "1095.5");
    there.finish().await;
}

#[tokio::test]
async fn a_copy_that_was_interrupted_is_not_used_and_goes_on() {
    let mut world = on_sqlite().await;
    world.user("ana", "100").await;
    world.kill().await;
    let (from, to) = (world.database.clone(), postgres());
    let on_target = |name: &str| {
        let mut command = world.command(name);
        command.env("ARCHIPELAGO__DATABASE__URL", &to);
        command
    };
    // The target may be prepared; here it is also broken, in the middle of what is copied.
    let prepared = ends(on_target("migrate")).await;
    assert_eq!(prepared.answer, "The schema is up to date.\n", "{}", prepared.said);
    let database = to.rsplit('/').next().unwrap().to_owned();
    let psql = |sql: &str| PgTemp::shared().unwrap().psql(&database, sql).unwrap();
    psql(
        "CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''broken''; END';
          CREATE TRIGGER broken BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION break()",
    );
    let failed = world.migrate(&from, &to, &[]).await;
    failed.refused("the copy was interrupted: the target: ");
    assert!(failed.said.lines().last().unwrap().contains("run the same again"), "{}", failed.said);

    for name in ["serve", "audit", "migrate"] {
        let mut command = on_target(name);
        if name == "serve" {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        ends(command).await.refused("is an unfinished copy of another one");
    }
    psql("DROP TRIGGER broken ON users");
    let copied = world.migrate(&from, &to, &[]).await;
    assert!(copied.ok && copied.answer.starts_with("Copied: "), "{}{}", copied.answer, copied.said);
    assert!(copied.answer.contains("Set database.url to postgres://"), "{}", copied.answer);
    let there = World::on(to, tempfile::tempdir().unwrap(), CONFIG).await;
    assert_eq!(there.account("ana").await["credits"], json!(100));
    there.finish().await;
}

#[tokio::test]
async fn everything_moves_back_and_a_coordinator_elsewhere_is_noticed() {
    let mut world = World::on(postgres(), tempfile::tempdir().unwrap(), CONFIG).await;
    let ana = world.user("ana", "100").await;
    let folder: TempDir = tempfile::tempdir().unwrap();
    let (from, to) = (world.database.clone(), sqlite(&folder.path().join("new")));
    world.migrate(&from, &to, &[]).await.refused("a server is running on the data directory");
    // Without the data directory, by its signs of life.
    let mut elsewhere = Command::new(env!("CARGO_BIN_EXE_archipelago"));
    elsewhere.args(["migrate", "--from", &from, "--to", &to, "--data"]).arg(folder.path());
    let refused = ends(elsewhere).await;
    refused.refused("is running on the source postgres://");
    assert!(refused.said.contains("waiting   up to 15 s"), "{}", refused.said);
    world.terminate();
    world.ended().await;

    let answer = world.migrate(&from, &to, &["--json"]).await.json();
    assert_eq!((&answer["ok"], &answer["tables"]["users"]), (&json!(true), &json!(1)));
    let there = World::on(to, folder, CONFIG).await;
    let mut ana = ana;
    ana.moved_to(&there.url);
    assert_eq!(ana.credits().await, ("100".to_owned(), "0".to_owned()));
    there.finish().await;
}

#[tokio::test]
async fn what_cannot_be_copied_is_refused_with_a_sentence() {
    let mut world = on_sqlite().await;
    world.user("ana", "1").await;
    world.kill().await;
    let (from, folder) = (world.database.clone(), world.folder.path());
    let missing = format!("sqlite:{}", folder.join("missing.db").display());
    let nowhere = "postgres://ana:geheim@127.0.0.1:1/x".to_owned();
    let cases = [
        (&missing, &postgres(), "there is no database at"),
        (&from, &from, "name the same database"),
        (&"oracle://x".to_owned(), &from, "--from must be"),
        (&from, &String::new(), "--to must be"),
        (&from, &nowhere, "the target postgres://ana:***@127.0.0.1:1/x cannot be used"),
        (&postgres(), &postgres(), "there is nothing to copy"),
    ];
    for (from, to, because) in cases {
        let refused = world.migrate(from, to, &[]).await;
        refused.refused(because);
        assert!(!refused.said.contains("geheim"), "{}", refused.said);
    }
    assert!(!folder.join("missing.db").exists());
    // A network that has been at work is no place for another.
    let other = World::on(postgres(), tempfile::tempdir().unwrap(), CONFIG).await;
    other.user("ben", "7").await;
    other.terminate();
    let mut other = other;
    other.ended().await;
    let mut command = other.command("migrate");
    command.args(["--from", &from, "--to", &other.database]);
    ends(command).await.refused("the target is not empty");
    other.restart().await;
    assert_eq!(other.account("ben").await["credits"], json!(7));
    // One of the two alone is a mistake.
    let mut command = world.command("migrate");
    command.args(["--from", &from]);
    let half = ends(command).await;
    assert!(!half.ok && half.said.contains("--to"), "{}", half.said);
    other.finish().await;
}
