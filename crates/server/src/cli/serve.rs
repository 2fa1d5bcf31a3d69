//! `archipelago serve`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use db::OpenOptions;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use types::rng::SystemRandom;
use types::time::{Clock, SystemClock};

use crate::api::extract::Peer;
use crate::app::{App, StartError, lock_data_dir, open_database};
use crate::config::{Config, ConfigError};
use crate::providers::ProviderError;
use crate::{background, batches, demo, islands, jobs, nodes, router, telemetry};

/// How long a client may take to send the head of a request, or be silent between two. Longer than existing clients keep
/// a connection for its next use.
const HEAD: Duration = Duration::from_secs(75);
/// How long the start waits for Stripe.
const ASKING: Duration = Duration::from_secs(10);
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

    let claim = nodes::claim(&db, &config, &SystemRandom, SystemClock.now()).await?;
    tracing::info!(node = claim.node.number, "this is coordinator {} of its database", claim.node.number);
    let (app, queue) = App::build(config, db, claim, demo, metrics).await?;
    ask_stripe(&app).await?;
    tokio::spawn(supervise(jobs::commit::run(Arc::clone(&app), queue)));
    // Recovery may take longer than the others wait for a sign of life.
    background::keep_node(&app);
    jobs::recover::at_start(&app).await?;
    batches::recover::resume_once(&app).await?;
    let router = router::router(&app);
    background::start(&app, &router);
    if demo {
        demo::start(&app).await?;
    }
    announce(&app);
    serve(&app, listener, router).await
}

/// Finds out whether Stripe takes our key. A key it refuses is the operator's to mend before anybody buys; that it cannot be
/// reached may pass.
async fn ask_stripe(app: &App) -> Result<(), StartError> {
    let Some(stripe) = &app.stripe else { return Ok(()) };
    match timeout(ASKING, stripe.check()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(ProviderError::Refused { status: 401, message })) => Err(StartError::Refused(format!(
            "Stripe refuses stripe.secret_key: {message} Copy the secret key from Stripe's dashboard under Developers, API keys."
        ))),
        Ok(Err(error)) => {
            tracing::error!(%error, "Stripe does not answer as it should; purchases fail until it does. Is stripe.api_base right?");
            Ok(())
        }
        Err(_) => {
            tracing::error!(
                "Stripe at stripe.api_base does not answer in time; purchases fail until it does"
            );
            Ok(())
        }
    }
}

/// Accepts connections until a signal, each with limits on what a slow or idle client can hold on to.
async fn serve(app: &Arc<App>, listener: TcpListener, router: Router) -> Result<(), StartError> {
    let service = TowerToHyperService::new(router);
    let places = Arc::new(Semaphore::new(app.config.limits.connections));
    let mut signalled = std::pin::pin!(signalled());
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let (place, stream) = tokio::select! {
            (place, stream) = async { (place.await, accept(&listener).await) } => (place, stream),
            () = &mut signalled => break,
            () = app.stopping() => break,
        };
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD);
        let (service, peer) = (service.clone(), stream.peer_addr().ok().map(|address| Peer(address.ip())));
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            service.call(request)
        });
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let app = Arc::clone(app);
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = app.stopping() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            // Clients hang up in all sorts of ways; none is our concern.
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    stop(app).await;
    let everybody = u32::try_from(app.config.limits.connections).unwrap_or(u32::MAX);
    if timeout(GRACE, places.acquire_many(everybody)).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
    if app.is_replaced() {
        return Err(StartError::Refused(
            "another coordinator has taken over the jobs of this one, because it was not heard of for too long; start it again"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Lets what runs come to its end, for a while; then everything else is told to.
async fn stop(app: &App) {
    tracing::info!("stopping");
    for connection in app.islands.all() {
        for market in app.market.all() {
            market.remove_ask(connection.island.id);
        }
    }
    if app.is_replaced() {
        // Its jobs are another's: there is nothing to wait for.
        islands::upkeep::dismiss_all(app);
        return;
    }
    if timeout(GRACE, app.jobs.at_rest()).await.is_err() {
        tracing::warn!("some jobs did not end in time; they are not charged");
    }
    app.stop();
    islands::upkeep::dismiss_all(app);
    // Those that were cut off end now, and that is to be written too.
    if timeout(GRACE, app.jobs.at_rest()).await.is_err() {
        tracing::warn!("the end of some jobs could not be written; it is when the server is started again");
    }
}

/// The next connection. Running out of descriptors is waited out.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers must not wait for the acknowledgement of the one before.
                drop(stream.set_nodelay(true));
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Without the committer no job could begin or end: better to stop and be started again, which recovers.
async fn supervise(committer: impl Future<Output = ()> + Send + 'static) {
    let ended = tokio::spawn(committer).await;
    tracing::error!(?ended, "the committer ended; stopping at once");
    std::process::exit(70);
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
