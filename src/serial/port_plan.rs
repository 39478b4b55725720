//! The plan for one port: whether and how it is opened.

use std::path::PathBuf;
use std::time::Duration;

use crate::api::ports::Why;
use crate::config::{self, ReadFlash, Reset};
use crate::device::{DeviceKey, MacAddress, ModelCode};

use super::discover::Usb;
use super::link::ModemLines;
use super::reset::ResetCircuit;

/// How one port is used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortSettings {
    pub baud: u32,
    pub device_key: Option<DeviceKey>,
    pub model: Option<ModelCode>,
    pub lines: ModemLines,
    pub reset: Reset,
    pub read_flash: ReadFlash,
    pub press_enter: bool,
}

impl PortSettings {
    /// The settings of a configured port.
    pub fn of(port: &config::SerialPort) -> Self {
        Self {
            baud: port.baud,
            device_key: port.device_key.clone(),
            model: port.model.clone(),
            lines: match port.lines {
                config::Lines::On => ModemLines::ON,
                config::Lines::Off => ModemLines::OFF,
            },
            reset: port.reset,
            read_flash: port.read_flash,
            press_enter: port.press_enter,
        }
    }
}

/// Whether and how one port is opened.
#[derive(Clone, Debug, PartialEq)]
pub struct PortPlan {
    /// The place in the USB tree, or the path of what is not on USB.
    pub id: String,
    pub path: PathBuf,
    pub usb: Option<Usb>,
    pub why: Why,
    pub settings: PortSettings,
    /// Released by a person or lent to a program.
    pub released: Option<Released>,
    /// Whether its device node exists.
    pub present: bool,
    /// No other board or adapter that is plugged in has its USB serial number.
    pub serial_is_unique: bool,
    /// The board that was at its place a moment ago, if it is a chip whose USB
    /// serial number does not tell.
    pub board_before: Option<MacAddress>,
}

/// A port that is not opened for now; `None`: until it is claimed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Released {
    pub remaining: Option<Duration>,
    pub lent: bool,
}

impl PortPlan {
    /// A port that is not on USB, as the configuration's defaults say.
    pub(super) fn configured(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            path: PathBuf::from(id),
            usb: None,
            why: Why::Configured,
            settings: PortSettings::of(&config::SerialPort::default()),
            released: None,
            present: true,
            serial_is_unique: true,
            board_before: None,
        }
    }

    /// Whether a change of the adapter would be noticed.
    pub fn has_unique_adapter(&self) -> bool {
        self.serial_is_unique && self.usb.as_ref().is_some_and(Usb::has_own_serial)
    }

    /// The board's reset circuit.
    pub fn reset_circuit(&self) -> ResetCircuit {
        ResetCircuit::of(self.settings.reset, self.usb.as_ref())
    }

    /// Whether a program has borrowed it.
    pub fn is_lent(&self) -> bool {
        self.released.is_some_and(|released| released.lent)
    }

    /// Whether the port is to be open.
    pub fn is_to_be_open(&self) -> bool {
        self.why != Why::Seen && self.released.is_none()
    }
}
