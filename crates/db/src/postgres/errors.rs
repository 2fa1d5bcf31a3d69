//! What the server's errors mean to us.

use tokio_postgres::error::{DbError as Reported, Severity};

use crate::DbError;

/// What an error says about the transaction it happened in.
#[derive(Debug)]
pub enum Meaning {
    /// This statement failed, and with it the closure that wanted it.
    Statement(DbError),
    /// The whole transaction has to run again; it is not to blame.
    Again(DbError),
    /// There is no connection any more. Whoever was in a transaction runs again on another one.
    Lost(String),
}

impl Meaning {
    pub fn of(error: &tokio_postgres::Error) -> Self {
        let Some(reported) = error.as_db_error() else { return Self::Lost(with_causes(error)) };
        if matches!(reported.parsed_severity(), Some(Severity::Fatal | Severity::Panic)) {
            return Self::Lost(reported.message().to_owned());
        }
        match reported.code().code() {
            // Serialization failure and deadlock. Our writers come one after another, so it was somebody else.
            "40001" | "40P01" => Self::Again(DbError::Busy),
            // A prepared statement is not there any more, or its tables have changed, which COPY calls wrong data: prepare anew,
            // on another connection.
            "26000" | "22P03" => Self::Lost(reported.message().to_owned()),
            "0A000" if reported.message().contains("cached plan") => {
                Self::Lost(reported.message().to_owned())
            }
            _ => Self::Statement(statement_error(reported)),
        }
    }
}

/// The details of an error have the values of the row, which are nobody's business in a log; they are left out.
fn statement_error(reported: &Reported) -> DbError {
    let code = reported.code().code();
    let text = format!("{} ({code})", reported.message());
    match code {
        "23505" => DbError::Unique(text),
        // P0001 is what a trigger of ours raises.
        "P0001" => DbError::Constraint(text),
        _ if code.starts_with("23") => DbError::Constraint(text),
        // A lock was not given, a statement took too long, there are too many connections.
        "55P03" | "57014" | "53300" => DbError::Busy,
        // Read-only; shutting down or not up yet; no disk, no memory; an error of the disk.
        "25006" | "57P01" | "57P02" | "57P03" => DbError::Unwritable(text),
        _ if code.starts_with("53") || code.starts_with("58") => DbError::Unwritable(text),
        _ => DbError::Other(text),
    }
}

/// Whether waiting for a moment may help when a connection was refused with this error.
pub fn may_pass(error: &tokio_postgres::Error) -> bool {
    let Some(reported) = error.as_db_error() else { return true };
    let code = reported.code().code();
    ["53", "57", "58", "08"].iter().any(|class| code.starts_with(class))
}

/// An error of the driver with what is behind it.
pub fn with_causes(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(behind) = cause {
        let more = behind.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = behind.source();
    }
    text
}

/// The transient error for a connection that cannot be had.
pub fn unreachable(why: &str) -> DbError {
    DbError::Unwritable(format!("its server cannot be reached: {why}"))
}
