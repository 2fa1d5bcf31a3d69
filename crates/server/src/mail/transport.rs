//! Ways for mail that need no mail server, and the form in which all letters are written.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Body, Mailbox, MultiPart};
use lettre::{Address, Message};

use super::{BoxFuture, Outgoing, SendError, Transport};
use crate::secrets;

/// Prints letters in the log: the operator of a console transport is the one who signs in. Nowhere else is a sign-in link
/// ever logged.
#[derive(Debug)]
pub struct Console;

impl Transport for Console {
    fn send<'a>(&'a self, letter: &'a Outgoing) -> BoxFuture<'a, Result<(), SendError>> {
        tracing::info!("mail to {}: {}\n{}", letter.to, letter.mail.subject, letter.mail.text);
        Box::pin(async { Ok(()) })
    }
}

/// One file for each letter, as a mail program would open it.
#[derive(Debug)]
pub struct Files {
    /// Where.
    pub folder: PathBuf,
    /// The sender.
    pub from: Mailbox,
}

impl Transport for Files {
    fn send<'a>(&'a self, letter: &'a Outgoing) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let text = message(letter, &self.from)?.formatted();
            let safe: String = letter
                .to
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() || "@.+-".contains(c) { c } else { '_' })
                .collect();
            let number = secrets::hash(&letter.key);
            // A letter that is sent again is the same file.
            let name = format!("{safe}-{}.eml", number.get(..12).unwrap_or_default());
            let write = async {
                tokio::fs::create_dir_all(&self.folder).await?;
                tokio::fs::write(self.folder.join(name), text).await
            };
            write.await.map_err(|error| {
                SendError::NotNow(format!("{} cannot be written: {error}", self.folder.display()))
            })
        })
    }
}

/// A letter with all its parts and headers.
///
/// # Errors
/// [`SendError::Refused`] for an address no mail can go to.
pub fn message(letter: &Outgoing, from: &Mailbox) -> Result<Message, SendError> {
    let refused = |error: &dyn std::fmt::Display| SendError::Refused(error.to_string());
    let address = letter.to.parse::<Address>().map_err(|error| refused(&error))?;
    let mail = &letter.mail;
    let parts = MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone());
    let parts = match &mail.attachment {
        None => parts,
        Some(file) => {
            let kind = ContentType::parse("application/pdf").map_err(|error| refused(&error))?;
            // Never as text, however plain it looks: text may have its line ends changed on the way.
            let body = Body::new_with_encoding(file.bytes.clone(), ContentTransferEncoding::Base64)
                .map_err(|_| SendError::Refused("the attachment cannot be encoded".to_owned()))?;
            let file = Attachment::new(file.name.clone()).body(body, kind);
            MultiPart::mixed().multipart(parts).singlepart(file)
        }
    };
    let id = secrets::hash(&letter.key);
    let id = format!("<{}@{}>", id.get(..32).unwrap_or_default(), from.email.domain());
    let millis = u64::try_from(letter.at.as_millis()).unwrap_or_default();
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, address))
        .subject(mail.subject.clone())
        .date(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
        .message_id(Some(id))
        .header(AutoSubmitted)
        .multipart(parts)
        .map_err(|error| refused(&error))
}

/// Says that a program wrote, so that nobody's absence is reported to us.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}
