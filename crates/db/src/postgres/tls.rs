//! Connections that nobody on the way can read or change.
//!
//! `sslmode=require` and `sslmode=verify-full` mean the same here: the server must prove that it is the host in the URL, to
//! the roots this machine trusts or to those in the file `sslrootcert` names. Encryption without that proof would keep out
//! nobody who can stand in between. Without either there is no encryption, as within a machine or a private network.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::DbError;

/// What a URL says about encryption, taken out of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The rest of the URL, in which what means the same is written the same.
    pub url: String,
    /// The file with the roots.
    pub roots: Option<PathBuf>,
}

impl Wanted {
    pub fn parse(url: &str) -> Result<Self, DbError> {
        let Some((start, query)) = url.split_once('?') else {
            return Ok(Self { url: url.to_owned(), roots: None });
        };
        let mut roots = None;
        let mut others = Vec::new();
        for setting in query.split('&').filter(|setting| !setting.is_empty()) {
            match setting.split_once('=') {
                Some(("sslrootcert", path)) => roots = Some(PathBuf::from(decoded(path)?)),
                Some(("sslmode", "verify-full")) => others.push("sslmode=require"),
                _ => others.push(setting),
            }
        }
        Ok(Self { url: format!("{start}?{}", others.join("&")), roots })
    }
}

/// A percent sign and two digits stand for a byte.
fn decoded(text: &str) -> Result<String, DbError> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    let wrong = || DbError::Other("the database's URL is wrong: sslrootcert is no path".to_owned());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

/// What makes encrypted connections.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads the roots.
    pub fn new(roots: Option<PathBuf>) -> Result<Self, DbError> {
        let wrong = |what: String| DbError::Other(format!("an encrypted connection is wanted, but {what}"));
        let found = match &roots {
            Some(path) => rustls_native_certs::load_certs_from_paths(Some(path), None),
            None => rustls_native_certs::load_native_certs(),
        };
        let mut store = RootCertStore::empty();
        let (usable, _) = store.add_parsable_certificates(found.certs);
        if usable == 0 {
            let place = roots.map_or("on this machine".to_owned(), |path| format!("in {}", path.display()));
            let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(wrong(format!("there are no certificates {place} to check the server's with{why}")));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, InvalidDnsNameError> {
        Ok(Handshake { connector: self.connector.clone(), host: ServerName::try_from(host.to_owned())? })
    }
}

/// A connection about to be encrypted.
pub struct Handshake {
    connector: TlsConnector,
    host: ServerName<'static>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move { Ok(Encrypted(self.connector.connect(self.host, socket).await?)) })
    }
}

/// An encrypted connection.
pub struct Encrypted(tokio_rustls::client::TlsStream<Socket>);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    #[test]
    fn what_a_url_says_of_encryption_is_taken_out_of_it() {
        let wanted = |url| {
            let Wanted { url, roots } = Wanted::parse(url).unwrap();
            (url, roots.map(|path| path.display().to_string()))
        };
        assert_eq!(wanted("postgres://h/d"), ("postgres://h/d".to_owned(), None));
        assert_eq!(
            wanted("postgres://h/d?sslmode=verify-full&sslrootcert=%2Fa%20b%2Fc.pem&user=u"),
            ("postgres://h/d?sslmode=require&user=u".to_owned(), Some("/a b/c.pem".to_owned()))
        );
        for wrong in ["%2", "%zz", "%ff"] {
            assert!(Wanted::parse(&format!("postgres://h/d?sslrootcert={wrong}")).is_err(), "{wrong}");
        }
    }
}
