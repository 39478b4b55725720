//! Who counts as one client when connections are short.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use tokio::time::Instant;

/// One client.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum ClientKey {
    /// An IPv4 address, an IPv6 address on a network of this machine, or the
    /// first of a /64 farther away: a host picks its own addresses within it.
    Address(IpAddr),
    /// A user of this machine.
    User(u32),
}

/// The IPv6 networks that this machine is on; read again every minute.
#[derive(Debug, Default)]
pub(super) struct LocalNetworks(Mutex<Option<(Instant, Vec<Network>)>>);

/// An address and its prefix length.
type Network = (Ipv6Addr, u32);

impl LocalNetworks {
    /// The client that an address belongs to.
    pub(super) fn client(&self, address: IpAddr) -> ClientKey {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let networks = match &mut *known {
            Some((read, networks)) if read.elapsed() < READ_EVERY => networks,
            other => &mut other.insert((Instant::now(), networks())).1,
        };
        ClientKey::Address(counted(address, networks))
    }
}

fn networks() -> Vec<Network> {
    let interfaces = getifaddrs().into_iter().flatten();
    interfaces
        .filter_map(|interface| {
            let address = interface.address?.as_sockaddr_in6()?.ip();
            let mask = interface.netmask?.as_sockaddr_in6()?.ip();
            Some((address, u128::from(mask).count_ones()))
        })
        .collect()
}

fn counted(address: IpAddr, networks: &[Network]) -> IpAddr {
    let IpAddr::V6(address) = address.to_canonical() else {
        return address.to_canonical();
    };
    let begin_of = |address: Ipv6Addr, length: u32| {
        let shift = 128_u32.saturating_sub(length);
        u128::from(address).checked_shr(shift)
    };
    let is_on = |(own, length): &Network| begin_of(*own, *length) == begin_of(address, *length);
    if address.is_loopback() || address.is_unicast_link_local() || networks.iter().any(is_on) {
        return IpAddr::V6(address);
    }
    IpAddr::V6((u128::from(address) & (u128::MAX << 64)).into())
}

const READ_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_on_the_link_count_by_address_and_others_by_their_64() {
        let networks = [("2001:db8:0:7::1".parse().unwrap(), 64)];
        let one = |text: &str| counted(text.parse().unwrap(), &networks);
        assert_ne!(one("2001:db8:0:7::2"), one("2001:db8:0:7::3"));
        assert_ne!(one("fe80::1"), one("fe80::2"));
        assert_eq!(one("2001:db8:0:8::2"), one("2001:db8:0:8::3"));
        assert_ne!(one("2001:db8:0:8::2"), one("2001:db8:0:9::2"));
        assert_ne!(one("10.0.0.1"), one("10.0.0.2"));
        assert_eq!(one("::ffff:10.0.0.1"), one("10.0.0.1"));
    }

    #[test]
    fn this_machines_own_networks_are_found() {
        let LocalNetworks(_) = LocalNetworks::default();
        let own = LocalNetworks::default().client("::1".parse().unwrap());
        assert_eq!(own, ClientKey::Address("::1".parse().unwrap()));
    }
}
