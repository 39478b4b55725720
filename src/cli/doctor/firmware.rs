//! Firmware that devices do not get, or get and should not.

use serde_json::Value;

use super::finding::Finding;
use crate::cli::answer::{items, text};

/// How many pinned devices are named.
const MAX_NAMED: usize = 5;

/// The build that devices are served, if it was warned about.
pub(super) fn warned(model: &str, builds: &Value) -> Vec<Finding> {
    let active = items(builds, "firmware")
        .iter()
        .filter(|build| build.get("active") == Some(&Value::Bool(true)));
    active
        .flat_map(|build| {
            let name = text(build, "name");
            let warnings = items(build, "warnings").iter().filter_map(Value::as_str);
            let warnings = warnings.map(move |warning| {
                let what = format!("firmware {name} of {model}, which is served: {warning}");
                Finding::warning("firmware", what, "have it built and uploaded again")
            });
            warnings.collect::<Vec<Finding>>()
        })
        .collect()
}

/// Why devices of a model get nothing, though a person chose what they get.
/// `model` is as the daemon shows it, the devices are all there are.
pub(super) fn not_served(model: &Value, devices: &[Value]) -> Vec<Finding> {
    let (code, active) = (text(model, "code"), text(model, "active"));
    let mut findings = Vec::new();
    match text(model, "state").as_str() {
        "blocked" => {
            let what = format!(
                "firmware {active} of {code} is active and blocked: its devices get nothing"
            );
            let advice = format!(
                "`espgate firmware activate {code} VERSION`, or `espgate firmware unblock {code} \
                 {active}`"
            );
            findings.push(Finding::warning("firmware", what, &advice));
        }
        "missing" => {
            let what = format!("the file of firmware {active} of {code}, which is active, is gone");
            let advice = format!(
                "upload it again with `espgate firmware add`, or `espgate firmware activate {code} \
                 VERSION` another"
            );
            findings.push(Finding::warning("firmware", what, &advice));
        }
        _ => {}
    }
    for version in items(model, "blocked").iter().filter_map(Value::as_str) {
        let pinned = devices
            .iter()
            .filter(|device| text(device, "model") == code && text(device, "pin") == version);
        let keys: Vec<String> = pinned.map(|device| text(device, "device_key")).collect();
        if keys.is_empty() {
            continue;
        }
        let mut named = keys
            .iter()
            .take(MAX_NAMED)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if keys.len() > MAX_NAMED {
            named.push_str(&format!(" and {} more", keys.len() - MAX_NAMED));
        }
        let what = format!(
            "pinned to firmware {version} of {code}, which is blocked, and served nothing: {named}"
        );
        let advice = "`espgate devices unpin KEY`, or pin another version";
        findings.push(Finding::warning("firmware", what, advice));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_served_builds_warnings_are_told() {
        let builds = json!({"firmware": [
            {"name": "2", "active": true, "warnings": ["no debug info"]},
            {"name": "1", "active": false, "warnings": ["old"]},
        ]});
        let findings = warned("m", &builds);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("no debug info"));
    }

    #[test]
    fn blocked_and_lost_firmware_that_devices_should_get_is_told() {
        let model = |state: &str| json!({"code": "m", "active": "2", "state": state, "blocked": ["1", "2"]});
        let device =
            |key: &str, pin: &str, of: &str| json!({"device_key": key, "pin": pin, "model": of});
        let devices = [
            device("a", "1", "m"),
            device("b", "1", "other"),
            device("c", "3", "m"),
        ];
        let told = |model, devices| {
            let findings: Vec<Finding> = not_served(&model, devices);
            findings
                .into_iter()
                .map(|finding| finding.what)
                .collect::<Vec<_>>()
        };
        let blocked = "firmware 2 of m is active and blocked: its devices get nothing";
        let pinned = "pinned to firmware 1 of m, which is blocked, and served nothing: a";
        assert_eq!(told(model("blocked"), &devices), [blocked, pinned]);
        assert_eq!(told(model("served"), &devices[1..]), [""; 0]);
        let missing = told(model("missing"), &[]);
        assert!(missing[0].contains("is gone"), "{missing:?}");
    }
}
