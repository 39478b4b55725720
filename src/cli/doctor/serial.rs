//! Serial ports that the daemon cannot open, and programs that use them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use crate::api::OpenEnum;
use crate::api::ports::{List, PortStatus, State};
use crate::cli::client::Client;
use crate::cli::output::known;
use crate::cli::ports::held_by;

/// Programs that open every new serial port, looking for modems or Braille displays.
const GRABBERS: [(&str, &str); 2] = [
    (
        "ModemManager",
        "install the package's udev rules, or `systemctl disable --now ModemManager`",
    ),
    (
        "brltty",
        "it takes CH340 and CP210x adapters: `apt remove brltty`",
    ),
];

pub(super) fn findings(client: Option<&Client>, root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let asked = client.and_then(|client| client.get("/api/ports").send().ok()?.read().ok());
    let List { ports, .. } = asked.unwrap_or_default();
    findings.extend(ports.iter().filter_map(trouble));
    let devices = devices();
    if !devices.is_empty() {
        findings.extend(
            GRABBERS
                .iter()
                .filter(|(name, _)| runs(name))
                .map(|(name, advice)| {
                    Finding::warning(
                        "ports",
                        format!("{name} is running and may use the boards' ports"),
                        advice,
                    )
                }),
        );
    }
    if let Some(process) = daemon_process(root) {
        findings.extend(devices.iter().filter_map(|path| closed_to(path, &process)));
    }
    findings
}

fn trouble(port: &PortStatus) -> Option<Finding> {
    let advice = match port.state {
        OpenEnum::Known(State::Busy) => {
            "stop the program that uses it, or `espgate ports release` the port"
        }
        OpenEnum::Known(State::Trouble) => "unplug and replug the board, try another cable",
        _ => return None,
    };
    let holder = held_by(port).map(|holder| format!(" (used by {holder})"));
    let holder = holder.unwrap_or_default();
    Some(Finding::warning(
        "ports",
        format!("port {}: {}{holder}", port.name, known(&port.note)),
        advice,
    ))
}

fn devices() -> Vec<PathBuf> {
    let listing = fs::read_dir("/dev").into_iter().flatten().flatten();
    let names = listing.map(|entry| entry.path());
    let is_serial = |path: &PathBuf| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        name.starts_with("ttyUSB") || name.starts_with("ttyACM")
    };
    names.filter(is_serial).collect()
}

fn runs(program: &str) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| fs::read_to_string(process.path().join("comm")).ok())
        .any(|name| name.trim() == program)
}

/// `/proc/<pid>/status` of the daemon that holds the data directory.
fn daemon_process(root: &Path) -> Option<String> {
    let pid: u32 = fs::read_to_string(root.join("lock"))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    fs::read_to_string(format!("/proc/{pid}/status")).ok()
}

fn closed_to(path: &Path, process: &str) -> Option<Finding> {
    let about = fs::metadata(path).ok()?;
    let may = may_open(process, about.uid(), about.gid(), about.mode());
    (!may).then(|| {
        let what = format!(
            "permission denied: the daemon's user cannot open {}",
            path.display()
        );
        let advice = "add SupplementaryGroups=dialout (the device's group) to the service";
        Finding::error("ports", what, advice)
    })
}

fn may_open(process: &str, owner: u32, group: u32, mode: u32) -> bool {
    let numbers = |name: &str| -> Vec<u32> {
        let line = process.lines().find_map(|line| line.strip_prefix(name));
        let words = line.unwrap_or_default().split_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let user = numbers("Uid:").get(1).copied();
    let mut groups = numbers("Groups:");
    groups.extend(numbers("Gid:").get(1));
    let (read_write, shift) = match () {
        () if user == Some(0) => return true,
        () if user == Some(owner) => (0o6, 6),
        () if groups.contains(&group) => (0o6, 3),
        () => (0o6, 0),
    };
    (mode >> shift) & 0o7 & read_write == read_write
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_a_group_that_the_daemon_is_not_in_is_found() {
        let process = |uid: u32, groups: &str| {
            format!(
                "Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t9\t9\t9\t9\nGroups:\t{groups}\n"
            )
        };
        let crw_rw = 0o020_660;
        assert!(may_open(&process(0, ""), 0, 20, crw_rw));
        assert!(may_open(&process(5, "20 44"), 0, 20, crw_rw));
        assert!(!may_open(&process(5, "44"), 0, 20, crw_rw));
        assert!(may_open(&process(5, "44"), 0, 20, 0o020_666));
    }
}
