//! TigerBeetle through its official client: a cycle is two pending transfers (to the Island, to the network), then
//! the two that post them.
//!
//! The pairs are not linked, which is in its favour: a consumer with too little could be charged half. Nor is the
//! history of balances kept (`AccountFlags::History`), which our ledger keeps.

use std::time::Duration;

use tigerbeetle::{
    Account, AccountFlags, Client, CreateAccountStatus, CreateTransferStatus, Transfer, TransferFlags,
};
use tokio::time::timeout;
use types::id::{AccountId, Id, IdGenerator};
use types::time::{Clock, SystemClock};

use super::driver::{Item, Limits};
use super::trade::{Totals, Trade};
use crate::Result;

/// Most events in a message of a server with default settings.
const MESSAGE: usize = 8189;
/// Most commands of ours in a message: each is two transfers.
pub const COMMANDS: usize = MESSAGE / 2;
/// How long it may take to connect.
const PATIENCE: Duration = Duration::from_secs(10);
const LEDGER: u32 = 1;
const CODE: u16 = 1;
/// Accounts before the Islands': where credits come from, and the network's.
const BANK: u64 = 0;
const FEES: u64 = 1;
const ISLANDS: u64 = 2;

/// A client, with accounts of its own on the server.
pub struct TigerBeetle {
    /// What it is given at once.
    pub limits: Limits,
    client: Client,
    trade: Trade,
    /// Ids of this invocation begin here, so that a server can be used again and again.
    first: u128,
}

impl std::fmt::Debug for TigerBeetle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TigerBeetle").field("first", &self.first).finish_non_exhaustive()
    }
}

impl TigerBeetle {
    /// Connects to cluster 0 at `address`, and opens and funds the accounts of `trade`.
    pub async fn open(address: &str, trade: Trade, limits: Limits) -> Result<Self> {
        let now = IdGenerator::new(0).next::<AccountId>(SystemClock.now()).get();
        let first = u128::try_from(now)? << 48;
        let limits = Limits { batch: limits.batch.min(COMMANDS), ..limits };
        let this = Self { limits, client: Client::new(0, address)?, trade, first };
        // The client tries for ever to connect.
        let answer = timeout(PATIENCE, this.client.lookup_accounts(&[first]));
        answer.await.map_err(|_| format!("TigerBeetle at {address} does not answer"))??;
        let accounts = ISLANDS + trade.islands + trade.consumers;
        for from in (0..accounts).step_by(MESSAGE) {
            this.open_accounts(from, accounts).await?;
        }
        for from in (0..trade.consumers).step_by(MESSAGE) {
            this.grant(from).await?;
        }
        Ok(this)
    }

    /// Does all of `items` in one message.
    pub async fn apply(&self, items: &[Item]) -> Result<()> {
        let mut transfers = Vec::with_capacity(items.len() * 2);
        for item in items {
            transfers.extend(self.pair(item)?);
        }
        self.create(&transfers).await
    }

    /// That the Islands and the network have what was charged, and that nothing is pending.
    pub async fn verify(&self, expected: Totals) -> Result<()> {
        let ids: Vec<u128> =
            (FEES..ISLANDS + self.trade.islands).map(|number| self.account(number)).collect();
        let (mut charged, mut fees, mut pending) = (0_u128, 0_u128, 0_u128);
        for some in ids.chunks(MESSAGE) {
            for account in self.client.lookup_accounts(some).await? {
                charged += account.credits_posted;
                pending += account.credits_pending;
                fees += if account.id == self.account(FEES) { account.credits_posted } else { 0 };
            }
        }
        if (i64::try_from(charged)?, i64::try_from(fees)?, pending) == (expected.charged, expected.fees, 0) {
            return Ok(());
        }
        Err(format!(
            "TigerBeetle holds {charged}, {fees} of it fees, {pending} pending, instead of {expected:?}"
        )
        .into())
    }

    async fn open_accounts(&self, from: u64, until: u64) -> Result<()> {
        let first_consumer = ISLANDS + self.trade.islands;
        let account = |number| Account {
            id: self.account(number),
            ledger: LEDGER,
            code: CODE,
            flags: if number < first_consumer {
                AccountFlags::empty()
            } else {
                AccountFlags::DebitsMustNotExceedCredits
            },
            ..Account::default()
        };
        let accounts: Vec<Account> = (from..until).take(MESSAGE).map(account).collect();
        for result in self.client.create_accounts(&accounts).await? {
            if result.status != CreateAccountStatus::Created {
                return Err(format!("TigerBeetle refused an account: {:?}", result.status).into());
            }
        }
        Ok(())
    }

    async fn grant(&self, from: u64) -> Result<()> {
        let amount = u128::try_from(self.trade.grant())?;
        let grant = |consumer: u64| Transfer {
            id: self.first + u128::from(consumer),
            debit_account_id: self.account(BANK),
            credit_account_id: self.account(ISLANDS + self.trade.islands + consumer),
            amount,
            ledger: LEDGER,
            code: CODE,
            ..Transfer::default()
        };
        let grants: Vec<Transfer> = (from..self.trade.consumers).take(MESSAGE).map(grant).collect();
        self.create(&grants).await
    }

    async fn create(&self, transfers: &[Transfer]) -> Result<()> {
        let results = self.client.create_transfers(transfers).await?;
        if results.len() != transfers.len() {
            return Err(format!("TigerBeetle answered {} of {}", results.len(), transfers.len()).into());
        }
        match results.iter().find(|result| result.status != CreateTransferStatus::Created) {
            None => Ok(()),
            Some(result) => Err(format!("TigerBeetle refused a transfer: {:?}", result.status).into()),
        }
    }

    /// What is sent for a command: one transfer to the Island, one to the network.
    fn pair(&self, item: &Item) -> Result<[Transfer; 2]> {
        let cycle = self.trade.cycle(item.cycle);
        // Four transfers a cycle, with ids in the order in which cycles begin, above those of the grants.
        let id = self.first + (1 << 40) + (u128::from(item.cycle) << 2);
        let legs = [(ISLANDS + cycle.island, cycle.price - cycle.fee), (FEES, cycle.fee)];
        let consumer = self.account(ISLANDS + self.trade.islands + cycle.consumer);
        let mut pair = [Transfer::default(), Transfer::default()];
        for (transfer, (number, (to, amount))) in pair.iter_mut().zip((0..).zip(legs)) {
            *transfer = Transfer {
                id: id + number,
                debit_account_id: consumer,
                credit_account_id: self.account(to),
                amount: u128::try_from(amount)?,
                ledger: LEDGER,
                code: CODE,
                flags: TransferFlags::Pending,
                ..Transfer::default()
            };
            if item.last {
                transfer.pending_id = transfer.id;
                transfer.id += 2;
                transfer.flags = TransferFlags::PostPendingTransfer;
            }
        }
        Ok(pair)
    }

    fn account(&self, number: u64) -> u128 {
        self.first + u128::from(number)
    }
}
