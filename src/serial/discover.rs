//! Which serial ports there are, from sysfs (no libudev, no polling).

use std::fs;
use std::path::{Path, PathBuf};

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

    /// Whether its serial number looks like one of its own: CP210x come with
    /// `0001` from the factory, CH34x with none.
    pub fn has_own_serial(&self) -> bool {
        self.serial.as_ref().is_some_and(|serial| serial.len() >= 6)
    }

    /// Whether it is Espressif's own.
    pub fn is_espressif(&self) -> bool {
        self.vid == ESPRESSIF
    }
}

const ESPRESSIF: u16 = 0x303a;

/// A serial port that exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The device node.
    pub path: PathBuf,
    pub usb: Usb,
}

/// Where the kernel shows its devices; other folders in tests.
#[derive(Clone, Debug)]
pub struct Roots {
    pub sys: PathBuf,
    pub dev: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            sys: PathBuf::from("/sys"),
            dev: PathBuf::from("/dev"),
        }
    }
}

/// All serial ports on USB, by place. What vanishes meanwhile is left out.
pub fn scan(roots: &Roots) -> Vec<Found> {
    let Ok(entries) = fs::read_dir(roots.sys.join("class/tty")) else {
        return Vec::new();
    };
    let mut found: Vec<(String, Found)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let path = roots.dev.join(&name);
            let (usb, interface) = usb_of(&fs::canonicalize(entry.path()).ok()?)?;
            path.exists().then_some((interface, Found { path, usb }))
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

/// The USB device above a tty's folder in sysfs, and the interface's name.
fn usb_of(tty: &Path) -> Option<(Usb, String)> {
    let device = tty
        .ancestors()
        .find(|folder| folder.join("idVendor").is_file())?;
    let below = tty.strip_prefix(device).ok()?;
    let interface = below
        .components()
        .next()?
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    let id = |name| u16::from_str_radix(&attribute(device, name)?, 16).ok();
    let driver = fs::read_link(device.join(&interface).join("driver")).ok();
    let usb = Usb {
        vid: id("idVendor")?,
        pid: id("idProduct")?,
        serial: attribute(device, "serial"),
        product: attribute(device, "product"),
        driver: driver.and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned())),
        place: device.file_name()?.to_string_lossy().into_owned(),
    };
    Some((usb, interface))
}

/// A file of sysfs with one short text.
fn attribute(folder: &Path, name: &str) -> Option<String> {
    let text = fs::read(folder.join(name)).ok()?;
    let text = String::from_utf8_lossy(&text);
    let text: String = text.trim().chars().take(MOST_CHARS).collect();
    (!text.is_empty()).then_some(text)
}

/// USB strings have at most 126 characters.
const MOST_CHARS: usize = 126;

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder that looks like `/sys` and `/dev` with USB serial ports.
    pub(in crate::serial) struct FakeTree {
        folder: tempfile::TempDir,
    }

    impl FakeTree {
        pub(in crate::serial) fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["sys/class/tty", "sys/devices/usb1", "sys/drivers", "dev"] {
                fs::create_dir_all(folder.path().join(name)).unwrap();
            }
            Self { folder }
        }

        pub(in crate::serial) fn roots(&self) -> Roots {
            Roots {
                sys: self.folder.path().join("sys"),
                dev: self.folder.path().join("dev"),
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
            let roots = self.roots();
            let device = roots.sys.join("devices/usb1").join(place);
            let interface = device.join(format!("{place}:{interface}"));
            let folder = interface.join("tty").join(tty);
            fs::create_dir_all(&folder).unwrap();
            let driver = roots.sys.join("drivers/cdc_acm");
            fs::create_dir_all(&driver).unwrap();
            symlink(driver, interface.join("driver")).unwrap();
            write(&device.join("idVendor"), &format!("{:04x}\n", ids.0));
            write(&device.join("idProduct"), &format!("{:04x}\n", ids.1));
            write(&device.join("serial"), &format!("{serial}\n"));
            symlink(folder, roots.sys.join("class/tty").join(tty)).unwrap();
            if !roots.dev.join(tty).exists() {
                write(&roots.dev.join(tty), "");
            }
        }

        pub(in crate::serial) fn unplug(&self, tty: &str) {
            let link = self.roots().sys.join("class/tty").join(tty);
            let folder = fs::canonicalize(&link).unwrap();
            fs::remove_file(link).unwrap();
            fs::remove_file(self.roots().dev.join(tty)).unwrap();
            fs::remove_dir_all(folder.ancestors().nth(3).unwrap()).unwrap();
        }
    }

    fn write(path: &Path, text: &str) {
        use std::io::Write as _;
        fs::File::create(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
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
        let found = scan(&tree.roots());
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
        let found = scan(&tree.roots());
        let places: Vec<&str> = found.iter().map(|port| port.usb.place.as_str()).collect();
        assert_eq!(places, ["1-2:1.0", "1-2:1.1", "1-3"]);
    }

    #[test]
    fn ports_that_are_not_on_usb_or_have_no_node_are_left_out() {
        let tree = FakeTree::new();
        let roots = tree.roots();
        let plain = roots.sys.join("devices/platform/tty/ttyS0");
        fs::create_dir_all(&plain).unwrap();
        symlink(plain, roots.sys.join("class/tty/ttyS0")).unwrap();
        tree.plug("1-1", "1.0", (0x303a, 0x4001), "", "ttyACM0");
        fs::remove_file(roots.dev.join("ttyACM0")).unwrap();
        assert_eq!(scan(&roots), []);
        assert_eq!(
            scan(&Roots {
                sys: "/nowhere".into(),
                dev: "/nowhere".into()
            }),
            []
        );
    }
}
