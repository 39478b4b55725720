//! Coredumps: uploaded by devices, listed and decoded for people.

use serde::{Deserialize, Serialize};

use crate::store::coredumps::{DecodeState, Sidecar};
use crate::store::open_enum::OpenEnum;

/// Stored coredumps.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct List {
    /// Newest first.
    pub coredumps: Vec<Coredump>,
    /// `cursor` of the request for the next page; `null` on the last page.
    pub next_cursor: Option<String>,
}

/// A stored coredump: its sidecar and its file's name.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Coredump {
    #[serde(flatten)]
    pub sidecar: Sidecar,
    /// The dump's file.
    #[serde(default)]
    pub filename: String,
    /// Corrected time of arrival, if the clock was wrong then and the error is known now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected_at: Option<String>,
}

/// The response to a coredump upload.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Stored {
    /// `ok`
    pub status: String,
    /// File name of this dump, or of the stored one that it duplicates.
    pub filename: String,
    /// Twelve hex digits.
    pub coredump_id: String,
    /// `false` if this dump is a duplicate, or was only counted as part of a crash
    /// loop; otherwise absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
}

/// Coredumps queued for decoding.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Queued {
    /// Number of coredumps.
    pub queued: u64,
}

/// A coredump has no report (404).
#[derive(Clone, Debug, Serialize)]
pub struct NoReport {
    pub error: String,
    /// `pending`: not decoded yet; `failed`: decoding failed.
    pub decode: OpenEnum<DecodeState>,
    /// Why decoding failed; otherwise `null`.
    pub decode_failure: Option<String>,
}

/// One that came by HTTPS and was decoded without its ELF.
#[cfg(test)]
pub(crate) fn sample() -> Coredump {
    let sidecar = r#"{
        "schema": 1, "id": "7b262063f782", "chip": "esp32", "firmware_version": "1.2.3",
        "device_key": "kitchen3", "model_code": "lamp",
        "uploaded_at": "2026-02-11T14:30:00.123456Z", "size": 13, "sha256": "00",
        "source": "https", "identity": "token", "verdict": "valid", "problems": [],
        "decode": "no-elf", "sightings": [], "sequence": 1, "clock": "synced"
    }"#;
    serde_json::from_str(sidecar).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_another_release_go_with_a_coredump() {
        let mut sent = serde_json::to_value(sample()).unwrap();
        sent["colour"] = "red".into();
        sent["filename"] = "a.dmp".into();
        let read: Coredump = serde_json::from_value(sent.clone()).unwrap();
        assert_eq!(read.filename, "a.dmp");
        assert_eq!(read.sidecar.extra.len(), 1);
        assert_eq!(serde_json::to_value(&read).unwrap(), sent);
    }
}
