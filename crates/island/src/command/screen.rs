//! One live line at the bottom of the terminal, below the log.
//!
//! Guarantees: a log line is never mixed with it; nothing but the log is written where no terminal is.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// Clears the line the cursor is on.
const CLEAR: &str = "\r\x1b[2K";

/// The terminal, or what takes its place.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    line: Arc<Mutex<String>>,
    live: bool,
}

impl Screen {
    /// The standard error, with a live line if it is a terminal and `wanted`.
    pub(crate) fn new(wanted: bool) -> Self {
        let able = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self { line: Arc::default(), live: wanted && able }
    }

    /// Whether there is a live line.
    pub(crate) const fn is_live(&self) -> bool {
        self.live
    }

    /// Shows another text in the live line; none takes it away.
    pub(crate) fn show(&self, text: &str) {
        if self.live {
            let mut line = self.lock();
            text.clone_into(&mut line);
            // Written as a whole, so that nothing comes between.
            let _ = io::stderr().lock().write_all(format!("{CLEAR}{}", drawn(&line)).as_bytes());
        }
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without wrapping: what does not fit is cut off by the terminal.
fn drawn(line: &str) -> String {
    if line.is_empty() { String::new() } else { format!("\x1b[?7l{line}\x1b[?7h") }
}

/// Writes the log above the live line.
#[derive(Debug)]
pub(crate) struct Above<'a>(&'a Screen);

impl Write for Above<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.0.live {
            return io::stderr().lock().write(bytes);
        }
        let line = self.0.lock();
        let text = [CLEAR.as_bytes(), bytes, drawn(&line).as_bytes()].concat();
        io::stderr().lock().write_all(&text)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = Above<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Above(self)
    }
}
