//! The daemon and its units.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use super::finding::Finding;
use crate::cli::answer::{items, text};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::config::Config;

/// The finding that there is nobody to ask.
pub(super) fn unreachable(failure: &Failure) -> Finding {
    let what = match failure {
        Failure::Unreachable(why) | Failure::Usage(why) => why.clone(),
        Failure::Failed(error) => format!("{error:#}"),
    };
    Finding::error("daemon", what, "")
}

pub(super) fn look(client: Option<&Client>, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let status = client.and_then(|client| client.get("/api/status").send().ok()?.value().ok());
    if let Some(status) = status {
        findings.extend(degraded(&status));
        findings.extend(last_intake(&status));
    }
    if let Some(listen) = unit_property("espgate.socket", "Listen") {
        findings.extend(other_ports(&listen, &config.http.listen));
    }
    if let Some(restarts) = unit_property("espgate.service", "NRestarts") {
        findings.extend(restarted(&restarts));
    }
    findings
}

fn degraded(status: &Value) -> Vec<Finding> {
    let reasons = items(status, "degraded").iter().filter_map(Value::as_str);
    let advice = "see `journalctl -u espgate -p warning`";
    reasons
        .map(|reason| Finding::error("daemon", reason, advice))
        .collect()
}

fn last_intake(status: &Value) -> Option<Finding> {
    let at = text(status, "last_intake/at");
    let what = match at.as_str() {
        "" => String::from("no dump came in since the daemon started"),
        at => format!(
            "the last dump came at {at} from {}",
            text(status, "last_intake/device_key")
        ),
    };
    Some(Finding::note("intake", what))
}

/// A property as `systemctl show` gives it; `None` without systemd or unit.
fn unit_property(unit: &str, name: &str) -> Option<String> {
    let output = Command::new("systemctl")
        .args([
            "show",
            "--value",
            "--property=LoadState",
            &format!("--property={name}"),
            unit,
        ])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.contains("loaded").then_some(text)
}

/// systemd's socket decides; a configuration that says otherwise misleads.
fn other_ports(listen: &str, configured: &[SocketAddr]) -> Option<Finding> {
    let mut unit: Vec<u16> = listen
        .split_whitespace()
        .filter_map(|word| word.rsplit_once(':')?.1.parse().ok())
        .collect();
    let mut own: Vec<u16> = configured.iter().map(SocketAddr::port).collect();
    unit.sort_unstable();
    own.sort_unstable();
    unit.dedup();
    own.dedup();
    (!unit.is_empty() && unit != own).then(|| {
        let what = format!("espgate.socket listens on {unit:?}, http.listen says {own:?}");
        let advice =
            "systemd's socket wins: `systemctl edit espgate.socket`, or change http.listen";
        Finding::warning("listen", what, advice)
    })
}

fn restarted(properties: &str) -> Option<Finding> {
    let count: u32 = properties
        .lines()
        .find_map(|line| line.trim().parse().ok())?;
    (count > 0).then(|| {
        let what = format!("systemd restarted the daemon {count} times since it was started");
        let advice = "see `journalctl -u espgate -p err` for why";
        Finding::warning("daemon", what, advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_unit_on_another_port_is_found() {
        let own: Vec<SocketAddr> = vec!["[::]:8443".parse().unwrap()];
        let same = "loaded\n[::]:8443 (Stream)\n";
        assert_eq!(other_ports(same, &own), None);
        assert!(other_ports("loaded\n[::]:443 (Stream)\n", &own).is_some());
        assert_eq!(other_ports("loaded\n\n", &own), None);
    }

    #[test]
    fn restarts_are_counted() {
        assert_eq!(restarted("loaded\n0\n"), None);
        assert!(restarted("3\nloaded\n").unwrap().what.contains("3 times"));
    }
}
