//! Mail by a mail server.

use std::fmt;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::config::{Smtp, SmtpSecurity};
use super::transport::message;
use super::{BoxFuture, Outgoing, SendError, Transport};
use crate::config::ConfigError;

/// How long the server may take for one answer.
const ANSWER: Duration = Duration::from_secs(15);
/// Connections kept, and how long.
const CONNECTIONS: u32 = 4;
const IDLE: Duration = Duration::from_secs(30);

/// A mail server.
pub struct Server {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    place: String,
}

impl Server {
    /// The server the configuration names. Connects only when there is something to send.
    ///
    /// # Errors
    /// A [`ConfigError`] when its name cannot be one, or the system has no certificates to check it by.
    pub fn new(smtp: &Smtp, from: Mailbox) -> Result<Self, ConfigError> {
        let parameters = || {
            TlsParameters::new(smtp.host.clone()).map_err(|error| {
                ConfigError(format!("mail.smtp.host {:?} cannot be used: {error}", smtp.host))
            })
        };
        let tls = match smtp.security {
            SmtpSecurity::Tls => Tls::Wrapper(parameters()?),
            // Required: a server that offers no encryption is told nothing.
            SmtpSecurity::Starttls => Tls::Required(parameters()?),
            SmtpSecurity::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(smtp.host.clone())
            .port(smtp.port())
            .tls(tls)
            .timeout(Some(ANSWER))
            .hello_name(ClientId::Domain(from.email.domain().to_owned()))
            .pool_config(PoolConfig::new().max_size(CONNECTIONS).idle_timeout(IDLE));
        if !smtp.username.is_empty() {
            builder = builder.credentials(Credentials::new(smtp.username.clone(), smtp.password.clone()));
        }
        let place = format!("{}:{}", smtp.host, smtp.port());
        Ok(Self { transport: builder.build(), from, place })
    }

    fn why(&self, error: &Error) -> SendError {
        let mut text = format!("{}: {error}", self.place);
        let mut source = std::error::Error::source(error);
        while let Some(deeper) = source {
            let deeper_text = deeper.to_string();
            if !text.contains(&deeper_text) {
                text = format!("{text}: {deeper_text}");
            }
            source = deeper.source();
        }
        // A password that is wrong is no fault of the letter: it waits until the operator has put it right.
        let ours = error.status().is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538));
        if error.is_permanent() && !ours { SendError::Refused(text) } else { SendError::NotNow(text) }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Transport for Server {
    fn send<'a>(&'a self, letter: &'a Outgoing) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let message = message(letter, &self.from)?;
            self.transport.send(message).await.map(drop).map_err(|error| self.why(&error))
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), SendError>> {
        Box::pin(async move {
            match self.transport.test_connection().await {
                Ok(true) => Ok(()),
                Ok(false) => {
                    Err(SendError::NotNow(format!("{} did not answer as a mail server", self.place)))
                }
                Err(error) => Err(self.why(&error)),
            }
        })
    }
}
