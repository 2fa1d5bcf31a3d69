//! A server, its users and its Islands, in the words of the domain.

pub mod browser;
pub mod contract;
pub mod database;
pub mod inside;
pub mod island;
pub mod smtp;

use std::io::Write;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

pub use contract::Answered;
pub use island::FakeIsland;

const BINARY: &str = env!("CARGO_BIN_EXE_archipelago");
/// Nothing in a test takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running server with a data directory of its own.
pub struct World {
    pub url: String,
    pub folder: TempDir,
    /// The `database.url`.
    pub database: String,
    config: String,
    server: Child,
    pub http: reqwest::Client,
}

/// A verified consumer with a key.
#[derive(Clone, Debug)]
pub struct User {
    pub email: String,
    pub key: String,
    url: String,
    http: reqwest::Client,
}

impl World {
    /// A server with the default configuration, but no rate limit.
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// A server with these lines in its configuration.
    pub async fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = database::fresh(folder.path());
        Self::on(database, folder, config).await
    }

    /// Another server with the same configuration on the same database.
    pub async fn beside(&self) -> Self {
        Self::on(self.database.clone(), tempfile::tempdir().unwrap(), &self.config).await
    }

    /// A server with these lines in its configuration on a database.
    pub async fn on(database: String, folder: TempDir, config: &str) -> Self {
        let limits =
            if config.contains("[limits]") { "" } else { "[limits]\nrequests_per_minute = 1000000\n" };
        let config = format!("{config}\n{limits}");
        std::fs::write(folder.path().join("config.toml"), &config).unwrap();
        let (server, url) = start(&folder, &database).await;
        Self { url, folder, database, config, server, http: reqwest::Client::new() }
    }

    /// Kills the server, as a power cut would.
    pub async fn kill(&mut self) {
        self.server.kill().await.unwrap();
    }

    /// Asks the server to stop, as an operator would.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends the server a signal.
    pub fn signal(&self, name: &str) {
        let id = self.server.id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until the server has stopped by itself, in order.
    pub async fn ended(&mut self) {
        let status = self.ends().await;
        assert!(status.success(), "{status}");
    }

    /// Waits until the server has stopped by itself.
    pub async fn ends(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.server.wait()).await.expect("the server stops").unwrap()
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log.txt")).unwrap_or_default()
    }

    /// Starts the server again on the same data directory.
    pub async fn restart(&mut self) {
        let (server, url) = start(&self.folder, &self.database).await;
        (self.server, self.url) = (server, url);
    }

    /// Runs an admin command and answers what it prints.
    pub async fn admin(&self, args: &[&str]) -> Value {
        let output = self.command("admin").arg("--json").args(args).output().await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "admin {args:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A command of the same binary on the same data.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(BINARY);
        command.arg(name).arg("--data").arg(self.folder.path());
        command.arg("--config").arg(self.folder.path().join("config.toml"));
        command.env("ARCHIPELAGO__DATABASE__URL", &self.database);
        command
    }

    /// A verified user with so many credits.
    pub async fn user(&self, name: &str, credits: &str) -> User {
        let email = format!("{name}@example.org");
        self.admin(&["user", "create", "--email", &email, "--verified"]).await;
        if credits != "0" {
            self.admin(&["grant", "--email", &email, "--credits", credits, "--note", "test"]).await;
        }
        self.key_for(&email, &[]).await
    }

    /// Another key for a user.
    pub async fn key_for(&self, email: &str, more: &[&str]) -> User {
        let made =
            self.admin(&[&["api-key", "create", "--email", email, "--name", "test"], more].concat()).await;
        let key = made["key"].as_str().unwrap().to_owned();
        User { email: email.to_owned(), key, url: self.url.clone(), http: self.http.clone() }
    }

    /// An Island of an owner of its own, connected, with one offer.
    pub async fn island(&self, name: &str, ask: &str, slots: u32) -> FakeIsland {
        let token = self.island_token(&format!("{name}-owner@example.org"), name).await;
        FakeIsland::connect(&self.url, &token, ask, slots).await
    }

    /// A token for an Island.
    pub async fn island_token(&self, owner: &str, name: &str) -> String {
        self.admin(&["user", "create", "--email", owner]).await;
        let made = self.admin(&["island-token", "create", "--email", owner, "--name", name]).await;
        made["token"].as_str().unwrap().to_owned()
    }

    /// What `admin user show` says of a name.
    pub async fn account(&self, name: &str) -> Value {
        self.admin(&["user", "show", "--email", &format!("{name}@example.org")]).await
    }

    /// What the audit finds.
    pub async fn audit(&self) -> Value {
        let output = self.command("audit").arg("--json").output().await.unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What the audit finds in the ledger alone: a server that was killed may have left holds for its recovery, but never
    /// books that do not balance.
    pub async fn audit_ledger(&self) -> Value {
        let findings = self.audit().await["findings"].clone();
        let broken = |finding: &&Value| !finding["what"].as_str().unwrap().contains("hold");
        findings.as_array().unwrap().iter().filter(broken).cloned().collect()
    }

    /// What must hold at the end of every test.
    pub async fn finish(mut self) {
        assert_eq!(self.audit().await, json!({"ok": true, "findings": []}), "config: {}", self.config);
        let log = self.log();
        let errors: Vec<&str> =
            log.lines().filter(|line| line.contains("ERROR") || line.contains("panicked")).collect();
        assert!(errors.is_empty(), "the server logged errors: {errors:#?}");
        self.server.kill().await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.server.start_kill());
        if std::thread::panicking() {
            drop(writeln!(std::io::stderr(), "--- server log ---\n{}", self.log()));
        }
    }
}

async fn start(folder: &TempDir, database: &str) -> (Child, String) {
    let log = std::fs::File::options().create(true).append(true).open(folder.path().join("log.txt")).unwrap();
    let mut server = Command::new(BINARY)
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(folder.path().join("config.toml"))
        .arg("--data")
        .arg(folder.path())
        .env("ARCHIPELAGO__DATABASE__URL", database)
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let url = timeout(PATIENCE, async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the server ended before it was ready");
            if let Some((_, url)) = line.split_once("ready: ") {
                return url.trim().to_owned();
            }
        }
    });
    let url = url.await.expect("the server says that it is ready");
    (server, url)
}

/// Asks again and again until there is an answer.
pub async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    timeout(PATIENCE, asked).await.expect("it comes about in time")
}

/// An answer: status, body.
pub type Answer = (u16, Value);

impl User {
    /// The client its requests go through.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Where its requests go.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server is elsewhere now.
    pub fn moved_to(&mut self, url: &str) {
        self.url = url.to_owned();
    }

    /// Any request with this user's key.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let verb = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(verb, format!("{}{path}", self.url)).bearer_auth(&self.key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let response = timeout(PATIENCE, request.send()).await.expect("an answer in time").unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = timeout(PATIENCE, response.text()).await.expect("a whole answer in time").unwrap();
        contract::check(&Answered { method, path, status, headers: &headers, body: &text });
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, &[], Some(&body.to_string())).await
    }

    /// Submits a chat job.
    pub async fn submit(&self, more: Value) -> Answer {
        let mut body = json!({"workload": "llm-chat", "input": {"prompt": "hi"}});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.post("/api/v1/jobs", &body).await
    }

    /// Submits a chat job that must be taken; answers its id.
    pub async fn job(&self, more: Value) -> String {
        let (status, body) = self.submit(more).await;
        assert_eq!(status, 201, "{body}");
        body["data"]["id"].as_str().unwrap().to_owned()
    }

    /// Asks for a job until it has ended.
    pub async fn ended(&self, job: &str) -> Value {
        let polled = timeout(PATIENCE, async {
            let (status, stream) = self.get(&format!("/api/v1/jobs/{job}/stream")).await;
            assert_eq!(status, 200, "{stream}");
            let (status, body) = self.get(&format!("/api/v1/jobs/{job}")).await;
            assert_eq!(status, 200);
            body["data"].clone()
        });
        let body = polled.await.expect("the job ends");
        assert!(!matches!(body["status"].as_str().unwrap(), "pending" | "running"), "{body}");
        body
    }

    /// Waits until a job has this status, by its stream.
    pub async fn reaches(&self, job: &str, status: &str) {
        let mut stream = self.stream(job).await;
        loop {
            let event = stream.next().await.expect("the status comes");
            if event["type"] == "status" && event["status"] == status {
                return;
            }
        }
    }

    /// Opens a job's stream.
    pub async fn stream(&self, job: &str) -> Stream {
        let request = self.http.get(format!("{}/api/v1/jobs/{job}/stream", self.url)).bearer_auth(&self.key);
        Stream::open(request).await
    }

    /// Opens a streamed chat completion.
    pub async fn chat_stream(&self, body: &Value) -> Stream {
        let request = self.http.post(format!("{}/v1/chat/completions", self.url)).bearer_auth(&self.key);
        Stream::open(request.header("content-type", "application/json").body(body.to_string())).await
    }

    /// (available, held), as text.
    pub async fn credits(&self) -> (String, String) {
        let (status, body) = self.get("/api/v1/account").await;
        assert_eq!(status, 200, "{body}");
        (body["data"]["credits"].to_string(), body["data"]["held"].to_string())
    }
}

/// Server-sent events, as they come.
pub struct Stream {
    response: reqwest::Response,
    buffer: String,
}

impl Stream {
    async fn open(request: reqwest::RequestBuilder) -> Self {
        let response = timeout(PATIENCE, request.send()).await.expect("an answer in time").unwrap();
        assert_eq!(response.status(), 200);
        Self { response, buffer: String::new() }
    }

    /// The next event; nothing when the stream has ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((frame, rest)) = self.buffer.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.buffer = rest;
                match frame.strip_prefix("data: ") {
                    Some("[DONE]") => return Some(Value::String("[DONE]".to_owned())),
                    Some(data) => return Some(serde_json::from_str(data).unwrap()),
                    None => continue,
                }
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("an event in time").unwrap()?;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event of this type.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await.expect("the event comes");
            if event["type"] == kind {
                return event;
            }
        }
    }
}
