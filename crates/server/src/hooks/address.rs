//! Where events may be sent: to the public Internet, never to what lies behind us.
//!
//! An endpoint's address is anybody's word. What its name means is looked up when a connection is made, each address that comes
//! back is checked, and the connection goes to one of those that were: a name that means another address a moment later
//! gains nothing. Redirects are not followed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};

/// Longest address, in bytes.
pub const MAX_URL: usize = 2048;
/// How long a receiver may take, from the first packet to the end of its answer.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to answer the telephone.
const CONNECT: Duration = Duration::from_secs(5);

/// Why an address is none that events are sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It cannot be read.
    #[error("must be an address such as https://example.org/hooks")]
    Unreadable,
    /// It is long.
    #[error("must have at most 2048 bytes")]
    Long,
    /// Not encrypted.
    #[error("must begin with https://")]
    NotHttps,
    /// It has something in it that does not belong there.
    #[error("must not have a user name, a password or a fragment in it")]
    Extras,
    /// A port that other protocols live at.
    #[error("must have the port 443 or one from 1024 up")]
    Port,
    /// It is not on the public Internet.
    #[error("must be on the public Internet; private and local addresses get no events")]
    Private,
}

/// Reads an address that events shall be sent to. With `allow_private`, for tests and closed networks, it may be anywhere and
/// unencrypted.
///
/// # Errors
/// An [`AddressError`].
pub fn read(text: &str, allow_private: bool) -> Result<Url, AddressError> {
    if text.len() > MAX_URL {
        return Err(AddressError::Long);
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(AddressError::Unreadable);
    }
    let url = Url::parse(text).map_err(|_| AddressError::Unreadable)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(AddressError::Unreadable)?;
    if url.scheme() != "https" && !(allow_private && url.scheme() == "http") {
        return Err(AddressError::NotHttps);
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(AddressError::Extras);
    }
    if allow_private {
        return Ok(url);
    }
    if !matches!(url.port_or_known_default(), Some(443 | 1024..)) {
        return Err(AddressError::Port);
    }
    // An address in place of a name is looked up by nobody, so it is checked here and before each sending.
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) if !is_public(address) => Err(AddressError::Private),
        Err(_) if is_local_name(host) => Err(AddressError::Private),
        _ => Ok(url),
    }
}

/// Names that never mean anything on the public Internet.
fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let local = [
        ".localhost",
        ".local",
        ".internal",
        ".intranet",
        ".lan",
        ".home.arpa",
        ".in-addr.arpa",
        ".ip6.arpa",
    ];
    !host.contains('.') || local.iter().any(|end| host.ends_with(end))
}

/// Whether an address is one of the public Internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        // This network, private, loopback, and whatever begins at 224: multicast, reserved, broadcast.
        [0 | 10 | 127 | 224..=255, ..]
            // Shared by providers' customers.
            | [100, 64..=127, ..]
            // Link-local, where clouds tell machines their secrets.
            | [169, 254, ..]
            | [172, 16..=31, ..]
            // Protocol assignments, documentation, the old way from v6 to v4.
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            // Measurements.
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Protocol assignments (Teredo among them, which has a v4 address inside), documentation.
        [0x2001, 0..=0x01ff | 0x0db8, ..] => false,
        // 6to4: a v4 address is inside.
        [0x2002, ..] => false,
        // Documentation.
        [0x3fff, 0..=0x0fff, ..] => false,
        // All that is given out to the public. Loopback, link-local, unique local, multicast, mapped v4 and NAT64 are elsewhere.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// Looks names up, and forgets what is not public.
struct Careful {
    allow_private: bool,
}

impl fmt::Debug for Careful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Careful")
    }
}

impl Resolve for Careful {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> =
                found.into_iter().filter(|address| allow_private || is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(AddressError::Private.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// The client that events are sent with: no redirects, no proxy of the environment, only checked addresses.
///
/// # Errors
/// What [`Client`] cannot be built for.
pub fn client(allow_private: bool) -> Result<Client, reqwest::Error> {
    Client::builder()
        .user_agent(concat!("archipelago-webhooks/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .https_only(!allow_private)
        .dns_resolver(Arc::new(Careful { allow_private }))
        .connect_timeout(CONNECT)
        .timeout(PATIENCE)
        .pool_max_idle_per_host(2)
        .pool_idle_timeout(Duration::from_secs(20))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssrf_addresses_that_get_no_events() {
        let private = [
            "https://127.0.0.1/x",
            "https://127.1/x",
            "https://2130706433/",
            "https://0x7f.0.0.1/",
            "https://017700000001/",
            "https://0.0.0.0/",
            "https://10.0.0.1/",
            "https://172.16.0.1/",
            "https://172.31.255.255/",
            "https://192.168.1.1/",
            "https://169.254.169.254/latest/meta-data/",
            "https://100.64.0.1/",
            "https://100.127.255.255/",
            "https://192.0.0.1/",
            "https://198.18.0.1/",
            "https://224.0.0.1/",
            "https://239.1.1.1/",
            "https://255.255.255.255/",
            "https://240.0.0.1/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[::127.0.0.1]/",
            "https://[fe80::1]/",
            "https://[fc00::1]/",
            "https://[fd00:ec2::254]/",
            "https://[ff02::1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[2001:0:4136:e378::1]/",
            "https://[2001:db8::1]/",
            "https://[3fff::1]/",
            "https://[100::1]/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost/",
            "https://metadata.google.internal/",
            "https://intranet/",
            "https://printer.local/",
            "https://router.lan:8443/",
            "https://x.home.arpa/",
        ];
        for url in private {
            assert_eq!(read(url, false).unwrap_err(), AddressError::Private, "{url}");
        }
        for (url, why) in [
            ("http://example.org/", AddressError::NotHttps),
            ("ftp://example.org/", AddressError::NotHttps),
            ("file:///etc/passwd", AddressError::Unreadable),
            ("gopher://example.org/", AddressError::NotHttps),
            ("https://user:secret@example.org/", AddressError::Extras),
            ("https://user@example.org/", AddressError::Extras),
            ("https://example.org/#x", AddressError::Extras),
            ("https://example.org:22/", AddressError::Port),
            ("https://example.org:25/", AddressError::Port),
            ("https://example.org:80/", AddressError::Port),
            ("https:///x", AddressError::Private),
            ("example.org/hooks", AddressError::Unreadable),
            ("", AddressError::Unreadable),
            ("https://exa mple.org/", AddressError::Unreadable),
            ("https://example.org/\r\nx", AddressError::Unreadable),
        ] {
            assert_eq!(read(url, false).unwrap_err(), why, "{url}");
        }
        assert_eq!(
            read(&format!("https://example.org/{}", "x".repeat(2048)), false).unwrap_err(),
            AddressError::Long
        );
        for url in [
            "https://example.org/hooks?x=1",
            "https://example.org:8443/",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]/",
        ] {
            assert!(read(url, false).is_ok(), "{url}");
        }
        assert!(read("http://127.0.0.1:8080/hook", true).is_ok());
        assert_eq!(read("ftp://127.0.0.1/", true).unwrap_err(), AddressError::NotHttps);
    }

    #[tokio::test]
    async fn ssrf_a_name_that_means_a_private_address_is_not_connected_to() {
        let careful = Careful { allow_private: false };
        // Whatever the machine says that this name means, it is this machine.
        let refused = careful.resolve("localhost".parse().unwrap()).await;
        let refused = refused.err().unwrap();
        assert_eq!(refused.downcast_ref::<AddressError>(), Some(&AddressError::Private));
        let careful = Careful { allow_private: true };
        assert!(careful.resolve("localhost".parse().unwrap()).await.unwrap().next().is_some());
    }
}
