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
    /// Always `null`: all are listed.
    pub next_cursor: Option<String>,
}

/// A serial port and what is known of the board on it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PortStatus {
    /// What it is addressed by.
    pub name: String,
    pub path: PathBuf,
    /// Place in the USB tree, or the path of what is not on USB.
    pub place: String,
    /// Kind of adapter, such as `CP210x`; `null` if unknown or not on USB.
    pub adapter: Option<String>,
    pub usb: Option<Usb>,
    pub state: OpenEnum<State>,
    /// Why it is listened to or not.
    pub why: Option<OpenEnum<Why>>,
    /// What is wrong and what to do, in a sentence.
    pub note: Option<String>,
    /// Seconds until a released port is taken back; `null`: when it is claimed.
    pub released_seconds: Option<u64>,
    pub baud: u32,
    pub device_key: Option<String>,
    pub model_code: Option<String>,
    /// The board's, as twelve hex digits, if its USB or its bootloader told it.
    pub mac: Option<String>,
    /// What the board said at its last boot.
    pub chip: Option<String>,
    /// The application's name, as the board said at its last boot.
    pub project: Option<String>,
    pub firmware_version: Option<String>,
    pub app_elf_sha256: Option<String>,
    /// Bytes received since the daemon started.
    pub bytes: u64,
    /// Boots that were seen, by the ROM's name for the reason.
    pub resets: BTreeMap<String, u64>,
    pub brown_outs: u64,
    pub dumps: u64,
    pub panics: u64,
    /// Crashes that the store has taken in, kept or counted.
    pub stored: u64,
    /// Crashes that were lost because the disk was too slow for them.
    pub dropped: u64,
    pub last_line: Option<String>,
    pub last_data_at: Option<String>,
    pub last_crash: Option<LastCrash>,
}

/// What a port is doing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Open and read.
    Listening,
    /// Its flash is being read.
    ReadingFlash,
    /// Not opened: nobody said so.
    Seen,
    /// Left alone by a person, for a while or until it is claimed.
    Released,
    /// Lent to a program that was started with `ports run`.
    Lent,
    /// Another program holds it.
    Busy,
    /// Not plugged in.
    Absent,
    /// It cannot be used; `note` says why.
    Trouble,
}

/// Why a port is listened to, or not.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The configuration names it.
    Configured,
    /// A person claimed it.
    Claimed,
    /// The discovery rule takes it.
    Discovered,
    /// Nobody said it may be opened.
    Seen,
}

/// A USB serial adapter, or a chip with USB of its own.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Usb {
    pub vid: u16,
    pub pid: u16,
    /// As the device says; many adapters share one or have none.
    pub serial: Option<String>,
    pub product: Option<String>,
    pub driver: Option<String>,
    /// Where in the USB tree it is plugged in, such as `1-1.4`; with the
    /// interface (`1-1.4:1.0`) if the device has several ports.
    pub place: String,
}

/// The newest crash that came in on a port.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct LastCrash {
    /// RFC 3339, UTC.
    pub at: String,
    pub coredump_id: String,
    pub filename: String,
    pub verdict: String,
    /// Whether the bytes were kept; a round of a crash loop is only counted.
    pub kept: bool,
}

/// The coredump that was read from a board's flash.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Read {
    /// `null`: there is none in the flash.
    pub coredump_id: Option<String>,
    pub filename: Option<String>,
    pub device_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// `false`: it is held already, or was only counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
}

/// How far the read of a board's flash is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Reading {
    /// What is done now, in words; `null` before the first step.
    pub stage: Option<String>,
    /// Bytes of this step that are done.
    pub done: u32,
    /// Bytes of this step; `null` or 0 if that is not known.
    pub total: Option<u32>,
}

/// How long to leave a port alone.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Release {
    /// 1 to 86400; 600 if it is `null` or absent.
    pub for_seconds: Option<u64>,
    /// Until somebody claims it again, however long that is.
    pub until_claimed: bool,
}
