//! Serial ports.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::OpenEnum;

/// Serial ports.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct List {
    pub ports: Vec<PortStatus>,
    /// Always `null`: the list is complete.
    pub next_cursor: Option<String>,
}

/// A serial port and what is known of the board on it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PortStatus {
    /// Name used to address it.
    pub name: String,
    pub path: PathBuf,
    /// Position in the USB tree, or the path of a port that is not on USB.
    pub place: String,
    /// Kind of adapter, such as `CP210x`; `null` if unknown or not on USB.
    pub adapter: Option<String>,
    pub usb: Option<Usb>,
    pub state: OpenEnum<State>,
    /// Why it is opened or not.
    pub why: Option<OpenEnum<Why>>,
    /// Error and next step, in a sentence.
    pub note: Option<String>,
    /// Seconds until a released port is opened again; `null`: when it is claimed.
    pub released_seconds: Option<u64>,
    pub baud: u32,
    pub device_key: Option<String>,
    pub model_code: Option<String>,
    /// MAC address of the board (twelve hex digits), from USB or bootloader.
    pub mac: Option<String>,
    /// Chip, from the last boot messages.
    pub chip: Option<String>,
    /// Application name, from the last boot messages.
    pub project: Option<String>,
    pub firmware_version: Option<String>,
    /// Where an application is written over USB; known after a flash read.
    pub app_slot: Option<AppSlot>,
    pub app_elf_sha256: Option<String>,
    /// Bytes received since the daemon started.
    pub bytes: u64,
    /// Number of boots by reset reason (the ROM's name).
    pub resets: BTreeMap<String, u64>,
    pub brown_outs: u64,
    pub dumps: u64,
    pub panics: u64,
    /// Crashes stored or counted.
    pub stored: u64,
    /// Crashes dropped because storage was too slow.
    pub dropped: u64,
    pub last_line: Option<String>,
    pub last_data_at: Option<String>,
    pub last_crash: Option<LastCrash>,
}

/// Where an application is in a board's flash, by its partition table.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct AppSlot {
    /// Start of the slot that the board starts unless another one is chosen.
    pub offset: u32,
    /// Where that choice is noted, if the board has several slots.
    pub choice_offset: Option<u32>,
    pub choice_size: Option<u32>,
}

/// What a port is doing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Open and read.
    Listening,
    /// Its flash is being read.
    ReadingFlash,
    /// Not opened: not claimed or configured.
    Seen,
    /// Released by a person, for a while or until claimed.
    Released,
    /// Lent to a program started with `ports run`.
    Lent,
    /// In use by another program.
    Busy,
    /// Not plugged in.
    Absent,
    /// Error; see `note`.
    Trouble,
}

/// Why a port is opened, or not.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Named in the configuration.
    Configured,
    /// Claimed with `ports claim`.
    Claimed,
    /// Matches the `discover` setting.
    Discovered,
    /// Not claimed, configured or discovered.
    Seen,
}

/// A USB serial adapter, or a chip with USB of its own.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Usb {
    pub vid: u16,
    pub pid: u16,
    /// Serial number, from the device; many adapters share one or have none.
    pub serial: Option<String>,
    pub product: Option<String>,
    pub driver: Option<String>,
    /// Position in the USB tree, such as `1-1.4`; with the interface
    /// (`1-1.4:1.0`) if the device has several ports.
    pub place: String,
}

/// The latest crash received on a port.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct LastCrash {
    /// RFC 3339, UTC.
    pub at: String,
    pub coredump_id: String,
    pub filename: String,
    pub verdict: String,
    /// Whether the dump was stored; in a crash loop it is only counted.
    pub kept: bool,
}

/// The coredump read from a board's flash.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Read {
    /// `null`: the flash contains no coredump.
    pub coredump_id: Option<String>,
    pub filename: Option<String>,
    pub device_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// `false`: a duplicate, or only counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
}

/// Progress of a flash read.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Reading {
    /// Current step in words; `null` before the first one.
    pub stage: Option<String>,
    /// Bytes done in this step.
    pub done: u32,
    /// Total bytes of this step; `null` or 0 if unknown.
    pub total: Option<u32>,
}

/// How long to release a port.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Release {
    /// 1 to 86400; 600 if it is `null` or absent.
    pub for_seconds: Option<u64>,
    /// Until the port is claimed again.
    pub until_claimed: bool,
}
