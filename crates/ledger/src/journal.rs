//! The journal: what a batch changed, packed into one value.
//!
//! Accounts, open holds and caps are written here as they are after the batch, one after another, and into their own rows only
//! now and then (see [`crate::fold`]). An update of a row costs a page of the database file, 4,096 bytes for the 60 that
//! changed; a journal entry costs what changed. Numbers are little-endian and of fixed width: the journal is short-lived,
//! and packing it tighter was not worth the time.

use db::DbError;
use types::id::{AccountId, Id, TransferId};
use types::money::MicroCredits;
use types::time::Timestamp;

use crate::cap::{Limits, Window};
use crate::rules::{Books, Open};
use crate::{Account, AccountKind, Cap, Hold};

const FORMAT: u8 = 1;
/// Stands for "none" where an id or a limit may be missing; no id and no limit has this value.
const NONE: i64 = i64::MIN;

/// What a batch changed, unpacked.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Changes {
    pub accounts: Vec<Account>,
    pub opened: Vec<Hold>,
    pub ended: Vec<TransferId>,
    pub caps: Vec<Cap>,
    pub transfers: Vec<TransferId>,
}

/// Packs what a batch changed.
///
/// # Errors
/// When an account is not as the laws want it. The rules see to that; this is the last look before it is written, since the
/// `CHECK`s of the tables only see it when it is folded (I2).
pub(crate) fn pack(books: &Books) -> Result<Vec<u8>, DbError> {
    let batch = &books.batch;
    let mut bytes = Vec::with_capacity(64 + batch.accounts.len() * 72 + batch.opened.len() * 48);
    bytes.push(FORMAT);

    let accounts = batch.accounts.iter().filter_map(|id| books.accounts.get(id));
    section(&mut bytes, accounts, |bytes, known| {
        let account = &known.account;
        if !lawful(account) {
            return Err(DbError::Constraint(format!(
                "account {} would be overdrawn: {account:?}",
                account.id
            )));
        }
        put_account(bytes, account);
        Ok(())
    })?;
    let opened = batch.opened.iter().filter_map(|id| books.holds.get(id));
    section(&mut bytes, opened, |bytes, open| {
        put_hold(bytes, &open.hold);
        Ok(())
    })?;
    section(&mut bytes, batch.ended.iter(), |bytes, open: &Open| {
        put(bytes, open.hold.id.get());
        Ok(())
    })?;
    section(&mut bytes, batch.caps.iter().filter_map(|id| books.caps.get(id)), |bytes, cap| {
        put_cap(bytes, cap);
        Ok(())
    })?;
    section(&mut bytes, batch.transfers.iter(), |bytes, transfer| {
        put(bytes, transfer.id.get());
        Ok(())
    })?;
    Ok(bytes)
}

/// Unpacks what [`pack`] packed.
///
/// # Errors
/// When it is something else.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Changes, DbError> {
    let mut reader = Reader { bytes };
    let changes = if reader.take::<1>() == Some([FORMAT]) { reader.changes() } else { None };
    match changes {
        Some(changes) if reader.bytes.is_empty() => Ok(changes),
        _ => Err(DbError::Other("the ledger's journal cannot be read".to_owned())),
    }
}

fn lawful(account: &Account) -> bool {
    let zero = MicroCredits::ZERO;
    let personal = !account.kind.may_be_negative();
    account.held >= zero && account.debt >= zero && (!personal || account.posted >= account.held)
}

/// Writes how many there are and each of them.
fn section<T>(
    bytes: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T) -> Result<(), DbError>,
) -> Result<(), DbError> {
    let place = bytes.len();
    put(bytes, 0);
    let mut count = 0_i64;
    for item in items {
        write(bytes, item)?;
        count += 1;
    }
    bytes[place..place + 8].copy_from_slice(&count.to_le_bytes());
    Ok(())
}

fn put(bytes: &mut Vec<u8>, number: i64) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn put_account(bytes: &mut Vec<u8>, account: &Account) {
    let head = account.head.map_or(NONE, TransferId::get);
    // Both are small; one number holds them.
    let kind = account.kind.number() * 2 + i64::from(account.frozen);
    let amounts = [account.posted, account.held, account.debt].map(MicroCredits::get);
    for number in
        [account.id.get(), kind].into_iter().chain(amounts).chain([account.entries, head, account.version])
    {
        put(bytes, number);
    }
}

fn put_hold(bytes: &mut Vec<u8>, hold: &Hold) {
    let cap = hold.cap.unwrap_or(NONE);
    for number in [hold.id.get(), hold.account.get(), cap, hold.amount.get(), hold.expires_at.as_millis()] {
        put(bytes, number);
    }
}

fn put_cap(bytes: &mut Vec<u8>, cap: &Cap) {
    let Limits { total, day, week, month } = cap.limits;
    put(bytes, cap.id);
    for limit in [total, day, week, month] {
        put(bytes, limit.map_or(NONE, MicroCredits::get));
    }
    put(bytes, cap.held.get());
    put(bytes, cap.spent.get());
    for window in [cap.day, cap.week, cap.month] {
        put(bytes, window.start.as_millis());
        put(bytes, window.spent.get());
    }
}

/// What is left to unpack. Each function answers `None` when there is not enough.
struct Reader<'b> {
    bytes: &'b [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*head)
    }

    fn number(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }

    fn optional(&mut self) -> Option<Option<i64>> {
        Some(Some(self.number()?).filter(|&number| number != NONE))
    }

    fn amount(&mut self) -> Option<MicroCredits> {
        self.number().map(MicroCredits::new)
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.number()?).ok()?;
        // Each takes eight bytes at least, so a number that is too large is found out before it is believed.
        if count > self.bytes.len() / 8 {
            return None;
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn changes(&mut self) -> Option<Changes> {
        Some(Changes {
            accounts: self.list(Self::account)?,
            opened: self.list(Self::hold)?,
            ended: self.list(|reader| reader.number().map(TransferId::from_i64))?,
            caps: self.list(Self::cap)?,
            transfers: self.list(|reader| reader.number().map(TransferId::from_i64))?,
        })
    }

    fn account(&mut self) -> Option<Account> {
        let (id, kind) = (AccountId::from_i64(self.number()?), self.number()?);
        Some(Account {
            id,
            kind: AccountKind::from_number(kind / 2)?,
            frozen: kind % 2 == 1,
            posted: self.amount()?,
            held: self.amount()?,
            debt: self.amount()?,
            entries: self.number()?,
            head: self.optional()?.map(TransferId::from_i64),
            version: self.number()?,
        })
    }

    fn hold(&mut self) -> Option<Hold> {
        Some(Hold {
            id: TransferId::from_i64(self.number()?),
            account: AccountId::from_i64(self.number()?),
            cap: self.optional()?,
            amount: self.amount()?,
            expires_at: Timestamp::from_millis(self.number()?),
        })
    }

    fn cap(&mut self) -> Option<Cap> {
        let id = self.number()?;
        let mut limit = || self.optional().map(|limit| limit.map(MicroCredits::new));
        let limits = Limits { total: limit()?, day: limit()?, week: limit()?, month: limit()? };
        let (held, spent) = (self.amount()?, self.amount()?);
        let mut window =
            || Some(Window { start: Timestamp::from_millis(self.number()?), spent: self.amount()? });
        Some(Cap { id, limits, held, spent, day: window()?, week: window()?, month: window()? })
    }
}
