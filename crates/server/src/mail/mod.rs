//! Mail: letters to people, and the ways they leave.
//!
//! Guarantees: a letter about something that happened is queued in the very transaction that made it happen ([`outbox`]),
//! is told once for each thing it tells of, and is sent at least once by one of the coordinators. A sign-in link is a secret
//! and is never stored: it is sent at once or not at all. What people typed can neither add a header nor markup.

pub mod config;
pub mod letters;
pub mod outbox;
mod smtp;
pub(crate) mod store;
pub mod transport;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Notify;
use types::time::Timestamp;

use crate::app::App;
use crate::config::{Config, ConfigError, MailTransport};
use letters::{Kind, Letter};
use transport::{Console, Files};

/// A future behind a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A letter as it was written: both parts, and a file if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// What it is about.
    pub kind: Kind,
    /// One line.
    pub subject: String,
    /// For programs that show text.
    pub text: String,
    /// For all others.
    pub html: String,
    /// Sent along.
    pub attachment: Option<Attachment>,
}

/// A PDF that is sent along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// As it is saved.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// A letter with an address on it.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// To whom.
    pub to: String,
    /// What.
    pub mail: Mail,
    /// Names this letter: the same one sent again has the same key, so that receivers can tell.
    pub key: String,
    /// When it was written.
    pub at: Timestamp,
}

/// Why a letter did not leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It never will: the address does not exist, or the server wants nothing to do with it.
    #[error("{0}")]
    Refused(String),
    /// It may later.
    #[error("{0}")]
    NotNow(String),
}

/// How mail leaves.
pub trait Transport: Send + Sync + fmt::Debug {
    /// Sends one letter.
    fn send<'a>(&'a self, letter: &'a Outgoing) -> BoxFuture<'a, Result<(), SendError>>;

    /// Whether it could, asked without sending anything.
    fn check(&self) -> BoxFuture<'_, Result<(), SendError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Sends letters, and counts them.
#[derive(Debug)]
pub struct Mailer {
    transport: Box<dyn Transport>,
    queued: Notify,
}

impl Mailer {
    /// A mailer with any transport.
    #[must_use]
    pub fn new(transport: Box<dyn Transport>) -> Self {
        Self { transport, queued: Notify::new() }
    }

    /// The transport the configuration names.
    ///
    /// # Errors
    /// A [`ConfigError`] that says which key to set.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let from = config.mail.sender()?;
        Ok(Self::new(match config.mail.transport {
            MailTransport::Console => Box::new(Console),
            MailTransport::File => Box::new(Files { folder: config.data_dir.join("mail"), from }),
            MailTransport::Smtp => Box::new(smtp::Server::new(&config.mail.smtp, from)?),
        }))
    }

    /// Sends a letter at once, past the outbox: for what is a secret and of no use later.
    ///
    /// # Errors
    /// A [`SendError`].
    pub async fn send_now(
        &self,
        letter: &dyn Letter,
        to: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<(), SendError> {
        let mail = letter.to_mail().map_err(|error| SendError::Refused(error.to_string()))?;
        let outgoing = Outgoing { to: to.to_owned(), mail, key: key.to_owned(), at: now };
        let sent = self.transport.send(&outgoing).await;
        count(outgoing.mail.kind, if sent.is_ok() { "sent" } else { "failed" });
        sent
    }

    /// Something was queued and committed: the worker need not wait for its next round.
    pub fn wake(&self) {
        self.queued.notify_one();
    }

    async fn send(&self, letter: &Outgoing) -> Result<(), SendError> {
        self.transport.send(letter).await
    }
}

fn count(kind: Kind, outcome: &'static str) {
    metrics::counter!("archipelago_mails_total", "kind" => kind.name(), "outcome" => outcome).increment(1);
}

/// Asks once, at the start, whether mail could leave. The server runs either way: jobs need no mail.
pub async fn check_once(app: Arc<App>) {
    let failures = metrics::counter!("archipelago_mail_server_failures_total");
    failures.increment(0);
    if let Err(error) = app.mail.transport.check().await {
        failures.increment(1);
        tracing::warn!(%error, "mail cannot be sent now; look at mail.smtp in the configuration");
    }
}
