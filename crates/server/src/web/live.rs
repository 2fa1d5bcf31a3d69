//! `/live`: the one stream of events of a signed-in page. `static/live.js` reads it.
//!
//! Listening begins before the balance is read, so no change falls between the two; a page that could not keep up is
//! given the balance again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{AppendHeaders, IntoResponse, Response};
use db::DbError;
use futures_util::stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::session::{self, SESSION, SignedIn, cookie};
use crate::accounts::SharedUser;
use crate::api::extract::too_often;
use crate::app::App;
use crate::credits::{self, BalanceView};
use crate::error::ApiError;
use crate::live::{self, Happening};

const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One page that listens.
struct Listener {
    app: Arc<App>,
    user: SharedUser,
    receiver: Receiver<Happening>,
    /// What is to be told before anything that is received.
    first: VecDeque<Happening>,
}

/// `GET /live`. Every page of a signed-in browser opens it, so here the cookie of the session is given its full time again.
///
/// # Errors
/// 401, 500, 503.
pub async fn stream(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let receiver = app.live.listen(&session.user, app.config.limits.streams_per_user);
    let receiver = receiver.ok_or_else(|| too_often(30))?;
    let first = balances(&app, &session.user).await?;
    live::learn(&app, vec![session.user.id]).await?;
    let renewed = cookie(&headers, SESSION).map(|secret| session::begin(&app, secret));
    let listener = Listener { app, user: session.user, receiver, first };
    let events = stream::unfold(listener, |mut listener| async move {
        let happening = listener.next().await?;
        let event = Event::default().event(happening.name()).json_data(&happening).unwrap_or_default();
        Some((Ok::<_, Infallible>(event), listener))
    });
    let renewed = AppendHeaders(Vec::from_iter(renewed));
    Ok((renewed, Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))).into_response())
}

impl Listener {
    /// The next thing to tell; nothing when the stream ends.
    async fn next(&mut self) -> Option<Happening> {
        loop {
            if let Some(happening) = self.first.pop_front() {
                return Some(happening);
            }
            let received = tokio::select! {
                received = self.receiver.recv() => received,
                () = self.app.stopping() => return None,
            };
            match received {
                Ok(happening) => return Some(happening),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(_)) => match balances(&self.app, &self.user).await {
                    Ok(balances) => self.first = balances,
                    Err(error) => {
                        tracing::error!(%error, "a balance could not be read; its page will ask again");
                        return None;
                    }
                },
            }
        }
    }
}

/// What there is in both accounts now.
async fn balances(app: &App, user: &SharedUser) -> Result<VecDeque<Happening>, DbError> {
    let wallet = credits::balance(app, user.wallet).await?;
    let earnings = credits::balance(app, user.earnings).await?;
    Ok(VecDeque::from([
        Happening::Balance(BalanceView::new(&wallet, app.config.low_balance())),
        Happening::Earnings { version: earnings.version, earnings: earnings.available().display_grouped() },
    ]))
}
