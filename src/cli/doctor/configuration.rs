//! Errors and risky settings in the configuration file.

use super::finding::Finding;
use crate::cli::args::Global;
use crate::config::{AuthMode, Config};

pub(super) fn findings(global: &Global) -> Vec<Finding> {
    const ADVICE: &str = "see `espgate config check`";
    match global.options().read() {
        Err(fault) => vec![Finding::error(
            "config",
            crate::journal::chain(&fault),
            ADVICE,
        )],
        Ok(None) => Vec::new(),
        Ok(Some((_, loaded))) => {
            let unknown = loaded.unknown.iter();
            let mut findings: Vec<Finding> = unknown
                .map(|fault| Finding::warning("config", format!("configuration: {fault}"), ADVICE))
                .collect();
            findings.extend(open_doors(&loaded.config));
            findings
        }
    }
}

fn open_doors(config: &Config) -> Option<Finding> {
    let what = match (config.auth.devices, config.auth.pipeline) {
        (AuthMode::Open, _) => {
            "auth.devices is \"open\": anyone who reaches the gateway can act as any device"
        }
        (_, AuthMode::Open) => {
            "auth.pipeline is \"open\": anyone on this machine can upload firmware"
        }
        _ => return None,
    };
    Some(Finding::warning(
        "config",
        what,
        "set it to \"token\" outside a lab",
    ))
}
