//! Dumps without firmware or report, and firmware that is not served.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use super::finding::{Finding, since};
use super::firmware::{not_served, warned};
use super::rollouts::{held, waiting};
use crate::api::coredumps::{Coredump, List};
use crate::api::{devices, firmware, models, rollouts};
use crate::cli::client::{Client, segment};
use crate::cli::output::known;
use crate::store::coredumps::{DecodeState, Sidecar};

/// Pages of a thousand dumps that are looked at.
const MAX_PAGES: usize = 20;

pub(super) fn findings(client: &Client) -> Vec<Finding> {
    let mut findings = about_dumps(&dumps(client));
    let models: models::List = ask(client, "/api/models");
    let devices: devices::List = ask(client, "/api/devices");
    let rollouts: rollouts::List = ask(client, "/api/rollouts");
    findings.extend(waiting(&rollouts.rollouts));
    for model in &models.models {
        findings.extend(held(model));
        findings.extend(not_served(model, &devices.devices));
        let path = format!("/api/models/{}/firmware", segment(&model.code));
        let builds: firmware::List = ask(client, &path);
        findings.extend(warned(&model.code, &builds.firmware));
    }
    findings
}

/// An answer; an empty one if there is none.
fn ask<T: Default + DeserializeOwned>(client: &Client, path: &str) -> T {
    let answer = client.get(path).slow().send();
    answer.and_then(|answer| answer.read()).unwrap_or_default()
}

/// What the dumps themselves tell; newest first.
pub(super) fn about_dumps(dumps: &[Coredump]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(without_elf(dumps));
    findings.extend(undecodable(dumps));
    findings.extend(by_source(dumps, crate::clock::wall()));
    findings
}

fn dumps(client: &Client) -> Vec<Coredump> {
    let mut dumps = Vec::new();
    let mut cursor = String::new();
    for _ in 0..MAX_PAGES {
        let page: List = ask(client, &format!("/api/coredumps?limit=1000{cursor}"));
        dumps.extend(page.coredumps);
        match page.next_cursor {
            None => break,
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
    dumps
}

fn in_state(dumps: &[Coredump], state: DecodeState) -> Vec<&Sidecar> {
    let sidecars = dumps.iter().map(|dump| &dump.sidecar);
    sidecars.filter(|dump| dump.decode == state).collect()
}

fn without_elf(dumps: &[Coredump]) -> Option<Finding> {
    let missing = in_state(dumps, DecodeState::NoElf);
    let devices: BTreeSet<&str> = missing
        .iter()
        .map(|dump| dump.device_key.as_str())
        .collect();
    let builds: BTreeSet<String> = missing
        .iter()
        .map(|dump| {
            let model = dump.model_code.as_deref().unwrap_or("unknown model");
            let build = || format!("build {}", known(&dump.app_elf_sha256));
            let version = dump.firmware_version.clone().unwrap_or_else(build);
            format!("{model} {}", version.trim_end())
        })
        .collect();
    let named: Vec<&str> = builds.iter().take(5).map(String::as_str).collect();
    (!missing.is_empty()).then(|| {
        let what = format!(
            "{} from {} without their firmware ({})",
            counted(missing.len(), "dump"),
            counted(devices.len(), "device"),
            named.join(", ")
        );
        let advice = "upload it with `espgate firmware add`; the dumps are then decoded";
        Finding::warning("dumps", what, advice)
    })
}

fn undecodable(dumps: &[Coredump]) -> Option<Finding> {
    let failed = in_state(dumps, DecodeState::Failed);
    let named: Vec<&str> = failed.iter().take(5).map(|dump| dump.id.as_str()).collect();
    (!failed.is_empty()).then(|| {
        let what = format!(
            "decoding failed: {} ({})",
            counted(failed.len(), "dump"),
            named.join(", ")
        );
        let advice =
            "see `espgate coredumps show ID`; try again with `espgate coredumps redecode ID`";
        Finding::warning("dumps", what, advice)
    })
}

/// When a dump last came by each way, kept or only seen again.
fn by_source(dumps: &[Coredump], now: OffsetDateTime) -> Vec<Finding> {
    let mut last: BTreeMap<String, (&str, &str)> = BTreeMap::new();
    for dump in dumps {
        let sidecar = &dump.sidecar;
        let stored = dump.corrected_at.as_ref().unwrap_or(&sidecar.uploaded_at);
        let again = sidecar.sightings.iter();
        let again = again.map(|seen| (seen.source.to_string(), &seen.at));
        for (source, at) in std::iter::once((sidecar.source.to_string(), stored)).chain(again) {
            let entry = last.entry(source).or_default();
            *entry = (*entry).max((at, &sidecar.device_key));
        }
    }
    if last.is_empty() {
        return vec![Finding::note("intake", "no dump stored yet")];
    }
    let told = last.into_iter().map(|(source, (at, device))| {
        let when = crate::clock::parse(at).map_or(at.to_owned(), |at| since(at, now));
        let what = format!("last dump via {source}: {when} from {device}");
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
    use super::*;
    use crate::api::coredumps::sample;
    use crate::store::coredumps::{Sighting, Source};

    fn dump(device: &str, decode: DecodeState) -> Coredump {
        let mut dump = sample();
        dump.sidecar.device_key = device.to_owned();
        dump.sidecar.decode = decode.into();
        dump
    }

    #[test]
    fn dumps_without_their_elf_are_counted_by_device_and_build() {
        let mut dumps = [
            dump("a", DecodeState::NoElf),
            dump("a", DecodeState::NoElf),
            dump("b", DecodeState::NoElf),
            dump("c", DecodeState::Done),
        ];
        let finding = without_elf(&dumps).unwrap();
        assert_eq!(
            finding.what,
            "3 dumps from 2 devices without their firmware (lamp 1.2.3)"
        );
        let unknown = &mut dumps[0].sidecar;
        unknown.model_code = None;
        unknown.firmware_version = None;
        unknown.app_elf_sha256 = Some(String::from("1b43c5e74"));
        let finding = without_elf(&dumps[..1]).unwrap();
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
        let mut dumps = [dump("b", DecodeState::Done), dump("a", DecodeState::Done)];
        dumps[0].sidecar.uploaded_at = String::from("2026-03-01T11:00:00Z");
        dumps[1].sidecar.uploaded_at = String::from("2026-02-01T11:00:00Z");
        dumps[1].sidecar.sightings = vec![Sighting {
            source: Source::Uart.into(),
            at: String::from("2026-03-01T11:59:00Z"),
        }];
        let told: Vec<String> = by_source(&dumps, now).into_iter().map(|f| f.what).collect();
        assert_eq!(
            told,
            [
                "last dump via https: 1h 0m ago from b",
                "last dump via uart: 1m 0s ago from a",
            ]
        );
        assert!(by_source(&[], now)[0].what.contains("no dump"));
    }
}
