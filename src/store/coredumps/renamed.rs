//! A crash whose fingerprint is made in another way now: it is the same crash.

use serde_json::{Value, json};

use super::super::Result;
use super::folder::DeviceFolder;
use crate::store::compact::Fingerprint;

impl DeviceFolder {
    /// What was known as `former` is known as `now`: its count and its dumps go
    /// over, and both names stay in the files. Does nothing if `former` is not
    /// known. What a power cut leaves half done, the next call ends.
    ///
    /// # Errors
    /// As [`Self::change`] and [`Self::forget_crashes`].
    pub fn rename_crash(&mut self, former: &str, now: &str) -> Result<()> {
        let (former_name, name) = (Fingerprint::from(former), Fingerprint::from(now));
        let stems: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| entry.fingerprint.as_ref() == Some(&former_name))
            .map(|entry| entry.stem.to_string())
            .collect();
        let known = self.crash(former).cloned();
        if known.is_none() && stems.is_empty() {
            return Ok(());
        }
        if let Some(mut crash) = known
            && !self.records.contains(&name)
        {
            now.clone_into(&mut crash.fingerprint);
            crash.extra.insert(ALIASES.to_owned(), json!([former]));
            self.records.put(crash);
            self.flush()?;
        }
        for stem in stems {
            self.change(&stem, |sidecar| {
                sidecar.fingerprint = Some(now.to_owned());
                sidecar.fingerprint_algorithm = Some(2);
                let aliases = sidecar.extra.entry(ALIASES).or_insert(json!([]));
                if let Value::Array(aliases) = aliases {
                    aliases.push(json!(former));
                }
            })?;
        }
        self.records.is_behind(name);
        self.flush()?;
        self.forget_crashes(&[former_name])
    }
}

/// The field with a fingerprint's other names.
pub const ALIASES: &str = "fingerprint_aliases";
