//! Mail, as far as it goes today: sign-in links, to the log or into files.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;

use crate::config::{Config, MailTransport};

/// A future behind a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How mail leaves. Sandboxes write it down; tests read it.
pub trait Mail: Send + Sync + fmt::Debug {
    /// Sends a sign-in link.
    fn sign_in<'a>(&'a self, to: &'a str, url: &'a str) -> BoxFuture<'a, std::io::Result<()>>;
}

/// The transport the configuration names.
#[must_use]
pub fn from_config(config: &Config) -> Box<dyn Mail> {
    match config.mail.transport {
        MailTransport::Console => Box::new(Console),
        MailTransport::File => {
            Box::new(Files { folder: config.data_dir.join("mail"), from: config.mail.from.clone() })
        }
    }
}

/// Prints the link in the log: the operator of a console transport is the one who signs in. Nowhere else is a link
/// ever logged.
#[derive(Debug)]
struct Console;

impl Mail for Console {
    fn sign_in<'a>(&'a self, to: &'a str, url: &'a str) -> BoxFuture<'a, std::io::Result<()>> {
        tracing::info!(to, url, "sign-in link for {to}: {url}");
        Box::pin(async { Ok(()) })
    }
}

/// One file for each mail, as a mail program would open it.
#[derive(Debug)]
struct Files {
    folder: PathBuf,
    from: String,
}

impl Mail for Files {
    fn sign_in<'a>(&'a self, to: &'a str, url: &'a str) -> BoxFuture<'a, std::io::Result<()>> {
        let text = format!(
            "From: {}\r\nTo: {to}\r\nSubject: Sign in to Archipelago\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\r\n\
             Open this link to sign in. It works once, for fifteen minutes.\r\n\r\n{url}\r\n\r\n\
             If you did not ask for it, you need not do anything.\r\n",
            self.from
        );
        Box::pin(async move {
            tokio::fs::create_dir_all(&self.folder).await?;
            let safe: String = to
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() || "@.+-".contains(c) { c } else { '_' })
                .collect();
            let number = crate::secrets::hash(url);
            let name = format!("{safe}-{}.eml", number.get(..12).unwrap_or_default());
            tokio::fs::write(self.folder.join(name), text).await
        })
    }
}
