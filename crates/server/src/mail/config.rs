//! `[mail]`: how mail leaves, and what is wrong with what was configured.

use std::fmt;
use std::net::IpAddr;

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// `[mail]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Mail {
    pub transport: MailTransport,
    pub from: String,
    pub smtp: Smtp,
}

/// How mail leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTransport {
    /// Into the log.
    Console,
    /// Into files.
    File,
    /// To a mail server.
    Smtp,
}

/// `[mail.smtp]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub username: String,
    #[serde(serialize_with = "hidden")]
    pub password: String,
    pub security: SmtpSecurity,
}

/// How the way to the mail server is kept private.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpSecurity {
    /// Encrypted from the first byte.
    Tls,
    /// Encrypted before anything is said, or nothing is.
    Starttls,
    /// Not at all.
    None,
}

const HIDDEN: &str = "***";

fn hidden<S: serde::Serializer>(secret: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.is_empty() { "" } else { HIDDEN })
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Smtp");
        shown.field("host", &self.host).field("port", &self.port).field("username", &self.username);
        shown.field("security", &self.security).finish_non_exhaustive()
    }
}

impl Smtp {
    /// The port, or the usual one of this kind of server.
    #[must_use]
    pub fn port(&self) -> u16 {
        match (self.port, self.security) {
            (0, SmtpSecurity::Tls) => 465,
            (0, SmtpSecurity::Starttls) => 587,
            (0, SmtpSecurity::None) => 25,
            (port, _) => port,
        }
    }

    fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl Mail {
    /// The sender.
    ///
    /// # Errors
    /// A [`ConfigError`] when it is none.
    pub fn sender(&self) -> Result<Mailbox, ConfigError> {
        self.from.parse().map_err(|_| {
            ConfigError(
                "mail.from must be a sender such as \"Archipelago <no-reply@example.org>\"".to_owned(),
            )
        })
    }

    /// What can be found wrong without asking anybody.
    ///
    /// # Errors
    /// A [`ConfigError`] that says which key to set.
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse = |text: &str| Err(ConfigError(text.to_owned()));
        let sender = self.sender()?;
        if self.transport != MailTransport::Smtp {
            return Ok(());
        }
        let smtp = &self.smtp;
        if smtp.host.trim().is_empty() {
            return refuse(
                "mail.transport is \"smtp\", so mail.smtp.host must be set: the name of your mail server",
            );
        }
        if smtp.username.is_empty() && !smtp.password.is_empty() {
            return refuse("mail.smtp.password is set, so mail.smtp.username must be set too");
        }
        if !smtp.username.is_empty() && smtp.password.is_empty() {
            return refuse("mail.smtp.username is set, so mail.smtp.password must be set too");
        }
        if smtp.security == SmtpSecurity::None && !smtp.password.is_empty() && !smtp.is_here() {
            return refuse(
                "mail.smtp.security = \"none\" would send the password for everybody to read; set it to \"tls\" or \"starttls\"",
            );
        }
        if sender.email.domain() == "localhost" && !smtp.is_here() {
            return refuse("mail.from must be set to an address of yours when mail.transport is \"smtp\"");
        }
        Ok(())
    }
}
