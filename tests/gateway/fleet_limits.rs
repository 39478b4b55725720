//! Who has a fleet's token invents boards: how many get registered, and what stays of the
//! others.

use std::fs;

use crate::daemon::{Answer, Daemon};
use crate::test_gateway::{TestGateway, token};

fn version(daemon: &Daemon, token: &str, key: &str) -> Answer {
    let head = format!("GET /api/iot/firmware-version?device_key={key}");
    daemon.request(&format!("{head}\r\nAuthorization: Bearer {token}"), b"")
}

#[test]
fn the_configuration_says_how_many_boards_a_fleet_token_registers() {
    let site = TestGateway::with("[auth.fleet]\nmax_devices = 4\nburst = 3\nper_hour = 0\n");
    let daemon = &site.daemon;
    let fleet = token(daemon, "field", "fleet", Some("lamp"));
    let statuses = |prefix: &str| {
        [1, 2, 3, 4].map(|n| version(daemon, &fleet, &format!("{prefix}{n}")).status)
    };
    assert_eq!(statuses("a"), [200, 200, 200, 403]);
    let text = fs::read_to_string(daemon.folder.path().join("espgate.toml")).unwrap();
    let more = text.replace("burst = 3\nper_hour = 0", "burst = 9\nper_hour = 3600000");
    crate::daemon::write(&daemon.folder.path().join("espgate.toml"), more.as_bytes());
    daemon.signal("HUP");
    daemon.wait_for_event("ConfigurationReloaded", "auth.fleet");
    assert_eq!(statuses("b"), [200, 403, 403, 403], "four in all");
    assert_eq!(statuses("a"), [200, 200, 200, 403]);
}
