//! Which settings a reload puts in force, and which need a restart.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use espgate::config::{AT_START, Config, PortMatch, SerialPort};
use espgate::http::tls::Tls;
use serde_json::{Value, json};

use crate::daemon::{Answer, Daemon, Start, connect, exchange, write};
use crate::firmware_files::{Build, zip};
use crate::test_gateway::{TestGateway, dump};

const PATIENCE: Duration = Duration::from_secs(30);

/// How it shows that a setting is in force after a reload.
enum Shown {
    /// This becomes true of the daemon that [`Reloaded::new`] makes.
    By(fn(&Reloaded) -> bool),
    /// In a test of its own, which has this name.
    In(&'static str),
    /// It is handed on together with that one, and shows nothing here by itself.
    With(&'static str),
}
use Shown::{By, In, With};

const LIVE: &[(&str, Shown)] = &[
    (
        "http.listen",
        By(|it| it.address().ip().to_string() == "127.0.0.2"),
    ),
    (
        "http.public_url",
        By(|it| {
            let script = it.request("GET /api/pipeline/upload.sh", b"").body;
            String::from_utf8_lossy(&script).contains("https://later.example")
        }),
    ),
    (
        "http.max_connections",
        In("connections_that_wait_get_in_when_more_may"),
    ),
    (
        "http.max_connections_per_address",
        In("connections_that_wait_get_in_when_more_may"),
    ),
    (
        "tls.cert",
        In("a_certificate_of_ones_own_is_served_after_a_reload"),
    ),
    (
        "tls.key",
        In("a_certificate_of_ones_own_is_served_after_a_reload"),
    ),
    ("tls.ca_cert", By(Reloaded::has_other_authority)),
    ("tls.ca_key", By(Reloaded::has_other_authority)),
    (
        "tls.names",
        By(|it| {
            let names = &it.site.daemon.control("GET /api/tls", b"").json()["server"]["names"];
            names.to_string().contains("later.example")
        }),
    ),
    ("tls.max_record_bytes", By(|it| it.largest_record() < 1000)),
    (
        "auth.devices",
        By(|it| {
            let head = "POST /api/iot/coredump?chip=esp32&firmware_version=1&device_key=k3";
            it.request(head, b"anything").status == 201
        }),
    ),
    (
        "auth.pipeline",
        By(|it| {
            let head = "GET /api/pipeline/models/lamp/firmware-version";
            it.request(head, b"").status == 200
        }),
    ),
    ("auth.fleet.max_devices", With("auth.fleet.burst")),
    (
        "auth.fleet.burst",
        In("the_configuration_says_how_many_boards_a_fleet_token_registers"),
    ),
    ("auth.fleet.per_hour", With("auth.fleet.burst")),
    (
        "coredumps.max_upload_bytes",
        By(|it| {
            let head = "POST /api/iot/coredump?chip=esp32&firmware_version=1&device_key=k3";
            it.request(head, &[7; 2000]).status == 400
        }),
    ),
    ("coredumps.keep_per_device", By(|it| it.dumps_of("k2") <= 4)),
    // The one in the middle goes, of three that are the same crash, by both.
    (
        "coredumps.keep_first_of_crash",
        By(|it| it.dumps_of("k1") == 2),
    ),
    (
        "coredumps.keep_last_of_crash",
        By(|it| it.dumps_of("k1") == 2),
    ),
    (
        "coredumps.max_total",
        In("less_room_for_dumps_counts_after_a_reload"),
    ),
    // More than 1 GiB is never asked for, which most disks have.
    ("coredumps.min_free", With("coredumps.max_total")),
    ("crashes.skip", In("a_site_s_lists_count_after_a_reload")),
    ("crashes.prefix", In("a_site_s_lists_count_after_a_reload")),
    ("crashes.base", In("a_site_s_lists_count_after_a_reload")),
    (
        "firmware.max_bundle_bytes",
        By(|it| {
            let head = "POST /api/pipeline/models/lamp/firmware";
            it.request(head, &large_bundle()).status == 200
        }),
    ),
    // Builds that are younger than a month stay in any case.
    ("firmware.keep_versions", With("firmware.zip_to_devices")),
    (
        "firmware.zip_to_devices",
        By(|it| {
            let head = "GET /api/iot/firmware.zip?device_key=k1";
            it.request(head, b"").status != 200
        }),
    ),
    (
        "rollouts.canary",
        In("how_rollouts_go_out_counts_after_a_reload"),
    ),
    ("rollouts.waves", With("rollouts.canary")),
    ("rollouts.canary_soak", With("rollouts.canary")),
    ("rollouts.soak", With("rollouts.canary")),
    ("rollouts.watch", With("rollouts.canary")),
    ("rollouts.return_within", With("rollouts.canary")),
    ("rollouts.parallel", With("rollouts.canary")),
    ("rollouts.window", With("rollouts.canary")),
    ("rollouts.gate", With("rollouts.canary")),
    ("rollouts.confirmed", With("rollouts.canary")),
    ("rollouts.on_stop", With("rollouts.canary")),
    (
        "rollouts.max_downloads",
        In("the_limit_of_all_downloads_counts_after_a_reload"),
    ),
    // Looking for ports would open those of the machine that runs the tests.
    ("serial.discover", With("serial.port.path")),
    (
        "serial.mask",
        In("a_rule_that_hides_more_reaches_a_port_that_is_open"),
    ),
    ("serial.partition_table_offset", With("serial.port.path")),
    ("serial.port.path", By(|it| it.port().is_some())),
    ("serial.port.match.usb_serial", With("serial.port.path")),
    ("serial.port.match.vid", With("serial.port.path")),
    ("serial.port.match.pid", With("serial.port.path")),
    ("serial.port.match.place", With("serial.port.path")),
    (
        "serial.port.baud",
        By(|it| it.port().is_some_and(|port| port["baud"] == 57_600)),
    ),
    (
        "serial.port.device_key",
        By(|it| it.port().is_some_and(|port| port["device_key"] == "k4")),
    ),
    (
        "serial.port.model",
        By(|it| it.port().is_some_and(|port| port["model_code"] == "lamp")),
    ),
    ("serial.port.lines", With("serial.port.baud")),
    ("serial.port.reset", With("serial.port.baud")),
    ("serial.port.read_flash", With("serial.port.baud")),
    ("serial.port.press_enter", With("serial.port.baud")),
];

/// The keys of all settings there are.
fn all_settings() -> BTreeSet<String> {
    fn walk(key: &str, value: &Value, keys: &mut BTreeSet<String>) {
        match value {
            Value::Object(inner) => {
                for (name, value) in inner {
                    let dot = if key.is_empty() { "" } else { "." };
                    walk(&format!("{key}{dot}{name}"), value, keys);
                }
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                items.iter().for_each(|item| walk(key, item, keys));
            }
            _ => {
                keys.insert(key.to_owned());
            }
        }
    }
    let mut config = Config::default();
    config.serial.port.push(SerialPort {
        matching: Some(PortMatch::default()),
        ..SerialPort::default()
    });
    let mut keys = BTreeSet::new();
    walk("", &serde_json::to_value(config).unwrap(), &mut keys);
    keys
}

#[test]
fn every_setting_is_in_force_after_a_reload_or_needs_a_restart() {
    let listed: Vec<&str> = LIVE.iter().map(|(key, _)| *key).chain(AT_START).collect();
    let unique: BTreeSet<String> = listed.iter().map(|key| String::from(*key)).collect();
    assert_eq!(unique, all_settings());
    assert_eq!(unique.len(), listed.len());

    let it = Reloaded::new();
    for (key, shown) in LIVE {
        match shown {
            By(check) => until(key, || check(&it)),
            In(test) => {
                let here = [
                    include_str!("reload.rs"),
                    include_str!("signatures.rs"),
                    include_str!("fleet_limits.rs"),
                    include_str!("rollouts.rs"),
                ];
                let here = here
                    .iter()
                    .any(|it| it.contains(&format!("#[test]\nfn {test}() {{")));
                let usb = include_str!("../usb/console.rs");
                let there = usb.contains(&format!("#[tokio::test]\nasync fn {test}() {{"));
                assert!(here || there, "{test}");
            }
            With(other) => {
                let other = LIVE.iter().find(|(key, _)| key == other);
                assert!(
                    other.is_some_and(|(_, shown)| !matches!(shown, With(_))),
                    "{key}"
                );
            }
        }
    }
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_is_in_force() {
    let site = TestGateway::new();
    let daemon = &site.daemon;
    let good = fs::read_to_string(daemon.folder.path().join("espgate.toml")).unwrap();
    let elsewhere = daemon.folder.path().join("elsewhere");
    let text = format!("data_dir = {elsewhere:?}\n{good}[coredumps]\nmax_upload_bytes = 1024\n");
    reload(daemon, &text);
    daemon.wait_for_event("ConfigurationReloaded", "data_dir");
    let degraded = || daemon.control("GET /api/status", b"").json()["degraded"].to_string();
    assert!(degraded().contains("data_dir"), "{}", degraded());
    assert_eq!(site.post(&[7; 2000]).status, 400);
    // With what has never run there is nothing to go back to.
    let last = fs::read_to_string(daemon.data().join("state/espgate.toml.last")).unwrap();
    assert_eq!(last, good);
    reload(daemon, &good);
    daemon.wait_for_event("ConfigurationReloaded", ": coredumps.max_upload_bytes\"");
    assert_eq!(degraded(), "[]");
}

#[test]
fn connections_that_wait_get_in_when_more_may() {
    let daemon = Start::new("[http]\nmax_connections = 1\n").start();
    // a handshake that does not go on, and is not broken off for the same client
    let _silent = TcpStream::connect(daemon.address).unwrap();
    let mut waiting = daemon.connect();
    let path = daemon.folder.path().join("espgate.toml");
    let text = fs::read_to_string(path).unwrap();
    reload(
        &daemon,
        &text.replace("max_connections = 1", "max_connections = 9"),
    );
    assert_eq!(exchange(&mut waiting, "GET /healthz", b"").status, 200);
}

#[test]
fn a_certificate_of_ones_own_is_served_after_a_reload() {
    let daemon = Start::new("").start();
    let other = tempfile::tempdir().unwrap();
    let ca = authority(other.path());
    let text = fs::read_to_string(daemon.folder.path().join("espgate.toml")).unwrap();
    let (cert, key) = (
        other.path().join("server.pem"),
        other.path().join("server.key"),
    );
    reload(
        &daemon,
        &format!("{text}[tls]\ncert = {cert:?}\nkey = {key:?}\n"),
    );
    daemon.wait_for_event("ConfigurationReloaded", "");
    let mut stream = connect(daemon.address, &ca);
    assert_eq!(exchange(&mut stream, "GET /healthz", b"").status, 200);
}

#[test]
fn less_room_for_dumps_counts_after_a_reload() {
    let site = TestGateway::new();
    // A device's newest 20 are safe from this rule.
    const DUMPS: u8 = 23;
    for salt in 1..=DUMPS {
        assert_eq!(site.post(&[salt; 100]).status, 201);
    }
    let text = fs::read_to_string(site.daemon.folder.path().join("espgate.toml")).unwrap();
    reload(&site.daemon, &format!("{text}[coredumps]\nmax_total = 1\n"));
    until("max_total", || {
        dumps_of(&site.daemon, "k1") < usize::from(DUMPS)
    });
}

/// A daemon whose settings all changed while it ran.
struct Reloaded {
    site: TestGateway,
    /// Of the CA that makes its certificate now.
    ca: Vec<u8>,
    _other: tempfile::TempDir,
}

impl Reloaded {
    fn new() -> Self {
        let site = TestGateway::with("[firmware]\nmax_bundle_bytes = 65536\n");
        let daemon = &site.daemon;
        let made = daemon.manage(
            "POST /api/devices",
            &json!({ "device_key": "k2", "model": "lamp" }),
        );
        daemon.manage(
            "POST /api/devices",
            &json!({ "device_key": "k3", "model": "lamp" }),
        );
        for salt in 1..=3 {
            assert_eq!(site.post(&dump(salt)).status, 201);
        }
        let token = made["token"].as_str().unwrap();
        let head = format!(
            "POST /api/iot/coredump?chip=esp32&firmware_version=1\r\nAuthorization: Bearer {token}"
        );
        for salt in 1..=5 {
            assert_eq!(daemon.request(&head, &[salt; 100]).status, 201);
        }
        assert_eq!((dumps_of(daemon, "k1"), dumps_of(daemon, "k2")), (3, 5));
        until("all are decoded", || {
            let status = daemon.control("GET /api/status", b"").json();
            status["counts"]["not_decoded_yet"] == 0
        });
        // Of another version than the dumps': nothing is decoded with it.
        let build = Build {
            version: "5.0",
            ..Build::of("lamp")
        };
        assert_eq!(site.upload(&build.zip()).status, 200);
        assert_eq!(site.device("GET /api/iot/firmware.zip", b"").status, 200);
        assert_ne!(site.upload(&large_bundle()).status, 200);

        let other = tempfile::tempdir().unwrap();
        let ca = authority(other.path());
        let (ca_cert, ca_key) = (other.path().join("ca.pem"), other.path().join("ca.key"));
        let text = format!(
            r#"
            [http]
            listen = ["127.0.0.2:0"]
            public_url = "https://later.example"
            [tls]
            ca_cert = {ca_cert:?}
            ca_key = {ca_key:?}
            names = ["later.example"]
            max_record_bytes = 512
            [auth]
            devices = "open"
            pipeline = "open"
            [coredumps]
            max_upload_bytes = 1024
            keep_per_device = 4
            keep_first_of_crash = 1
            keep_last_of_crash = 1
            [firmware]
            max_bundle_bytes = 10_000_000
            keep_versions = 1
            zip_to_devices = false
            [serial]
            discover = "off"
            [[serial.port]]
            path = "/dev/no-such-port-here"
            baud = 57600
            device_key = "k4"
            model = "lamp"
            "#
        );
        reload(daemon, &text);
        daemon.wait_for_event("ConfigurationReloaded", "");
        Self {
            site,
            ca,
            _other: other,
        }
    }

    fn address(&self) -> SocketAddr {
        let path = self.site.daemon.data().join("run/https-address");
        let text = fs::read_to_string(path).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    fn request(&self, head: &str, body: &[u8]) -> Answer {
        exchange(&mut connect(self.address(), &self.ca), head, body)
    }

    /// No request is answered unless the other CA's key signed the certificate.
    fn has_other_authority(&self) -> bool {
        self.request("GET /healthz", b"").status == 200
    }

    fn dumps_of(&self, device: &str) -> usize {
        dumps_of(&self.site.daemon, device)
    }

    /// The configured port, as it is listed.
    fn port(&self) -> Option<Value> {
        let list = self.site.daemon.control("GET /api/ports", b"").json();
        let ports = list["ports"].as_array().unwrap();
        let is_it = |port: &&Value| port["path"] == "/dev/no-such-port-here";
        ports.iter().find(is_it).cloned()
    }

    /// The longest of the TLS records that a long answer comes in.
    fn largest_record(&self) -> usize {
        let mut stream = connect(self.address(), &self.ca);
        let request = b"GET /api/pipeline/upload.sh HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).unwrap();
        stream.flush().unwrap();
        let mut largest = 0;
        let mut total = 0;
        while total < 4000 {
            let mut head = [0; 5];
            stream.sock.read_exact(&mut head).unwrap();
            let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
            stream.sock.read_exact(&mut vec![0; length]).unwrap();
            largest = largest.max(length);
            total += length;
        }
        largest
    }
}

fn dumps_of(daemon: &Daemon, device: &str) -> usize {
    let list = daemon.control("GET /api/coredumps", b"").json();
    let dumps = list["coredumps"].as_array().unwrap();
    dumps
        .iter()
        .filter(|dump| dump["device_key"] == device)
        .count()
}

/// A bundle that is small, and larger once it is unpacked.
fn large_bundle() -> Vec<u8> {
    let build = Build {
        version: "9.0",
        seed: 9,
        ..Build::of("lamp")
    };
    let mut files = build.files();
    files.retain(|(name, _)| !name.ends_with(".map"));
    files.push((String::from("lamp.map"), vec![b'x'; 400_000]));
    zip(&files)
}

/// Makes a CA and a certificate in `folder`; the CA's certificate.
fn authority(folder: &Path) -> Vec<u8> {
    Tls::open(folder, espgate::config::Tls::default()).unwrap();
    fs::read(folder.join("ca.pem")).unwrap()
}

pub(crate) fn reload(daemon: &Daemon, text: &str) {
    write(&daemon.folder.path().join("espgate.toml"), text.as_bytes());
    daemon.signal("HUP");
}

pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
