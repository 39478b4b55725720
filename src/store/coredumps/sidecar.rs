//! A stored dump's metadata: the JSON file beside it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Sha256;
use crate::journal::Entry;
use crate::store::open_enum::OpenEnum;

/// The schema this program writes.
pub const SCHEMA: u32 = 1;
/// The identity of a dump whose sidecar was lost.
pub const REBUILT: &str = "rebuilt";
/// The key that a board calls itself by whose dump came with a fleet token that did not
/// register it. Whoever has the token can send any number of such.
pub const CLAIMED_KEY: &str = "claimed_device_key";
/// Sightings that are remembered.
const MAX_SIGHTINGS: usize = 20;

/// Source of a dump.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Https,
    Uart,
    Flash,
}

impl Source {
    /// The word in sidecars, metrics and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Uart => "uart",
            Self::Flash => "flash",
        }
    }
}

/// Decoding state of a dump.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecodeState {
    Pending,
    Done,
    /// Decoded without symbols: its ELF was not uploaded yet.
    NoElf,
    Failed,
}

impl DecodeState {
    /// The word in sidecars and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::NoElf => "no-elf",
            Self::Failed => "failed",
        }
    }
}

/// How decoding a dump went so far: what the sidecar says beside `decode`. Old sidecars have none of it, or only
/// the attempts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Decoding {
    /// Attempts that began and gave no report. While one is under way it is
    /// counted already, so that a dump that crashes the daemon is given up too.
    #[serde(rename = "decode_attempts")]
    pub attempts: u32,
    /// Why the last attempt failed.
    #[serde(rename = "decode_failure")]
    pub failure: Option<String>,
    /// SHA-256 of the ELF that was tried last and does not fit.
    #[serde(rename = "decode_misfit")]
    pub misfit: Option<String>,
}

impl Decoding {
    /// Whether this ELF was tried, and did not fit.
    pub fn is_misfit(&self, elf: Sha256) -> bool {
        self.misfit
            .as_ref()
            .is_some_and(|misfit| *misfit == elf.to_string())
    }
}

/// One time the same dump was seen.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sighting {
    pub at: String,
    pub source: OpenEnum<Source>,
}

/// The sidecar. Fields and words written by a newer version survive.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Sidecar {
    pub schema: u32,
    pub id: String,
    pub chip: Option<String>,
    pub firmware_version: Option<String>,
    pub device_key: String,
    pub model_code: Option<String>,
    /// ISO 8601, UTC.
    pub uploaded_at: String,
    pub size: u64,
    pub sha256: String,
    pub source: OpenEnum<Source>,
    pub serial_port: Option<String>,
    /// How the device was identified: `token`, `fleet-token`, `open`, `configured`, `mac`, `place`.
    pub identity: String,
    pub format: Option<String>,
    pub header_version: Option<String>,
    pub verdict: String,
    pub problems: Vec<String>,
    pub app_elf_sha256: Option<String>,
    pub panic_reason: Option<String>,
    pub task: Option<String>,
    /// Function, file and line of the first frame in the application's own code.
    #[serde(default)]
    pub place: Option<String>,
    pub decode: OpenEnum<DecodeState>,
    #[serde(flatten)]
    pub decoding: Decoding,
    pub fingerprint: Option<String>,
    pub fingerprint_algorithm: Option<u32>,
    /// Id of its signature, once decoded.
    #[serde(default)]
    pub signature: Option<String>,
    /// Id of its crash group at that time.
    #[serde(default)]
    pub crash: Option<String>,
    pub sightings: Vec<Sighting>,
    /// How long the gateway was not reachable between the device's last contact and the
    /// upload, if the device could notice. Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_unreachable_s: Option<u64>,
    /// The gateway caused this crash: code that talks to it crashed while it was not
    /// reachable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gateway_induced: bool,
    /// A person asked for this dump; retention never thins it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requested: bool,
    /// Dumps without a fingerprint that came after this one and were only counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub counted: u64,
    pub gateway_id: Option<String>,
    pub boot_id: Option<String>,
    pub monotonic_us: Option<u64>,
    pub sequence: u64,
    /// `synced` or `unsynced`.
    pub clock: Option<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Sidecar {
    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Makes an entry one about this dump. Those of boards that a fleet token did not
    /// register are limited together: each may come with another key.
    pub fn told_in(&self, entry: Entry) -> Entry {
        let entry = entry
            .device(&self.device_key)
            .coredump(&self.id)
            .maybe("MODEL_CODE", self.model_code.as_ref())
            .maybe("FIRMWARE_VERSION", self.firmware_version.as_ref())
            .maybe("FINGERPRINT", self.fingerprint.as_ref())
            .maybe("CRASH", self.crash.as_ref());
        match self.extra.contains_key(CLAIMED_KEY) {
            true => entry.limited(&"unregistered boards with a fleet token"),
            false => entry,
        }
    }

    /// Remembers that the dump was seen again.
    pub fn saw_again(&mut self, at: String, source: Source) {
        let source = source.into();
        self.sightings.push(Sighting { at, source });
        let surplus = self.sightings.len().saturating_sub(MAX_SIGHTINGS);
        self.sightings.drain(..surplus);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn sample(id: &str, sequence: u64) -> Sidecar {
        Sidecar {
            schema: SCHEMA,
            id: id.to_owned(),
            chip: Some(String::from("esp32")),
            firmware_version: Some(String::from("1.0")),
            device_key: String::from("k1"),
            model_code: None,
            uploaded_at: String::from("2026-02-11T14:30:00.123456Z"),
            size: 4,
            sha256: String::new(),
            source: Source::Https.into(),
            serial_port: None,
            identity: String::from("token"),
            format: None,
            header_version: None,
            verdict: String::from("not-a-coredump"),
            problems: Vec::new(),
            app_elf_sha256: None,
            panic_reason: None,
            task: None,
            place: None,
            decode: DecodeState::Pending.into(),
            decoding: Decoding::default(),
            fingerprint: None,
            fingerprint_algorithm: None,
            signature: None,
            crash: None,
            sightings: Vec::new(),
            gateway_unreachable_s: None,
            gateway_induced: false,
            requested: false,
            counted: 0,
            gateway_id: None,
            boot_id: None,
            monotonic_us: None,
            sequence,
            clock: None,
            extra: Map::new(),
        }
    }

    #[test]
    fn fields_and_words_of_a_newer_version_survive_a_rewrite() {
        let mut sample = sample("a", 1);
        sample.saw_again(String::from("t"), Source::Uart);
        let mut value: Value = serde_json::from_slice(&sample.to_bytes()).unwrap();
        value["weather"] = "rain".into();
        for word in ["source", "decode", "verdict", "identity", "clock"] {
            value[word] = "newer".into();
        }
        value["sightings"][0]["source"] = "newer".into();
        let sidecar: Sidecar = serde_json::from_value(value.clone()).unwrap();
        let again: Value = serde_json::from_slice(&sidecar.to_bytes()).unwrap();
        assert_eq!(again, value);
    }

    #[test]
    fn a_sidecar_of_an_older_version_is_read() {
        let mut value: Value = serde_json::from_slice(&sample("a", 1).to_bytes()).unwrap();
        let fields = value.as_object_mut().unwrap();
        for newer in [
            "signature",
            "decode_attempts",
            "decode_failure",
            "decode_misfit",
        ] {
            fields.remove(newer).unwrap();
        }
        let sidecar: Sidecar = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(sidecar.decoding, Decoding::default());
        // as 0.1 wrote them, in the middle of an attempt
        value["decode_attempts"] = 2.into();
        let sidecar: Sidecar = serde_json::from_value(value).unwrap();
        assert_eq!(sidecar.decoding.attempts, 2);
        assert!(!sidecar.extra.contains_key("decode_attempts"));
    }

    #[test]
    fn the_last_twenty_sightings_are_kept() {
        let mut sidecar = sample("a", 1);
        for n in 0..25 {
            sidecar.saw_again(n.to_string(), Source::Uart);
        }
        assert_eq!(sidecar.sightings.len(), 20);
        assert_eq!(sidecar.sightings[0].at, "5");
    }
}
