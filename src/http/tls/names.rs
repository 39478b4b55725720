//! Names in the server certificate: fixed and configured names, the host name, and
//! the machine's permanent addresses.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::{Error, Result};
use crate::config::{is_certificate_name, is_dns_name};

/// The name all firmware can ask for, whatever the site calls its gateway.
pub const COMMON_NAME: &str = "espgate.internal";

/// Most own addresses in a certificate; more would push the server's flight
/// over one small record.
const MAX_ADDRESSES: usize = 8;
/// Most configured names.
const MAX_CONFIGURED: usize = 32;
/// Interfaces of containers, tunnels and bridges of virtual machines: their
/// addresses come and go and no device uses them.
const VIRTUAL: &[&str] = &[
    "docker",
    "veth",
    "br-",
    "virbr",
    "vnet",
    "tun",
    "tap",
    "wg",
    "zt",
    "tailscale",
    "cni",
    "flannel",
    "cali",
    "podman",
    "lxc",
    "lxd",
    "vmnet",
    "vbox",
    "dummy",
    "ifb",
    "sit",
    "gre",
    "bond_slave",
];

/// One interface's address, as far as it matters here.
#[derive(Clone, Debug)]
struct Own {
    interface: String,
    address: IpAddr,
    temporary: bool,
}

/// Checks configured names: DNS names (a wildcard is fine) or addresses.
///
/// # Errors
/// [`Error::Name`] with the first one that is neither.
pub fn check(configured: &[String]) -> Result<()> {
    if configured.len() > MAX_CONFIGURED {
        return Err(Error::Name {
            name: format!("{} names", configured.len()),
            why: "more than 32 names",
        });
    }
    for name in configured {
        if !is_certificate_name(name) {
            return Err(Error::Name {
                name: name.clone(),
                why: "neither a DNS name nor an IP address",
            });
        }
    }
    Ok(())
}

/// All names the certificate should carry now, in their order in it.
pub fn wanted(configured: &[String]) -> Vec<String> {
    let host = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default();
    compose(&host, configured, own_addresses())
}

/// Whether a certificate with `present` has to be renewed for `wanted`: a
/// name is missing, or it has a DNS name too many. An address that is gone for
/// the moment may stay in.
pub(super) fn differ(present: &[String], wanted: &[String]) -> bool {
    let have: BTreeSet<&String> = present.iter().collect();
    let want: BTreeSet<&String> = wanted.iter().collect();
    want.difference(&have).next().is_some()
        || have
            .difference(&want)
            .any(|name| name.parse::<IpAddr>().is_err())
}

fn compose(host: &str, configured: &[String], own: Vec<Own>) -> Vec<String> {
    let mut names = vec![COMMON_NAME.to_owned()];
    let mut add = |name: String| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    let host = host.to_ascii_lowercase();
    if is_dns_name(&host) && host != "localhost" {
        let short = host.split('.').next().unwrap_or(&host).to_owned();
        add(host);
        add(format!("{short}.local"));
        add(short);
    }
    add(String::from("localhost"));
    for name in configured {
        add(name
            .parse::<IpAddr>()
            .map_or_else(|_| name.to_ascii_lowercase(), |address| address.to_string()));
    }
    add(Ipv4Addr::LOCALHOST.to_string());
    add(Ipv6Addr::LOCALHOST.to_string());
    lasting(own)
        .into_iter()
        .for_each(|address| add(address.to_string()));
    names
}

/// The addresses devices may use, IPv4 first, sorted.
fn lasting(own: Vec<Own>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = own
        .into_iter()
        .filter(|own| !own.temporary && !is_virtual(&own.interface) && is_reachable(own.address))
        .map(|own| own.address)
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

fn is_virtual(interface: &str) -> bool {
    VIRTUAL.iter().any(|prefix| interface.starts_with(prefix))
}

fn is_reachable(address: IpAddr) -> bool {
    let special = address.is_loopback() || address.is_unspecified() || address.is_multicast();
    !special
        && match address {
            IpAddr::V4(address) => !address.is_link_local(),
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        }
}

fn own_addresses() -> Vec<Own> {
    let mut own = fs::read_to_string("/proc/net/if_inet6")
        .map(|table| ipv6_table(&table))
        .unwrap_or_default();
    if let Ok(interfaces) = getifaddrs() {
        own.extend(interfaces.filter_map(|interface| {
            if !interface.flags.contains(InterfaceFlags::IFF_UP) {
                return None;
            }
            let address = interface.address?.as_sockaddr_in()?.ip();
            Some(Own {
                interface: interface.interface_name,
                address: IpAddr::V4(address),
                temporary: false,
            })
        }));
    }
    own
}

/// Reads the kernel's list of IPv6 addresses (`if_inet6`: address, index,
/// prefix, scope, flags, interface, all but the last in hex): it alone tells
/// temporary addresses from lasting ones.
fn ipv6_table(table: &str) -> Vec<Own> {
    const TEMPORARY: u32 = 0x01;
    const DEPRECATED: u32 = 0x20;
    let row = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let address = u128::from_str_radix(columns.next()?, 16).ok()?;
        let flags = u32::from_str_radix(columns.nth(3)?, 16).ok()?;
        Some(Own {
            interface: columns.next()?.to_owned(),
            address: IpAddr::V6(Ipv6Addr::from(address)),
            temporary: flags & (TEMPORARY | DEPRECATED) != 0,
        })
    };
    table.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(interface: &str, address: &str) -> Own {
        Own {
            interface: interface.to_owned(),
            address: address.parse().unwrap(),
            temporary: false,
        }
    }

    #[test]
    fn a_certificate_names_host_site_names_and_lasting_addresses() {
        let names = compose(
            "Pi-7.plant.example",
            &[String::from("Gate.example"), String::from("10.0.0.9")],
            vec![
                own("eth0", "192.168.1.7"),
                own("docker0", "172.17.0.1"),
                own("eth0", "169.254.3.4"),
                own("lo", "127.0.0.1"),
                own("wlan0", "fe80::1"),
            ],
        );
        assert_eq!(
            names,
            [
                "espgate.internal",
                "pi-7.plant.example",
                "pi-7.local",
                "pi-7",
                "localhost",
                "gate.example",
                "10.0.0.9",
                "127.0.0.1",
                "::1",
                "192.168.1.7"
            ]
        );
    }

    #[test]
    fn temporary_ipv6_addresses_are_told_apart_by_the_kernels_flags() {
        let table = "\
20010db8000000000000000000000001 02 40 00 80     eth0
20010db800000000aaaaaaaaaaaaaaaa 02 40 00 01     eth0
fe800000000000000000000000000001 02 40 20 80     eth0
garbage
";
        assert_eq!(
            lasting(ipv6_table(table)),
            ["2001:db8::1".parse::<IpAddr>().unwrap()]
        );
    }

    #[test]
    fn at_most_eight_addresses_go_in() {
        let many = (1..=20)
            .map(|n| own("eth0", &format!("10.0.0.{n}")))
            .collect();
        assert_eq!(lasting(many).len(), MAX_ADDRESSES);
    }

    #[test]
    fn an_address_that_went_away_is_no_reason_for_a_new_certificate() {
        let names = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let present = names(&["a", "10.0.0.1"]);
        for (wanted, expected) in [
            (names(&["a", "10.0.0.1"]), false),
            (names(&["a"]), false),
            (names(&["a", "10.0.0.2"]), true),
            (names(&["a", "b", "10.0.0.1"]), true),
            (names(&["10.0.0.1"]), true),
        ] {
            assert_eq!(differ(&present, &wanted), expected, "{wanted:?}");
        }
    }

    #[test]
    fn configured_names_must_be_dns_names_or_addresses() {
        for (name, good) in [
            ("gate.example", true),
            ("*.plant.example", true),
            ("fd00::7", true),
            ("10.1.2.3", true),
            ("", false),
            ("a b", false),
            ("https://gate", false),
            ("-a", false),
            ("a..b", false),
        ] {
            assert_eq!(check(&[name.to_owned()]).is_ok(), good, "{name}");
        }
    }
}
