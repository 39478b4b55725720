//! Stores received dumps, whatever their source.

mod decision;
mod describe;
mod intake_stats;
mod origin;
mod repeated;
mod told;

pub use decision::{Decision, Thinning, decide};
pub use intake_stats::IntakeStats;
pub use origin::Origin;
pub use told::ToldCrash;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::clock::{self, Moment, file_stamp};
use crate::config;
use crate::coredump::{self, Examination, Verdict};
use crate::crashes::Crashes;
use crate::fleet::evidence::{Kind, Names};
use crate::fleet::last_contact::{self, Contact};
use crate::fleet::running;
use crate::journal::{Event, chain};
use crate::metrics::Metrics;
use crate::store::coredumps::{DeviceFolder, NewDump, Sidecar, Source};
use crate::store::firmware::Build;
use crate::store::{self, Store, dump_removal};

use describe::{Arriving, describe, occurrence};
use told::ToldBefore;

/// The result for a dump.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Received {
    /// The file's name, of this dump or of the one that stands for it.
    pub filename: String,
    pub id: String,
    /// Whether this body was written; otherwise it was only counted.
    pub kept: bool,
    pub verdict: Verdict,
    pub fingerprint: Option<String>,
    /// Whether it is one more crash; a second copy of a dump is not.
    pub is_crash: bool,
}

/// What is written beside a dump, at most: sidecar, folder, the number of the next one.
const BESIDE: u64 = 64 * 1024;

/// Stores received dumps. All methods block.
#[derive(Debug)]
pub struct Ingest {
    store: Arc<Store>,
    crashes: Arc<Crashes>,
    metrics: Arc<Metrics>,
    settings: Mutex<config::Coredumps>,
    intake: watch::Sender<IntakeStats>,
}

impl Ingest {
    /// An ingest into `store`.
    pub fn new(store: Arc<Store>, metrics: Arc<Metrics>, settings: config::Coredumps) -> Self {
        Self {
            crashes: Arc::new(Crashes::new(Arc::clone(&store))),
            store,
            metrics,
            settings: Mutex::new(settings),
            intake: watch::Sender::default(),
        }
    }

    /// Takes new settings from now on.
    pub fn reconfigure(&self, settings: config::Coredumps) {
        *lock(&self.settings) = settings;
    }

    /// The groups that crashes are counted in.
    pub fn crashes(&self) -> &Arc<Crashes> {
        &self.crashes
    }

    /// Dumps received since the start.
    pub fn intake_stats(&self) -> IntakeStats {
        self.intake.borrow().clone()
    }

    /// The same, to wait for the next one.
    pub fn watch_intake(&self) -> watch::Receiver<IntakeStats> {
        self.intake.subscribe()
    }

    /// Stores a dump. When this returns, data, sidecar and folder are on the disk.
    ///
    /// # Errors
    /// [`store::Error::Full`] if there is no space after retention;
    /// [`store::Error::Io`].
    pub fn coredump(&self, bytes: &[u8], origin: Origin) -> store::Result<Received> {
        let started = Instant::now();
        let found = coredump::examine(bytes);
        let source = origin.source;
        let mut outcome = self.keep(bytes, &found, &origin);
        if let Err(store::Error::Full { .. }) = &outcome {
            self.make_room(bytes.len() as u64 + BESIDE);
            outcome = self.keep(bytes, &found, &origin);
        }
        let result = match &outcome {
            Ok(received) if received.kept => "stored",
            Ok(_) => "counted",
            Err(store::Error::Full { .. }) => "full",
            Err(_) => "failed",
        };
        self.metrics.intake(
            source.as_str(),
            result,
            bytes.len() as u64,
            started.elapsed(),
        );
        if let Ok(received) = &outcome {
            self.intake
                .send_modify(|intake| intake.note(received.kept, &origin));
            self.remember_device(&origin, &found);
        }
        outcome
    }

    /// Removes what the rules allow, so that `needed` bytes fit.
    fn make_room(&self, needed: u64) {
        let settings = lock(&self.settings).clone();
        let last = self.crashes.last_dumps();
        if let Err(error) = dump_removal::sweep(&self.store, &settings, needed, &last) {
            let entry = error.event().entry();
            entry.say(format_args!("cannot free disk space: {}", chain(&error)));
        }
    }

    fn keep(&self, bytes: &[u8], found: &Examination, origin: &Origin) -> store::Result<Received> {
        let now = Moment::now();
        let payload = found.canonical.as_deref().unwrap_or(bytes);
        let id = store::coredumps::id(origin.device.as_str(), payload);
        let thinning = Thinning {
            requested: origin.requested,
            keep_first: lock(&self.settings).keep_first_of_crash,
        };
        if let (Some(former), Some(now)) = (&found.former_fingerprint, &found.fingerprint) {
            let rename = |folder: &mut DeviceFolder| folder.rename_crash(former, now);
            self.store.coredumps.with(&origin.device, rename)?;
        }
        let told = match origin.source {
            Source::Flash => told::before(&self.store, bytes, found, origin),
            Source::Https | Source::Uart => None,
        };
        let crash = occurrence(found, origin, &now);
        if let Some(former) = &found.former_fingerprint {
            self.crashes.rename(former, &crash);
        }
        let group = self.crashes.assign(&crash);
        let dump = Arriving {
            bytes,
            found,
            origin,
            id,
            now,
            group: group.clone(),
        };
        let received = self.keep_one(&dump, thinning, told.as_ref());
        match &received {
            Ok(received) if received.is_crash => self.crashes.count(&crash),
            Ok(_) | Err(_) => self.crashes.forget_unused(&group),
        }
        let received = received?;
        if let Some(told) = told.filter(|told| told.gives_way && received.kept)
            && told.remove(&self.store, &origin.device, &received)
        {
            let (name, device) = (told.name(), told.device.as_str());
            self.crashes.uncount(&name, device, &group);
        }
        Ok(received)
    }

    fn keep_one(
        &self,
        dump: &Arriving<'_>,
        thinning: Thinning,
        told: Option<&ToldBefore>,
    ) -> store::Result<Received> {
        let device = &dump.origin.device;
        let is_better = told.is_some_and(|told| told.gives_way);
        self.store.coredumps.with(device, |folder| {
            let decision = decide(folder.entries(), &dump.id, dump.found, &dump.now, thinning);
            match decision {
                Decision::SeenAgain { stem } => repeated::seen(folder, &stem, dump),
                Decision::Count { stem } if !is_better && told.is_some() => {
                    repeated::seen(folder, &stem, dump)
                }
                Decision::Count { stem } if !is_better => repeated::counted(folder, &stem, dump),
                Decision::Count { .. } | Decision::Store => self.store_new(folder, dump, told),
            }
        })
    }

    /// Stores a dump; one from flash takes over what the console told of its crash.
    fn store_new(
        &self,
        folder: &mut DeviceFolder,
        dump: &Arriving<'_>,
        told: Option<&ToldBefore>,
    ) -> store::Result<Received> {
        let origin = dump.origin;
        let mut sidecar = describe(dump);
        sidecar.sequence = self.store.coredumps.next_sequence()?;
        sidecar.gateway_id = Some(self.store.gateway_id.clone());
        let replaced = told.filter(|told| told.gives_way);
        if let Some(told) = replaced {
            repeated::take_over(&mut sidecar, &told.sidecar);
        }
        let told_log = replaced.and_then(|told| told.log.as_deref());
        let log = origin.log.as_deref().or(told_log);
        let is_counted = told.is_some_and(|told| told.is_counted_as(&sidecar));
        // Names are told apart by microseconds; a taken one moves on to the next.
        let mut wall = clock::parse(&sidecar.uploaded_at).unwrap_or_else(|| Moment::now().wall);
        loop {
            let stem = format!("coredump_{}", file_stamp(wall));
            let new = NewDump {
                sidecar: sidecar.clone(),
                dump: dump.bytes,
                log,
            };
            let stored = match is_counted {
                true => folder.store_counted(&stem, &new),
                false => folder.store(&stem, &new),
            };
            match stored {
                Err(store::Error::Exists { .. }) => wall += time::Duration::MICROSECOND,
                Err(error) => return Err(error),
                Ok(()) => {
                    say_stored(&sidecar, origin.source);
                    return Ok(Received {
                        is_crash: !is_counted,
                        filename: format!("{stem}.dmp"),
                        id: sidecar.id,
                        kept: true,
                        verdict: Verdict::from_word(&sidecar.verdict)
                            .unwrap_or(Verdict::NotACoredump),
                        fingerprint: sidecar.fingerprint,
                    });
                }
            }
        }
    }

    fn remember_device(&self, origin: &Origin, found: &Examination) {
        let contact = Contact {
            device: &origin.device,
            model: origin.model.as_ref(),
            is_usb: origin.source != Source::Https,
        };
        let mut evidence = Vec::new();
        // who uploads runs that version, if it is not that of the dump; a dump that is read
        // may be an older build's
        if let (Some(version), Source::Https) = (&origin.firmware_version, origin.source)
            && self.is_of_uploader(origin, version, found.app_elf_sha256.as_deref())
        {
            evidence.push((Kind::Upload, Names::Version(version)));
        }
        if let Some(hash) = &found.app_elf_sha256 {
            let version = None;
            evidence.push((Kind::Dump, Names::AppElf { hash, version }));
        }
        last_contact::learned(&self.store, contact, &evidence);
    }

    /// Whether the version that came with a dump tells what its device runs.
    fn is_of_uploader(&self, origin: &Origin, version: &str, hash: Option<&str>) -> bool {
        let Some(hash) = hash else {
            return true;
        };
        let devices = self.store.registry.devices.read();
        let Some(device) = devices.get(&origin.device) else {
            return true;
        };
        let model = origin.model.as_ref().or(device.model.as_ref());
        let builds = model.map(|model| self.store.firmware.builds(model));
        let builds = builds.and_then(Result::ok).unwrap_or_default();
        let is_it = |build: &&Build| build.version.as_str() == version && build.made(hash);
        let dump_of = builds.iter().find(is_it).map(Build::id);
        dump_of.is_none_or(|build| running::may_run(device, build))
    }
}

fn say_stored(sidecar: &Sidecar, source: Source) {
    let event = match sidecar.verdict.as_str() {
        "not-a-coredump" => Event::CoredumpUnrecognised,
        _ => Event::CoredumpStored,
    };
    let reason = sidecar.panic_reason.as_deref().unwrap_or("unknown reason");
    sidecar
        .told_in(event.entry())
        .maybe("SERIAL_PORT", sidecar.serial_port.as_ref())
        .say(format_args!(
            "stored coredump {} of {} ({}, {}) over {}: {}, {} bytes, {reason}",
            sidecar.id,
            sidecar.device_key,
            sidecar.chip.as_deref().unwrap_or("unknown chip"),
            sidecar
                .firmware_version
                .as_deref()
                .unwrap_or("unknown version"),
            source.as_str(),
            sidecar.verdict,
            sidecar.size,
        ));
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle;
    use crate::device::DeviceKey;

    #[test]
    fn dumps_without_a_fingerprint_are_counted_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let device: DeviceKey = "bench7".parse().unwrap();
        let mut last = String::new();
        for run in 0..2 {
            let limits = bundle::BundleLimits::for_bundles_of(1 << 20);
            let store = Arc::new(Store::open(folder.path(), None, None, limits).unwrap());
            let settings = config::Coredumps::default();
            let ingest = Ingest::new(Arc::clone(&store), Arc::default(), settings);
            for n in 0..15 {
                let origin = Origin::new(device.clone(), Source::Https, "token");
                let received = ingest.coredump(format!("noise {run} {n}").as_bytes(), origin);
                let received = received.unwrap();
                if received.kept {
                    last = received.id;
                } else {
                    assert_eq!(received.id, last);
                }
            }
        }
        let limits = bundle::BundleLimits::for_bundles_of(1 << 20);
        let store = Store::open(folder.path(), None, None, limits).unwrap();
        let sidecars = store.coredumps.with(&device, |folder| {
            let stems = folder.entries().iter().map(|entry| entry.stem.to_string());
            stems.map(|stem| folder.sidecar(&stem)).collect()
        });
        let sidecars: Vec<Sidecar> = sidecars.unwrap();
        assert_eq!(sidecars.len(), 20);
        let counted: Vec<u64> = sidecars.iter().map(|sidecar| sidecar.counted).collect();
        assert_eq!((counted[18], counted[19]), (0, 10));
    }
}
