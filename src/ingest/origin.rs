//! Origin of a dump: device, source, and what was reported with it.

use serde_json::{Map, Value};

use crate::device::{DeviceKey, ModelCode};
use crate::store::coredumps::Source;

use super::ToldCrash;

/// Longest text that a device may put into a sidecar, in bytes.
const MAX_TEXT: usize = 128;

/// Sender and data of a dump.
#[derive(Clone, Debug)]
pub struct Origin {
    pub device: DeviceKey,
    pub model: Option<ModelCode>,
    pub source: Source,
    /// A person asked for it: it is always stored, and never thinned.
    pub requested: bool,
    /// How the device was identified: `token`, `fleet-token`, `open`, `configured`, `mac`, `place`.
    pub identity: &'static str,
    pub serial_port: Option<String>,
    /// From the device; otherwise from the dump.
    pub chip: Option<String>,
    pub firmware_version: Option<String>,
    /// From the device; the prefix in the dump takes precedence.
    pub app_elf_sha256: Option<String>,
    /// From the console; the reason in the dump takes precedence.
    pub panic_reason: Option<String>,
    /// More that is kept in the sidecar.
    pub reported: Map<String, Value>,
    /// How long the gateway was not reachable between the device's last contact and this,
    /// if the device could notice. Seconds.
    pub gateway_unreachable_s: Option<u64>,
    /// Known problems of the data.
    pub problems: Vec<String>,
    /// Console lines around the crash.
    pub log: Option<Vec<u8>>,
    /// Of a dump read from flash: the last crash that the board's console told.
    pub told: Option<ToldCrash>,
}

impl Origin {
    /// An origin without further data.
    pub fn new(device: DeviceKey, source: Source, identity: &'static str) -> Self {
        Self {
            device,
            model: None,
            source,
            requested: false,
            identity,
            serial_port: None,
            chip: None,
            firmware_version: None,
            app_elf_sha256: None,
            panic_reason: None,
            reported: Map::new(),
            gateway_unreachable_s: None,
            problems: Vec::new(),
            log: None,
            told: None,
        }
    }

    /// A text from a device, cut to what a sidecar takes.
    pub fn bounded(text: &str) -> String {
        let mut end = text.len().min(MAX_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.get(..end).unwrap_or_default().to_owned()
    }
}
