//! Ports that are lent to programs.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Daemon, Start, daemon, done, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A pseudo terminal; its own side, and the path that a daemon opens.
fn terminal() -> (OwnedFd, String) {
    let pair = nix::pty::openpty(None, None).unwrap();
    let path = nix::unistd::ttyname(&pair.slave).unwrap();
    (pair.master, path.display().to_string())
}

fn config(port: &str) -> String {
    format!("[[serial.port]]\npath = \"{port}\"\n")
}

/// `espgate ports run PORT -- sh -c SCRIPT` in the daemon's folder.
fn run(daemon: &Daemon, port: &str, script: &str) -> Child {
    daemon::binary()
        .args(["ports", "run", port, "--", "sh", "-c", script])
        .env("ESPGATE_DATA_DIR", daemon.data())
        .current_dir(daemon.folder.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub(super) fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn state(daemon: &Daemon) -> String {
    let ports = json(daemon, &["ports", "list", "--json"]);
    // The list is empty until the first look.
    let state = ports["ports"][0]["state"].as_str();
    state.unwrap_or_default().to_owned()
}

fn touch(path: &Path) {
    daemon::write(path, b"");
}

/// Begins, waits for a file, ends with 7.
const SCRIPT: &str = "echo $ESPPORT >began; until test -e end; do sleep 0.05; done; exit 7";

#[test]
fn a_port_is_the_programs_until_its_end_also_if_the_daemon_restarts() {
    let (_wire, port) = terminal();
    let daemon = Start::new(&config(&port)).start();
    until("it is listened to", || state(&daemon) == "listening");
    let mut lent = run(&daemon, &port, SCRIPT);
    let folder = Arc::clone(&daemon.folder);
    let began = folder.path().join("began");
    until("the program runs", || {
        fs::read_to_string(&began).is_ok_and(|text| text.trim() == port)
    });
    assert_eq!(state(&daemon), "lent");
    assert_eq!(daemon.stop(), Some(0));
    let daemon = Start::on(Arc::clone(&folder), &config(&port)).start();
    until("it is lent still", || state(&daemon) == "lent");
    touch(&folder.path().join("end"));
    assert_eq!(lent.wait().unwrap().code(), Some(7));
    until("it is taken back", || state(&daemon) == "listening");
    assert!(done(&daemon, &["ports", "list"]).contains("listening"));
}

#[test]
fn a_stop_is_passed_on_to_the_program_and_the_port_is_taken_back() {
    let (_wire, port) = terminal();
    let daemon = Start::new(&config(&port)).start();
    until("it is listened to", || state(&daemon) == "listening");
    let script = format!("trap 'touch stopped; exit 5' TERM; {SCRIPT}");
    let mut lent = run(&daemon, &port, &script);
    let folder = Arc::clone(&daemon.folder);
    until("the program runs", || folder.path().join("began").exists());
    let process = i32::try_from(lent.id()).unwrap();
    let term = nix::sys::signal::Signal::SIGTERM;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), term).unwrap();
    assert_eq!(lent.wait().unwrap().code(), Some(5));
    assert!(folder.path().join("stopped").exists());
    until("it is taken back", || state(&daemon) == "listening");
}
