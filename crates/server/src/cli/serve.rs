//! `archipelago serve`.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use db::OpenOptions;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, StartError, lock_data_dir, open_database};
use crate::config::{Config, ConfigError};
use crate::{background, demo, jobs, router, telemetry};

/// How long running requests may take to end after a signal.
const GRACE: Duration = Duration::from_secs(10);

/// Requests a demo's visitor may make a minute: nobody is to be slowed down while trying things out.
const DEMO_REQUESTS_PER_MINUTE: u32 = 6000;

/// Serves until a signal.
///
/// # Errors
/// A [`StartError`] whose sentence says what to do.
pub async fn run(mut config: Config, demo: bool) -> Result<(), StartError> {
    telemetry::logs(&config.log)?;
    if config.test_mode() && !demo && !config.listen.ip().is_loopback() {
        return Err(ConfigError(format!(
            "a sandbox provider is in use, so listen must be a loopback address, not {}: configure real providers, or give --demo to try things out",
            config.listen
        ))
        .into());
    }
    if demo {
        config.limits.requests_per_minute = config.limits.requests_per_minute.max(DEMO_REQUESTS_PER_MINUTE);
    }
    let _lock = lock_data_dir(&config.data_dir)?;
    let metrics = telemetry::metrics()?;
    let db = open_database(&config, OpenOptions::server()).await?;
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        StartError::Refused(format!(
            "cannot listen on {}: {error}; is another server running?",
            config.listen
        ))
    })?;
    // With port 0 the system chooses one; links must name it.
    config.listen = listener.local_addr().unwrap_or(config.listen);

    let (app, queue) = App::build(config, db, demo, metrics).await?;
    tokio::spawn(jobs::commit::run(Arc::clone(&app), queue));
    jobs::recover::at_start(&app).await?;
    let router = router::router(&app);
    background::start(&app, &router);
    if demo {
        demo::start(&app).await?;
    }
    announce(&app);
    serve(&app, listener, router).await
}

async fn serve(app: &Arc<App>, listener: TcpListener, router: axum::Router) -> Result<(), StartError> {
    // Small answers must not wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
    });
    let stopping = Arc::clone(app);
    let server =
        axum::serve(listener, router).with_graceful_shutdown(async move { stopping.stopping().await });
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        result = &mut server => {
            return Err(StartError::Refused(format!("the server stopped: {result:?}")));
        }
        () = signalled() => {}
    }
    tracing::info!("stopping");
    app.stop();
    for connection in app.islands.all() {
        connection.close("stopping", "The coordinator is restarting.");
    }
    if tokio::time::timeout(GRACE, &mut server).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
    Ok(())
}

fn announce(app: &App) {
    let url = app.config.public_url();
    tracing::info!("Archipelago listens on {url}");
    let mut lines = format!("\n  Archipelago is ready: {url}\n");
    if app.demo {
        lines.push_str(
            "  Demo: sign in with any e-mail address; no real money moves, and demo Islands run no model.\n",
        );
    } else if app.config.test_mode() {
        lines.push_str("  TEST MODE: sandbox providers are in use; no real money moves.\n");
    }
    drop(super::print(&lines));
}

async fn signalled() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
