//! The configuration, `espgate.toml`: structure, parsing, errors.

mod certificate_name;
mod changes;
mod default_text;
mod load;
mod problem;
mod quantity;
mod rollouts;

pub use certificate_name::{is_certificate_name, is_dns_name};
pub use changes::{AT_START, changed};
pub use default_text::DEFAULT_TEXT;
pub use load::{Loaded, MAX_BUNDLE_BYTES, line_of_key, parse};
pub use problem::Problem;
pub use quantity::{Quantity, RecordLimit};
pub use rollouts::{OnStop, Rollouts, Window, duration, shares, window};

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::device::{DeviceKey, ModelCode};
use crate::signature::Lists;

/// The default path of the configuration.
pub const DEFAULT_PATH: &str = "/etc/espgate/espgate.toml";

/// The whole configuration, every value checked.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Config {
    pub data_dir: Option<PathBuf>,
    pub http: Http,
    pub tls: Tls,
    pub auth: Auth,
    pub coredumps: Coredumps,
    pub crashes: Crashes,
    pub firmware: Firmware,
    pub rollouts: Rollouts,
    pub serial: Serial,
}

/// `[http]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Http {
    /// HTTPS addresses; port 0 is any free one.
    pub listen: Vec<SocketAddr>,
    /// What upload scripts carry; empty: made from the certificate's names.
    pub public_url: String,
    /// Connections at once, all together.
    pub max_connections: usize,
    /// Connections at once from one address without an accepted credential, when they are short.
    pub max_connections_per_address: usize,
}

/// `[tls]`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Tls {
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub ca_cert: Option<PathBuf>,
    pub ca_key: Option<PathBuf>,
    /// More names and addresses for the server certificate.
    pub names: Vec<String>,
    pub max_record_bytes: RecordLimit,
}

/// Whether a credential is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    #[default]
    Token,
    Open,
}

/// `[auth]`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Auth {
    pub devices: AuthMode,
    pub pipeline: AuthMode,
    pub fleet: Fleet,
}

/// `[auth.fleet]`: how many boards each fleet token registers.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Fleet {
    /// In total. Those that a person registered since do not count.
    pub max_devices: usize,
    /// At once, after a while without any.
    pub burst: u32,
    /// Beyond the burst.
    pub per_hour: u32,
}

/// `[coredumps]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Coredumps {
    pub dir: Option<PathBuf>,
    pub max_upload_bytes: usize,
    pub keep_per_device: usize,
    pub keep_first_of_crash: usize,
    pub keep_last_of_crash: usize,
    pub max_total: Quantity,
    pub min_free: Quantity,
}

/// `[crashes]`: function names, or patterns with `*`, that the site adds to the lists
/// that signatures are made with.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Crashes {
    pub skip: Vec<String>,
    pub prefix: Vec<String>,
    pub base: Vec<String>,
}

impl Crashes {
    /// The lists in force.
    pub fn lists(&self) -> Lists {
        Lists::with_site(&self.skip, &self.prefix, &self.base)
    }
}

/// `[firmware]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Firmware {
    pub dir: Option<PathBuf>,
    pub max_bundle_bytes: u64,
    pub keep_versions: usize,
    pub zip_to_devices: bool,
}

/// Which serial ports are opened automatically.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Discover {
    /// USB vendor 303a only.
    #[default]
    Espressif,
    /// Every known USB serial adapter.
    All,
    Off,
}

/// `[serial]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Serial {
    pub discover: Discover,
    pub port: Vec<SerialPort>,
    /// Lines whose text matches one of these (`*` stands for anything) are
    /// stored with what the last `*` stands for masked.
    pub mask: Vec<String>,
    /// Where the partition table is in flash, bytes.
    pub partition_table_offset: u32,
}

/// State of DTR and RTS after opening; both are set together.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lines {
    #[default]
    On,
    Off,
}

/// How a board is reset into its bootloader.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reset {
    #[default]
    Auto,
    Classic,
    UsbJtag,
    /// No modem lines: never touch them.
    None,
}

/// When the coredump partition is read.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadFlash {
    Never,
    #[default]
    OnDemand,
    OnCrash,
}

/// How `[[serial.port]]` names a port other than by path.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct PortMatch {
    pub usb_serial: Option<String>,
    pub vid: Option<u16>,
    pub pid: Option<u16>,
    /// Place in the USB tree, such as `1-1.4`.
    pub place: Option<String>,
}

/// `[[serial.port]]`: a fixed port or an exception.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct SerialPort {
    pub path: Option<PathBuf>,
    #[serde(rename = "match")]
    pub matching: Option<PortMatch>,
    pub baud: u32,
    #[serde(deserialize_with = "load::empty_is_none")]
    pub device_key: Option<DeviceKey>,
    #[serde(deserialize_with = "load::empty_is_none")]
    pub model: Option<ModelCode>,
    pub lines: Lines,
    pub reset: Reset,
    pub read_flash: ReadFlash,
    pub press_enter: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([0u16; 8], 8443))],
            public_url: String::new(),
            max_connections: 512,
            max_connections_per_address: 64,
        }
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            max_devices: 1000,
            burst: 500,
            per_hour: 60,
        }
    }
}

impl Default for Coredumps {
    fn default() -> Self {
        Self {
            dir: None,
            max_upload_bytes: 1024 * 1024,
            keep_per_device: 100,
            keep_first_of_crash: 3,
            keep_last_of_crash: 2,
            max_total: Quantity::Percent(25),
            min_free: Quantity::Percent(5),
        }
    }
}

impl Default for Firmware {
    fn default() -> Self {
        Self {
            dir: None,
            max_bundle_bytes: 128 * 1024 * 1024,
            keep_versions: 10,
            zip_to_devices: true,
        }
    }
}

impl Default for Serial {
    fn default() -> Self {
        Self {
            discover: Discover::default(),
            port: Vec::new(),
            mask: Vec::new(),
            partition_table_offset: 0x8000,
        }
    }
}

impl Default for SerialPort {
    fn default() -> Self {
        Self {
            path: None,
            matching: None,
            baud: 115_200,
            device_key: None,
            model: None,
            lines: Lines::default(),
            reset: Reset::default(),
            read_flash: ReadFlash::default(),
            press_enter: true,
        }
    }
}
