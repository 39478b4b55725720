//! Blocked, missing or doubtful firmware.

use super::finding::Finding;
use crate::api::devices::Device;
use crate::api::firmware::Build;
use crate::api::models::Model;
use crate::cli::output::known;

/// How many pinned devices are named.
const MAX_NAMED: usize = 5;

/// The build that devices are served, if it was warned about.
pub(super) fn warned(model: &str, builds: &[Build]) -> Vec<Finding> {
    let served = builds.iter().filter(|build| build.active);
    let warnings =
        served.flat_map(|build| build.warnings.iter().map(move |warning| (build, warning)));
    let findings = warnings.map(|(build, warning)| {
        let name = &build.name;
        let what = format!("firmware {name} of {model} (active): {warning}");
        Finding::warning("firmware", what, "build and upload it again")
    });
    findings.collect()
}

/// Why devices of a model get nothing, though a person chose what they get.
/// The devices are all there are.
pub(super) fn not_served(model: &Model, devices: &[Device]) -> Vec<Finding> {
    let (code, active) = (&model.code, known(&model.active));
    let mut findings = Vec::new();
    match model.state.as_str() {
        "blocked" => {
            let what = format!(
                "firmware {active} of {code} is active but blocked: devices get no firmware"
            );
            let advice = format!(
                "activate another version (`espgate firmware activate {code} VERSION`) or unblock it \
                 (`espgate firmware unblock {code} {active}`)"
            );
            findings.push(Finding::warning("firmware", what, &advice));
        }
        "missing" => {
            let what = format!("file of firmware {active} of {code} (active) is missing");
            let advice = format!(
                "upload it again (`espgate firmware add`) or activate another version (`espgate \
                 firmware activate {code} VERSION`)"
            );
            findings.push(Finding::warning("firmware", what, &advice));
        }
        _ => {}
    }
    for version in &model.blocked {
        let of_model = devices
            .iter()
            .filter(|device| device.model.as_ref() == Some(code));
        let pinned = of_model.filter(|device| device.pin.as_ref() == Some(version));
        let keys: Vec<&str> = pinned.map(|device| device.device_key.as_str()).collect();
        if keys.is_empty() {
            continue;
        }
        let mut named = keys.get(..MAX_NAMED).unwrap_or(&keys).join(", ");
        if keys.len() > MAX_NAMED {
            named.push_str(&format!(" and {} more", keys.len() - MAX_NAMED));
        }
        let what = format!(
            "firmware {version} of {code} is blocked; devices pinned to it get no firmware: {named}"
        );
        let advice = "unpin them (`espgate devices unpin KEY`) or pin another version";
        findings.push(Finding::warning("firmware", what, advice));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_served_builds_warnings_are_told() {
        let build = |name: &str, active, warning: &str| Build {
            name: name.to_owned(),
            active,
            warnings: vec![warning.to_owned()],
            ..Build::default()
        };
        let builds = [build("2", true, "no debug info"), build("1", false, "old")];
        let findings = warned("m", &builds);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("no debug info"));
    }

    #[test]
    fn blocked_and_lost_firmware_that_devices_should_get_is_told() {
        let model = |state: &str| Model {
            code: String::from("m"),
            active: Some(String::from("2")),
            state: state.to_owned(),
            blocked: vec![String::from("1"), String::from("2")],
            ..Model::default()
        };
        let device = |key: &str, pin: &str, of: &str| Device {
            device_key: key.to_owned(),
            pin: Some(pin.to_owned()),
            model: Some(of.to_owned()),
            ..Device::default()
        };
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
        let blocked = "firmware 2 of m is active but blocked: devices get no firmware";
        let pinned = "firmware 1 of m is blocked; devices pinned to it get no firmware: a";
        assert_eq!(told(model("blocked"), &devices), [blocked, pinned]);
        assert_eq!(told(model("served"), &devices[1..]), [""; 0]);
        let missing = told(model("missing"), &[]);
        assert!(missing[0].contains("is missing"), "{missing:?}");
    }
}
