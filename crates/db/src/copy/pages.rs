//! Reading a table page by page, and what its rows add up to.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::model::Table;
use crate::{Db, DbError, Param, Row, Tx, Value};

/// Most rows of a page.
const ROWS: i64 = 8192;
/// Bytes after which a page is full, whatever the number of its rows.
const BYTES: i64 = 4 << 20;

/// What rows add up to, in whatever order: how many they are, and the sum of their digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub rows: i64,
    pub digest: u128,
}

impl Sum {
    pub fn add(&mut self, row: &Row) {
        self.add_digest(digest(row, &mut Vec::new()));
    }

    pub fn add_digest(&mut self, digest: u128) {
        self.rows += 1;
        self.digest = self.digest.wrapping_add(digest);
    }
}

/// The digest of a row, by way of `bytes`, which is its values one after the other, each with its kind and length.
fn digest(row: &Row, bytes: &mut Vec<u8>) -> u128 {
    bytes.clear();
    for value in &row.0 {
        let (kind, content): (u8, &[u8]) = match value {
            Value::Null => (0, &[]),
            Value::Int(number) => (1, &number.to_le_bytes()),
            Value::Text(text) => (2, text.as_bytes()),
            Value::Blob(blob) => (3, blob),
        };
        bytes.push(kind);
        bytes.extend_from_slice(&u64::try_from(content.len()).unwrap_or(u64::MAX).to_le_bytes());
        bytes.extend_from_slice(content);
    }
    let hash = Sha256::digest(bytes);
    hash.as_slice().first_chunk().copied().map(u128::from_le_bytes).unwrap_or_default()
}

/// Some rows of a table, in the order of their keys, and the digest of each.
#[derive(Debug, Default)]
pub struct Page {
    pub rows: Vec<Row>,
    pub digests: Vec<u128>,
    bytes: i64,
    /// Whether it ended because of its size, so that more may follow.
    full: bool,
}

/// The pages of a table. Each is read in a short transaction of its own.
#[derive(Debug)]
pub struct Pages<'p> {
    db: &'p Db,
    table: &'p Arc<Table>,
    after: Option<Arc<[Value]>>,
    limit: i64,
    over: bool,
}

impl<'p> Pages<'p> {
    pub fn new(db: &'p Db, table: &'p Arc<Table>) -> Self {
        Self { db, table, after: None, limit: ROWS, over: false }
    }

    /// The next page, if there is one.
    pub async fn next(&mut self) -> Result<Option<Arc<Page>>, DbError> {
        if self.over {
            return Ok(None);
        }
        let (table, after, limit) = (Arc::clone(self.table), self.after.take(), self.limit);
        let page = self
            .db
            .read("copy_read", async move |tx| read(tx, &table, after.as_deref(), limit).await)
            .await?;
        let length = i64::try_from(page.rows.len()).unwrap_or(i64::MAX);
        self.over = !page.full && length < limit;
        let Some(last) = page.rows.last() else { return Ok(None) };
        self.after = Some(self.table.key_of(last).cloned().collect());
        // As many as a page takes of rows like these, so that few are sent in vain.
        self.limit = (BYTES / (page.bytes / length).max(1)).clamp(1, ROWS);
        Ok(Some(Arc::new(page)))
    }
}

async fn read(tx: &mut Tx<'_>, table: &Table, after: Option<&[Value]>, limit: i64) -> Result<Page, DbError> {
    let sql = if after.is_some() { &table.next } else { &table.first };
    let mut params: Vec<Param<'_>> = after.unwrap_or_default().iter().map(Param::from).collect();
    params.push(Param::Int(limit));
    let mut page = Page::default();
    let mut bytes = Vec::new();
    tx.take_each(sql, &params, |row| {
        page.digests.push(digest(&row, &mut bytes));
        page.rows.push(row);
        page.bytes += i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        page.full = page.bytes >= BYTES;
        !page.full
    })
    .await?;
    Ok(page)
}

/// What a table adds up to. `done` is told how many rows have been read.
pub async fn sum(db: &Db, table: &Arc<Table>, done: impl Fn(i64)) -> Result<Sum, DbError> {
    let mut sum = Sum::default();
    let mut pages = Pages::new(db, table);
    done(0);
    while let Some(page) = pages.next().await? {
        page.digests.iter().for_each(|&digest| sum.add_digest(digest));
        done(sum.rows);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::{Sum, digest};
    use crate::{Row, Value};

    #[test]
    fn rows_add_up_in_any_order_and_every_value_counts() {
        let text = |text: &str| Value::Text(text.to_owned());
        let rows = [
            Row(vec![Value::Int(1), text("ab"), text("")]),
            Row(vec![Value::Int(1), text("a"), text("b")]),
            Row(vec![Value::Int(1), text("a"), Value::Null]),
            Row(vec![Value::Int(1), text("a"), text("")]),
            Row(vec![Value::Int(1), Value::Blob(b"a".to_vec()), text("")]),
            Row(vec![Value::Int(-1), text("a"), text("")]),
        ];
        let mut digests: Vec<u128> = rows.iter().map(|row| digest(row, &mut vec![9])).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), rows.len());
        let sum = |rows: &mut dyn Iterator<Item = &Row>| {
            let mut sum = Sum::default();
            rows.for_each(|row| sum.add(row));
            sum
        };
        let all = sum(&mut rows.iter());
        assert_eq!((all.rows, all), (6, sum(&mut rows.iter().rev())));
        assert_ne!(all, sum(&mut rows.iter().take(5)));
    }

    /// Digests are kept in databases, so they must stay the same for ever.
    #[test]
    fn a_digest_stays_what_it_is() {
        let row =
            Row(vec![Value::Int(7), Value::Text("x".to_owned()), Value::Null, Value::Blob(vec![0, 255])]);
        assert_eq!(format!("{:032x}", digest(&row, &mut Vec::new())), "2ec306004efcad316b19aefbc3fc213b");
    }
}
