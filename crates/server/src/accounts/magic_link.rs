//! Signing in without a password: a link by mail that works once, for fifteen minutes, and makes the account.

use db::DbError;
use types::time::{HOUR_MS, MINUTE_MS};

use super::{NewUser, find_or_create, normalise_email, sessions, store};
use crate::app::App;
use crate::mail::letters::SignIn;
use crate::secrets;

/// How long a link works.
pub const LINK_MS: i64 = 15 * MINUTE_MS;

/// How many times the links of one browser all browsers together may ask for.
const STRANGERS: i64 = 6;

/// Why a sign-in does not go on.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Not an address.
    #[error("is not an e-mail address")]
    NotAnAddress,
    /// Too many links for this address.
    #[error("too many sign-in links were asked for; please use one of them or wait an hour")]
    TooManyLinks,
    /// The link was used, has expired, or never was.
    #[error("this sign-in link has been used or has expired")]
    DeadLink,
    /// The mail could not be sent.
    #[error("the mail could not be sent; please try again")]
    Mail,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A link that was sent.
#[derive(Debug)]
pub struct SentLink {
    /// The address, as stored.
    pub email: String,
    /// Where it leads.
    pub url: String,
}

/// Makes a link and mails it. `browser` is a random cookie of the browser that asked: there the link signs in at
/// once, elsewhere (and for the mail scanner that fetches every link) it first asks.
///
/// # Errors
/// A [`SignInError`].
pub async fn send(app: &App, email: &str, browser: &str) -> Result<SentLink, SignInError> {
    let email = normalise_email(email).ok_or(SignInError::NotAnAddress)?;
    let now = app.clock.now();
    let token = secrets::new(&*app.random, "");
    let row = (secrets::hash(&token), email.clone(), secrets::hash(browser));
    let most = i64::from(app.config.limits.sign_in_links_per_hour);
    app.db
        .tx("send_link", async move |tx| {
            let (hash, email, browser) = &row;
            // A stranger who asks for links in somebody's name must not lock them out.
            let (here, everywhere) =
                store::links_since(tx, email, browser, now.plus_millis(-HOUR_MS)).await?;
            if here >= most || everywhere >= most * STRANGERS {
                return Err(SignInError::TooManyLinks);
            }
            Ok(store::insert_link(tx, hash, email, browser, (now, now.plus_millis(LINK_MS))).await?)
        })
        .await?;
    let url = format!("{}/login/{token}", app.config.public_url());
    let letter = SignIn { site: app.config.public_url(), link: url.clone() };
    app.mail.send_now(&letter, &email, &url, now).await.map_err(|error| {
        tracing::error!(%error, "a sign-in mail could not be sent");
        SignInError::Mail
    })?;
    Ok(SentLink { email, url })
}

/// Whether a link works, for whom, and whether it was asked for by this browser. Uses nothing up.
///
/// # Errors
/// [`SignInError::DeadLink`] or the database's.
pub async fn look(app: &App, token: &str, browser: Option<&str>) -> Result<(String, bool), SignInError> {
    let (hash, now) = (secrets::hash(token), app.clock.now());
    let link = app.db.read("look_link", async move |tx| store::live_link(tx, &hash, now).await).await?;
    let (email, asked_by) = link.ok_or(SignInError::DeadLink)?;
    let same = browser.is_some_and(|browser| secrets::equal(&secrets::hash(browser), &asked_by));
    Ok((email, same))
}

/// Uses a link up and begins a session, making the account if there is none. Answers the session's token.
///
/// # Errors
/// [`SignInError::DeadLink`] or the database's.
pub async fn redeem(app: &App, token: &str) -> Result<String, SignInError> {
    let now = app.clock.now();
    let (hash, new) = (secrets::hash(token), NewUser::new(&app.ids, now));
    let session = sessions::NewSession::new(&*app.random, now);
    let secret = session.secret.clone();
    app.db
        .tx("sign_in", async move |tx| {
            let Some((email, _)) = store::live_link(tx, &hash, now).await? else {
                return Err(SignInError::DeadLink);
            };
            if !store::use_link(tx, &hash, now).await? {
                return Err(SignInError::DeadLink);
            }
            let user = find_or_create(tx, &email, new).await?;
            Ok(session.insert(tx, user.id).await?)
        })
        .await?;
    Ok(secret)
}
