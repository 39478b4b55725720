//! How often each crash of a device happened.

use std::sync::Arc;

use super::crash::Crash;
use super::folder::DeviceFolder;
use super::sidecar::Sidecar;
use crate::signature::Signature;
use crate::store::Result;

impl DeviceFolder {
    /// Counts an occurrence of the sidecar's crash, in memory.
    pub fn count(&mut self, sidecar: &Sidecar) {
        let Some(fingerprint) = &sidecar.fingerprint else {
            return;
        };
        let crash = self
            .crashes
            .entry(fingerprint.clone())
            .or_insert_with(|| Crash::new(fingerprint, sidecar));
        crash.count(&sidecar.uploaded_at, sidecar.firmware_version.as_deref());
        self.stale.insert(fingerprint.clone());
    }

    /// Counts an occurrence of the sidecar's crash and writes that down.
    ///
    /// # Errors
    /// As [`Self::flush`]; it is not counted then, so that it can be tried again.
    pub fn count_durably(&mut self, sidecar: &Sidecar) -> Result<()> {
        let Some(fingerprint) = &sidecar.fingerprint else {
            return Ok(());
        };
        let before = self.crashes.get(fingerprint).cloned();
        self.count(sidecar);
        self.flush().inspect_err(|_| {
            match before {
                Some(before) => self.crashes.insert(fingerprint.clone(), before),
                None => self.crashes.remove(fingerprint),
            };
        })
    }

    /// Notes, in memory, in which group a crash is and what its signature is.
    pub fn note_group(
        &mut self,
        fingerprint: &str,
        group: Option<String>,
        signature: Option<Signature>,
    ) {
        if let Some(crash) = self.crashes.get_mut(fingerprint) {
            let signature = signature.map(Arc::new).or_else(|| crash.signature.clone());
            if crash.group != group || crash.signature != signature {
                (crash.group, crash.signature) = (group, signature);
                self.stale.insert(fingerprint.to_owned());
            }
        }
    }

    /// Takes back one occurrence of the sidecar's crash, which is counted
    /// elsewhere; a crash without any is forgotten.
    ///
    /// # Errors
    /// [`Error::Io`](crate::store::Error::Io).
    pub fn uncount(&mut self, sidecar: &Sidecar) -> Result<()> {
        let Some(fingerprint) = &sidecar.fingerprint else {
            return Ok(());
        };
        let Some(crash) = self.crashes.get_mut(fingerprint) else {
            return Ok(());
        };
        crash.uncount(sidecar.firmware_version.as_deref());
        self.stale.insert(fingerprint.clone());
        if crash.occurrences == 0 {
            self.forget_crashes(std::slice::from_ref(fingerprint))?;
        }
        Ok(())
    }
}
