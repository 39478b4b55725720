//! What is known of a dump when it comes: its sidecar, and the crash that it counts as.

use super::Origin;
use crate::clock::{Moment, iso8601};
use crate::coredump::Examination;
use crate::crashes::{Occurrence, unreadable};
use crate::digest::Sha256;
use crate::store::coredumps::sidecar::SCHEMA;
use crate::store::coredumps::{ALIASES, DecodeState, Decoding, Sidecar};
use crate::store::crashes::At;

/// A dump on its way into the store.
pub(super) struct Arriving<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) found: &'a Examination,
    pub(super) origin: &'a Origin,
    pub(super) id: String,
    pub(super) now: Moment,
    /// Id of its crash group.
    pub(super) group: String,
}

pub(super) fn describe(dump: &Arriving<'_>) -> Sidecar {
    let Arriving {
        bytes,
        found,
        origin,
        now,
        ..
    } = dump;
    let mut problems = origin.problems.clone();
    problems.extend(found.problems.iter().cloned());
    Sidecar {
        schema: SCHEMA,
        id: dump.id.clone(),
        chip: origin
            .chip
            .clone()
            .or_else(|| found.chip.map(|chip| chip.to_string())),
        firmware_version: origin.firmware_version.clone(),
        device_key: origin.device.to_string(),
        model_code: origin.model.as_ref().map(ToString::to_string),
        uploaded_at: iso8601(now.wall),
        size: bytes.len() as u64,
        sha256: Sha256::of(bytes).to_string(),
        source: origin.source.into(),
        serial_port: origin.serial_port.clone(),
        identity: origin.identity.to_owned(),
        format: found.format_label(),
        header_version: found
            .header_version
            .map(|(major, minor)| format!("{major}.{minor}")),
        verdict: found.verdict.to_string(),
        problems,
        app_elf_sha256: app_elf(found, origin),
        panic_reason: reason(found, origin),
        task: found.task.clone(),
        place: None,
        decode: DecodeState::Pending.into(),
        decoding: Decoding::default(),
        fingerprint: found.fingerprint.clone(),
        fingerprint_algorithm: found.fingerprint_algorithm,
        signature: None,
        crash: Some(dump.group.clone()),
        sightings: Vec::new(),
        gateway_unreachable_s: origin.gateway_unreachable_s,
        gateway_induced: false,
        requested: origin.requested,
        counted: 0,
        gateway_id: None,
        boot_id: Some(now.boot_id.clone()),
        monotonic_us: Some(now.monotonic_us),
        sequence: 0,
        clock: Some(now.clock_word().to_owned()),
        extra: extra(found, origin),
    }
}

fn app_elf(found: &Examination, origin: &Origin) -> Option<String> {
    let said = || origin.app_elf_sha256.clone();
    found.app_elf_sha256.clone().or_else(said)
}

fn reason(found: &Examination, origin: &Origin) -> Option<String> {
    let said = || origin.panic_reason.clone();
    found.panic_reason.clone().or_else(said)
}

/// The crash as its group counts it.
pub(super) fn occurrence(found: &Examination, origin: &Origin, now: &Moment) -> Occurrence {
    let model = origin.model.as_ref().map(ToString::to_string);
    let (app_elf, version) = (app_elf(found, origin), origin.firmware_version.clone());
    let unnamed = || unreadable(model.as_deref(), app_elf.as_deref(), version.as_deref());
    Occurrence {
        fingerprint: found.fingerprint.clone().unwrap_or_else(unnamed),
        algorithm: found.fingerprint_algorithm,
        device: origin.device.to_string(),
        panic_reason: reason(found, origin),
        task: found.task.clone(),
        at: At::of(now.wall),
        during_outage: origin.gateway_unreachable_s.is_some(),
        app_elf_sha256: app_elf,
        version,
        model,
    }
}

/// What the device reported, and what the crash was called before.
fn extra(found: &Examination, origin: &Origin) -> serde_json::Map<String, serde_json::Value> {
    let mut extra = origin.reported.clone();
    if let Some(former) = &found.former_fingerprint {
        extra.insert(ALIASES.to_owned(), serde_json::json!([former]));
    }
    extra
}
