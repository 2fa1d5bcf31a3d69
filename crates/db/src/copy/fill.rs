//! Bringing rows over: the next page is read while the one before it is written.

use std::sync::Arc;

use super::model::Table;
use super::pages::{Page, Pages, Sum};
use super::{CopyError, CopyStep, Report, Step, mark};
use crate::{Db, DbError, Param, Row, Tx};

/// From where to where rows go.
pub struct Filling<'f> {
    source: &'f Db,
    target: &'f Db,
    progress: Report<'f>,
    /// Rows written so far.
    pub written: i64,
    /// Whether anything of what the target notes has changed.
    pub changed: bool,
}

impl<'f> Filling<'f> {
    pub fn new(source: &'f Db, target: &'f Db, progress: Report<'f>) -> Self {
        Self { source, target, progress, written: 0, changed: false }
    }

    /// Brings all tables over, of which the target has the first rows that add up to `known`. Answers what they add up to
    /// now; nothing when those first rows have changed, so that the tables must be emptied.
    pub async fn all(&mut self, tables: &[Arc<Table>], known: &[Sum]) -> Result<Option<Vec<Sum>>, CopyError> {
        let mut sums = Vec::new();
        for (table, known) in tables.iter().zip(known) {
            // An interrupted search leaves rows behind that are not counted.
            let uncounted = *known == Sum::default()
                && table.append_only
                && mark::count(self.target, table, 1).await? > 0;
            let sum = match uncounted {
                true => None,
                false => self.go_on(table, *known).await?,
            };
            sums.push(match sum {
                Some(sum) => sum,
                None if table.append_only => self.search(table, *known).await?,
                None => return Ok(None),
            });
        }
        Ok(Some(sums))
    }

    /// Brings over what comes after the first rows of a table; nothing is answered when those are not what they were.
    async fn go_on(&mut self, table: &Arc<Table>, known: Sum) -> Result<Option<Sum>, CopyError> {
        let step = self.step(table).await?;
        let mut sum = Sum::default();
        let mut pages = Pages::new(self.source, table);
        let mut page = pages.next().await.map_err(CopyError::Source)?;
        while let Some(current) = page {
            let mut digests = current.digests.iter();
            while sum.rows < known.rows
                && let Some(digest) = digests.next()
            {
                sum.add_digest(*digest);
            }
            if sum.rows == known.rows && sum.digest != known.digest {
                return Ok(None);
            }
            let (before, from) = (sum, current.digests.len() - digests.len());
            digests.for_each(|digest| sum.add_digest(*digest));
            let write = self.insert(table, &current, from, (before, sum));
            let (written, next) = tokio::join!(write, pages.next());
            written?;
            self.written += sum.rows - before.rows;
            self.changed |= sum != before;
            page = next.map_err(CopyError::Source)?;
            step.tell(sum.rows);
        }
        Ok((sum.rows >= known.rows).then_some(sum))
    }

    async fn insert(
        &self,
        table: &Arc<Table>,
        page: &Arc<Page>,
        from: usize,
        (before, now): (Sum, Sum),
    ) -> Result<(), CopyError> {
        if before == now {
            return Ok(());
        }
        let (table, page) = (Arc::clone(table), Arc::clone(page));
        self.target
            .tx("copy_insert", async move |tx| {
                tx.execute_many(&table.insert, page.rows.iter().skip(from).map(params)).await?;
                mark::record(tx, &table, before, now).await
            })
            .await
    }

    /// Looks every row of a table up and inserts those that are missing.
    async fn search(&mut self, table: &Arc<Table>, known: Sum) -> Result<Sum, CopyError> {
        let step = self.step(table).await?;
        self.changed = true;
        self.note(table, known, Sum::default()).await?;
        let mut sum = Sum::default();
        let mut pages = Pages::new(self.source, table);
        let mut page = pages.next().await.map_err(CopyError::Source)?;
        while let Some(current) = page {
            let (written, next) = tokio::join!(self.insert_missing(table, &current), pages.next());
            self.written += written?;
            page = next.map_err(CopyError::Source)?;
            current.digests.iter().for_each(|digest| sum.add_digest(*digest));
            step.tell(sum.rows);
        }
        self.note(table, Sum::default(), sum).await?;
        Ok(sum)
    }

    async fn insert_missing(&self, table: &Arc<Table>, page: &Arc<Page>) -> Result<i64, CopyError> {
        let (table, page) = (Arc::clone(table), Arc::clone(page));
        Ok(self.target.tx("copy_search", async move |tx| insert_missing(tx, &table, &page).await).await?)
    }

    async fn note(&self, table: &Arc<Table>, before: Sum, now: Sum) -> Result<(), CopyError> {
        let table = Arc::clone(table);
        self.target.tx("copy_note", async move |tx| mark::record(tx, &table, before, now).await).await
    }

    async fn step<'s>(&self, table: &'s Table) -> Result<Step<'s>, CopyError>
    where
        'f: 's,
    {
        let of = mark::count(self.source, table, i64::MAX).await.map_err(CopyError::Source)?;
        let step = Step { step: CopyStep::Copying, table: &table.name, of, progress: self.progress };
        step.tell(0);
        Ok(step)
    }
}

/// Inserts those rows of a page that are not there. Whether those that are there are the same is found out at the end.
async fn insert_missing(tx: &mut Tx<'_>, table: &Table, page: &Page) -> Result<i64, DbError> {
    let keys = page.rows.iter().map(|row| table.key_of(row).map(Param::from).collect::<Vec<_>>());
    let found = tx.query_many(&table.find, keys).await?;
    let missing: Vec<_> = page
        .rows
        .iter()
        .zip(found)
        .filter(|(_, found)| found.is_none())
        .map(|(row, _)| params(row))
        .collect();
    let count = i64::try_from(missing.len()).unwrap_or(i64::MAX);
    tx.execute_many(&table.insert, missing).await?;
    Ok(count)
}

fn params(row: &Row) -> Vec<Param<'_>> {
    row.0.iter().map(Param::from).collect()
}
