//! A dump read from flash is of the crash that the console told before it: one
//! crash, one record. Which record that is, and whether the dump takes its place.

use std::fs;

use crate::coredump::{self, Dump, Examination, Verdict};
use crate::crashes::unreadable;
use crate::device::{Architecture, DeviceKey};
use crate::journal::{Event, chain};
use crate::store::compact::Fingerprint;
use crate::store::coredumps::{Entry, Sidecar, Source};
use crate::store::{Error, Store};

use super::{Origin, Received};

/// The record of a crash that a console told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToldCrash {
    pub device: DeviceKey,
    /// Of the record, or of the one for which the crash was counted.
    pub id: String,
}

/// A record of the same crash as a dump from flash.
#[derive(Debug)]
pub(super) struct ToldBefore {
    pub(super) device: DeviceKey,
    stem: String,
    pub(super) sidecar: Sidecar,
    pub(super) log: Option<Vec<u8>>,
    /// It is a worse or a shorter copy, or the same dump under another name of the
    /// board, and goes once the dump is stored.
    pub(super) gives_way: bool,
}

/// The record of the crash that `bytes` from the flash are of, if there is one:
/// the last crash that the console told, if it has the same fingerprint, or the
/// same program counter and reason; else the newest damaged copy of the console
/// with the same fingerprint.
pub(super) fn before(
    store: &Store,
    bytes: &[u8],
    found: &Examination,
    origin: &Origin,
) -> Option<ToldBefore> {
    if let Some(last) = &origin.told {
        let told = read(store, &last.device, |entry| entry.id == last.id);
        // a board that a place named has its MAC address for a name now
        let is_this =
            |told: &ToldBefore| told.device == origin.device || told.sidecar.identity == "place";
        if let Some((told, old)) = told.filter(|(told, _)| is_this(told)) {
            let payload = found.canonical.as_deref().unwrap_or(bytes);
            let held = coredump::examine(&old).canonical;
            let is_equal = held.as_deref().unwrap_or(&old) == payload;
            if is_equal || is_same(found, bytes, &told.sidecar, &old) {
                let mut told = told.compared(found, bytes);
                told.gives_way |= is_equal;
                return Some(told);
            }
        }
    }
    let fingerprint = Fingerprint::from(found.fingerprint.as_ref()?);
    let is_copy = |entry: &Entry| {
        entry.is_from(Source::Uart) && entry.fingerprint.as_ref() == Some(&fingerprint)
    };
    let (copy, _) = read(store, &origin.device, is_copy)?;
    Some(copy.compared(found, bytes)).filter(|copy| copy.gives_way)
}

/// The device's newest record for which this holds, and its dump. One that cannot be
/// read is none: it must not keep the dump from being stored.
fn read(
    store: &Store,
    device: &DeviceKey,
    is_it: impl Fn(&Entry) -> bool,
) -> Option<(ToldBefore, Vec<u8>)> {
    let told = store.coredumps.with(device, |folder| {
        let Some(entry) = folder.entries().iter().rev().find(|entry| is_it(entry)) else {
            return Ok(None);
        };
        let path = folder.file(&entry.stem, "dmp");
        let dump = fs::read(&path).map_err(|source| Error::io("read", &path, source))?;
        let told = ToldBefore {
            device: device.clone(),
            stem: entry.stem.to_string(),
            sidecar: folder.sidecar(&entry.stem.to_string())?,
            log: fs::read(folder.file(&entry.stem, "log")).ok(),
            gives_way: false,
        };
        Ok(Some((told, dump)))
    });
    told.ok().flatten()
}

impl ToldBefore {
    fn compared(mut self, found: &Examination, bytes: &[u8]) -> Self {
        let held = Verdict::from_word(&self.sidecar.verdict).unwrap_or(Verdict::NotACoredump);
        let new = (found.verdict.rank(), bytes.len() as u64);
        self.gives_way = !held.is_whole() && new > (held.rank(), self.sidecar.size);
        self
    }

    /// Whether the crash of this dump was counted with the record.
    pub(super) fn is_counted_as(&self, dump: &Sidecar) -> bool {
        self.device.as_str() == dump.device_key && self.sidecar.fingerprint == dump.fingerprint
    }

    /// The fingerprint that stands for the record in the crash groups.
    pub(super) fn name(&self) -> String {
        let unnamed = || {
            unreadable(
                self.sidecar.model_code.as_deref(),
                self.sidecar.app_elf_sha256.as_deref(),
                self.sidecar.firmware_version.as_deref(),
            )
        };
        self.sidecar.fingerprint.clone().unwrap_or_else(unnamed)
    }

    /// Removes the record, in whose place is what was received for `of` now. One that
    /// cannot be removed is reported and stays. Whether its crash is not counted with it
    /// any more, since what was received counts it.
    pub(super) fn remove(&self, store: &Store, of: &DeviceKey, received: &Received) -> bool {
        let is_counted = self.device == *of && self.sidecar.fingerprint == received.fingerprint;
        let removed = store.coredumps.with(&self.device, |folder| {
            folder.remove(&self.stem)?;
            if !is_counted {
                folder.uncount(&self.sidecar)?;
            }
            Ok(())
        });
        let (device, id) = (&self.device, &received.id);
        if let Err(error) = removed {
            let entry = error.event().entry().device(device);
            entry.coredump(&self.sidecar.id).say(format_args!(
                "cannot remove coredump {} of {device}, the same crash as {id}: {}",
                self.sidecar.id,
                chain(&error)
            ));
            return false;
        }
        Event::CoredumpRemoved
            .entry()
            .device(device)
            .coredump(&self.sidecar.id)
            .maybe("FINGERPRINT", self.sidecar.fingerprint.as_ref())
            .say(format_args!(
                "removed coredump {} of {device}: the same crash was read from flash as {id}",
                self.sidecar.id
            ));
        !is_counted
    }
}

/// Whether two dumps are of the same crash, one of which was read from flash.
fn is_same(found: &Examination, bytes: &[u8], told: &Sidecar, old: &[u8]) -> bool {
    if let (Some(one), Some(other)) = (&found.app_elf_sha256, &told.app_elf_sha256)
        && !one.starts_with(other.as_str())
        && !other.starts_with(one.as_str())
    {
        return false;
    }
    if found.fingerprint.is_some() && found.fingerprint == told.fingerprint {
        return true;
    }
    let (Some(new), Some(old)) = (coredump::load(bytes).1, coredump::load(old).1) else {
        return false;
    };
    let reason = |reason: Option<&str>| reason.map(str::trim).map(str::to_owned);
    let reasons = (
        reason(new.panic_reason.as_deref()),
        reason(told.panic_reason.as_deref()),
    );
    let agree = match reasons {
        (Some(new), Some(old)) => new.contains(&old) || old.contains(&new),
        // most dumps of an exception carry none
        _ => true,
    };
    agree && new.architecture == old.architecture && have_same_pc(&new, &old)
}

fn have_same_pc(one: &Dump, other: &Dump) -> bool {
    let (Some(one), Some(other)) = (crash_pc(one), crash_pc(other)) else {
        return false;
    };
    one == other
}

/// Where it crashed; on Xtensa as a console prints it, stepped back by 3.
fn crash_pc(dump: &Dump) -> Option<u32> {
    if let Some((pc, _)) = dump.printed_backtrace.first() {
        return Some(*pc);
    }
    let task = dump.crashed_task().filter(|task| !task.fake_stack)?;
    let pc = task.registers.pc()?;
    match dump.architecture {
        Architecture::RiscV => Some(pc),
        Architecture::Xtensa => {
            let pc = if pc >> 30 == 2 || pc >> 30 == 3 {
                pc & 0x3FFF_FFFF | 0x4000_0000
            } else {
                pc
            };
            pc.checked_sub(3)
        }
    }
}
