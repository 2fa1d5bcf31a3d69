//! What can go wrong, in the words callers need: is it the caller's doing, may it be tried again, is the disk full.

use rusqlite::ErrorCode;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A row with this key is there already.
    #[error("a unique constraint refused the row: {0}")]
    Unique(String),
    /// A `CHECK`, `NOT NULL` or foreign key refused the row. The laws of the ledger are repeated there, so this is
    /// a defect of ours that did no harm.
    #[error("a constraint refused the row: {0}")]
    Constraint(String),
    /// Too many transactions are waiting, or another process holds the write lock for too long. Trying again helps.
    #[error("the database is busy")]
    Busy,
    /// The disk is full, read-only or broken. Nothing was kept.
    #[error("the database cannot be written: {0}")]
    Unwritable(String),
    /// A statement touched another number of rows than it must.
    #[error("a statement touched {touched} rows instead of {expected}: {sql}")]
    RowCount {
        /// How many it must touch.
        expected: usize,
        /// How many it touched.
        touched: usize,
        /// The statement.
        sql: String,
    },
    /// A column does not hold what the program expects there.
    #[error("column {column} holds {found} where {expected} was expected")]
    Type {
        /// Which column, from 0.
        column: usize,
        /// What the program expected.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// The closure panicked; what it did was taken back.
    #[error("a transaction panicked")]
    Panicked,
    /// The closure waited for something that is not the database (I14).
    #[error("a transaction waited for something other than the database")]
    Waited,
    /// The database is closed.
    #[error("the database is closed")]
    Closed,
    /// The commit was asked for and its answer was lost: the work may have been kept or not. Whoever repeats it
    /// must be able to tell.
    #[error("it is not known whether a transaction was kept: {0}")]
    Unknown(String),
    /// The file was made by a newer program.
    #[error(
        "the database was made by a newer version of the program: it has {set} migration {found}, this program knows up to {known}"
    )]
    Newer {
        /// Which set of migrations.
        set: &'static str,
        /// The newest applied.
        found: i64,
        /// The newest known.
        known: i64,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl DbError {
    /// Whether the same call may succeed a little later without anything being changed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Unwritable(_))
    }

    /// A statement answers rows where only their number is wanted.
    pub(crate) fn answers_rows(sql: &str) -> Self {
        Self::Other(format!("this statement answers rows and has to be a query: {sql}"))
    }

    /// The same error once more: one failure can reach many who asked, and errors of the drivers cannot be cloned.
    pub(crate) fn duplicate(&self) -> Self {
        match self {
            Self::Unique(text) => Self::Unique(text.clone()),
            Self::Constraint(text) => Self::Constraint(text.clone()),
            Self::Busy => Self::Busy,
            Self::Unwritable(text) => Self::Unwritable(text.clone()),
            Self::RowCount { expected, touched, sql } => {
                Self::RowCount { expected: *expected, touched: *touched, sql: sql.clone() }
            }
            Self::Type { column, expected, found } => Self::Type { column: *column, expected, found },
            Self::Panicked => Self::Panicked,
            Self::Waited => Self::Waited,
            Self::Closed => Self::Closed,
            Self::Unknown(text) => Self::Unknown(text.clone()),
            Self::Newer { set, found, known } => Self::Newer { set, found: *found, known: *known },
            Self::Other(text) => Self::Other(text.clone()),
        }
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        let Some(failure) = error.sqlite_error() else { return Self::Other(text) };
        match failure.code {
            ErrorCode::ConstraintViolation => match failure.extended_code {
                rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
                | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                | rusqlite::ffi::SQLITE_CONSTRAINT_ROWID => Self::Unique(text),
                _ => Self::Constraint(text),
            },
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
            ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied => Self::Unwritable(text),
            _ => Self::Other(text),
        }
    }
}
