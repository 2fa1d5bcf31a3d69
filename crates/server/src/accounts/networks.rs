//! Places on the Internet: an address, or a range of them in CIDR notation, v4 or v6.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses; one address is a range of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// A text that is no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an address or a range of them such as 203.0.113.7, 198.51.100.0/24 or 2001:db8::/32")]
pub struct BadNetwork;

/// The first address of the range of `bits` that has `address` in it.
fn first(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

const fn longest(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl Network {
    /// Whether an address lies in it. A v4 address written as v6 is the v4 address.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && first(address, self.bits) == self.first
    }

    /// Whether all of another range lies in it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.bits <= other.bits && self.contains(other.first)
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadNetwork)?;
        let plain = |bits: &str| bits.len() <= 3 && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits: u8 = match bits {
            Some(bits) if plain(bits) => bits.parse().map_err(|_| BadNetwork)?,
            Some(_) => return Err(BadNetwork),
            None => longest(address),
        };
        if bits > longest(address) {
            return Err(BadNetwork);
        }
        // Such addresses never come in as v6, so a range of them would let nobody in.
        let (address, bits) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if bits >= 96 => (v4, bits - 96),
            _ => (address, bits),
        };
        Ok(Self { first: first(address, bits), bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == longest(self.first) {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}/{}", self.first, self.bits)
        }
    }
}

/// As stored: separated by spaces. What cannot be read any more lets nobody in, so it is kept as a range of nothing useful.
#[must_use]
pub fn from_stored(text: &str) -> Vec<Network> {
    let nowhere = Network { first: IpAddr::V4(Ipv4Addr::UNSPECIFIED), bits: 32 };
    text.split_whitespace().map(|one| one.parse().unwrap_or(nowhere)).collect()
}

/// The same, written.
#[must_use]
pub fn to_stored(networks: &[Network]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn what_lies_in_which() {
        let cases = [
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("198.51.100.77/24", "198.51.100.255", true),
            ("198.51.100.0/24", "198.51.101.0", false),
            ("198.51.100.0/24", "::ffff:198.51.100.9", true),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "1.2.3.4", false),
            ("::1", "::1", true),
            ("::ffff:10.0.0.0/104", "10.255.0.1", true),
        ];
        for (range, address, expected) in cases {
            assert_eq!(network(range).contains(address.parse().unwrap()), expected, "{address} in {range}");
        }
    }

    #[test]
    fn ranges_are_written_as_they_hold() {
        for (text, shown) in [
            ("198.51.100.77/24", "198.51.100.0/24"),
            ("203.0.113.7/32", "203.0.113.7"),
            ("2001:DB8::1/32", "2001:db8::/32"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
        ] {
            assert_eq!(network(text).to_string(), shown);
        }
        for bad in ["", "1.2.3", "1.2.3.4/33", "::/129", "1.2.3.4/", "1.2.3.4/+8", "a.example", "1.2.3.4/08x"]
        {
            assert_eq!(bad.parse::<Network>(), Err(BadNetwork), "{bad}");
        }
        let both = [network("10.0.0.0/8"), network("::1")];
        assert_eq!(from_stored(&to_stored(&both)), both);
        assert!(from_stored("").is_empty());
    }

    #[test]
    fn a_range_covers_what_lies_in_it() {
        assert!(network("10.0.0.0/8").covers(network("10.2.0.0/16")));
        assert!(network("10.0.0.0/8").covers(network("10.0.0.0/8")));
        assert!(!network("10.2.0.0/16").covers(network("10.0.0.0/8")));
        assert!(!network("10.0.0.0/8").covers(network("11.0.0.0/16")));
        assert!(!network("::/0").covers(network("10.0.0.0/16")));
    }
}
