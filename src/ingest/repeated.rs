//! Dumps whose body is not written: held already, or one more round of a crash
//! loop.

use super::{Arriving, Origin, Received};
use crate::clock::iso8601;
use crate::journal::Event;
use crate::store;
use crate::store::coredumps::{DeviceFolder, Sidecar, Sighting, Source};

/// A duplicate: another source is a sighting, the same source an occurrence.
pub(super) fn seen(
    folder: &mut DeviceFolder,
    stem: &str,
    dump: &Arriving<'_>,
) -> store::Result<Received> {
    let (found, origin) = (dump.found, dump.origin);
    let at = iso8601(dump.now.wall);
    if let Some(log) = &origin.log
        && !folder.file(stem, "log").exists()
    {
        folder.store_log(stem, log)?;
    }
    let held = folder.change(stem, |sidecar| {
        sidecar.saw_again(at.clone(), origin.source);
        sidecar.requested |= origin.requested;
        complete(sidecar, origin);
    })?;
    // what is in the flash stays there: reading it again is no other crash
    let is_crash = held.source == origin.source && origin.source != Source::Flash;
    if is_crash {
        let mut again = held.clone();
        again.uploaded_at = at;
        folder.count_durably(&again)?;
    }
    Event::CoredumpSeenAgain
        .entry()
        .device(&origin.device)
        .coredump(&held.id)
        .maybe("FINGERPRINT", held.fingerprint.as_ref())
        .maybe("CRASH", Some(&dump.group))
        .maybe("SERIAL_PORT", origin.serial_port.as_ref())
        .say(format_args!(
            "duplicate of coredump {} of {} received over {}",
            held.id,
            origin.device,
            origin.source.as_str()
        ));
    Ok(Received {
        filename: format!("{stem}.dmp"),
        id: held.id,
        kept: false,
        verdict: found.verdict,
        fingerprint: held.fingerprint,
        is_crash,
    })
}

/// The dump from flash takes over what is known from `told`, a worse copy.
pub(super) fn take_over(sidecar: &mut Sidecar, told: &Sidecar) {
    sidecar.sightings.clone_from(&told.sightings);
    sidecar.sightings.push(Sighting {
        at: told.uploaded_at.clone(),
        source: told.source.clone(),
    });
    sidecar.requested |= told.requested;
    let fill = |known: &mut Option<String>, told: &Option<String>| {
        if known.is_none() {
            known.clone_from(told);
        }
    };
    fill(&mut sidecar.firmware_version, &told.firmware_version);
    fill(&mut sidecar.chip, &told.chip);
    fill(&mut sidecar.panic_reason, &told.panic_reason);
    fill(&mut sidecar.app_elf_sha256, &told.app_elf_sha256);
    fill(&mut sidecar.task, &told.task);
    fill(&mut sidecar.model_code, &told.model_code);
}

/// Another source may have data that the first one lacked.
fn complete(sidecar: &mut Sidecar, origin: &Origin) {
    let fill = |known: &mut Option<String>, said: &Option<String>| {
        if known.is_none() {
            known.clone_from(said);
        }
    };
    fill(&mut sidecar.firmware_version, &origin.firmware_version);
    fill(&mut sidecar.chip, &origin.chip);
    fill(&mut sidecar.panic_reason, &origin.panic_reason);
    fill(&mut sidecar.app_elf_sha256, &origin.app_elf_sha256);
    let model = origin.model.as_ref().map(ToString::to_string);
    fill(&mut sidecar.model_code, &model);
}

/// A repeated crash of a crash loop, or one more dump of those that nothing tells
/// apart: counted, not stored.
pub(super) fn counted(
    folder: &mut DeviceFolder,
    stem: &str,
    dump: &Arriving<'_>,
) -> store::Result<Received> {
    let (found, origin) = (dump.found, dump.origin);
    let (kept, what) = match &found.fingerprint {
        Some(fingerprint) => count_crash(folder, stem, fingerprint, dump)?,
        None => count_unknown(folder, stem, origin)?,
    };
    Event::CoredumpCounted
        .entry()
        .device(&origin.device)
        .coredump(&kept.id)
        .maybe("FINGERPRINT", found.fingerprint.as_ref())
        .maybe("CRASH", Some(&dump.group))
        .maybe("SERIAL_PORT", origin.serial_port.as_ref())
        .say(format_args!("{what}, counted for coredump {}", kept.id));
    Ok(Received {
        filename: format!("{stem}.dmp"),
        id: kept.id,
        kept: false,
        verdict: found.verdict,
        fingerprint: found.fingerprint.clone(),
        is_crash: true,
    })
}

fn count_crash(
    folder: &mut DeviceFolder,
    stem: &str,
    fingerprint: &str,
    dump: &Arriving<'_>,
) -> store::Result<(Sidecar, String)> {
    let origin = dump.origin;
    let kept = folder.sidecar(stem)?;
    let mut occurrence = kept.clone();
    occurrence.uploaded_at = iso8601(dump.now.wall);
    occurrence
        .firmware_version
        .clone_from(&origin.firmware_version);
    folder.count_durably(&occurrence)?;
    let occurrences = folder.crash(fingerprint);
    let occurrences = occurrences.map_or(0, |crash| crash.occurrences);
    let device = &origin.device;
    let what = format!("repeated crash of {device} ({occurrences} times so far)");
    Ok((kept, what))
}

fn count_unknown(
    folder: &mut DeviceFolder,
    stem: &str,
    origin: &Origin,
) -> store::Result<(Sidecar, String)> {
    let kept = folder.change(stem, |sidecar| sidecar.counted += 1)?;
    let what = format!(
        "more than 20 dumps without a fingerprint of {} in a day ({} not stored)",
        origin.device, kept.counted
    );
    Ok((kept, what))
}
