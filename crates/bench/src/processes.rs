//! The programs that are measured, as child processes that never outlive this one's interest in them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::process::Command;
use tokio::time::sleep;

use crate::Result;

/// How long a program may take to end when it is asked to.
const END: Duration = Duration::from_secs(30);
/// How often is looked whether it has.
const LOOK: Duration = Duration::from_millis(20);
/// How many of its last lines are shown when a program fails.
const LINES: usize = 20;

/// Where the built programs are.
#[derive(Debug)]
pub struct Programs {
    /// This one.
    pub bench: PathBuf,
    /// The coordinator.
    pub archipelago: PathBuf,
    /// The provider's agent.
    pub island: PathBuf,
}

impl Programs {
    /// Those beside this one.
    pub fn find() -> Result<Self> {
        let bench = std::env::current_exe()?;
        let beside = |name: &str| {
            let path = bench.with_file_name(name);
            if path.is_file() {
                return Ok(path);
            }
            let text = format!(
                "{} is missing; build it with: cargo build --release -p server -p island",
                path.display()
            );
            Err(text)
        };
        Ok(Self { archipelago: beside("archipelago")?, island: beside("island")?, bench })
    }

    /// The folder of everything that is built: a place on a real disk.
    pub fn target_folder(&self) -> Result<&Path> {
        let folder = self.bench.parent().and_then(Path::parent);
        folder.ok_or_else(|| "this program is in no folder; say with --data where to keep the data".into())
    }
}

/// A program that runs until it is stopped; killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose errors go to a file in `logs`. Its standard output is the caller's to set.
    pub fn start(name: &str, mut command: std::process::Command, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        command.stderr(File::create(&log)?);
        let child = command.spawn().map_err(|error| format!("{name} cannot be started: {error}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, once, if it was piped.
    pub fn output(&mut self) -> Result<std::process::ChildStdout> {
        self.child.stdout.take().ok_or_else(|| format!("the output of {} is taken already", self.name).into())
    }

    /// That it still runs.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.failure(&format!("ended by itself ({status})")).into()),
        }
    }

    /// Asks it to end and waits until it has; an error if it did not end well.
    pub async fn stop(mut self) -> Result<()> {
        let pid =
            i32::try_from(self.id()).ok().and_then(Pid::from_raw).ok_or("a process without a number")?;
        self.check()?;
        kill_process(pid, Signal::TERM)?;
        match self.ended(END).await? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.failure(&format!("ended badly ({status})")).into()),
            None => {
                Err(self.failure(&format!("did not end within {} s of being asked to", END.as_secs())).into())
            }
        }
    }

    async fn ended(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if since.elapsed() > patience {
                return Ok(None);
            }
            sleep(LOOK).await;
        }
    }

    /// What went wrong, with the program's last words.
    fn failure(&self, what: &str) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n  ");
        format!("{} {what}. Its last words:\n  {last}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks `ready` again and again until it answers something, for at most `patience`.
pub async fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut ready: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let since = Instant::now();
    loop {
        if let Some(answer) = ready().await? {
            return Ok(answer);
        }
        if since.elapsed() > patience {
            return Err(format!("{what} did not come within {} s", patience.as_secs()).into());
        }
        sleep(LOOK).await;
    }
}

/// Runs a program that answers in JSON.
pub async fn answer<T: DeserializeOwned>(
    program: &Path,
    arguments: &[&str],
    settings: &[(&str, String)],
) -> Result<T> {
    let mut command = Command::new(program);
    let output = command
        .args(arguments)
        .envs(settings.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        let words = [output.stdout, output.stderr].concat();
        let what = arguments.join(" ");
        return Err(
            format!("`{what}` failed ({}): {}", output.status, String::from_utf8_lossy(&words)).into()
        );
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, logs: &Path) -> Process {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]);
        Process::start("shell", command, logs).unwrap()
    }

    #[tokio::test]
    async fn a_program_is_stopped_and_its_last_words_are_told() {
        let logs = tempfile::tempdir().unwrap();
        let patient = shell("trap 'exit 0' TERM; echo up >&2; while :; do sleep 0.01; done", logs.path());
        let log = logs.path().join("shell.log");
        let up = async || Ok(std::fs::read_to_string(&log)?.contains("up").then_some(()));
        wait_for("the shell", END, up).await.unwrap();
        patient.stop().await.unwrap();

        let mut broken = shell("echo no luck >&2; exit 3", logs.path());
        broken.ended(END).await.unwrap();
        let error = broken.check().unwrap_err().to_string();
        assert!(error.contains("shell ended by itself") && error.contains("no luck"), "{error}");
    }

    #[test]
    fn a_program_that_is_dropped_is_gone() {
        let logs = tempfile::tempdir().unwrap();
        let process = shell("exec sleep 600", logs.path());
        let pid = process.id();
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
