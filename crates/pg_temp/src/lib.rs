//! A PostgreSQL server of one's own for tests and measurements.
//!
//! It lives in a folder of its own, listens on a socket there and on a free port of this machine, and trusts everybody. It
//! ends and its folder disappears when [`PgTemp`] is dropped and also when this process ends in any other way, because a
//! supervising shell waits at the other end of a pipe (`supervisor.sh`).

mod find;

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::Duration;

const SUPERVISOR: &str = include_str!("supervisor.sh");
/// How long a server may take to start, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many of its last words are told when it does not start.
const LAST_LINES: usize = 12;
/// How often another port is tried when somebody else takes the one that was free.
const PORTS: usize = 5;

/// What is missing, or what went wrong, as a sentence.
#[derive(Clone, Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// How a server is run.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Without `fsync`: what is committed survives a crash of the server, not one of the machine. For tests.
    pub careless: bool,
    /// Further settings, as `name=value`.
    pub more: Vec<String>,
}

/// A running server.
#[derive(Debug)]
pub struct PgTemp {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    control: Mutex<Control>,
    databases: AtomicU32,
}

/// The supervising shell.
#[derive(Debug)]
struct Control {
    supervisor: Child,
    orders: Option<ChildStdin>,
    news: mpsc::Receiver<News>,
    last_lines: Arc<Mutex<VecDeque<String>>>,
}

/// What the supervisor's output says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Ready,
    Down,
}

impl PgTemp {
    /// Starts a server that is as careful with what it is given as one in production.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(&Settings::default())
    }

    /// Starts a server with `settings`.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn start_with(settings: &Settings) -> Result<Self, Error> {
        let programs = find::programs()?;
        let mut tried = 1;
        loop {
            match start_once(&programs, settings) {
                Err(Error(text)) if tried < PORTS && text.contains("Address already in use") => tried += 1,
                other => return other,
            }
        }
    }

    /// The server all tests of this process share, started by the first who asks. It is careless.
    ///
    /// # Errors
    /// A sentence that says what is missing; the same for all.
    pub fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceLock<Result<PgTemp, Error>> = OnceLock::new();
        let started =
            SHARED.get_or_init(|| Self::start_with(&Settings { careless: true, ..Settings::default() }));
        started.as_ref().map_err(Clone::clone)
    }

    /// How `database` is reached through the port.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// How `database` is reached through the socket, which costs less.
    #[must_use]
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database and answers its URL. Names are lower-case letters, digits and underscores.
    ///
    /// # Errors
    /// A sentence, for instance when there is one of this name.
    pub fn create_database(&self, name: &str) -> Result<String, Error> {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        {
            return Err(Error(format!("{name:?} is no name for a database")));
        }
        self.psql("postgres", &format!("CREATE DATABASE \"{name}\""))?;
        Ok(self.url(name))
    }

    /// Makes an empty database with a name of its own and answers its URL.
    ///
    /// # Errors
    /// A sentence.
    pub fn fresh_database(&self) -> Result<String, Error> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        self.create_database(&format!("fresh_{number}"))
    }

    /// Runs `sql` in `database` as the superuser, past everybody, and answers what it prints, without headings.
    ///
    /// # Errors
    /// What the server says.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String, Error> {
        let mut command = Command::new(self.programs.join("psql"));
        command
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
            .args(["--host", &self.folder.display().to_string(), "--port", &self.port.to_string()])
            .args(["--username=postgres", "--dbname", database, "--command", sql]);
        let output = command.output().map_err(|error| Error(format!("psql cannot be run: {error}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(Error(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    /// Stops the server in order. Its data stay.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&self) -> Result<(), Error> {
        self.order("stop", News::Down)
    }

    /// Stops the server as a crash does: without a checkpoint, and without a word to those connected.
    ///
    /// # Errors
    /// When it does not end.
    pub fn crash(&self) -> Result<(), Error> {
        self.order("crash", News::Down)
    }

    /// Starts a server that was stopped, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&self) -> Result<(), Error> {
        self.order("start", News::Ready)
    }

    fn order(&self, word: &str, expected: News) -> Result<(), Error> {
        let mut control = lock(&self.control);
        let sent = control.orders.as_mut().map(|orders| writeln!(orders, "{word}"));
        match sent {
            Some(Ok(())) => control.wait_for(expected),
            _ => Err(Error("the server's supervisor is gone".to_owned())),
        }
    }
}

impl Drop for PgTemp {
    fn drop(&mut self) {
        let mut control = lock(&self.control);
        control.orders = None;
        let _ = control.supervisor.wait();
    }
}

impl Control {
    /// Waits until the supervisor says `expected`.
    fn wait_for(&self, expected: News) -> Result<(), Error> {
        let mut news = self.news.recv_timeout(PATIENCE);
        // A server says that it is ready again, too, when one of its processes crashed.
        while news == Ok(News::Ready) && expected == News::Down {
            news = self.news.recv_timeout(PATIENCE);
        }
        if news == Ok(expected) {
            return Ok(());
        }
        let lines: Vec<String> = lock(&self.last_lines).iter().cloned().collect();
        let wanted = if expected == News::Ready { "start" } else { "stop" };
        Err(Error(format!("PostgreSQL did not {wanted}: {}", lines.join("\n"))))
    }
}

fn start_once(programs: &Path, settings: &Settings) -> Result<PgTemp, Error> {
    let folder = tempfile::Builder::new()
        .prefix("pg_temp_")
        .tempdir()
        .map_err(|error| Error(format!("no temporary folder can be made: {error}")))?;
    let port = free_port()?;
    let mut command = Command::new("sh");
    command.args(["-c", SUPERVISOR, "pg_temp"]).arg(programs).arg(folder.path());
    command.arg(if settings.careless { "no" } else { "yes" });
    command.args(["-p", &port.to_string()]);
    for setting in ["listen_addresses=127.0.0.1", "max_connections=200"] {
        command.args(["-c", setting]);
    }
    for setting in &settings.more {
        command.args(["-c", setting]);
    }
    if folder.path().metadata().is_ok_and(|folder| folder.uid() == 0) {
        let (user, group) = find::unprivileged()?;
        chown(folder.path(), Some(user), Some(group))
            .map_err(|error| Error(format!("the temporary folder cannot be given away: {error}")))?;
        command.uid(user).gid(group);
    }
    // A group of its own: what is typed at the terminal of the tests does not reach the supervisor first.
    command
        .process_group(0)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut supervisor = command.spawn().map_err(|error| Error(format!("sh cannot be run: {error}")))?;
    // From here on it is the supervisor who removes the folder.
    let folder = folder.keep();
    let orders = supervisor.stdin.take();
    let (sender, news) = mpsc::channel();
    let last_lines = Arc::new(Mutex::new(VecDeque::new()));
    if let Some(output) = supervisor.stdout.take() {
        let lines = Arc::clone(&last_lines);
        std::thread::spawn(move || listen(output, &lines, &sender));
    }
    let control = Control { supervisor, orders, news, last_lines };
    let server = PgTemp {
        programs: programs.to_owned(),
        folder,
        port,
        control: Mutex::new(control),
        databases: AtomicU32::new(0),
    };
    lock(&server.control).wait_for(News::Ready)?;
    Ok(server)
}

/// Reads what the supervisor and the server say, for as long as they do; nobody else empties that pipe.
fn listen(output: ChildStdout, last_lines: &Mutex<VecDeque<String>>, news: &mpsc::Sender<News>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let told = if line.contains("database system is ready to accept connections") {
            Some(News::Ready)
        } else if line == "pg_temp: down" {
            Some(News::Down)
        } else {
            None
        };
        let mut lines = lock(last_lines);
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
        drop(lines);
        // Who waits may have given up; the pipe is emptied all the same.
        told.map(|told| news.send(told));
    }
}

fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| Error(format!("there is no free port: {error}")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
