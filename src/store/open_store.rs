//! The opened store: the data directory and its contents.

use std::path::Path;

use uuid::Uuid;

use super::Result;
use super::coredumps::Coredumps;
use super::crashes::CrashFiles;
use super::data_dir::DataDir;
use super::firmware::Firmware;
use super::migrate::migrate;
use super::rebuild_registry;
use super::registry::Registry;
use super::rollouts::Rollouts;
use super::sequence::Sequence;
use crate::bundle;
use crate::clock::{ClockJump, Moment};
use crate::journal::{Event, EventsFile, attach_events_file};

/// The data directory and its contents.
#[derive(Debug)]
pub struct Store {
    pub data_dir: DataDir,
    pub coredumps: Coredumps,
    pub registry: Registry,
    pub firmware: Firmware,
    pub crashes: CrashFiles,
    pub rollouts: Rollouts,
    /// The gateway's id.
    pub gateway_id: String,
    /// When the wall clock jumped last.
    pub clock_jump: ClockJump,
}

impl Store {
    /// Opens the data directory: lock, format, registers, and the temporary
    /// files that a crash left. Folders of dumps are read later, as needed.
    ///
    /// # Errors
    /// As [`DataDir::open`].
    pub fn open(
        root: &Path,
        coredumps: Option<&Path>,
        assets: Option<&Path>,
        bundles: bundle::BundleLimits,
    ) -> Result<Self> {
        let data_dir = DataDir::open(root, coredumps, assets)?;
        attach_events_file(EventsFile::new(&data_dir.events()));
        data_dir.remove_unfinished();
        let registry = Registry::open(&data_dir.state())?;
        let sequence = Sequence::open(&data_dir.state())?;
        let is_new = sequence.is_new();
        let coredumps = Coredumps::new(data_dir.coredumps(), sequence);
        if is_new {
            // The count's file may be lost while dumps are there.
            let used = coredumps.collect(|_, entry| Some(entry.sequence));
            coredumps.skip_past(used.into_iter().max().unwrap_or(0));
        }
        let gateway_id = settle_gateway(&registry)?;
        let firmware = Firmware::new(data_dir.assets(), &data_dir.cache(), bundles);
        if registry.models.is_lost() {
            rebuild_registry::models(&registry, &firmware)?;
        }
        if registry.devices.is_lost() {
            rebuild_registry::devices(&registry, &coredumps)?;
        }
        migrate(&data_dir, &registry, &firmware);
        Ok(Self {
            firmware,
            crashes: CrashFiles::new(&data_dir.crashes()),
            rollouts: Rollouts::new(&data_dir.rollouts()),
            data_dir,
            coredumps,
            registry,
            gateway_id,
            clock_jump: ClockJump::default(),
        })
    }
}

/// The gateway's id, made at the first start. Another machine id than at the
/// last start means a cloned card or a restored backup.
fn settle_gateway(registry: &Registry) -> Result<String> {
    let machine_id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let machine_id = machine_id.trim();
    let known = registry.gateway.read();
    if !known.gateway_id.is_empty() && known.machine_id == machine_id {
        return Ok(known.gateway_id.clone());
    }
    if !known.gateway_id.is_empty() && !known.machine_id.is_empty() {
        Event::ClonedCard.entry().say(format_args!(
            "data was last used on another machine: if that one still runs, both have \
             gateway id {}",
            known.gateway_id
        ));
    }
    let outcome = registry.gateway.change(|gateway| {
        gateway.schema = 1;
        if gateway.gateway_id.is_empty() {
            gateway.gateway_id = Uuid::new_v4().to_string();
            gateway.created_at = crate::clock::iso8601(Moment::now().wall);
        } else {
            gateway.moved_from = Some(std::mem::take(&mut gateway.machine_id));
        }
        gateway.machine_id = machine_id.to_owned();
        Ok::<_, std::convert::Infallible>(gateway.gateway_id.clone())
    })?;
    Ok(outcome.unwrap_or_else(|never| match never {}))
}
