//! Stores a crash captured on a serial port: its device, build, log and source.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock;
use crate::console::{Boot, Dump, Log, Panic};
use crate::coredump;
use crate::device::{DeviceKey, MacAddress, ModelCode, Version};
use crate::fleet::evidence::{Kind, Names};
use crate::fleet::last_contact::{self, Contact};
use crate::fleet::reported::Reported;
use crate::fleet::unregistered;
use crate::ingest::{Ingest, Origin, Received, ToldCrash};
use crate::journal::Event;
use crate::store::coredumps::Source;
use crate::store::{self, Store};

use super::device_identity::{DeviceIdentity, IdentityClues, identify, or_shared_key};
use super::discover::Usb;
use super::port_plan::PortPlan;
use super::state::PortsState;

/// Finds the stored build with this app ELF hash, which may be shortened: its
/// model and its version.
pub type FindBuild = Box<dyn Fn(&str) -> Option<(ModelCode, Version)> + Send + Sync>;

/// Stores the crashes of all ports.
pub struct CrashRecorder {
    ingest: Arc<Ingest>,
    store: Arc<Store>,
    find_build: FindBuild,
    /// The last crash that each port's console told, until a dump was read from
    /// its board's flash.
    told: Mutex<HashMap<String, Option<ToldCrash>>>,
}

/// A crash that a port captured.
#[derive(Clone, Debug)]
pub enum Crash {
    Dump(Box<Dump>),
    Panic(Box<Panic>),
    Flash(Box<FlashDump>),
}

/// The coredump partition's content.
#[derive(Clone, Debug)]
pub struct FlashDump {
    pub bytes: Vec<u8>,
    /// What the board said at its boot before it was read; the dump may be of
    /// another build.
    pub boot: Boot,
    /// A person asked for it.
    pub requested: bool,
    /// What it printed around the crash for which it was read.
    pub log: Option<Log>,
}

/// Where a crash was captured.
#[derive(Clone, Debug)]
pub struct CaptureContext {
    pub plan: PortPlan,
    /// The board's, if known from its USB descriptor or its bootloader.
    pub mac: Option<MacAddress>,
}

/// A crash and where it came from.
#[derive(Debug)]
pub(super) struct CapturedCrash {
    pub(super) crash: Crash,
    pub(super) context: CaptureContext,
}

impl CaptureContext {
    /// The context of a port. A chip with its own USB shows its MAC address, or did
    /// so a moment ago; for others it is known after a flash read.
    pub fn of(plan: &PortPlan, state: &PortsState) -> Self {
        let usb = plan.usb.as_ref().filter(|_| plan.serial_is_unique);
        let shown = usb.and_then(Usb::mac).or(plan.board_before);
        Self {
            plan: plan.clone(),
            mac: shown.or_else(|| state.mac(plan, clock::boot_id())),
        }
    }
}

impl CrashRecorder {
    /// Stores through `ingest`.
    pub fn new(ingest: Arc<Ingest>, store: Arc<Store>, find_build: FindBuild) -> Self {
        Self {
            ingest,
            store,
            find_build,
            told: Mutex::default(),
        }
    }

    /// Another board may be on the port from now on.
    pub(super) fn forget_told(&self, port: &str) {
        lock(&self.told).remove(port);
    }

    /// The last crash that the console of the board on this port told. After a
    /// restart that is its newest record from a console.
    fn last_told(&self, port: &str, device: &DeviceKey) -> Option<ToldCrash> {
        if let Some(told) = lock(&self.told).get(port) {
            return told.clone();
        }
        let newest = self.store.coredumps.with(device, |folder| {
            let mut newest = folder.entries().iter().rev();
            let told = newest.find(|entry| entry.is_from(Source::Uart));
            Ok(told.map(|entry| ToldCrash {
                device: device.clone(),
                id: entry.id.to_string(),
            }))
        });
        newest.ok().flatten()
    }

    /// Stores a crash. Blocks: call it from a thread that may.
    ///
    /// # Errors
    /// As [`Ingest::coredump`].
    pub fn store(
        &self,
        crash: &Crash,
        context: &CaptureContext,
    ) -> store::Result<(Received, DeviceKey)> {
        let bytes = crash.bytes();
        let build = crash.build();
        let identity = self.identify(context, build.as_deref());
        let mut origin = Origin::new(
            identity.device.clone(),
            crash.source(),
            identity.identified_by,
        );
        origin.model.clone_from(&identity.model);
        origin.serial_port = Some(context.plan.path.display().to_string());
        origin.chip = crash.boot().chip.map(|chip| chip.to_string());
        origin.firmware_version = self.version(crash, build.as_deref());
        origin.app_elf_sha256 = build;
        match crash {
            Crash::Dump(dump) => {
                origin.problems.clone_from(&dump.problems);
                let mark = format!("(coredump of {} bytes)", dump.bytes.len());
                origin.log = Some(dump.log.to_text(&mark).into_bytes());
                let panic = dump.panic.as_deref().map(str::as_bytes);
                origin.panic_reason = panic.and_then(|text| coredump::examine(text).panic_reason);
            }
            Crash::Panic(panic) => {
                origin.problems.clone_from(&panic.problems);
                origin.log = Some(panic.log.to_text(panic.text.trim_end()).into_bytes());
            }
            Crash::Flash(flash) => {
                origin.requested = flash.requested;
                origin.told = self.last_told(&context.plan.id, &identity.device);
                let mark = "(coredump read from flash)";
                origin.log = flash.log.as_ref().map(|log| log.to_text(mark).into_bytes());
            }
        }
        let known = self.knows(&identity.device);
        let received = self.ingest.coredump(bytes, origin)?;
        let told = (crash.source() == Source::Uart).then(|| ToldCrash {
            device: identity.device.clone(),
            id: received.id.clone(),
        });
        lock(&self.told).insert(context.plan.id.clone(), told);
        if !known {
            let path = context.plan.path.display();
            let (device, model) = (&identity.device, identity.model.as_ref());
            unregistered::introduce(&self.store.registry, device, context.mac, model, &path);
        }
        Ok((received, identity.device))
    }

    /// The version of the build that crashed: as the board's banner said, if
    /// that was this build, else that of the stored build with its hash.
    fn version(&self, crash: &Crash, build: Option<&str>) -> Option<String> {
        let boot = crash.boot();
        let is_this_build = match (boot.app_elf_sha256.as_deref(), build) {
            (Some(said), Some(build)) => said.starts_with(build) || build.starts_with(said),
            // the console is the running build's; a dump in flash may be older
            _ => crash.source() == Source::Uart,
        };
        let said = boot.version.as_deref().filter(|_| is_this_build);
        let stored = || Some((self.find_build)(build?)?.1.to_string());
        said.map(Origin::bounded).or_else(stored)
    }

    fn knows(&self, device: &DeviceKey) -> bool {
        let devices = self.store.registry.devices.read();
        devices.devices.contains_key(device)
    }

    /// Which device is on the port, as far as it is known.
    pub fn identify(&self, context: &CaptureContext, build: Option<&str>) -> DeviceIdentity {
        let model_of_build = build.and_then(&self.find_build).map(|(model, _)| model);
        let clues = IdentityClues {
            device_key: context.plan.settings.device_key.as_ref(),
            model: context.plan.settings.model.as_ref(),
            mac: context.mac,
            usb: context.plan.usb.as_ref(),
            serial_is_unique: context.plan.serial_is_unique,
            place: &context.plan.id,
            model_of_build: model_of_build.as_ref(),
        };
        let devices = self.store.registry.devices.read();
        or_shared_key(identify(&clues, &devices), &devices)
    }

    /// The MAC address became known: reports it if earlier crashes are stored
    /// under another device key.
    pub fn learned_mac(&self, before: &CaptureContext, now: &CaptureContext) {
        let (before, device) = (self.identify(before, None), self.identify(now, None).device);
        if before.device == device || !self.knows(&before.device) {
            return;
        }
        let path = now.plan.path.display();
        Event::BoardIdentified
            .entry()
            .device(&device)
            .port(&path)
            .say(format_args!(
                "board on {path} identified as {device} by its MAC address; earlier crashes are stored under {}",
                before.device
            ));
    }

    /// The device on this port, if it is one that is known.
    pub fn known(&self, context: &CaptureContext, build: Option<&str>) -> Option<DeviceIdentity> {
        let identity = self.identify(context, build);
        (identity.identified_by == "configured" || self.knows(&identity.device)).then_some(identity)
    }

    /// Records the build that a known device printed at its boot.
    pub fn record_boot(&self, context: &CaptureContext, boot: &Boot) {
        let Some(identity) = self.known(context, boot.app_elf_sha256.as_deref()) else {
            return;
        };
        let contact = Contact {
            device: &identity.device,
            model: None,
            is_usb: true,
        };
        let version = boot.version.as_deref();
        let hash = boot.app_elf_sha256.as_deref();
        let named = hash.map(|hash| Names::AppElf { hash, version });
        let named = named.or(version.map(Names::Version));
        let evidence = named.map(|names| (Kind::Banner, names));
        last_contact::learned(&self.store, contact, evidence.as_slice());
    }

    /// The console of a known device printed something. Does not block.
    pub(super) fn heard(&self, context: &CaptureContext) {
        let device = self.identify(context, None).device;
        last_contact::heard(&self.store.registry, &device, &Reported::default());
    }

    /// A known device printed boot messages; whether we reset it. Does not block.
    pub(super) fn booted(&self, context: &CaptureContext, reason: Option<&str>, is_ours: bool) {
        let device = self.identify(context, None).device;
        last_contact::booted(&self.store.registry, &device, reason, is_ours);
    }
}

/// What the repeats of one crash have in common.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct RepeatKey {
    /// The fingerprint, else the panic's reason.
    crash: String,
    /// A whole dump is no repeat of a damaged one.
    is_whole: bool,
}

impl RepeatKey {
    /// Of a crash that was stored.
    pub(super) fn of(received: &Received) -> Option<Self> {
        Some(Self {
            crash: received.fingerprint.clone()?,
            is_whole: received.verdict.is_whole(),
        })
    }
}

impl Crash {
    /// What it has in common with its repeats, if known.
    pub(super) fn repeat_key(&self) -> Option<RepeatKey> {
        let found = coredump::examine(self.bytes());
        let printed = || {
            let Self::Dump(dump) = self else { return None };
            coredump::examine(dump.panic.as_ref()?.as_bytes()).panic_reason
        };
        let crash = found.fingerprint.or(found.panic_reason).or_else(printed)?;
        Some(RepeatKey {
            crash,
            is_whole: found.verdict.is_whole(),
        })
    }

    /// The memory it takes, roughly.
    pub(super) fn memory_bytes(&self) -> usize {
        let log = match self {
            Self::Dump(dump) => Some(&dump.log),
            Self::Panic(panic) => Some(&panic.log),
            Self::Flash(flash) => flash.log.as_ref(),
        };
        let lines = log
            .into_iter()
            .flat_map(|log| log.before.iter().chain(&log.after));
        // overhead per line and per crash
        let lines: usize = lines.map(|line| line.len() + 32).sum();
        self.bytes().len() + lines + 1024
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Dump(dump) => &dump.bytes,
            Self::Panic(panic) => panic.text.as_bytes(),
            Self::Flash(flash) => &flash.bytes,
        }
    }

    /// What the board printed at the boot before.
    pub(super) fn boot(&self) -> &Boot {
        match self {
            Self::Dump(dump) => &dump.boot,
            Self::Panic(panic) => &panic.boot,
            Self::Flash(flash) => &flash.boot,
        }
    }

    /// The console lines around it.
    pub(super) fn log(&self) -> Option<Log> {
        match self {
            Self::Dump(dump) => Some(dump.log.clone()),
            Self::Panic(panic) => {
                let mut log = panic.log.clone();
                log.before.extend(panic.text.lines().map(str::to_owned));
                Some(log)
            }
            Self::Flash(flash) => flash.log.clone(),
        }
    }

    fn source(&self) -> Source {
        match self {
            Self::Dump(_) | Self::Panic(_) => Source::Uart,
            Self::Flash(_) => Source::Flash,
        }
    }

    /// The crashed build's app ELF hash, as far as it is known: carried by the
    /// dump, else printed by its panic, else at the boot before it. The boot of
    /// a dump from flash was a later one.
    fn build(&self) -> Option<String> {
        let panic = match self {
            Self::Dump(dump) => dump.panic.as_deref(),
            Self::Panic(panic) => Some(panic.text.as_str()),
            Self::Flash(_) => None,
        };
        let said = match self.source() {
            Source::Flash => None,
            _ => self.boot().app_elf_sha256.clone(),
        };
        let carried = coredump::examine(self.bytes()).app_elf_sha256;
        carried.or_else(|| printed(panic?)).or(said)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The app ELF hash that a panic printed.
fn printed(panic: &str) -> Option<String> {
    let line = panic
        .lines()
        .find_map(|line| line.strip_prefix("ELF file SHA256:"))?;
    let digits = line.trim().chars().take_while(char::is_ascii_hexdigit);
    let hex: String = digits.take(64).collect();
    let is_none = hex.bytes().all(|digit| digit == b'0');
    (hex.len() >= 8 && !is_none).then(|| hex.to_ascii_lowercase())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A panic that printed this text.
    pub(in crate::serial) fn panic(text: &str) -> Crash {
        Crash::Panic(Box::new(Panic {
            text: text.to_owned(),
            problems: Vec::new(),
            boot: Boot::default(),
            log: Log::default(),
        }))
    }

    #[test]
    fn the_same_panic_again_is_a_repeat_and_another_one_is_not() {
        let abort = "abort() was called at PC 0x400d66b9 on core 0\r\n";
        let assert = "assert failed: app_main main.c:7 (x)\r\n";
        let repeat_key = |text: &str| panic(text).repeat_key().unwrap();
        assert_eq!(repeat_key(abort), repeat_key(abort));
        assert_ne!(repeat_key(abort), repeat_key(assert));
        assert_eq!(panic("hello").repeat_key(), None);
    }
}
