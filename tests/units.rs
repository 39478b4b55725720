//! What the units promise to the daemon and to the site.
#![allow(clippy::unwrap_used)]

use espgate::config::Config;

const SERVICE: &str = include_str!("../systemd/espgate.service");
const SOCKET: &str = include_str!("../systemd/espgate.socket");

/// All values of a key, in the file's order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn the_socket_unit_listens_where_the_default_configuration_does() {
    let listen = Config::default().http.listen;
    assert_eq!(listen.len(), 1);
    assert!(listen[0].ip().is_unspecified() && listen[0].is_ipv6());
    assert_eq!(
        values(SOCKET, "ListenStream"),
        [listen[0].port().to_string()]
    );
    assert_eq!(values(SOCKET, "BindIPv6Only"), ["both"]);
}

#[test]
fn nothing_gives_up_starting() {
    assert_eq!(values(SERVICE, "Restart"), ["always"]);
    assert_eq!(values(SERVICE, "StartLimitIntervalSec"), ["0"]);
    assert_eq!(values(SOCKET, "StartLimitIntervalSec"), ["0"]);
    assert_eq!(values(SOCKET, "TriggerLimitIntervalSec"), ["0"]);
}

#[test]
fn nothing_waits_for_the_network_or_the_time() {
    for unit in [SERVICE, SOCKET] {
        for key in ["After", "Wants", "Requires", "BindsTo"] {
            for value in values(unit, key) {
                for word in value.split_whitespace() {
                    assert!(
                        !word.starts_with("network") && !word.starts_with("time-"),
                        "{key}={value}"
                    );
                }
            }
        }
    }
}

#[test]
fn serial_devices_are_named_by_their_numbers() {
    assert_eq!(values(SERVICE, "DevicePolicy"), ["closed"]);
    assert_eq!(
        values(SERVICE, "DeviceAllow"),
        ["char-188 rw", "char-166 rw"]
    );
}

#[test]
fn the_clock_may_be_asked_though_not_set() {
    // ProtectClock= refuses adjtimex even where it only reads.
    assert!(values(SERVICE, "ProtectClock").is_empty());
    let allowed = values(SERVICE, "SystemCallFilter").join(" ");
    for call in ["adjtimex", "clock_adjtime"] {
        assert!(allowed.split(' ').any(|word| word == call), "{call}");
    }
    assert_eq!(values(SERVICE, "CapabilityBoundingSet"), [""]);
}

#[test]
fn the_daemon_cannot_open_connections_so_the_socket_unit_is_required() {
    let families = values(SERVICE, "RestrictAddressFamilies").join(" ");
    assert!(!families.contains("AF_INET"), "{families}");
    assert_eq!(values(SERVICE, "Requires"), ["espgate.socket"]);
    assert_eq!(values(SERVICE, "After"), ["espgate.socket"]);
}
