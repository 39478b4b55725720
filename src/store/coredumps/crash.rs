//! One crash of one device, kept also after its dumps are removed:
//! `crash_<fingerprint>.json`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::sidecar::Sidecar;
use crate::signature::Signature;

/// One crash: the same fingerprint on one device.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Crash {
    pub schema: u32,
    pub fingerprint: String,
    pub device_key: String,
    pub model_code: Option<String>,
    pub panic_reason: Option<String>,
    pub task: Option<String>,
    pub first_seen: String,
    pub last_seen: String,
    /// How often it happened, stored or not.
    pub occurrences: u64,
    pub occurrences_per_version: BTreeMap<String, u64>,
    /// Ids of the dumps that are kept, oldest first.
    pub kept: Vec<String>,
    /// Hash of the application's ELF, or its first digits, as in the dump.
    #[serde(default)]
    pub app_elf_sha256: Option<String>,
    /// Id of its crash group at that time.
    #[serde(rename = "crash", default)]
    pub group: Option<String>,
    /// As the last dump was decoded.
    #[serde(default)]
    pub signature: Option<Signature>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Crash {
    /// A crash that `sidecar` is the first sight of; nothing is counted yet.
    pub fn new(fingerprint: &str, sidecar: &Sidecar) -> Self {
        Self {
            schema: super::sidecar::SCHEMA,
            fingerprint: fingerprint.to_owned(),
            device_key: sidecar.device_key.clone(),
            model_code: sidecar.model_code.clone(),
            panic_reason: sidecar.panic_reason.clone(),
            task: sidecar.task.clone(),
            first_seen: sidecar.uploaded_at.clone(),
            last_seen: sidecar.uploaded_at.clone(),
            occurrences: 0,
            occurrences_per_version: BTreeMap::new(),
            kept: Vec::new(),
            app_elf_sha256: sidecar.app_elf_sha256.clone(),
            group: sidecar.crash.clone(),
            signature: None,
            extra: Map::new(),
        }
    }

    /// Counts one more occurrence.
    pub fn count(&mut self, at: &str, version: Option<&str>) {
        self.occurrences += 1;
        self.last_seen = at.to_owned();
        // Versions come from devices: what they may make us remember is bounded.
        let known = self.occurrences_per_version.len() < 64;
        let version = version.unwrap_or("unknown");
        if known || self.occurrences_per_version.contains_key(version) {
            *self
                .occurrences_per_version
                .entry(version.to_owned())
                .or_default() += 1;
        }
    }

    /// Takes one occurrence back.
    pub fn uncount(&mut self, version: Option<&str>) {
        self.occurrences = self.occurrences.saturating_sub(1);
        let version = version.unwrap_or("unknown");
        if let Some(count) = self.occurrences_per_version.get_mut(version) {
            *count = count.saturating_sub(1);
        }
        self.occurrences_per_version.retain(|_, count| *count > 0);
    }

    /// The file's name.
    pub fn file_name(&self) -> String {
        file_name(&self.fingerprint)
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// The name of the file of the crash with this fingerprint.
pub(super) fn file_name(fingerprint: &dyn fmt::Display) -> String {
    format!("crash_{fingerprint}.json")
}

#[cfg(test)]
mod tests {
    use super::super::sidecar::tests::sample;
    use super::*;

    #[test]
    fn occurrences_are_counted_in_all_and_per_version() {
        let mut crash = Crash::new("f", &sample("a", 1));
        crash.count("t1", Some("1.0"));
        crash.count("t2", Some("1.1"));
        crash.count("t3", Some("1.1"));
        assert_eq!(crash.occurrences, 3);
        assert_eq!(crash.occurrences_per_version["1.1"], 2);
        assert_eq!(crash.last_seen, "t3");
    }

    #[test]
    fn an_occurrence_that_is_taken_back_leaves_the_others() {
        let mut crash = Crash::new("f", &sample("a", 1));
        for version in [Some("1.0"), Some("1.1"), Some("1.1")] {
            crash.count("t", version);
        }
        crash.uncount(Some("1.1"));
        crash.uncount(Some("1.0"));
        assert_eq!(crash.occurrences, 1);
        assert_eq!(crash.occurrences_per_version.len(), 1);
        assert_eq!(crash.occurrences_per_version["1.1"], 1);
    }

    #[test]
    fn versions_that_devices_invent_are_bounded() {
        let mut crash = Crash::new("f", &sample("a", 1));
        for n in 0..1000 {
            crash.count("t", Some(&n.to_string()));
        }
        assert_eq!(crash.occurrences, 1000);
        assert_eq!(crash.occurrences_per_version.len(), 64);
    }
}
