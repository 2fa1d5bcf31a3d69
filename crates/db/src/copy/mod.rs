//! Copying a whole database into another one, of whatever engine, so that it can be interrupted, run again and proved.
//!
//! * Which tables there are, in an order that foreign keys allow, with their columns and keys, is learnt from the migrations:
//!   they are run in memory ([`model`]). Both databases are brought to that schema first.
//! * Rows go page by page in the order of their keys ([`pages`]), each page in a transaction of its own ([`fill`]), which
//!   also notes how many rows of the table there are by now and what they add up to ([`mark`]). So the memory needed does not
//!   depend on the size of a table.
//! * The next time, the source's first rows must add up to the same; then the copy goes on behind them. If they do not, the
//!   source was used in between, and the tables are emptied and filled anew. A table whose rows are never deleted is not
//!   emptied: each of its rows is looked up instead.
//! * The target says whose copy it is and whether it is finished. A database that is anything else is left alone, and so is
//!   a finished copy that has been used since.
//! * At the end every row of the target is read back.

mod fill;
mod mark;
mod model;
mod pages;

use std::sync::Arc;

use crate::{Db, DbError, Engine, MigrationSet};
use fill::Filling;
use model::Table;
use pages::Sum;

/// How far a copy has come. Told at the beginning and the end of each table, and after each page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyProgress<'p> {
    /// What is being done.
    pub step: CopyStep,
    /// With which table.
    pub table: &'p str,
    /// Rows done.
    pub done: i64,
    /// Rows there are.
    pub of: i64,
}

/// What is being done with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStep {
    /// Rows are brought over, or found to be there already.
    Copying,
    /// Rows are read back from the target.
    Checking,
    /// The source's rows are read once more, because somebody has written to it.
    Comparing,
}

/// What was copied.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Each table and how many rows it has, in the source as in the target.
    pub tables: Vec<(String, i64)>,
    /// Rows written this time.
    pub written: i64,
    /// The copy was complete before, and nothing had changed.
    pub complete_before: bool,
    /// Tables of the source that are not this program's; they were not copied.
    pub left_out: Vec<String>,
}

/// Why a database was not copied, as a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the sentences say what each is")]
pub enum CopyError {
    #[error("the source: {0}")]
    Source(#[source] DbError),
    #[error("the target: {0}")]
    Target(#[from] DbError),
    #[error("the source is not a database of this program: there is nothing to copy")]
    NothingThere,
    #[error("the source is itself a copy that was not finished; finish that one first")]
    UnfinishedSource,
    #[error(
        "the target is not empty: its table {0} has rows of its own, and nothing was changed; give an empty database"
    )]
    NotEmpty(String),
    #[error("the target is a copy of another database, and nothing was changed; give an empty database")]
    OtherSource,
    #[error(
        "the target has been used since the copy of this source was finished: its table {0} has changed. Nothing was done; to \
         copy anew, give an empty database"
    )]
    InUse(String),
    #[error("the {0}'s table {1} has other columns than this program gives it: {2}")]
    Columns(&'static str, String, String),
    #[error(
        "the target's table {0} has rows that the source has not, or has otherwise, and what is in it is never deleted; give an \
         empty database"
    )]
    History(String),
    #[error("the source changed while it was copied; stop what writes to it and run this again")]
    SourceChanged,
    #[error("somebody else is copying into the target, too; run this again when that is over")]
    Overtaken,
    #[error("the target's table {0} is not what was written to it; run this again with an empty database")]
    Differs(String),
}

/// Told how far it is.
pub(crate) type Report<'p> = &'p (dyn Fn(&CopyProgress<'_>) + Send + Sync);

impl Db {
    /// Copies everything in this database to `target`, after bringing both to the schema of `sets`. May be interrupted and run
    /// again: it goes on where it was, brings over what has changed since, or finds that there is nothing to do.
    ///
    /// Nobody else may write to either in the meantime. If somebody does, the copy is refused or not called finished.
    ///
    /// # Errors
    /// A [`CopyError`]. What was copied until then stays, marked as unfinished.
    pub async fn copy_to(
        &self,
        target: &Self,
        sets: &'static [MigrationSet],
        progress: &(dyn Fn(&CopyProgress<'_>) + Send + Sync),
    ) -> Result<Copied, CopyError> {
        let tables = model::of(sets).map_err(CopyError::Source)?;
        let left_out = look(self, target, &tables).await?;
        self.migrate(sets).await.map_err(CopyError::Source)?;
        target.migrate(sets).await?;
        for table in &tables {
            check_columns("source", self, table).await.map_err(CopyError::Source)??;
            check_columns("target", target, table).await??;
        }
        let identity = mark::identify(self).await.map_err(CopyError::Source)?;
        let finished_before = claim(target, &tables, identity, progress).await?;
        let job = Job { source: self, target, tables: &tables, progress };
        let (sums, written, changed) = job.copy().await?;
        if changed || !finished_before {
            analyze(target, &tables).await?;
            match differing(target, &tables, &sums, progress).await? {
                // Nothing is ever taken out of such a table, so rows of another history are still there.
                Some(table) if table.append_only => return Err(CopyError::History(table.name.clone())),
                Some(table) => return Err(CopyError::Differs(table.name.clone())),
                None => mark::finish(target).await?,
            }
        }
        Ok(Copied {
            tables: tables.iter().zip(&sums).map(|(table, sum)| (table.name.clone(), sum.rows)).collect(),
            written,
            complete_before: finished_before && !changed,
            left_out,
        })
    }

    /// Whether somebody began to copy another database into this one and did not finish: it cannot be used.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn is_unfinished_copy(&self) -> Result<bool, DbError> {
        Ok(mark::of(self, &mark::tables(self).await?).await?.is_some_and(|mark| !mark.finished))
    }

    /// The names of all tables there are.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn tables(&self) -> Result<Vec<String>, DbError> {
        mark::tables(self).await
    }
}

/// Refuses what can be seen to be wrong before anything is changed; answers which tables of the source are not ours.
async fn look(source: &Db, target: &Db, tables: &[Arc<Table>]) -> Result<Vec<String>, CopyError> {
    let there = mark::tables(source).await.map_err(CopyError::Source)?;
    if !there.iter().any(|name| name == mark::MIGRATIONS) {
        return Err(CopyError::NothingThere);
    }
    if source.is_unfinished_copy().await.map_err(CopyError::Source)? {
        return Err(CopyError::UnfinishedSource);
    }
    let identity = mark::identity(source, &there).await.map_err(CopyError::Source)?;
    let taken = mark::tables(target).await?;
    match mark::of(target, &taken).await? {
        Some(mark) if identity.as_ref() != Some(&mark.source) => return Err(CopyError::OtherSource),
        Some(_) => {}
        None => {
            for table in tables.iter().filter(|table| taken.contains(&table.name)) {
                if mark::count(target, table, table.seed.rows + 1).await? > table.seed.rows {
                    return Err(CopyError::NotEmpty(table.name.clone()));
                }
            }
        }
    }
    let known =
        |name: &String| mark::OURS.contains(&name.as_str()) || tables.iter().any(|table| table.name == *name);
    Ok(there.into_iter().filter(|name| !known(name)).collect())
}

async fn check_columns(
    which: &'static str,
    db: &Db,
    table: &Table,
) -> Result<Result<(), CopyError>, DbError> {
    let found = mark::columns(db, table).await?;
    let odd = |one: &[String], other: &[String]| one.iter().find(|name| !other.contains(name)).cloned();
    Ok(match odd(&found, &table.columns).or_else(|| odd(&table.columns, &found)) {
        Some(column) => Err(CopyError::Columns(which, table.name.clone(), column)),
        None => Ok(()),
    })
}

/// Makes the target the copy of this source, or finds that it is one; answers whether it is a finished one.
async fn claim(
    target: &Db,
    tables: &[Arc<Table>],
    identity: String,
    progress: Report<'_>,
) -> Result<bool, CopyError> {
    let Some(mark) = mark::of(target, &mark::tables(target).await?).await? else {
        // The schema is the same now, so that what migrations put into it can be told from everything else.
        for table in tables {
            if pages::sum(target, table, |_| ()).await? != table.seed {
                return Err(CopyError::NotEmpty(table.name.clone()));
            }
        }
        mark::begin(target, tables, identity).await?;
        return Ok(false);
    };
    mark::add_tables(target, tables).await?;
    if mark.finished {
        let recorded = mark::recorded(target, tables).await?;
        if let Some(table) = differing(target, tables, &recorded, progress).await? {
            return Err(CopyError::InUse(table.name.clone()));
        }
    }
    Ok(mark.finished)
}

/// What is copied where.
struct Job<'j> {
    source: &'j Db,
    target: &'j Db,
    tables: &'j [Arc<Table>],
    progress: Report<'j>,
}

impl Job<'_> {
    /// Brings everything over. Answers what the tables add up to, how many rows were written, and whether anything changed.
    async fn copy(&self) -> Result<(Vec<Sum>, i64, bool), CopyError> {
        let writes = self.source.foreign_writes().await.map_err(CopyError::Source)?;
        let mut filling = Filling::new(self.source, self.target, self.progress);
        let mut emptied = false;
        let sums = loop {
            let known = mark::recorded(self.target, self.tables).await?;
            match filling.all(self.tables, &known).await? {
                Some(sums) => break sums,
                None if emptied => return Err(CopyError::SourceChanged),
                None => mark::empty(self.target, self.tables).await?,
            }
            emptied = true;
        };
        self.check_source(writes, &sums).await?;
        Ok((sums, filling.written, emptied || filling.changed))
    }

    /// Refuses if the source is not what was copied. When nobody has written to it, it is. Otherwise it may be all the same: a
    /// process that only looks leaves its trace, too.
    async fn check_source(&self, writes: i64, sums: &[Sum]) -> Result<(), CopyError> {
        let now = self.source.foreign_writes().await.map_err(CopyError::Source)?;
        if now == writes {
            return Ok(());
        }
        for (table, sum) in self.tables.iter().zip(sums) {
            let report =
                Step { step: CopyStep::Comparing, table: &table.name, of: sum.rows, progress: self.progress };
            let read = pages::sum(self.source, table, |done| report.tell(done)).await;
            if read.map_err(CopyError::Source)? != *sum {
                return Err(CopyError::SourceChanged);
            }
        }
        match self.source.foreign_writes().await.map_err(CopyError::Source)? == now {
            true => Ok(()),
            false => Err(CopyError::SourceChanged),
        }
    }
}

/// Reads the target back; answers the first table that does not add up to what it should.
async fn differing<'t>(
    target: &Db,
    tables: &'t [Arc<Table>],
    sums: &[Sum],
    progress: Report<'_>,
) -> Result<Option<&'t Table>, DbError> {
    for (table, sum) in tables.iter().zip(sums) {
        let report = Step { step: CopyStep::Checking, table: &table.name, of: sum.rows, progress };
        if pages::sum(target, table, |done| report.tell(done)).await? != *sum {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

/// Lets the server look at what it was given: until it has, it may choose bad plans.
async fn analyze(target: &Db, tables: &[Arc<Table>]) -> Result<(), DbError> {
    if target.engine() == Engine::Sqlite {
        return Ok(());
    }
    let script: String =
        tables.iter().map(|table| format!("ANALYZE {};", model::quoted(&table.name))).collect();
    target.tx("copy_analyze", async move |tx| tx.execute_script(&script).await).await
}

/// One step with one table, to be reported.
struct Step<'s> {
    step: CopyStep,
    table: &'s str,
    of: i64,
    progress: Report<'s>,
}

impl Step<'_> {
    fn tell(&self, done: i64) {
        (self.progress)(&CopyProgress { step: self.step, table: self.table, done, of: self.of });
    }
}
