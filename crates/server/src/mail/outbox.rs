//! The outbox: letters wait in the database from the transaction that causes them until they are sent.
//!
//! Guarantees: a letter commits with what it tells of, or not at all; the same dedupe key queues one letter; a letter is in one
//! worker's hands at a time (it is taken by pushing its time forward, in a transaction, before it is sent), so several
//! coordinators on one database do not send it twice; a worker that dies leaves it to be taken again when its lease is
//! over. Between sending and noting so lies the one moment in which a crash sends a letter twice; both then have the same
//! Message-ID.

use std::sync::Arc;
use std::time::Duration;

use db::{Db, DbError, Tx};
use futures_util::future::join_all;
use types::id::MailId;
use types::time::{Clock, DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};

use super::letters::Letter;
use super::{Mailer, Outgoing, SendError, count, store};
use crate::app::App;

/// How long a taken letter is its taker's.
pub const LEASE_MS: i64 = 60 * SECOND_MS;
/// Sending takes less than that, or is given up.
const PATIENCE: Duration = Duration::from_secs(45);
/// Letters taken, and sent, at once.
const AT_ONCE: u32 = 4;
/// How often is looked for letters that others queued, or that are to be tried again.
const PERIOD: Duration = Duration::from_secs(5);
/// How long what stood in a letter is kept.
const KEPT_MS: i64 = 30 * DAY_MS;
/// Waits after the first try, the second, and so on; the last one is used again.
const WAITS_MS: [i64; 5] = [MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS, 6 * HOUR_MS];
/// How often a letter is tried.
pub const TRIES: i64 = 8;

/// A letter that a worker has taken.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Which one.
    pub id: MailId,
    /// What is to be sent.
    pub letter: Outgoing,
    /// How often it was tried, this time included.
    pub attempts: i64,
}

/// Queues a letter in the transaction of what it tells of. When there is one with this key already, nothing is done. `id` is a
/// fresh one. Call [`Mailer::wake`] when the transaction is committed, or it waits a few seconds.
///
/// The key says what the letter tells of, for example `receipt:pur_…`: once for each purchase.
///
/// # Errors
/// A [`DbError`].
pub async fn queue(
    tx: &mut Tx<'_>,
    id: MailId,
    letter: &dyn Letter,
    to: &str,
    dedupe_key: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let mail = letter.to_mail().map_err(|error| DbError::Other(format!("a letter: {error}")))?;
    store::insert(tx, id, to, &mail, dedupe_key, now).await
}

/// Takes letters that are due: nobody else takes them before the lease is over.
///
/// # Errors
/// A [`DbError`]; then none is taken.
pub async fn claim(db: &Db, now: Timestamp) -> Result<Vec<Waiting>, DbError> {
    // Mostly there is nothing, and reading disturbs nobody.
    if !db.read("mail_due", async move |tx| store::any_due(tx, now).await).await? {
        return Ok(Vec::new());
    }
    db.tx("claim_mail", async move |tx| {
        let mut taken = store::due(tx, now, AT_ONCE).await?;
        let ids: Vec<MailId> = taken.iter().map(|waiting| waiting.id).collect();
        store::take(tx, &ids, now.plus_millis(LEASE_MS)).await?;
        for waiting in &mut taken {
            waiting.attempts += 1;
        }
        Ok(taken)
    })
    .await
}

/// Takes what is due and sends it; answers how many letters were taken.
///
/// # Errors
/// A [`DbError`]; what could not be noted is sent again when its lease is over.
pub async fn deliver_once(db: &Db, mailer: &Mailer, clock: &dyn Clock) -> Result<usize, DbError> {
    let taken = claim(db, clock.now()).await?;
    let sending: Vec<_> = taken.iter().map(|waiting| send(mailer, &waiting.letter)).collect();
    let results = join_all(sending).await;
    let many = taken.len();
    for (waiting, result) in taken.into_iter().zip(results) {
        note(db, &waiting, result, clock.now()).await?;
    }
    Ok(many)
}

async fn send(mailer: &Mailer, letter: &Outgoing) -> Result<(), SendError> {
    let sent = tokio::time::timeout(PATIENCE, mailer.send(letter)).await;
    sent.unwrap_or_else(|_| Err(SendError::NotNow("the mail server took too long".to_owned())))
}

async fn note(
    db: &Db,
    waiting: &Waiting,
    result: Result<(), SendError>,
    now: Timestamp,
) -> Result<(), DbError> {
    let (id, kind) = (waiting.id, waiting.letter.mail.kind);
    let again = match &result {
        Err(SendError::NotNow(_)) => wait_ms(waiting.attempts),
        _ => None,
    };
    let outcome = match (&result, again) {
        (Ok(()), _) => "sent",
        (Err(error), Some(_)) => {
            tracing::warn!(%error, mail = %id, "a {} letter could not be sent yet", kind.name());
            "postponed"
        }
        (Err(error), None) => {
            tracing::warn!(%error, mail = %id, "a {} letter is given up", kind.name());
            "failed"
        }
    };
    let error = result.err().map(|error| error.to_string().replace('\0', ""));
    db.tx("note_mail", async move |tx| match (&error, again) {
        (None, _) => store::sent(tx, id, now).await,
        (Some(error), Some(wait)) => store::postponed(tx, id, error, now.plus_millis(wait)).await,
        (Some(error), None) => store::failed(tx, id, error, now).await,
    })
    .await?;
    count(kind, outcome);
    Ok(())
}

/// How long to wait after so many tries; nothing when they were enough.
fn wait_ms(attempts: i64) -> Option<i64> {
    let index = usize::try_from(attempts - 1).unwrap_or_default();
    (attempts < TRIES).then(|| WAITS_MS.get(index).or(WAITS_MS.last()).copied().unwrap_or(HOUR_MS))
}

/// Erases what stood in letters that were sent or given up long ago.
///
/// # Errors
/// A [`DbError`].
pub async fn erase_once(db: &Db, now: Timestamp) -> Result<usize, DbError> {
    db.tx("erase_mail", async move |tx| store::erase(tx, now.plus_millis(-KEPT_MS), now).await).await
}

/// Sends letters until the program stops; what has begun is finished first.
pub async fn run(app: Arc<App>) {
    while !app.is_stopping() {
        match deliver_once(&app.db, &app.mail, &*app.clock).await {
            Ok(0) => {}
            Ok(_) => continue,
            Err(error) => tracing::warn!(%error, "the outbox could not be worked on"),
        }
        tokio::select! {
            () = app.mail.queued.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
            () = app.stopping() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let minutes: Vec<Option<i64>> =
            (1..=9).map(|tries| wait_ms(tries).map(|ms| ms / MINUTE_MS)).collect();
        let expected = [1, 5, 30, 120, 360, 360, 360].map(Some);
        assert_eq!(minutes, [&expected[..], &[None, None]].concat());
    }
}
