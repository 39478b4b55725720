//! From a port to the door: what a crash on a serial port is stored as.

use std::sync::Arc;

use crate::clock::{Moment, iso8601};
use crate::console::{Boot, Dump, Panic};
use crate::coredump;
use crate::device::{DeviceKey, MacAddress, ModelCode};
use crate::ingest::{Ingest, Origin, Received};
use crate::journal::Event;
use crate::store::coredumps::Source;
use crate::store::registry::devices::Running;
use crate::store::{self, Store};

use super::policy::Plan;
use super::whose::{Clues, Whose, bounded, whose};

/// Finds the model whose bundle holds the build with this app ELF hash, which
/// may be shortened.
pub type ModelOfBuild = Box<dyn Fn(&str) -> Option<ModelCode> + Send + Sync>;

/// The way from all ports to the store.
pub struct Intake {
    ingest: Arc<Ingest>,
    store: Arc<Store>,
    model_of_build: ModelOfBuild,
}

/// A crash that a port captured.
#[derive(Clone, Debug)]
pub enum Crash {
    Dump(Box<Dump>),
    Panic(Box<Panic>),
    /// The coredump partition's content.
    Flash(Vec<u8>),
}

/// Where it was captured.
#[derive(Clone, Debug)]
pub struct Site {
    pub plan: Plan,
    /// Of the board, if its USB descriptor or its bootloader told.
    pub mac: Option<MacAddress>,
}

impl Site {
    /// The site of a port; a chip with USB of its own shows its MAC address.
    pub fn of(plan: &Plan) -> Self {
        let usb = plan.usb.as_ref().filter(|usb| usb.is_serial_jtag());
        let mac = usb.and_then(|usb| usb.serial.as_ref()?.parse().ok());
        Self {
            plan: plan.clone(),
            mac,
        }
    }
}

impl Intake {
    /// A way to `ingest`.
    pub fn new(ingest: Arc<Ingest>, store: Arc<Store>, model_of_build: ModelOfBuild) -> Self {
        Self {
            ingest,
            store,
            model_of_build,
        }
    }

    /// Stores a crash. Blocks: call it from a thread that may.
    ///
    /// # Errors
    /// As [`Ingest::coredump`].
    pub fn take(&self, crash: &Crash, site: &Site) -> store::Result<(Received, DeviceKey)> {
        let (bytes, source, boot, build) = match crash {
            Crash::Dump(dump) => {
                let build = build_of(&dump.boot, dump.panic.as_deref());
                (dump.bytes.as_slice(), Source::Uart, Some(&dump.boot), build)
            }
            Crash::Panic(panic) => {
                let build = build_of(&panic.boot, Some(&panic.text));
                (
                    panic.text.as_bytes(),
                    Source::Uart,
                    Some(&panic.boot),
                    build,
                )
            }
            Crash::Flash(bytes) => (bytes.as_slice(), Source::Flash, None, None),
        };
        // nobody printed it, but a dump may carry it
        let build = build.or_else(|| coredump::examine(bytes).app_elf_sha256);
        let whose = self.whose(site, build.as_deref());
        let mut origin = Origin::new(whose.device.clone(), source, whose.identity);
        origin.model.clone_from(&whose.model);
        origin.serial_port = Some(site.plan.path.display().to_string());
        if let Some(boot) = boot {
            origin.chip = boot.chip.map(|chip| chip.to_string());
            origin.firmware_version = boot.version.as_deref().map(Origin::bounded);
        }
        origin.app_elf_sha256 = build;
        match crash {
            Crash::Dump(dump) => {
                origin.problems.clone_from(&dump.problems);
                let mark = format!("(coredump of {} bytes)", dump.bytes.len());
                origin.log = Some(dump.log.to_text(&mark).into_bytes());
            }
            Crash::Panic(panic) => {
                origin.problems.clone_from(&panic.problems);
                origin.log = Some(panic.log.to_text(panic.text.trim_end()).into_bytes());
            }
            Crash::Flash(_) => {}
        }
        let known = self
            .store
            .registry
            .devices
            .read()
            .devices
            .contains_key(&whose.device);
        let received = self.ingest.coredump(bytes, origin)?;
        if !known {
            self.introduce(&whose, site);
        }
        Ok((received, whose.device))
    }

    /// Whose board it is, as far as it is known before a crash.
    pub fn whose(&self, site: &Site, build: Option<&str>) -> Whose {
        let model_of_build = build.and_then(&self.model_of_build);
        let clues = Clues {
            device_key: site.plan.settings.device_key.as_ref(),
            model: site.plan.settings.model.as_ref(),
            mac: site.mac,
            usb: site.plan.usb.as_ref(),
            serial_is_unique: site.plan.serial_is_unique,
            place: &site.plan.id,
            model_of_build: model_of_build.as_ref(),
        };
        let devices = self.store.registry.devices.read();
        bounded(whose(&clues, &devices), &devices)
    }

    /// Notes what a known device says that it runs.
    pub fn booted(&self, site: &Site, boot: &Boot) {
        let whose = self.whose(site, boot.app_elf_sha256.as_deref());
        let now = iso8601(Moment::now().wall);
        if !self
            .store
            .registry
            .devices
            .read()
            .devices
            .contains_key(&whose.device)
        {
            return;
        }
        self.store.registry.devices.note(|devices| {
            let device = devices.ensure(&whose.device, &now);
            device.last_seen = Some(now.clone());
            if boot.version.is_some() || boot.app_elf_sha256.is_some() {
                device.running = Some(Running {
                    version: boot.version.clone(),
                    app_elf_sha256: boot.app_elf_sha256.clone(),
                    at: now.clone(),
                    from: String::from("banner"),
                });
            }
        });
    }

    /// A device that nobody knew: how to recognise it, and how to name it.
    fn introduce(&self, whose: &Whose, site: &Site) {
        let now = iso8601(Moment::now().wall);
        self.store.registry.devices.note(|devices| {
            let device = devices.ensure(&whose.device, &now);
            if !device.registered {
                device.mac = site.mac.map(|mac| mac.to_string());
            }
        });
        let path = site.plan.path.display();
        Event::DeviceFirstSeen.entry().device(&whose.device).maybe("MODEL_CODE", whose.model.as_ref()).port(&path).say(
            format_args!(
                "first crash of a device that nobody registered, on {path}; name it with `espgate devices add {} --model MODEL --name NAME`",
                whose.device
            ),
        );
    }
}

/// The app ELF hash, as far as it was printed: at the boot, or by the panic.
fn build_of(boot: &Boot, panic: Option<&str>) -> Option<String> {
    let printed = || {
        let line = panic?
            .lines()
            .find_map(|line| line.strip_prefix("ELF file SHA256:"))?;
        let hex: String = line
            .trim()
            .chars()
            .take_while(char::is_ascii_hexdigit)
            .take(64)
            .collect();
        (hex.len() >= 8).then(|| hex.to_ascii_lowercase())
    };
    boot.app_elf_sha256.clone().or_else(printed)
}
