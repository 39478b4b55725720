//! The daemon and its units.

use std::net::SocketAddr;
use std::process::Command;

use super::finding::Finding;
use crate::api::status::Status;
use crate::cli::failure::Failure;
use crate::config::Config;

/// The finding that the daemon is not reachable.
pub(super) fn unreachable(failure: &Failure) -> Finding {
    let what = match failure {
        Failure::Unreachable(why) | Failure::Usage(why) => why.clone(),
        Failure::Failed(error) => format!("{error:#}"),
    };
    Finding::error("daemon", what, "")
}

/// `status` is the daemon's, if there is one.
pub(super) fn findings(status: Option<&Status>, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(status.into_iter().flat_map(degraded));
    if let Some(listen) = unit_property("espgate.socket", "Listen") {
        findings.extend(other_ports(&listen, &config.http.listen));
    }
    findings
}

fn degraded(status: &Status) -> Vec<Finding> {
    let advice = |reason: &str| match reason.contains("configuration") {
        true => "see `espgate config check`",
        false => "see `journalctl -u espgate -p warning`",
    };
    let reasons = status.degraded.iter();
    reasons
        .map(|reason| Finding::error("daemon", reason, advice(reason)))
        .collect()
}

/// A property as `systemctl show` gives it; `None` without systemd or unit.
pub(super) fn unit_property(unit: &str, name: &str) -> Option<String> {
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

/// systemd's socket decides which port is used, whatever the configuration says.
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
            "the systemd socket is used: `systemctl edit espgate.socket`, or change http.listen";
        Finding::warning("listen", what, advice)
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
}
