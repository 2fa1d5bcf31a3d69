//! Tells the owner of a key how far its limits are used: at 80 percent, and when one is used up or stood in the way of a job.
//!
//! Once for each limit, period and level. The letter is queued in the transaction that notes that it was told.

use std::sync::Arc;

use db::{DbError, Tx};
use ledger::{Cap, Period, Usage};
use types::id::{ApiKeyId, Id, MailId};
use types::time::{MINUTE_MS, SECOND_MS, Timestamp};

use super::store::{self, Told};
use crate::app::App;
use crate::hooks::Hooks;
use crate::hooks::events::{Event, KeyData, Kind};
use crate::mail::letters::{KeyLimit, Line};
use crate::mail::outbox;

/// A warning comes when this much of a limit is used, in percent.
pub const WARN_PERCENT: i64 = 80;
/// How far back the frequent look goes.
const LATELY_MS: i64 = 10 * SECOND_MS;
/// Keys looked at in one reading.
const AT_ONCE: usize = 500;

/// Looks at the keys that were used through this coordinator just now.
///
/// # Errors
/// A [`DbError`].
pub async fn once(app: &App) -> Result<(), DbError> {
    let met = app.keys.take_met();
    let mut keys = app.keys.used_since(app.clock.now().plus_millis(-LATELY_MS));
    keys.extend(met.iter().map(|(key, _)| *key));
    keys.sort_unstable();
    keys.dedup();
    look(app, &keys, &met).await
}

/// Looks at all keys that were used as long ago as a job of theirs can begin now: it may have waited, be driven by another
/// coordinator, or this one may have just started.
///
/// # Errors
/// A [`DbError`].
pub async fn all_once(app: &App) -> Result<(), DbError> {
    let jobs = &app.config.jobs;
    let longest = (i64::from(jobs.wait_secs) + i64::from(jobs.run_secs)) * SECOND_MS;
    let since = app.clock.now().plus_millis(-longest - MINUTE_MS);
    let keys = app.db.read("keys_used", async move |tx| store::keys_used_since(tx, since).await).await?;
    look(app, &keys, &[]).await
}

async fn look(app: &App, keys: &[ApiKeyId], met: &[(ApiKeyId, Period)]) -> Result<(), DbError> {
    let now = app.clock.now();
    for some in keys.chunks(AT_ONCE) {
        let ids: Vec<i64> = some.iter().map(|key| key.get()).collect();
        let caps = app.db.read_behind("key_caps", async move |tx| ledger::caps(tx, &ids, now).await).await?;
        for cap in caps.into_iter().flatten() {
            let key = ApiKeyId::from_i64(cap.id);
            for usage in cap.usage() {
                if let Some(told) = to_tell(&cap, &usage, met.contains(&(key, usage.period)), now) {
                    tell(app, told, usage).await?;
                }
            }
        }
    }
    Ok(())
}

/// What is to be told of a limit, if anything.
fn to_tell(cap: &Cap, usage: &Usage, met: bool, now: Timestamp) -> Option<Told> {
    let limit = usage.limit?;
    let (used, of) = (i128::from(usage.used.get()), i128::from(limit.get()));
    let level = if met || used >= of {
        100
    } else if used * 100 >= of * i128::from(WARN_PERCENT) {
        WARN_PERCENT
    } else {
        return None;
    };
    let since = match usage.period {
        Period::Total => Timestamp::default(),
        Period::Day => cap.day.start,
        Period::Week => cap.week.start,
        Period::Month => cap.month.start,
    };
    Some(Told { key: ApiKeyId::from_i64(cap.id), period: usage.period, since, limit, level, at: now })
}

async fn tell(app: &App, told: Told, usage: Usage) -> Result<(), DbError> {
    // Mostly it was told before, and reading disturbs nobody.
    if app.db.read("key_alert", async move |tx| store::was_told(tx, &told).await).await? {
        return Ok(());
    }
    let (mail, site): (MailId, _) = (app.ids.next(told.at), app.config.public_url());
    let hooks = Arc::clone(&app.hooks);
    app.db.tx("key_alert", async move |tx| write(tx, &told, &usage, (mail, &site), &hooks).await).await?;
    app.mail.wake();
    app.hooks.wake();
    Ok(())
}

async fn write(
    tx: &mut Tx<'_>,
    told: &Told,
    usage: &Usage,
    (mail, site): (MailId, &str),
    hooks: &Hooks,
) -> Result<(), DbError> {
    if !store::note_told(tx, told).await? {
        return Ok(());
    }
    if told.level == 100 {
        // Who knows that nothing is left need not hear later that little is.
        store::note_told(tx, &Told { level: WARN_PERCENT, ..*told }).await?;
    }
    let Some((user, key)) = store::owner_of_key(tx, told.key).await? else { return Ok(()) };
    let kind = if told.level == 100 { Kind::KeyLimitReached } else { Kind::KeyLimitWarning };
    let data = KeyData {
        key_id: key.id,
        name: key.name.clone(),
        prefix: key.prefix.clone(),
        period: told.period.name(),
        limit: told.limit,
        used: usage.used,
        resets_at: usage.until,
    };
    hooks.tell(tx, user.id, Event::new(kind, &data), told.at).await?;
    let letter = KeyLimit {
        site: site.to_owned(),
        key: Line::from(key.name.as_str()),
        prefix: key.prefix.clone(),
        key_id: key.id.to_string(),
        period: told.period.name(),
        used: usage.used,
        limit: told.limit,
        reached: told.level == 100,
        resets_at: usage.until,
    };
    let dedupe = format!(
        "key_limit:{}:{}:{}:{}:{}",
        key.id,
        told.period.name(),
        told.since.as_millis(),
        told.limit.get(),
        told.level
    );
    outbox::queue(tx, mail, &letter, &user.email, &dedupe, told.at).await
}

#[cfg(test)]
mod tests {
    use ledger::Limits;
    use types::money::MicroCredits;

    use super::*;

    #[test]
    fn incident_082_levels_of_a_limit() {
        let level = |used: i64, limit: i64, met: bool| {
            let mut cap = Cap::new(7, Limits::total(Some(MicroCredits::new(limit))));
            cap.spent = MicroCredits::new(used);
            let usage = cap.usage()[0];
            to_tell(&cap, &usage, met, Timestamp::default()).map(|told| told.level)
        };
        assert_eq!(level(79, 100, false), None);
        assert_eq!(level(80, 100, false), Some(80));
        assert_eq!(level(99, 100, false), Some(80));
        assert_eq!(level(100, 100, false), Some(100));
        assert_eq!(level(101, 100, false), Some(100));
        assert_eq!(level(50, 100, true), Some(100), "a job was refused");
        assert_eq!(level(i64::MAX, i64::MAX, false), Some(100));
        let cap = Cap::new(7, Limits::default());
        let told = to_tell(&cap, &cap.usage()[0], true, Timestamp::default());
        assert!(told.is_none(), "there is no limit");
    }
}
