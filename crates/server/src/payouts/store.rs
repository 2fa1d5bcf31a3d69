//! Statements about payouts, the accounts they go to, and the sandbox's own memory.

use db::{DbError, Row, Tx, params};
use types::id::{AccountId, PayoutId, TransferId, UserId};
use types::money::{Cents, MicroCredits};
use types::time::Timestamp;

use super::provider::{AccountState, TransferRequest, TransferState};
use super::sandbox::SandboxAccount;
use super::{Payout, PayoutAccount, State};
use crate::config::Schedule;

const PAYOUT: &str =
    "id, user_id, earnings_id, amount, cents, state, provider, account_ref, transfer_ref, error, round,
    attempts, due_at, created_at, sent_at, ended_at, return_id";

pub async fn insert(
    tx: &mut Tx<'_>,
    payout: &Payout,
    attempt: Option<&str>,
    period: Option<&str>,
) -> Result<(), DbError> {
    let sql = "INSERT INTO payouts (id, user_id, earnings_id, amount, cents, state, provider, account_ref, attempt_key,
                 period, due_at, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let row = params![
        payout.id,
        payout.user,
        payout.earnings,
        payout.amount,
        payout.cents,
        payout.state.name(),
        &payout.provider,
        &payout.account,
        attempt,
        period,
        payout.due_at,
        payout.created_at
    ];
    tx.execute_one(sql, &row).await
}

pub async fn payout(tx: &mut Tx<'_>, id: PayoutId) -> Result<Option<Payout>, DbError> {
    let sql = format!("SELECT {PAYOUT} FROM payouts WHERE id = $1");
    tx.query_opt(&sql, &params![id]).await?.as_ref().map(read_payout).transpose()
}

pub async fn by_attempt(tx: &mut Tx<'_>, user: UserId, attempt: &str) -> Result<Option<Payout>, DbError> {
    let sql = format!("SELECT {PAYOUT} FROM payouts WHERE user_id = $1 AND attempt_key = $2");
    tx.query_opt(&sql, &params![user, attempt]).await?.as_ref().map(read_payout).transpose()
}

pub async fn by_period(tx: &mut Tx<'_>, user: UserId, period: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM payouts WHERE user_id = $1 AND period = $2";
    Ok(tx.query_opt(sql, &params![user, period]).await?.is_some())
}

/// The payout of a user that has not been sent, if there is one.
pub async fn open(tx: &mut Tx<'_>, user: UserId) -> Result<Option<Payout>, DbError> {
    let sql = format!("SELECT {PAYOUT} FROM payouts WHERE user_id = $1 AND state IN ('wanted', 'sending')");
    tx.query_opt(&sql, &params![user]).await?.as_ref().map(read_payout).transpose()
}

pub async fn history(tx: &mut Tx<'_>, user: UserId, limit: u32) -> Result<Vec<Payout>, DbError> {
    let sql = format!("SELECT {PAYOUT} FROM payouts WHERE user_id = $1 ORDER BY id DESC LIMIT $2");
    tx.query(&sql, &params![user, limit]).await?.iter().map(read_payout).collect()
}

/// All payouts, newest first; only those that are not sent, unless all are wanted.
pub async fn list(tx: &mut Tx<'_>, all: bool, limit: u32) -> Result<Vec<Payout>, DbError> {
    let open = if all { "" } else { "WHERE state IN ('wanted', 'sending')" };
    let sql = format!("SELECT {PAYOUT} FROM payouts {open} ORDER BY id DESC LIMIT $1");
    tx.query(&sql, &params![limit]).await?.iter().map(read_payout).collect()
}

/// Payouts to be taken up, oldest first.
pub async fn due(tx: &mut Tx<'_>, provider: &str, now: Timestamp) -> Result<Vec<PayoutId>, DbError> {
    let sql = "SELECT id FROM payouts WHERE state IN ('wanted', 'sending') AND due_at <= $1 AND provider = $2
               ORDER BY due_at LIMIT 100";
    tx.query(sql, &params![now, provider]).await?.iter().map(|row| row.get(0)).collect()
}

/// How many wait although they were tried.
pub async fn stuck(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM payouts WHERE state IN ('wanted', 'sending') AND attempts > 0";
    tx.query_one(sql, &[]).await?.get(0)
}

/// Payouts begun since, oldest first.
pub async fn since(tx: &mut Tx<'_>, provider: &str, since: Timestamp) -> Result<Vec<Payout>, DbError> {
    let sql = format!("SELECT {PAYOUT} FROM payouts WHERE provider = $2 AND created_at >= $1 ORDER BY id");
    tx.query(&sql, &params![since, provider]).await?.iter().map(read_payout).collect()
}

/// Transfers made since.
pub async fn sent_since(tx: &mut Tx<'_>, provider: &str, since: Timestamp) -> Result<Vec<String>, DbError> {
    let sql = "SELECT transfer_ref FROM payouts WHERE provider = $2 AND state IN ('sent', 'paid') AND created_at >= $1
                 AND transfer_ref IS NOT NULL ORDER BY id DESC LIMIT 500";
    tx.query(sql, &params![since, provider]).await?.iter().map(|row| row.get(0)).collect()
}

/// Takes a payout: nobody else does before `until`.
pub async fn claim(tx: &mut Tx<'_>, id: PayoutId, until: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE payouts SET state = 'sending', attempts = attempts + 1, due_at = $2, error = NULL
               WHERE id = $1 AND state IN ('wanted', 'sending')";
    tx.execute_one(sql, &params![id, until]).await
}

/// It is not known what became of it: looked at again at `due`, with the same key.
pub async fn unknown(tx: &mut Tx<'_>, id: PayoutId, error: &str, due: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE payouts SET error = $2, due_at = $3 WHERE id = $1 AND state = 'sending'";
    tx.execute(sql, &params![id, error, due]).await.map(drop)
}

/// Surely not sent: tried again at `due`, with another key.
pub async fn not_now(tx: &mut Tx<'_>, id: PayoutId, error: &str, due: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE payouts SET state = 'wanted', round = round + 1, error = $2, due_at = $3
               WHERE id = $1 AND state = 'sending'";
    tx.execute_one(sql, &params![id, error, due]).await
}

pub async fn sent(
    tx: &mut Tx<'_>,
    id: PayoutId,
    state: State,
    transfer: &TransferState,
    now: Timestamp,
) -> Result<(), DbError> {
    let ended = (state == State::Paid).then_some(now);
    let sql = "UPDATE payouts SET state = $2, transfer_ref = $3, sent_at = $4, ended_at = $5, error = NULL
               WHERE id = $1 AND state IN ('wanted', 'sending')";
    tx.execute_one(sql, &params![id, state.name(), &transfer.id, transfer.made_at, ended]).await
}

/// It ends, and the credits go back.
pub async fn returned(
    tx: &mut Tx<'_>,
    id: PayoutId,
    state: State,
    error: Option<&str>,
    back: TransferId,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "UPDATE payouts SET state = $2, error = $3, return_id = $4, ended_at = $5
               WHERE id = $1 AND state NOT IN ('failed', 'cancelled')";
    tx.execute_one(sql, &params![id, state.name(), error, back, now]).await
}

pub async fn set_error(tx: &mut Tx<'_>, id: PayoutId, error: &str) -> Result<(), DbError> {
    tx.execute_one("UPDATE payouts SET error = $2 WHERE id = $1", &params![id, error]).await
}

/// What was in an account when its bank was paid, and has not arrived yet as far as is known.
pub async fn on_the_way(
    tx: &mut Tx<'_>,
    (provider, account): (&str, &str),
    until: Timestamp,
) -> Result<Vec<Payout>, DbError> {
    let sql = format!(
        "SELECT {PAYOUT} FROM payouts
         WHERE provider = $1 AND account_ref = $2 AND state = 'sent' AND sent_at <= $3"
    );
    tx.query(&sql, &params![provider, account, until]).await?.iter().map(read_payout).collect()
}

/// All that was in an account when its bank was paid has arrived.
pub async fn bank_paid(
    tx: &mut Tx<'_>,
    (provider, account): (&str, &str),
    bank: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "UPDATE payouts SET state = 'paid', bank_ref = $3, ended_at = $5, error = NULL
               WHERE provider = $1 AND account_ref = $2 AND state = 'sent' AND sent_at <= $4";
    tx.execute(sql, &params![provider, account, bank, until, now]).await.map(drop)
}

/// The bank did not take it; that may also come after it was said to be there.
pub async fn bank_failed(
    tx: &mut Tx<'_>,
    (provider, account): (&str, &str),
    bank: &str,
    until: Timestamp,
    error: &str,
) -> Result<(), DbError> {
    let sql = "UPDATE payouts SET state = 'sent', bank_ref = $3, ended_at = NULL, error = $5
               WHERE provider = $1 AND account_ref = $2
                 AND ((state = 'sent' AND sent_at <= $4) OR (state = 'paid' AND bank_ref = $3))";
    tx.execute(sql, &params![provider, account, bank, until, error]).await.map(drop)
}

/// What payouts changed in an account of earnings after a time, and what was moved to the wallet since: what came back less what
/// went out.
pub async fn moved_since(
    tx: &mut Tx<'_>,
    user: UserId,
    earnings: AccountId,
    since: Timestamp,
) -> Result<MicroCredits, DbError> {
    let out =
        "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM payouts WHERE user_id = $1 AND created_at > $2";
    let back = "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM payouts
                WHERE user_id = $1 AND ended_at > $2 AND return_id <> 0";
    let moved = "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM ledger_transfers
                 WHERE kind = 4 AND from_account = $1 AND at > $2";
    let out: i64 = tx.query_one(out, &params![user, since]).await?.get(0)?;
    let back: i64 = tx.query_one(back, &params![user, since]).await?.get(0)?;
    let moved: i64 = tx.query_one(moved, &params![earnings, since]).await?.get(0)?;
    Ok(MicroCredits::new(back - out - moved))
}

/// What was paid out and did not come back.
pub async fn paid_out(tx: &mut Tx<'_>, user: UserId) -> Result<MicroCredits, DbError> {
    let sql = "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM payouts
               WHERE user_id = $1 AND state IN ('sent', 'paid')";
    tx.query_one(sql, &params![user]).await?.get(0)
}

pub async fn account(
    tx: &mut Tx<'_>,
    user: UserId,
    provider: &str,
) -> Result<Option<PayoutAccount>, DbError> {
    let sql = "SELECT user_id, account_ref, ready, missing, schedule FROM payout_accounts
               WHERE user_id = $1 AND provider = $2";
    tx.query_opt(sql, &params![user, provider]).await?.as_ref().map(read_account).transpose()
}

pub async fn owner(tx: &mut Tx<'_>, provider: &str, account: &str) -> Result<Option<UserId>, DbError> {
    let sql = "SELECT user_id FROM payout_accounts WHERE provider = $1 AND account_ref = $2";
    tx.query_opt(sql, &params![provider, account]).await?.map(|row| row.get(0)).transpose()
}

/// Accounts that money can be sent to.
pub async fn ready(tx: &mut Tx<'_>, provider: &str) -> Result<Vec<PayoutAccount>, DbError> {
    let sql = "SELECT user_id, account_ref, ready, missing, schedule FROM payout_accounts
               WHERE provider = $1 AND ready = 1 ORDER BY user_id";
    tx.query(sql, &params![provider]).await?.iter().map(read_account).collect()
}

/// Remembers an account; another one takes the place of one that is gone.
pub async fn set_account(
    tx: &mut Tx<'_>,
    user: UserId,
    (provider, account): (&str, &str),
    state: &AccountState,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO payout_accounts (user_id, provider, account_ref, ready, missing, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (user_id, provider) DO UPDATE SET account_ref = excluded.account_ref, ready = excluded.ready,
                 missing = excluded.missing, updated_at = excluded.updated_at";
    let row = params![user, provider, account, i64::from(state.ready), &state.missing, now];
    tx.execute(sql, &row).await.map(drop)
}

/// Answers whether there is an account to set it for.
pub async fn set_schedule(
    tx: &mut Tx<'_>,
    user: UserId,
    provider: &str,
    schedule: Schedule,
) -> Result<bool, DbError> {
    let sql = "UPDATE payout_accounts SET schedule = $3 WHERE user_id = $1 AND provider = $2";
    Ok(tx.execute(sql, &params![user, provider, schedule.name()]).await? == 1)
}

fn read_account(row: &Row) -> Result<PayoutAccount, DbError> {
    let schedule: String = row.get(4)?;
    Ok(PayoutAccount {
        user: row.get(0)?,
        account: row.get(1)?,
        ready: row.get::<i64>(2)? == 1,
        missing: row.get(3)?,
        schedule: Schedule::from_name(&schedule),
    })
}

fn read_payout(row: &Row) -> Result<Payout, DbError> {
    let state: String = row.get(5)?;
    Ok(Payout {
        id: row.get(0)?,
        user: row.get(1)?,
        earnings: row.get(2)?,
        amount: row.get(3)?,
        cents: row.get(4)?,
        state: State::from_name(&state).ok_or_else(|| DbError::Other(format!("a payout is {state}")))?,
        provider: row.get(6)?,
        account: row.get(7)?,
        transfer: row.get(8)?,
        error: row.get(9)?,
        round: row.get(10)?,
        attempts: row.get(11)?,
        due_at: row.get(12)?,
        created_at: row.get(13)?,
        sent_at: row.get(14)?,
        ended_at: row.get(15)?,
        back: row.get::<i64>(16)?,
    })
}

pub async fn insert_sandbox_account(tx: &mut Tx<'_>, id: &str, user: &str) -> Result<String, DbError> {
    let sql =
        "INSERT INTO sandbox_payout_accounts (id, user_ref, return_url, ready) VALUES ($1, $2, '/islands', 0)
               ON CONFLICT (user_ref) DO NOTHING";
    tx.execute(sql, &params![id, user]).await?;
    let found = "SELECT id FROM sandbox_payout_accounts WHERE user_ref = $1";
    tx.query_one(found, &params![user]).await?.get(0)
}

pub async fn set_sandbox_return(tx: &mut Tx<'_>, id: &str, url: &str) -> Result<(), DbError> {
    let sql = "UPDATE sandbox_payout_accounts SET return_url = $2 WHERE id = $1";
    tx.execute(sql, &params![id, url]).await.map(drop)
}

pub async fn sandbox_account(tx: &mut Tx<'_>, id: &str) -> Result<Option<SandboxAccount>, DbError> {
    let sql = "SELECT id, return_url, ready FROM sandbox_payout_accounts WHERE id = $1";
    let row = tx.query_opt(sql, &params![id]).await?;
    row.map(|row| {
        Ok(SandboxAccount { id: row.get(0)?, return_url: row.get(1)?, ready: row.get::<i64>(2)? == 1 })
    })
    .transpose()
}

pub async fn sandbox_onboarded(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    tx.execute("UPDATE sandbox_payout_accounts SET ready = 1 WHERE id = $1", &params![id]).await.map(drop)
}

const TRANSFER: &str = "id, payout_ref, account_ref, amount_cents, created_at";

/// Makes a transfer, or finds the one made with the same key.
pub async fn insert_sandbox_transfer(
    tx: &mut Tx<'_>,
    id: &str,
    request: &TransferRequest,
    now: Timestamp,
) -> Result<TransferState, DbError> {
    let sql = "INSERT INTO sandbox_transfers (id, idempotency_key, account_ref, payout_ref, amount_cents, created_at)
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (idempotency_key) DO NOTHING";
    let payout = request.payout.to_string();
    tx.execute(sql, &params![id, &request.key, &request.account, &payout, request.amount, now]).await?;
    let found = format!("SELECT {TRANSFER} FROM sandbox_transfers WHERE idempotency_key = $1");
    read_transfer(&tx.query_one(&found, &params![&request.key]).await?)
}

pub async fn sandbox_transfer_for(
    tx: &mut Tx<'_>,
    payout: PayoutId,
) -> Result<Option<TransferState>, DbError> {
    let sql = format!("SELECT {TRANSFER} FROM sandbox_transfers WHERE payout_ref = $1");
    tx.query_opt(&sql, &params![&payout.to_string()]).await?.as_ref().map(read_transfer).transpose()
}

pub async fn sandbox_transfer(tx: &mut Tx<'_>, id: &str) -> Result<Option<TransferState>, DbError> {
    let sql = format!("SELECT {TRANSFER} FROM sandbox_transfers WHERE id = $1");
    tx.query_opt(&sql, &params![id]).await?.as_ref().map(read_transfer).transpose()
}

fn read_transfer(row: &Row) -> Result<TransferState, DbError> {
    let payout: String = row.get(1)?;
    Ok(TransferState {
        id: row.get(0)?,
        payout: payout.parse().ok(),
        account: row.get(2)?,
        amount: row.get::<Cents>(3)?,
        reversed: Cents::new(0),
        arrived: true,
        made_at: row.get(4)?,
    })
}

/// What payouts took from earnings and did not give back.
pub async fn total_out(tx: &mut Tx<'_>) -> Result<MicroCredits, DbError> {
    let sql = "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM payouts WHERE return_id = 0";
    tx.query_one(sql, &[]).await?.get(0)
}
