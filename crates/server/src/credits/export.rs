//! A statement as one file, however long: read and written page by page.
//!
//! Each page is one short read and is sent before the next one is read, so that memory does not grow with the file and
//! whoever reads slowly keeps nobody waiting. Pages follow one another by cursor: what is written to the account meanwhile comes in
//! front of the first page and is not in the file. If a page cannot be read the file is not ended properly but
//! broken off, so that nobody takes half of it for all.

use std::time::Duration;

use ledger::statement::{Cursor, Filter, Line, StatementError};
use serde::Serialize;
use types::id::{AccountId, JobId, TransferId};
use types::money::MicroCredits;
use types::time::Timestamp;

use super::statement;
use crate::app::App;
use crate::jobs::JobError;
use crate::jobs::look::{Charged, charged_by};

/// Lines of a page.
const PAGE: u32 = 500;
/// How long to wait before a page is tried again that a busy database refused.
const PAUSES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)];

/// How the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As RFC 4180 has it, with a header.
    Csv,
    /// An array of objects.
    Json,
}

/// A line of a statement as programs read it.
#[derive(Clone, Debug, Serialize)]
pub struct Entry<'a> {
    id: TransferId,
    seq: i64,
    kind: &'static str,
    amount: MicroCredits,
    amount_micros: i64,
    balance: MicroCredits,
    balance_micros: i64,
    note: Option<&'a str>,
    at: Timestamp,
    job_id: Option<JobId>,
    workload_name: Option<&'a str>,
    island: Option<&'a str>,
}

/// Why a file is broken off.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// What its lines were for.
    #[error(transparent)]
    Jobs(#[from] JobError),
    /// The program stops.
    #[error("the server is restarting")]
    Stopping,
}

/// A file that is being written.
#[derive(Debug)]
pub struct Export {
    account: AccountId,
    filter: Filter,
    format: Format,
    next: Next,
    /// No line has been written yet.
    empty: bool,
    _open: Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Beginning,
    From(Cursor),
    Nothing,
}

/// Counts files that are being written.
#[derive(Debug)]
struct Open;

const HEADER: &str =
    "at,kind,amount,balance,note,workload_name,island,job_id,id,seq,amount_micros,balance_micros\r\n";

impl Format {
    /// From what a caller wrote.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Csv, Self::Json].into_iter().find(|format| format.name() == name)
    }

    /// As callers write it; also the ending of the file's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }

    /// As in `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Json => "application/json",
        }
    }
}

impl<'a> Entry<'a> {
    /// A line with what it was for, as far as it charged a job.
    #[must_use]
    pub fn new(line: &'a Line, charged: Option<&'a Charged>) -> Self {
        Self {
            id: line.transfer,
            seq: line.seq,
            kind: line.kind.name(),
            amount: line.amount,
            amount_micros: line.amount.get(),
            balance: line.balance,
            balance_micros: line.balance.get(),
            note: line.note.as_deref(),
            at: line.at,
            job_id: charged.map(|charged| charged.job),
            workload_name: charged.and_then(|charged| charged.workload.as_deref()),
            island: charged.map(|charged| charged.island.as_str()),
        }
    }

    fn write_csv(&self, out: &mut String) {
        let plain =
            [self.at.to_string(), self.kind.to_owned(), self.amount.to_string(), self.balance.to_string()];
        let texts = [self.note, self.workload_name, self.island].map(Option::unwrap_or_default);
        let job = self.job_id.map(|job| job.to_string()).unwrap_or_default();
        let rest = [
            job,
            self.id.to_string(),
            self.seq.to_string(),
            self.amount_micros.to_string(),
            self.balance_micros.to_string(),
        ];
        out.push_str(&plain.join(","));
        for text in texts {
            out.push(',');
            write_text(out, text);
        }
        out.push(',');
        out.push_str(&rest.join(","));
        out.push_str("\r\n");
    }
}

/// A cell that somebody typed. What a spreadsheet would take for a formula gets an apostrophe in front.
pub(crate) fn write_text(out: &mut String, text: &str) {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if text.contains([',', '"', '\r', '\n']) {
        out.push('"');
        out.push_str(guard);
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(guard);
        out.push_str(text);
    }
}

impl Open {
    fn new() -> Self {
        metrics::gauge!("archipelago_exports_open").increment(1);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("archipelago_exports_open").decrement(1);
    }
}

impl Export {
    /// A file of the lines of an account that a filter wants, newest first.
    #[must_use]
    pub fn new(account: AccountId, filter: Filter, format: Format) -> Self {
        Self { account, filter, format, next: Next::Beginning, empty: true, _open: Open::new() }
    }

    /// The next part of the file; nothing after its end.
    ///
    /// # Errors
    /// An [`ExportError`]; then there is no more of it.
    pub async fn part(&mut self, app: &App) -> Result<Option<String>, ExportError> {
        let mut text = String::new();
        while text.is_empty() {
            let from = match std::mem::replace(&mut self.next, Next::Nothing) {
                Next::Nothing => return Ok(None),
                Next::Beginning => {
                    text.push_str(if self.format == Format::Csv { HEADER } else { "[" });
                    None
                }
                Next::From(cursor) => Some(cursor),
            };
            let next = self.write_page(app, from, &mut text).await?;
            self.next = next.map_or(Next::Nothing, Next::From);
            if self.format == Format::Json && next.is_none() {
                text.push_str(if self.empty { "]\n" } else { "\n]\n" });
            }
        }
        Ok(Some(text))
    }

    async fn write_page(
        &mut self,
        app: &App,
        from: Option<Cursor>,
        text: &mut String,
    ) -> Result<Option<Cursor>, ExportError> {
        // One page at a time, of all the files that are being written: most readers stay free for everybody else.
        let turn = app.exports.acquire().await;
        let page = self.read(app, from).await?;
        let charged = charged_by(app, &page.lines).await?;
        drop(turn);
        for line in &page.lines {
            let entry = Entry::new(line, charged.get(&line.transfer));
            match self.format {
                Format::Csv => entry.write_csv(text),
                Format::Json => {
                    text.push_str(if self.empty { "\n" } else { ",\n" });
                    text.push_str(&serde_json::to_string(&entry).unwrap_or_default());
                }
            }
            self.empty = false;
        }
        Ok(page.next)
    }

    async fn read(&self, app: &App, from: Option<Cursor>) -> Result<ledger::statement::Page, ExportError> {
        let mut pauses = PAUSES.into_iter();
        loop {
            if app.is_stopping() {
                return Err(ExportError::Stopping);
            }
            match statement(app, self.account, self.filter, from, PAGE).await {
                Err(StatementError::Db(error)) if error.is_transient() => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(StatementError::Db(error).into()),
                },
                page => return Ok(page?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_text() {
        let cases = [
            ("", ""),
            ("hello", "hello"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("\rx", "\"'\rx\""),
            ("=HYPERLINK(\"http://x\",1)", "\"'=HYPERLINK(\"\"http://x\"\",1)\""),
            ("a=1", "a=1"),
            ("1-1", "1-1"),
        ];
        for (text, expected) in cases {
            let mut out = String::new();
            write_text(&mut out, text);
            assert_eq!(out, expected, "{text:?}");
        }
    }

    #[test]
    fn formats_are_found_by_name() {
        assert_eq!(Format::from_name("csv"), Some(Format::Csv));
        assert_eq!(Format::from_name("json"), Some(Format::Json));
        assert_eq!(Format::from_name("CSV"), None);
    }
}
