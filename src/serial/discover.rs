//! Which serial ports there are: `serialport`'s list (without libudev).
//!
//! Read from sysfs here is what that list lacks: the place in the USB tree with
//! the interface, which tells apart equal adapters and the ports of one adapter
//! (`serialport` has the interface's number without its configuration), and the
//! driver.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_serial::{SerialPortInfo, SerialPortType};

pub use crate::api::ports::Usb;

impl Usb {
    /// Whether the chip itself is on the bus: its serial number is its MAC
    /// address, and a reset by the modem lines can leave the port dead.
    pub fn is_serial_jtag(&self) -> bool {
        (self.vid, self.pid) == (ESPRESSIF, 0x1001)
    }

    /// What kind of adapter it is, if it is a known one.
    pub fn kind(&self) -> Option<&'static str> {
        if self.is_serial_jtag() {
            return Some("USB-Serial-JTAG");
        }
        match (self.vid, self.pid) {
            (ESPRESSIF, _) => Some("Espressif"),
            (0x10c4, 0xea60 | 0xea70 | 0xea71) => Some("CP210x"),
            (0x1a86, 0x7522 | 0x7523 | 0x5523) => Some("CH34x"),
            (0x1a86, 0x55d3 | 0x55d4) => Some("CH9102"),
            (0x0403, 0x6001 | 0x6010 | 0x6011 | 0x6014 | 0x6015) => Some("FTDI"),
            (0x067b, 0x2303 | 0x23a3) => Some("PL2303"),
            _ => None,
        }
    }

    /// The adapter, wherever it is plugged in: `10c4:ea60 A6008isP`.
    pub fn identity(&self) -> String {
        let serial = self.serial.as_deref().unwrap_or_default();
        format!("{:04x}:{:04x} {serial}", self.vid, self.pid)
    }

    /// Whether it is Espressif's own.
    pub fn is_espressif(&self) -> bool {
        self.vid == ESPRESSIF
    }
}

const ESPRESSIF: u16 = 0x303a;

/// A USB serial port that exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundPort {
    /// The device node.
    pub path: PathBuf,
    pub usb: Usb,
}

/// Where ports are looked for; tests have folders and lists of their own.
#[derive(Clone)]
pub struct PortSources {
    pub sys: PathBuf,
    pub dev: PathBuf,
    /// All serial ports, those that are not on USB among them.
    pub list: Arc<dyn Fn() -> Vec<SerialPortInfo> + Send + Sync>,
}

impl Default for PortSources {
    fn default() -> Self {
        Self {
            sys: PathBuf::from("/sys"),
            dev: PathBuf::from("/dev"),
            list: Arc::new(|| {
                // available_ports panics without this folder
                let exists = Path::new("/sys/class/tty").is_dir();
                let ports = exists.then(tokio_serial::available_ports);
                ports.and_then(Result::ok).unwrap_or_default()
            }),
        }
    }
}

/// All serial ports on USB, ordered by their place. A port that is unplugged
/// meanwhile is left out.
pub fn scan(sources: &PortSources) -> Vec<FoundPort> {
    let mut found: Vec<(String, FoundPort)> = (sources.list)()
        .into_iter()
        .filter_map(|port| {
            let SerialPortType::UsbPort(info) = port.port_type else {
                return None;
            };
            let path = PathBuf::from(port.port_name);
            let tty = sources.sys.join("class/tty").join(path.file_name()?);
            let (place, interface, driver) = usb_position(&fs::canonicalize(tty).ok()?)?;
            let usb = Usb {
                vid: info.vid,
                pid: info.pid,
                serial: info.serial_number.filter(|text| !text.is_empty()),
                product: info.product.filter(|text| !text.is_empty()),
                driver,
                place,
            };
            Some((interface, FoundPort { path, usb }))
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let places: Vec<String> = found
        .iter()
        .map(|(_, port)| port.usb.place.clone())
        .collect();
    for (interface, port) in &mut found {
        if places
            .iter()
            .filter(|place| **place == port.usb.place)
            .count()
            > 1
        {
            port.usb.place.clone_from(interface);
        }
    }
    found.into_iter().map(|(_, port)| port).collect()
}

/// Where a tty's folder in sysfs is in the USB tree: `1-1.4`, `1-1.4:1.0`, and
/// the driver there.
fn usb_position(tty: &Path) -> Option<(String, String, Option<String>)> {
    // .../1-1.4/1-1.4:1.0/tty/ttyACM0, .../1-1.4/1-1.4:1.0/ttyUSB0/tty/ttyUSB0
    let name = |folder: &Path| Some(folder.file_name()?.to_str()?.to_owned());
    let interface = tty
        .ancestors()
        .find(|folder| name(folder).is_some_and(|name| name.contains(':')))?;
    let driver = fs::read_link(interface.join("driver")).ok();
    Some((
        name(interface.parent()?)?,
        name(interface)?,
        driver.as_deref().and_then(name),
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::Mutex;

    use tokio_serial::UsbPortInfo;

    use super::*;

    /// A list of ports, and folders that look like `/sys` and `/dev` with them.
    pub(in crate::serial) struct FakeTree {
        folder: tempfile::TempDir,
        ports: Arc<Mutex<Vec<SerialPortInfo>>>,
    }

    impl FakeTree {
        pub(in crate::serial) fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["sys/class/tty", "sys/devices/usb1", "sys/drivers", "dev"] {
                fs::create_dir_all(folder.path().join(name)).unwrap();
            }
            let ports = Arc::default();
            Self { folder, ports }
        }

        pub(in crate::serial) fn sources(&self) -> PortSources {
            let ports = Arc::clone(&self.ports);
            PortSources {
                sys: self.folder.path().join("sys"),
                dev: self.folder.path().join("dev"),
                list: Arc::new(move || ports.lock().unwrap().clone()),
            }
        }

        /// Plugs in a port, as `cdc_acm` (`tty` under the interface) shows it.
        pub(in crate::serial) fn plug(
            &self,
            place: &str,
            interface: &str,
            ids: (u16, u16),
            serial: &str,
            tty: &str,
        ) {
            let sources = self.sources();
            let device = sources.sys.join("devices/usb1").join(place);
            let interface = device.join(format!("{place}:{interface}"));
            let folder = interface.join("tty").join(tty);
            fs::create_dir_all(&folder).unwrap();
            let driver = sources.sys.join("drivers/cdc_acm");
            fs::create_dir_all(&driver).unwrap();
            symlink(driver, interface.join("driver")).unwrap();
            self.ports.lock().unwrap().push(SerialPortInfo {
                port_name: sources.dev.join(tty).to_str().unwrap().to_owned(),
                port_type: SerialPortType::UsbPort(UsbPortInfo {
                    vid: ids.0,
                    pid: ids.1,
                    serial_number: Some(serial.to_owned()),
                    manufacturer: None,
                    product: None,
                }),
            });
            symlink(folder, sources.sys.join("class/tty").join(tty)).unwrap();
            if !sources.dev.join(tty).exists() {
                fs::File::create(sources.dev.join(tty)).unwrap();
            }
        }

        pub(in crate::serial) fn unplug(&self, tty: &str) {
            let named = |port: &SerialPortInfo| port.port_name.ends_with(tty);
            self.ports.lock().unwrap().retain(|port| !named(port));
            let link = self.sources().sys.join("class/tty").join(tty);
            let folder = fs::canonicalize(&link).unwrap();
            fs::remove_file(link).unwrap();
            fs::remove_file(self.sources().dev.join(tty)).unwrap();
            fs::remove_dir_all(folder.ancestors().nth(3).unwrap()).unwrap();
        }
    }

    #[test]
    fn ports_are_described_by_what_the_usb_device_says() {
        let tree = FakeTree::new();
        tree.plug(
            "1-1.4",
            "1.0",
            (0x303a, 0x1001),
            "84:F7:03:00:00:01",
            "ttyACM0",
        );
        let found = scan(&tree.sources());
        assert_eq!(found.len(), 1);
        let usb = &found[0].usb;
        assert_eq!(usb.place, "1-1.4");
        assert_eq!(usb.serial.as_deref(), Some("84:F7:03:00:00:01"));
        assert_eq!(usb.driver.as_deref(), Some("cdc_acm"));
        assert_eq!(usb.kind(), Some("USB-Serial-JTAG"));
        assert!(found[0].path.ends_with("dev/ttyACM0"));
    }

    #[test]
    fn two_ports_of_one_device_have_two_places() {
        let tree = FakeTree::new();
        tree.plug("1-2", "1.1", (0x0403, 0x6010), "x", "ttyUSB1");
        tree.plug("1-2", "1.0", (0x0403, 0x6010), "x", "ttyUSB0");
        tree.plug("1-3", "1.0", (0x10c4, 0xea60), "0001", "ttyUSB2");
        let found = scan(&tree.sources());
        let places: Vec<&str> = found.iter().map(|port| port.usb.place.as_str()).collect();
        assert_eq!(places, ["1-2:1.0", "1-2:1.1", "1-3"]);
    }

    #[test]
    fn ports_that_are_not_on_usb_or_just_left_it_are_left_out() {
        let tree = FakeTree::new();
        tree.plug("1-1", "1.0", (0x303a, 0x4001), "", "ttyACM0");
        let mut listed = (tree.sources().list)();
        listed.push(SerialPortInfo {
            port_name: String::from("/dev/ttyS0"),
            port_type: SerialPortType::Unknown,
        });
        let sources = PortSources {
            list: Arc::new(move || listed.clone()),
            ..tree.sources()
        };
        let found = scan(&sources);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].usb.serial, None);
        tree.unplug("ttyACM0");
        assert_eq!(scan(&sources), []);
    }

    #[test]
    fn the_machines_own_ports_can_be_listed() {
        for port in scan(&PortSources::default()) {
            assert!(port.path.starts_with("/dev") && !port.usb.place.is_empty());
        }
    }
}
