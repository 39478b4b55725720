//! New signatures for reports that are stored: very many files at once, none of which
//! anybody waits for.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::Coredumps;
use super::sidecar::Sidecar;
use crate::device::DeviceKey;
use crate::signature::Signature;
use crate::store::publish::{FILE_MODE, Temporary};
use crate::store::{Error, Result};

/// Dumps whose files are written with one sync; a power cut repeats those.
pub const BATCH: usize = 500;

/// A report with its new signature.
#[derive(Debug)]
pub struct Resigned {
    pub device: DeviceKey,
    pub stem: String,
    pub report: Vec<u8>,
    pub signature: Option<Signature>,
}

/// Files of one dump, synced under temporary names.
struct Ready {
    at: usize,
    /// The sidecar that the new one was made from.
    before: Vec<u8>,
    targets: [PathBuf; 2],
}

impl Coredumps {
    /// Stores reports with new signatures, and the ids of those in the sidecars. A dump
    /// that was removed or changed meanwhile is left as it is; gives how many were
    /// stored.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`]; some may have been stored.
    pub fn resign(&self, reports: &[Resigned]) -> Result<usize> {
        let mut stored = 0;
        for batch in reports.chunks(BATCH) {
            let (mut ready, mut files) = (Vec::new(), Vec::new());
            for (at, resigned) in batch.iter().enumerate() {
                if let Some((dump, temporary)) = self.prepare(at, resigned)? {
                    ready.push(dump);
                    files.extend(temporary);
                }
            }
            self.commits.sync_all(&files)?;
            let mut files = files.into_iter();
            for dump in ready {
                if let (Some(report), Some(sidecar), Some(resigned)) =
                    (files.next(), files.next(), batch.get(dump.at))
                {
                    stored += usize::from(self.put_in_place(&dump, resigned, report, sidecar)?);
                }
            }
            self.write_records(batch)?;
        }
        Ok(stored)
    }

    /// Writes the new files of one dump; `None` if it is not there any more.
    fn prepare(&self, at: usize, new: &Resigned) -> Result<Option<(Ready, [Temporary; 2])>> {
        self.with(&new.device, |folder| {
            let targets =
                ["report.json", "json"].map(|extension| folder.file(&new.stem, extension));
            let [_, sidecar] = &targets;
            let before = match fs::read(sidecar) {
                Ok(before) => before,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(source) => return Err(Error::io("read", sidecar, source)),
            };
            let Ok(mut changed) = serde_json::from_slice::<Sidecar>(&before) else {
                return Ok(None);
            };
            changed.signature = new.signature.as_ref().map(|signature| signature.id.clone());
            let mut files = [
                Temporary::new(&folder.path, FILE_MODE)?,
                Temporary::new(&folder.path, FILE_MODE)?,
            ];
            let [report, sidecar] = &mut files;
            report.write(&new.report)?;
            sidecar.write(&changed.to_bytes())?;
            let ready = Ready {
                at,
                before,
                targets,
            };
            Ok(Some((ready, files)))
        })
    }

    /// Writes the records of these dumps' crashes: very many that are newer than their
    /// files are not to be in memory.
    fn write_records(&self, batch: &[Resigned]) -> Result<()> {
        let devices: BTreeSet<&DeviceKey> = batch.iter().map(|resigned| &resigned.device).collect();
        let (mut ready, mut files) = (Vec::new(), Vec::new());
        for device in devices {
            let room = BATCH.saturating_sub(ready.len());
            self.with(device, |folder| {
                for (record, file) in folder.prepare_records(room)? {
                    ready.push((device, record));
                    files.push(file);
                }
                Ok(())
            })?;
        }
        self.commits.sync_all(&files)?;
        for ((device, record), file) in ready.into_iter().zip(files) {
            self.with(device, |folder| folder.put_record(&record, file))?;
        }
        Ok(())
    }

    fn put_in_place(
        &self,
        dump: &Ready,
        new: &Resigned,
        report: Temporary,
        sidecar: Temporary,
    ) -> Result<bool> {
        self.with(&new.device, |folder| {
            let [report_at, sidecar_at] = &dump.targets;
            if fs::read(sidecar_at).ok().as_ref() != Some(&dump.before) {
                return Ok(false);
            }
            report.rename_over(report_at)?;
            sidecar.rename_over(sidecar_at)?;
            let entry = folder.entries.iter().find(|entry| entry.stem == new.stem);
            let fingerprint = entry.and_then(|entry| entry.fingerprint.as_ref());
            let fingerprint = fingerprint.map(ToString::to_string);
            if let (Some(fingerprint), Some(signature)) = (fingerprint, &new.signature) {
                let group = folder
                    .crash(&fingerprint)
                    .and_then(|crash| crash.group.clone());
                folder.note_group(&fingerprint, group, Some(signature.clone()));
            }
            folder.count_bytes(&new.stem);
            Ok(true)
        })
    }
}
