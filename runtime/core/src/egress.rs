//! Which addresses may be dialled. A name is looked up by the shell, every address that comes back is judged here, and
//! only a judged address is dialled: what a name means a moment later makes no difference.
//!
//! What is not reachable for everybody is closed: this machine, its networks, and every form in which such an address
//! can be written. An operator opens ranges by name ([`Egress::open`]).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What kind of address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressClass {
    /// Reachable for everybody.
    Public,
    /// No address: `0.0.0.0`, `::`.
    Unspecified,
    /// This machine.
    Loopback,
    /// A private network: RFC 1918, unique local, site local.
    Private,
    /// Between a provider and its customers: `100.64.0.0/10`.
    Shared,
    /// This link, where clouds keep their metadata.
    LinkLocal,
    /// Many at once.
    Multicast,
    /// Another address in disguise: IPv4-mapped, NAT64, 6to4, Teredo.
    Translated,
    /// Kept for other purposes.
    Reserved,
}

impl AddressClass {
    /// A few words for a person.
    pub fn word(self) -> &'static str {
        match self {
            AddressClass::Public => "public",
            AddressClass::Unspecified => "no address at all",
            AddressClass::Loopback => "this machine",
            AddressClass::Private => "a private network",
            AddressClass::Shared => "a provider's own network",
            AddressClass::LinkLocal => "link-local",
            AddressClass::Multicast => "multicast",
            AddressClass::Translated => "another address in disguise",
            AddressClass::Reserved => "reserved",
        }
    }
}

/// What kind of address this is.
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => of_v6(address),
    }
}

/// Ranges of the IANA registry of special addresses, the first that fits counts.
const V4: &[([u8; 4], u8, AddressClass)] = &[
    ([0, 0, 0, 0], 8, AddressClass::Unspecified),
    ([10, 0, 0, 0], 8, AddressClass::Private),
    ([100, 64, 0, 0], 10, AddressClass::Shared),
    ([127, 0, 0, 0], 8, AddressClass::Loopback),
    ([169, 254, 0, 0], 16, AddressClass::LinkLocal),
    ([172, 16, 0, 0], 12, AddressClass::Private),
    ([192, 0, 0, 0], 24, AddressClass::Reserved),
    ([192, 0, 2, 0], 24, AddressClass::Reserved),
    ([192, 88, 99, 0], 24, AddressClass::Translated),
    ([192, 168, 0, 0], 16, AddressClass::Private),
    ([198, 18, 0, 0], 15, AddressClass::Reserved),
    ([198, 51, 100, 0], 24, AddressClass::Reserved),
    ([203, 0, 113, 0], 24, AddressClass::Reserved),
    ([224, 0, 0, 0], 4, AddressClass::Multicast),
    ([240, 0, 0, 0], 4, AddressClass::Reserved),
];

/// The same of version 6. What stands in none of them and not in `2000::/3` is reserved.
const V6: &[([u16; 8], u8, AddressClass)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, AddressClass::Unspecified),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, AddressClass::Loopback),
    // IPv4-compatible, IPv4-mapped, IPv4-translated.
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, AddressClass::Translated),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, AddressClass::Translated),
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, AddressClass::Translated),
    // NAT64, with the well-known prefix and with a local one.
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, AddressClass::Translated),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, AddressClass::Translated),
    // Teredo, the rest of the protocol assignments, documentation, 6to4.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, AddressClass::Translated),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, AddressClass::Reserved),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, AddressClass::Reserved),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, AddressClass::Translated),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, AddressClass::Reserved),
    ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, AddressClass::Public),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, AddressClass::Private),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, AddressClass::LinkLocal),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, AddressClass::Private),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, AddressClass::Multicast),
];

fn of_v4(address: Ipv4Addr) -> AddressClass {
    let fits = |(base, bits, _): &&([u8; 4], u8, AddressClass)| {
        network(IpAddr::V4(Ipv4Addr::from(*base)), *bits).contains(IpAddr::V4(address))
    };
    V4.iter().find(fits).map_or(AddressClass::Public, |(_, _, class)| *class)
}

fn of_v6(address: Ipv6Addr) -> AddressClass {
    let fits = |(base, bits, _): &&([u16; 8], u8, AddressClass)| {
        network(IpAddr::V6(Ipv6Addr::from(*base)), *bits).contains(IpAddr::V6(address))
    };
    V6.iter().find(fits).map_or(AddressClass::Reserved, |(_, _, class)| *class)
}

fn network(base: IpAddr, bits: u8) -> Network {
    Network { base, bits }
}

/// A range of addresses, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address lies in it. An address of the other version never does.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let cut = |a: Ipv4Addr| u32::from(a).checked_shr(32 - u32::from(self.bits)).unwrap_or(0);
                cut(base) == cut(address)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let cut = |a: Ipv6Addr| u128::from(a).checked_shr(128 - u32::from(self.bits)).unwrap_or(0);
                cut(base) == cut(address)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

/// The text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no range of addresses; write `10.0.0.0/8`, `fd00::/8` or one address")]
pub struct NetworkFault(String);

impl FromStr for Network {
    type Err = NetworkFault;
    fn from_str(text: &str) -> Result<Network, NetworkFault> {
        let fault = || NetworkFault(text.chars().take(64).collect());
        let (base, bits) = text.split_once('/').map_or((text, None), |(base, bits)| (base, Some(bits)));
        let base: IpAddr = base.parse().map_err(|_| fault())?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(fault)?,
        };
        Ok(Network { base, bits })
    }
}

/// Which addresses may be dialled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Ranges that an operator has opened although they are not public.
    pub open: Vec<Network>,
}

impl Egress {
    /// Whether this address may be dialled.
    ///
    /// # Errors
    /// What kind of address it is that may not.
    pub fn admits(&self, address: IpAddr) -> Result<(), AddressClass> {
        match classify(address) {
            AddressClass::Public => Ok(()),
            _ if self.opens(address) => Ok(()),
            class => Err(class),
        }
    }
    /// Whether an operator has named a range with this address.
    pub fn opens(&self, address: IpAddr) -> bool {
        self.open.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_by_their_kind() {
        use AddressClass::*;
        for (text, class) in [
            ("8.8.8.8", Public),
            ("192.0.1.1", Public),
            ("172.32.0.1", Public),
            ("100.128.0.1", Public),
            ("2606:4700::1111", Public),
            ("2a00:1450:4003:80f::200e", Public),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("::", Unspecified),
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("::1", Loopback),
            ("10.1.2.3", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("fd12:3456::1", Private),
            ("fc00::1", Private),
            ("fec0::1", Private),
            ("100.64.0.1", Shared),
            ("100.127.255.255", Shared),
            ("169.254.169.254", LinkLocal),
            ("fe80::1", LinkLocal),
            ("224.0.0.1", Multicast),
            ("239.255.255.250", Multicast),
            ("ff02::1", Multicast),
            ("::ffff:127.0.0.1", Translated),
            ("::ffff:8.8.8.8", Translated),
            ("::127.0.0.1", Translated),
            ("64:ff9b::7f00:1", Translated),
            ("64:ff9b:1::1", Translated),
            ("2002:7f00:1::", Translated),
            ("2001:0:1::1", Translated),
            ("192.88.99.1", Translated),
            ("192.0.0.8", Reserved),
            ("192.0.2.1", Reserved),
            ("198.18.0.1", Reserved),
            ("198.51.100.1", Reserved),
            ("203.0.113.1", Reserved),
            ("240.0.0.1", Reserved),
            ("255.255.255.255", Reserved),
            ("2001:db8::1", Reserved),
            ("2001:20::1", Reserved),
            ("3fff::1", Reserved),
            ("100::1", Reserved),
            ("5f00::1", Reserved),
            ("4000::1", Reserved),
        ] {
            assert_eq!(classify(text.parse().unwrap()), class, "{text}");
        }
    }

    #[test]
    fn ranges() {
        let contains =
            |range: &str, address: &str| range.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "9.9.9.9") && contains("::/0", "fe80::1"));
        assert!(contains("127.0.0.1", "127.0.0.1") && !contains("127.0.0.1", "127.0.0.2"));
        assert!(!contains("127.0.0.0/8", "::ffff:127.0.0.1"), "a disguise has to be named itself");
        assert!(contains("::ffff:127.0.0.0/104", "::ffff:127.0.0.1"));
        for text in
            ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/x", "localhost", "1.2.3.4/-1"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        assert_eq!("fd00::/8".parse::<Network>().unwrap().to_string(), "fd00::/8");
    }

    #[test]
    fn an_operator_opens_what_is_named_and_nothing_else() {
        let closed = Egress::default();
        let open = Egress { open: vec!["127.0.0.0/8".parse().unwrap()] };
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(closed.admits(at("127.0.0.1")), Err(AddressClass::Loopback));
        assert_eq!(closed.admits(at("8.8.8.8")), Ok(()));
        assert_eq!(open.admits(at("127.0.0.1")), Ok(()));
        assert_eq!(open.admits(at("::1")), Err(AddressClass::Loopback));
        assert_eq!(open.admits(at("::ffff:127.0.0.1")), Err(AddressClass::Translated));
        assert_eq!(open.admits(at("10.0.0.1")), Err(AddressClass::Private));
    }
}
