//! How often each crash of a device happened.

use super::crash::Crash;
use super::folder::DeviceFolder;
use super::sidecar::Sidecar;
use crate::signature::Signature;
use crate::store::Result;
use crate::store::compact::Fingerprint;

impl DeviceFolder {
    /// Counts an occurrence of the sidecar's crash, in memory.
    pub fn count(&mut self, sidecar: &Sidecar) {
        let Some(fingerprint) = &sidecar.fingerprint else {
            return;
        };
        let known = self.crash(fingerprint).cloned();
        let mut crash = known.unwrap_or_else(|| Crash::new(fingerprint, sidecar));
        crash.count(&sidecar.uploaded_at, sidecar.firmware_version.as_deref());
        self.records.put(crash);
    }

    /// Counts an occurrence of the sidecar's crash and writes that down.
    ///
    /// # Errors
    /// As [`Self::flush`]; it is not counted then, so that it can be tried again.
    pub fn count_durably(&mut self, sidecar: &Sidecar) -> Result<()> {
        let Some(fingerprint) = &sidecar.fingerprint else {
            return Ok(());
        };
        let before = self.crash(fingerprint).cloned();
        self.count(sidecar);
        self.flush().inspect_err(|_| match before {
            Some(before) => self.records.put(before),
            None => self.records.forget(&Fingerprint::from(fingerprint)),
        })
    }

    /// Notes, in memory, in which group a crash is and what its signature is.
    pub fn note_group(
        &mut self,
        fingerprint: &str,
        group: Option<String>,
        signature: Option<Signature>,
    ) {
        let Some(mut crash) = self.crash(fingerprint).cloned() else {
            return;
        };
        let signature = signature.or_else(|| crash.signature.clone());
        if crash.group != group || crash.signature != signature {
            (crash.group, crash.signature) = (group, signature);
            self.records.put(crash);
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
        let Some(mut crash) = self.crash(fingerprint).cloned() else {
            return Ok(());
        };
        crash.uncount(sidecar.firmware_version.as_deref());
        let is_over = crash.occurrences == 0;
        self.records.put(crash);
        if is_over {
            self.forget_crashes(&[Fingerprint::from(fingerprint)])?;
        }
        Ok(())
    }
}
