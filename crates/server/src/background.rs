//! Periodic tasks, by name. Each does one round in its domain; a round that fails is logged and tried again.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use db::DbError;
use tokio::time::Instant;
use tower::ServiceExt;
use types::time::DAY_MS;

use crate::app::App;
use crate::jobs::Job;
use crate::live::{self, Happening};
use crate::nodes::{Beat, Watch};
use crate::providers::{events, sandbox, signature};
use crate::{
    accounts, audit, batches, hooks, idempotency, islands, jobs, mail, marketplace, nodes, payouts,
    purchases, topups, web,
};

/// How often what was written to the ledger is audited: little at a time, so that no job waits long for it.
const AUDIT: Duration = Duration::from_millis(500);

/// Starts them all. They end when the program stops.
pub fn start(app: &Arc<App>, router: &Router) {
    every(app, "expire holds", Duration::from_secs(15), |app| async move {
        jobs::recover::expire_once(&app).await.map(drop)
    });
    every(app, "end forgotten jobs", Duration::from_secs(300), |app| async move {
        jobs::recover::end_forgotten_once(&app).await
    });
    every(app, "resume batches", Duration::from_secs(5), |app| async move {
        batches::recover::resume_once(&app).await
    });
    every(app, "reconcile purchases", Duration::from_secs(30), |app| async move {
        purchases::reconcile_once(&app).await?;
        purchases::refunds::make_once(&app).await?;
        purchases::reversals::refreeze_once(&app).await?;
        events::retry_once(&app).await
    });
    every(app, "top up and alert", Duration::from_secs(3), |app| async move {
        topups::once(&app).await?;
        topups::alerts::once(&app).await
    });
    every(app, "tell of limits of keys", Duration::from_secs(3), |app| async move {
        accounts::key_alerts::once(&app).await
    });
    every(app, "look at limits of all keys", Duration::from_secs(60), |app| async move {
        accounts::key_alerts::all_once(&app).await
    });
    every(app, "send payouts", Duration::from_secs(20), |app| async move {
        payouts::send::send_once(&app).await?;
        payouts::schedule::once(&app).await
    });
    every(app, "look at payouts", Duration::from_secs(1800), |app| async move {
        payouts::send::look_once(&app).await
    });
    every(app, "compare with the provider", Duration::from_secs(900), |app| async move {
        if let Err(error) = purchases::reconcile::once(&app).await {
            tracing::warn!(%error, "the provider's books could not be compared with ours");
        }
        Ok(())
    });
    every(
        app,
        "note use of keys and Islands",
        Duration::from_secs(20),
        |app| async move { note_use(&app).await },
    );
    every(app, "audit", AUDIT, |app| async move { app.audit.once(&app.db, app.clock.now()).await.map(drop) });
    every(
        app,
        "fold the journal",
        Duration::from_secs(2),
        |app| async move { audit::fold_once(&app.db).await },
    );
    every(app, "clean up", Duration::from_secs(3600), |app| async move { clean_up(&app).await });
    every(app, "metrics upkeep", Duration::from_secs(5), |app| async move {
        app.metrics.upkeep();
        islands::offers::gauge(&app);
        metrics::gauge!("archipelago_jobs_live").set(u32::try_from(app.jobs.count()).unwrap_or(u32::MAX));
        Ok(())
    });
    keep_market(app);
    tokio::spawn(mail::check_once(Arc::clone(app)));
    tokio::spawn(mail::outbox::run(Arc::clone(app)));
    tokio::spawn(hooks::deliver::run(Arc::clone(app)));
    tokio::spawn(until_stopped(Arc::clone(app), follow_other_writers(Arc::clone(app))));
    tokio::spawn(until_stopped(Arc::clone(app), tell_market(Arc::clone(app))));
    tokio::spawn(until_stopped(Arc::clone(app), deliver_sandbox_webhooks(Arc::clone(app), router.clone())));
}

/// What belongs to the Exchange and the Islands.
fn keep_market(app: &Arc<App>) {
    every(app, "write down how Islands do", Duration::from_secs(60), |app| async move {
        islands::upkeep::once(&app).await?;
        islands::alerts::once(&app, app.clock.now()).await
    });
    every(app, "deadlines", Duration::from_millis(250), |app| async move {
        app.market.all().iter().for_each(|market| market.expire(app.clock.now()));
        Ok(())
    });
    every(app, "note the books", Duration::from_secs(300), |app| async move {
        marketplace::upkeep::snapshot_once(&app).await?;
        marketplace::upkeep::thin_once(&app).await
    });
    every(app, "forget trades", Duration::from_secs(15), |app| async move {
        marketplace::upkeep::forget_once(&app).await
    });
}

fn every<F, R>(app: &Arc<App>, name: &'static str, period: Duration, round: F)
where
    F: Fn(Arc<App>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), DbError>> + Send,
{
    let app = Arc::clone(app);
    let rounds = {
        let app = Arc::clone(&app);
        async move {
            loop {
                tokio::time::sleep(period).await;
                if let Err(error) = round(Arc::clone(&app)).await {
                    tracing::error!(%error, task = name, "background task \"{name}\" failed");
                }
            }
        }
    };
    tokio::spawn(until_stopped(app, rounds));
}

async fn until_stopped(app: Arc<App>, task: impl Future<Output = ()>) {
    tokio::select! {
        () = task => {}
        () = app.stopping() => {}
    }
}

async fn note_use(app: &App) -> Result<(), DbError> {
    let used = app.keys.take_used();
    let connected: Vec<_> = app.islands.all().iter().map(|connection| connection.island.id).collect();
    if used.is_empty() && connected.is_empty() {
        return Ok(());
    }
    let now = app.clock.now();
    app.db
        .tx("note_use", async move |tx| {
            accounts::store::touch_keys(tx, &used).await?;
            islands::store::all_seen(tx, &connected, now).await
        })
        .await
}

async fn clean_up(app: &App) -> Result<(), DbError> {
    let now = app.clock.now();
    idempotency::forget_once(app).await?;
    mail::outbox::erase_once(&app.db, now).await?;
    hooks::forget_once(app).await?;
    app.db
        .tx("clean_up", async move |tx| {
            accounts::store::delete_stale(tx, now, now.plus_millis(-DAY_MS)).await
        })
        .await?;
    islands::stats::thin_once(app, now).await
}

/// Others write to the same database, admin commands and coordinators: pages follow those changes too (I13), revoked keys are
/// forgotten, and jobs of ours are cancelled for whom another coordinator was asked.
async fn follow_other_writers(app: Arc<App>) {
    let mut seen = app.db.foreign_writes().await.ok();
    loop {
        let stale = tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => false,
            () = app.balances_stale.notified() => true,
        };
        // When that cannot be asked the rest cannot either.
        let Ok(now) = app.db.foreign_writes().await else { continue };
        if Some(now) == seen && !stale {
            continue;
        }
        app.keys.forget();
        match follow(&app).await {
            Ok(()) => seen = Some(now),
            Err(error) => tracing::error!(%error, "what others wrote could not be read"),
        }
    }
}

async fn follow(app: &App) -> Result<(), DbError> {
    jobs::elsewhere::wishes_once(app).await?;
    batches::recover::wishes_once(app).await?;
    marketplace::overrides::follow_once(app).await?;
    islands::standing::follow_once(app).await?;
    let accounts = app.live.watched();
    if accounts.is_empty() {
        return Ok(());
    }
    let balances =
        app.db.read("watched_balances", async move |tx| ledger::balances(tx, &accounts).await).await?;
    app.live.balances(&balances.into_iter().flatten().collect::<Vec<_>>());
    live::learn(app, app.live.users()).await
}

/// Gives signs of life, watches for those of the other coordinators, and takes over the jobs of one that gives none.
pub fn keep_node(app: &Arc<App>) {
    tokio::spawn(until_stopped(Arc::clone(app), keep(Arc::clone(app))));
}

async fn keep(app: Arc<App>) {
    let takeover = Duration::from_secs(u64::from(app.config.coordinators.takeover_secs));
    // Three signs missed by our clock, and so that all is done within the time that is promised.
    let (period, limit) = (takeover / 5, nodes::patience(&app.config.coordinators));
    let mut watch = Watch::new(app.node.number, limit, limit);
    loop {
        tokio::time::sleep(period).await;
        let taken = match nodes::beat_once(&app).await {
            Ok(Beat::Ours(taken)) => taken,
            Ok(Beat::Lost { twin }) => {
                tracing::error!("another coordinator has taken over the jobs of this one; stopping");
                if twin {
                    nodes::become_another(&app.config.data_dir);
                }
                return app.replaced();
            }
            Err(error) => {
                tracing::warn!(%error, "no sign of life could be given");
                continue;
            }
        };
        for stale in watch.look(&taken, Instant::now()) {
            match jobs::recover::take_over(&app, stale).await {
                Ok(jobs) => drop(tokio::spawn(resume(Arc::clone(&app), jobs))),
                Err(error) => tracing::warn!(%error, "a coordinator could not be taken over yet"),
            }
        }
    }
}

async fn resume(app: Arc<App>, jobs: Vec<Job>) {
    jobs::recover::resume_all(&app, jobs).await;
    if let Err(error) = batches::recover::resume_once(&app).await {
        tracing::warn!(%error, "batches could not be taken over yet");
    }
    if let Err(error) = jobs::elsewhere::wishes_once(&app).await {
        tracing::warn!(%error, "wishes of other coordinators could not be read");
    }
}

/// Tells pages when the market has moved, at most once a second.
async fn tell_market(app: Arc<App>) {
    loop {
        app.market.moved.notified().await;
        // When nobody looks nothing is read: a busy market moves all the time.
        if !app.live.users().is_empty() {
            match marketplace::rates::all(&app).await {
                Ok(rates) => {
                    app.live.tell_all(&Happening::Market(Arc::new(web::exchange::market_event(&rates))));
                }
                Err(error) => tracing::error!(%error, "rates could not be read"),
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Delivers the sandbox providers' webhooks through the same router, extractor and signature check as a real provider's.
async fn deliver_sandbox_webhooks(app: Arc<App>, router: Router) {
    loop {
        tokio::select! {
            () = app.sandbox_due.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        if let Some(payments) = &app.sandbox_payments
            && let Err(error) = payments.settle_once().await
        {
            tracing::error!(%error, "sandbox payments could not settle");
        }
        let due = match sandbox::due(&app).await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "sandbox webhooks could not be read");
                continue;
            }
        };
        for delivery in due {
            let delivered = deliver(&app, &router, &delivery).await;
            if let Err(error) = sandbox::note(&app, &delivery, delivered).await {
                tracing::error!(%error, "a sandbox webhook could not be noted");
            }
        }
    }
}

async fn deliver(app: &App, router: &Router, delivery: &sandbox::Delivery) -> bool {
    let signed = signature(&app.sandbox_secret, app.clock.now(), &delivery.body);
    let request = Request::post("/webhooks/sandbox")
        .header("content-type", "application/json")
        .header("sandbox-signature", signed)
        .body(Body::from(delivery.body.clone()));
    let Ok(request) = request else { return false };
    match router.clone().oneshot(request).await {
        Ok(response) => response.status().is_success(),
        Err(never) => match never {},
    }
}
