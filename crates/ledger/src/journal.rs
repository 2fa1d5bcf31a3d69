//! The journal: what a batch changed, packed into one value.
//!
//! Accounts, open holds and caps are written here as they are after the batch, one after another, and into their own rows only
//! now and then (see [`crate::fold`]). An update of a row costs a page of the database file, 4,096 bytes for the 60 that
//! changed; a journal entry costs what changed, about 100 bytes for a hold and its settlement together. Numbers are written in
//! groups of seven bits, lowest first, the sign in the lowest bit: most of them are small.

use db::DbError;
use types::id::{AccountId, Id, TransferId};
use types::money::MicroCredits;
use types::time::Timestamp;

use crate::books::{Books, Open};
use crate::cap::{Limits, Window};
use crate::{Account, AccountKind, Cap, Hold};

const FORMAT: u8 = 1;
/// Stands for no id; no id has this value.
const NO_ID: i64 = 0;
/// Stands for no limit; no limit has this value.
const NO_LIMIT: i64 = -1;

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
    bytes.extend_from_slice(&[0; 8]);
    let mut count = 0_u64;
    for item in items {
        write(bytes, item)?;
        count += 1;
    }
    bytes[place..place + 8].copy_from_slice(&count.to_le_bytes());
    Ok(())
}

fn put(bytes: &mut Vec<u8>, number: i64) {
    // Small numbers of either sign become small ones without a sign.
    let mut rest = number.wrapping_shl(1).cast_unsigned() ^ (number >> 63).cast_unsigned();
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push((rest & 0x7f) as u8);
}

fn put_account(bytes: &mut Vec<u8>, account: &Account) {
    let head = account.head.map_or(NO_ID, TransferId::get);
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
    let cap = hold.cap.unwrap_or(NO_ID);
    for number in [hold.id.get(), hold.account.get(), cap, hold.amount.get(), hold.expires_at.as_millis()] {
        put(bytes, number);
    }
}

fn put_cap(bytes: &mut Vec<u8>, cap: &Cap) {
    let Limits { total, day, week, month } = cap.limits;
    put(bytes, cap.id);
    for limit in [total, day, week, month] {
        put(bytes, limit.map_or(NO_LIMIT, MicroCredits::get));
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
        let (mut number, mut shift) = (0_u64, 0_u32);
        loop {
            let [byte] = self.take()?;
            let group = u64::from(byte & 0x7f);
            // The tenth group has room for one bit only.
            if shift > 63 || (shift == 63 && group > 1) {
                return None;
            }
            number |= group << shift;
            shift += 7;
            if byte < 0x80 {
                return Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
            }
        }
    }

    fn optional(&mut self, none: i64) -> Option<Option<i64>> {
        Some(Some(self.number()?).filter(|&number| number != none))
    }

    fn amount(&mut self) -> Option<MicroCredits> {
        self.number().map(MicroCredits::new)
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(u64::from_le_bytes(self.take()?)).ok()?;
        // Each takes a byte at least, so a number that is too large is found out before it is believed.
        if count > self.bytes.len() {
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
            head: self.optional(NO_ID)?.map(TransferId::from_i64),
            version: self.number()?,
        })
    }

    fn hold(&mut self) -> Option<Hold> {
        Some(Hold {
            id: TransferId::from_i64(self.number()?),
            account: AccountId::from_i64(self.number()?),
            cap: self.optional(NO_ID)?,
            amount: self.amount()?,
            expires_at: Timestamp::from_millis(self.number()?),
        })
    }

    fn cap(&mut self) -> Option<Cap> {
        let id = self.number()?;
        let mut limit = || self.optional(NO_LIMIT).map(|limit| limit.map(MicroCredits::new));
        let limits = Limits { total: limit()?, day: limit()?, week: limit()?, month: limit()? };
        let (held, spent) = (self.amount()?, self.amount()?);
        let mut window =
            || Some(Window { start: Timestamp::from_millis(self.number()?), spent: self.amount()? });
        Some(Cap { id, limits, held, spent, day: window()?, week: window()?, month: window()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_account() -> impl Strategy<Value = Account> {
        (any::<[i64; 6]>(), any::<Option<u32>>(), any::<bool>()).prop_map(|(numbers, head, frozen)| {
            let [id, posted, held, debt, entries, version] = numbers;
            let amount = MicroCredits::new;
            let head = head
                .map(|head| TransferId::from_i64(i64::from(head) - (1 << 20)))
                .filter(|head| head.get() != NO_ID);
            let (id, kind) = (AccountId::from_i64(id), AccountKind::Fees);
            let (posted, held, debt) = (amount(posted), amount(held), amount(debt));
            Account { id, kind, posted, held, debt, entries, head, version, frozen }
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(account in any_account(), hold in any::<[i64; 4]>(), cap in any::<u32>()) {
            let mut bytes = Vec::new();
            put_account(&mut bytes, &account);
            let [id, of, amount, expires_at] = hold;
            let hold = Hold {
                id: TransferId::from_i64(id),
                account: AccountId::from_i64(of),
                cap: (cap % 2 == 1).then_some(cap.into()),
                amount: MicroCredits::new(amount),
                expires_at: Timestamp::from_millis(expires_at),
            };
            put_hold(&mut bytes, &hold);
            let mut reader = Reader { bytes: &bytes };
            prop_assert_eq!(reader.account(), Some(account));
            prop_assert_eq!(reader.hold(), Some(hold));
            prop_assert!(reader.bytes.is_empty());
        }

        #[test]
        fn anything_else_is_refused_or_read_but_never_a_panic(bytes in any::<Vec<u8>>()) {
            let _ = unpack(&[&[FORMAT], bytes.as_slice()].concat());
        }
    }

    #[test]
    fn numbers_at_the_edges() {
        for number in [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            assert_eq!(Reader { bytes: &bytes }.number(), Some(number), "{bytes:?}");
        }
        assert_eq!(Reader { bytes: &[0xff; 10] }.number(), None);
        assert_eq!(Reader { bytes: &[0x80] }.number(), None);
    }
}
