//! Dumps nobody can read, and the firmware there is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use time::OffsetDateTime;

use super::finding::Finding;
use super::firmware::{not_served, warned};
use super::since;
use crate::cli::answer::{items, text};
use crate::cli::client::{Client, segment};

/// Pages of a thousand dumps that are looked at.
const MAX_PAGES: usize = 20;

pub(super) fn look(client: &Client) -> Vec<Finding> {
    let mut findings = about_dumps(&dumps(client));
    let ask = |path: &str| {
        let answer = client.get(path).patient().send().ok();
        answer
            .and_then(|answer| answer.value().ok())
            .unwrap_or_default()
    };
    let (models, devices) = (ask("/api/models"), ask("/api/devices"));
    for model in items(&models, "models") {
        let code = text(model, "code");
        findings.extend(not_served(model, items(&devices, "devices")));
        let builds = ask(&format!("/api/models/{}/firmware", segment(&code)));
        findings.extend(warned(&code, &builds));
    }
    findings
}

/// What the dumps themselves tell; newest first.
pub(super) fn about_dumps(dumps: &[Value]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(without_elf(dumps));
    findings.extend(undecodable(dumps));
    findings.extend(by_source(dumps, OffsetDateTime::now_utc()));
    findings
}

fn dumps(client: &Client) -> Vec<Value> {
    let mut dumps = Vec::new();
    let mut cursor = String::new();
    for _ in 0..MAX_PAGES {
        let path = format!("/api/coredumps?limit=1000{cursor}");
        let Some(page) = client
            .get(path)
            .patient()
            .send()
            .ok()
            .and_then(|a| a.value().ok())
        else {
            break;
        };
        dumps.extend_from_slice(items(&page, "coredumps"));
        match text(&page, "next_cursor").as_str() {
            "" => break,
            next => cursor = format!("&cursor={next}"),
        }
    }
    dumps
}

fn without_elf(dumps: &[Value]) -> Option<Finding> {
    let missing: Vec<&Value> = dumps
        .iter()
        .filter(|dump| text(dump, "decode") == "no-elf")
        .collect();
    let devices: BTreeSet<String> = missing
        .iter()
        .map(|dump| text(dump, "device_key"))
        .collect();
    let versions: BTreeSet<String> = missing
        .iter()
        .map(|dump| {
            let known = |name| Some(text(dump, name)).filter(|text| !text.is_empty());
            let model = known("model_code");
            let model = model.unwrap_or_else(|| String::from("unknown model"));
            let version = known("firmware_version");
            let build = || format!("build {}", known("app_elf_sha256").unwrap_or_default());
            format!("{model} {}", version.unwrap_or_else(build).trim_end())
        })
        .collect();
    let named: Vec<&str> = versions.iter().take(5).map(String::as_str).collect();
    (!missing.is_empty()).then(|| {
        let what = format!(
            "{} from {} run builds we have no bundle for ({})",
            counted(missing.len(), "dump"),
            counted(devices.len(), "device"),
            named.join(", ")
        );
        let advice = "upload their bundles with `espgate firmware add`; the dumps are then decoded";
        Finding::warning("dumps", what, advice)
    })
}

fn undecodable(dumps: &[Value]) -> Option<Finding> {
    let failed: Vec<String> = dumps
        .iter()
        .filter(|dump| text(dump, "decode") == "failed")
        .map(|dump| text(dump, "id"))
        .collect();
    let named: Vec<&str> = failed.iter().take(5).map(String::as_str).collect();
    (!failed.is_empty()).then(|| {
        let what = format!(
            "{} could not be decoded ({})",
            counted(failed.len(), "dump"),
            named.join(", ")
        );
        let advice =
            "`espgate coredumps show ID` says why, `espgate coredumps redecode ID` tries again";
        Finding::warning("dumps", what, advice)
    })
}

/// When a dump last came by each way, kept or only seen again.
fn by_source(dumps: &[Value], now: OffsetDateTime) -> Vec<Finding> {
    let mut last: BTreeMap<String, (String, String)> = BTreeMap::new();
    for dump in dumps {
        let device = text(dump, "device_key");
        let corrected = text(dump, "corrected_at");
        let stored = match corrected.is_empty() {
            true => text(dump, "uploaded_at"),
            false => corrected,
        };
        let again = items(dump, "sightings")
            .iter()
            .map(|seen| (text(seen, "source"), text(seen, "at")));
        for (source, at) in std::iter::once((text(dump, "source"), stored)).chain(again) {
            let entry = last.entry(source).or_default();
            *entry = std::mem::take(entry).max((at, device.clone()));
        }
    }
    if last.is_empty() {
        return vec![Finding::note("intake", "no dump is stored yet")];
    }
    let told = last.into_iter().map(|(source, (at, device))| {
        let when = crate::clock::parse(&at).map_or(at, |at| since(at, now));
        let what = format!("the last dump by {source} came {when} from {device}");
        Finding::note("intake", what)
    });
    told.collect()
}

fn counted(count: usize, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dumps_without_their_elf_are_counted_by_device_and_build() {
        let dump = |device: &str, decode: &str| json!({"device_key": device, "decode": decode, "model_code": "m", "firmware_version": "1.0"});
        let dumps = [
            dump("a", "no-elf"),
            dump("a", "no-elf"),
            dump("b", "no-elf"),
            dump("c", "done"),
        ];
        let finding = without_elf(&dumps).unwrap();
        assert_eq!(
            finding.what,
            "3 dumps from 2 devices run builds we have no bundle for (m 1.0)"
        );
        let unknown = json!({"device_key": "a", "decode": "no-elf", "app_elf_sha256": "1b43c5e74"});
        let finding = without_elf(&[unknown]).unwrap();
        assert!(
            finding.what.ends_with("(unknown model build 1b43c5e74)"),
            "{}",
            finding.what
        );
        assert_eq!(without_elf(&dumps[3..]), None);
    }

    #[test]
    fn the_last_intake_of_each_source_is_told_also_of_dumps_seen_again() {
        let now = crate::clock::parse("2026-03-01T12:00:00Z").unwrap();
        let dumps = [
            json!({"source": "https", "device_key": "b", "uploaded_at": "2026-03-01T11:00:00Z"}),
            json!({"source": "https", "device_key": "a", "uploaded_at": "2026-02-01T11:00:00Z",
                   "sightings": [{"source": "uart", "at": "2026-03-01T11:59:00Z"}]}),
        ];
        let told: Vec<String> = by_source(&dumps, now).into_iter().map(|f| f.what).collect();
        assert_eq!(
            told,
            [
                "the last dump by https came 1h 0m ago from b",
                "the last dump by uart came 1m 0s ago from a",
            ]
        );
        assert!(by_source(&[], now)[0].what.contains("no dump"));
    }
}
