//! Start, reload, stop; sockets and notifications of systemd.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::daemon::{Start, write};
use crate::test_gateway::{TestGateway, dump};

#[test]
fn a_faulty_reload_keeps_what_runs_and_a_good_one_takes_effect() {
    let site = TestGateway::new();
    let path = site.daemon.folder.path().join("espgate.toml");
    let good = fs::read_to_string(&path).unwrap();
    write(
        &path,
        format!("{good}[firmware]\nkeep_versions = 0\n").as_bytes(),
    );
    site.daemon.signal("HUP");
    site.daemon
        .wait_for_event("ConfigurationFaulty", "firmware.keep_versions");
    let status = site.daemon.control("GET /api/status", b"").json();
    assert!(
        status["degraded"][0]
            .as_str()
            .unwrap()
            .contains("keep_versions")
    );
    write(&path, format!("{good}[http2]\nx = 1\n").as_bytes());
    site.daemon.signal("HUP");
    site.daemon.wait_for_event("ConfigurationFaulty", "http2");
    write(
        &path,
        format!("{good}[coredumps]\nmax_upload_bytes = 1024\n").as_bytes(),
    );
    site.daemon.signal("HUP");
    site.daemon
        .wait_for_event("ConfigurationReloaded", "coredumps.max_upload_bytes");
    assert_eq!(site.post(&[7; 2000]).status, 400);
    let status = site.daemon.control("GET /api/status", b"").json();
    assert_eq!(status["degraded"], Value::Array(vec![]));
}

#[test]
fn a_stopped_daemon_leaves_nothing_behind_and_starts_again_as_it_was() {
    let site = TestGateway::new();
    assert_eq!(site.post(&dump(1)).status, 201);
    let folder = Arc::clone(&site.daemon.folder);
    let token = site.device.clone();
    assert_eq!(site.daemon.stop(), Some(0));
    let mut hidden = Vec::new();
    for entry in walk(&folder.path().join("data")) {
        if entry
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'))
        {
            hidden.push(entry);
        }
    }
    assert_eq!(hidden, Vec::<std::path::PathBuf>::new());
    let daemon = Start::on(folder, "").start();
    let listed = daemon.control("GET /api/coredumps", b"").json();
    assert_eq!(listed["coredumps"].as_array().unwrap().len(), 1);
    let head = format!("GET /api/iot/firmware-version\r\nAuthorization: Bearer {token}");
    assert_eq!(daemon.request(&head, b"").status, 200);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        found.push(entry.path());
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        }
    }
    found
}

#[test]
fn a_reload_keeps_the_listeners_whose_addresses_stay_and_all_of_them_if_one_cannot_be_had() {
    let daemon = Start::new("").start();
    let first = daemon.address.to_string();
    let path = daemon.folder.path().join("espgate.toml");
    let text = fs::read_to_string(&path).unwrap();
    let listening = || -> Vec<String> {
        let noted = fs::read_to_string(daemon.data().join("run/https-address"));
        noted.unwrap().lines().map(str::to_owned).collect()
    };
    let mut reloads = 0;
    let mut reload = |addresses: &str| {
        let line = format!("listen = [{addresses}]");
        write(
            &path,
            text.replace("listen = [\"127.0.0.1:0\"]", &line).as_bytes(),
        );
        daemon.signal("HUP");
        reloads += 1;
        crate::stalled_disk::until("it is reloaded", || {
            daemon.events("ConfigurationReloaded").len() == reloads
        });
    };
    let mut kept = daemon.connect();
    reload(&format!("\"127.0.0.2:0\", \"{first}\""));
    let both = listening();
    assert_eq!((both.len(), &both[1]), (2, &first));
    let answer = crate::daemon::exchange(&mut kept, "GET /healthz", b"");
    assert_eq!(answer.status, 200, "a connection was cut");
    assert_eq!(daemon.request("GET /healthz", b"").status, 200);
    let ca = fs::read(daemon.data().join("tls/ca.pem")).unwrap();
    let answers = |address: &str| {
        let mut stream = crate::daemon::connect(address.parse().unwrap(), &ca);
        crate::daemon::exchange(&mut stream, "GET /healthz", b"").status
    };
    reload(&format!("\"{}\"", both[0]));
    assert_eq!(listening(), [both[0].clone()]);
    assert_eq!(answers(&both[0]), 200);
    crate::stalled_disk::until("the other is closed", || {
        TcpStream::connect(&first).is_err()
    });

    let faulty = format!("\"{}\", \"127.0.0.1:0\", \"192.0.2.77:0\"", both[0]);
    let line = format!("listen = [{faulty}]");
    write(
        &path,
        text.replace("listen = [\"127.0.0.1:0\"]", &line).as_bytes(),
    );
    daemon.signal("HUP");
    daemon.wait_for_event("ConfigurationFaulty", "192.0.2.77");
    assert_eq!(listening(), [both[0].clone()]);
    assert_eq!(answers(&both[0]), 200);
}

#[test]
fn a_second_daemon_on_the_same_data_says_who_holds_it() {
    let site = TestGateway::new();
    let second = Start::on(Arc::clone(&site.daemon.folder), "")
        .command()
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let errors = String::from_utf8(second.stderr).unwrap();
    assert!(errors.contains(&site.daemon.pid().to_string()), "{errors}");
}

#[test]
fn an_impossible_configuration_ends_with_78_unless_one_ran_before() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let faulty = "[coredumps]\nmax_upload_bytes = 1\n";
    let output = Start::on(Arc::clone(&folder), faulty)
        .command()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("coredumps.max_upload_bytes")
    );
    Start::on(Arc::clone(&folder), "").start().stop();
    let daemon = Start::on(folder, faulty).start();
    let status = daemon.control("GET /api/status", b"").json();
    assert!(
        status["degraded"][0]
            .as_str()
            .unwrap()
            .contains("coredumps.max_upload_bytes")
    );
}

#[test]
fn a_start_with_what_cannot_be_used_goes_on_with_what_worked() {
    for (faulty, named) in [
        (
            "[tls]\ncert = \"/nope.pem\"\nkey = \"/nope.key\"\n",
            "/nope.pem",
        ),
        ("[coredumps]\ndir = \"/proc/nope\"\n", "/proc/nope"),
        ("[http]\n#192.0.2.77\n", "192.0.2.77"),
    ] {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let start = || {
            let start = Start::on(Arc::clone(&folder), faulty);
            let command = start.command();
            let path = folder.path().join("espgate.toml");
            let text = fs::read_to_string(&path).unwrap();
            // an address that this machine does not have
            let text = text.replace("127.0.0.1:0\"]\n#192.0.2.77", "192.0.2.77:0\"]");
            write(&path, text.as_bytes());
            (start, command)
        };
        let alone = start().1.output().unwrap();
        let code = if named.ends_with("pem") { 78 } else { 1 };
        assert_eq!(alone.status.code(), Some(code), "{faulty}");
        assert!(String::from_utf8_lossy(&alone.stderr).contains(named));

        Start::on(Arc::clone(&folder), "").start().stop();
        let mut command = start().1;
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let socket = folder.path().join("data/run/control.sock");
        let until = std::time::Instant::now() + Duration::from_secs(30);
        let status = loop {
            assert!(std::time::Instant::now() < until, "{faulty}");
            if let Ok(mut stream) = std::os::unix::net::UnixStream::connect(&socket) {
                break crate::daemon::exchange(&mut stream, "GET /api/status", b"").json();
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let degraded = status["degraded"].to_string();
        assert!(degraded.contains(named), "{degraded}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn systemd_is_told_what_happens() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let expect = |text: &str| {
        let mut seen = String::new();
        while !seen.contains(text) {
            let mut bytes = [0; 4096];
            let count = socket
                .recv(&mut bytes)
                .unwrap_or_else(|e| panic!("{e}: no {text} in {seen}"));
            seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
            seen.push('\n');
        }
    };
    let daemon = Start::on(Arc::clone(&folder), "")
        .environment("NOTIFY_SOCKET", path.to_str().unwrap())
        .environment("WATCHDOG_USEC", "3000000")
        .start();
    expect("READY=1");
    expect("WATCHDOG=1");
    daemon.signal("HUP");
    expect("RELOADING=1\nMONOTONIC_USEC=");
    expect("READY=1");
    expect("STATUS=");
    daemon.signal("TERM");
    expect("STOPPING=1");
}

#[test]
fn a_stop_that_comes_while_it_starts_is_in_order() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let mut child = Start::on(Arc::clone(&folder), "")
        .command()
        .spawn()
        .unwrap();
    // It listens, and is not ready: there may be a connection already.
    let listening = folder.path().join("data/run/https-address");
    while !listening.exists() {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::yield_now();
    }
    Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_socket_that_is_passed_in_is_used() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let start = Start::on(Arc::clone(&folder), "");
    let command = start.command();
    // As systemd does: the socket is file descriptor 3, LISTEN_PID the daemon's own.
    let script = format!(
        "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec {} serve",
        command.get_program().to_str().unwrap()
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .env_clear()
        .env("ESPGATE_CONFIG", folder.path().join("espgate.toml"))
        .env("ESPGATE_DATA_DIR", folder.path().join("data"))
        .stdin(std::os::fd::OwnedFd::from(listener))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    while !seen.contains(" is ready on ") {
        assert_ne!(
            std::io::BufRead::read_line(&mut errors, &mut seen).unwrap(),
            0,
            "{seen}"
        );
    }
    assert!(
        seen.contains(&format!("https://127.0.0.1:{port}")),
        "{seen}"
    );
    assert!(
        seen.contains("espgate.socket"),
        "another port than configured: {seen}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_gateway_says_how_it_is() {
    let site = TestGateway::new();
    site.post(&dump(1));
    assert_eq!(
        site.daemon.request("GET /healthz", b"").json()["status"],
        "ok"
    );
    assert_eq!(site.daemon.request("GET /readyz", b"").status, 200);
    let metrics = String::from_utf8(site.daemon.request("GET /metrics", b"").body).unwrap();
    assert!(
        metrics.contains("espgate_coredumps_received_total{source=\"https\",result=\"stored\"} 1")
    );
    assert!(!metrics.contains("k1"), "no device keys");
    let stored = site.daemon.wait_for_event("CoredumpStored", "k1");
    assert_eq!(stored["device_key"], "k1");
    assert!(
        !stored.to_string().contains(&site.device[13..]),
        "no secrets"
    );
    assert!(
        !site.daemon.journal().contains(&site.device[13..]),
        "no secrets"
    );
}

#[test]
fn who_comes_without_tls_or_with_a_wrong_token_is_named() {
    let daemon = Start::new("").start();
    let mut plain = TcpStream::connect(daemon.address).unwrap();
    plain
        .write_all(b"POST /api/iot/coredump HTTP/1.1\r\n\r\n")
        .unwrap();
    daemon.wait_for_event("ConnectionTrouble", "https://");

    let token = format!("eg1_{}_{}", "abcd2345", "z".repeat(32));
    let head = format!("GET /api/iot/firmware\r\nAuthorization: Bearer {token}");
    assert_eq!(daemon.request(&head, b"").status, 401);
    let refused = daemon
        .wait_for_event("CredentialRefused", "abcd2345")
        .to_string();
    assert!(refused.contains("/api/iot/firmware") && refused.contains("127.0.0.1"));
    assert!(!daemon.journal().contains("zzzz"));
}
