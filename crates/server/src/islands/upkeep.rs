//! What is written down of Islands while they are connected: that they are, and how they do. Once a minute for all of them in one
//! transaction, and when one comes, goes or changes its offers.

use db::DbError;
use types::id::IslandId;
use types::time::HOUR_MS;

use super::connection::About;
use super::health::Record;
use super::session::Session;
use super::{alerts, offers, stats, store};
use crate::app::App;

/// Notes what an Island is and offers; when it has just come, also since when.
pub async fn note_seen(app: &App, session: &Session, about: &About, came: bool) {
    let (id, now) = (session.island.id, app.clock.now());
    let rows = (
        about.version.clone(),
        serde_json::to_string(&about.capabilities).unwrap_or_default(),
        serde_json::to_string(&session.offers()).unwrap_or_default(),
    );
    let back = alerts::back(app, id, now);
    let noted = app
        .db
        .tx("island_seen", async move |tx| {
            if came {
                back.tell(tx).await?;
                store::came(tx, id, now).await?;
            }
            store::seen(tx, id, now, &rows.0, (&rows.1, &rows.2)).await
        })
        .await;
    if let Err(error) = noted {
        tracing::error!(%error, "an Island's offers could not be noted");
    }
}

/// Notes that an Island went, and how it did.
pub async fn note_gone(app: &App, session: &Session) {
    let (id, now) = (session.island.id, app.clock.now());
    let record = session.profile.take_unsaved();
    let lost = record.is_some();
    let noted = app
        .db
        .tx("island_gone", async move |tx| {
            if let Some(record) = &record {
                store::set_records(tx, &[(id, record.clone())]).await?;
            }
            store::went(tx, id, now).await
        })
        .await;
    if let Err(error) = noted {
        tracing::error!(%error, "that an Island went could not be noted");
        if lost {
            session.profile.keep_unsaved();
        }
    }
}

/// Once a minute: how long Islands were online, how they do, and what the book should know of it.
///
/// # Errors
/// A [`DbError`]; how they do is then stored later.
pub async fn once(app: &App) -> Result<(), DbError> {
    for session in app.islands.all() {
        // Failures are forgotten as time passes, and days make an Island an established one.
        offers::refresh(app, &session);
    }
    let now = app.clock.now();
    let online = app.islands.take_online(now);
    let profiles = app.islands.profiles();
    let records: Vec<(IslandId, Record)> =
        profiles.iter().filter_map(|profile| Some((profile.id, profile.take_unsaved()?))).collect();
    let (hour, stored) = (now.as_millis() / HOUR_MS, records.clone());
    let written = app
        .db
        .tx("island_minute", async move |tx| {
            stats::store::add_presence(tx, hour, &online).await?;
            store::set_records(tx, &stored).await
        })
        .await;
    if written.is_err() {
        for profile in profiles.iter().filter(|one| records.iter().any(|(id, _)| *id == one.id)) {
            profile.keep_unsaved();
        }
    }
    for profile in profiles {
        app.islands.forget_profile(profile.id);
    }
    written
}

/// Islands are told nothing more, and nothing runs on them: the program stops.
pub fn dismiss_all(app: &App) {
    for session in app.islands.sessions() {
        session.dismiss("stopping", "The coordinator is restarting.");
    }
}
