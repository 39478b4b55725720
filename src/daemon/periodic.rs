//! Periodic work, every minute: saves pending state, checks the clock and counts what
//! the metrics tell of the fleet. Times of last contact are saved less often: they change
//! constantly, and each write is of the whole register.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Moment;
use crate::config::{AuthMode, Config};
use crate::http::app_state::AppState;
use crate::http::fleet_figures;
use crate::journal::{Event, chain};
use crate::store::Store;
use crate::store::registry::Gateway;

const MINUTE: Duration = Duration::from_secs(60);
/// Times of last contact are saved every so many minutes.
const PASSING_EVERY: u64 = 10;
/// A larger register is saved less often, up to [`PASSING_EVERY`]: every minute for each
/// of these.
const BYTES_A_MINUTE: u64 = 1 << 20;

/// Saves pending state: crash counts, times of last contact.
pub(super) fn write_notes(app: &AppState) -> crate::store::Result<()> {
    let store = &app.store;
    let crashes = app.ingest.crashes().flush();
    let counts = store.coredumps.flush().and(crashes);
    let rollouts = store.rollouts.flush();
    counts.and(rollouts).and(store.registry.devices.flush())
}

/// Saves what is due in this minute since the start.
fn write_due(store: &Store, minute: u64) -> crate::store::Result<()> {
    let devices = &store.registry.devices;
    let counts = store.coredumps.flush();
    counts.and(if minute.is_multiple_of(PASSING_EVERY) {
        devices.flush()
    } else if minute.is_multiple_of(lasting_every(devices.bytes_on_disk())) {
        devices.flush_lasting()
    } else {
        Ok(())
    })
}

/// In how many minutes a register of this size is saved.
fn lasting_every(bytes: u64) -> u64 {
    (bytes / BYTES_A_MINUTE).clamp(1, PASSING_EVERY)
}

/// Dumps that came before the clock was right get their time by this. Blocks on
/// the disk.
fn note_boot(app: &AppState) {
    let now = Moment::now();
    let gateway = &app.store.registry.gateway;
    let mut changed = Gateway::clone(&gateway.read());
    if !changed.note_boot(&now) {
        return;
    }
    let noted = gateway.change(|gateway| Ok::<_, Infallible>(gateway.note_boot(&now)));
    if let Err(error) = noted {
        log::warn!("cannot save the boot time: {}", chain(&error));
    }
}

/// Goes on until `stop`.
pub(super) async fn every_minute(app: Arc<AppState>, stop: CancellationToken) {
    let mut synced = crate::clock::is_synced();
    if !synced {
        Event::ClockUnsynced
            .entry()
            .say("clock not synchronized: new dumps are marked unsynced");
    }
    let mut minutes = 0u64;
    tokio::join!(write(&app, synced, minutes), count(&app));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(MINUTE) => {}
        }
        minutes += 1;
        if minutes.is_multiple_of(60) {
            warn_if_open(&app.config());
        }
        let now_synced = crate::clock::is_synced();
        if now_synced && !synced {
            Event::ClockSynced.entry().say("clock synchronized");
        }
        synced = now_synced;
        tokio::join!(write(&app, synced, minutes), count(&app));
    }
}

async fn write(app: &Arc<AppState>, synced: bool, minute: u64) {
    let app = Arc::clone(app);
    let work = move || {
        if synced {
            note_boot(&app);
        }
        write_due(&app.store, minute)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => error
            .event()
            .entry()
            .say(format_args!("cannot save pending state: {}", chain(&error))),
        Err(error) => log::error!("cannot save pending state: {error}"),
    }
}

/// Counts what the metrics tell of the fleet.
async fn count(app: &Arc<AppState>) {
    let app = Arc::clone(app);
    match tokio::task::spawn_blocking(move || fleet_figures::update(&app)).await {
        Ok(Ok(())) => {}
        // whoever needs the folder reports it; the metrics tell their age
        Ok(Err(error)) => log::debug!("cannot count for the metrics: {}", chain(&error)),
        Err(error) => log::error!("cannot count for the metrics: {error}"),
    }
}

/// Warns about disabled authentication.
pub(super) fn warn_if_open(config: &Config) {
    if config.auth.devices == AuthMode::Open {
        Event::AuthenticationOpen.entry().say(
            "auth.devices is \"open\": any client can act as any device; set it to \
             \"token\"",
        );
    }
    if config.auth.pipeline == AuthMode::Open {
        Event::AuthenticationOpen.entry().say(
            "auth.pipeline is \"open\": any local process can upload firmware; set it to \
             \"token\"",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::BundleLimits;
    use crate::device::DeviceKey;
    use crate::fleet::evidence::{Kind, Names};
    use crate::fleet::last_contact::{self, Contact};
    use crate::fleet::reported::Reported;

    #[test]
    fn a_large_register_is_saved_less_often() {
        let sizes = [0, 1 << 20, 3 << 20, 9 << 20, 100 << 20];
        assert_eq!(sizes.map(lasting_every), [1, 1, 3, 9, 10]);
    }

    #[test]
    fn when_devices_were_seen_alone_is_written_every_ten_minutes() {
        let root = tempfile::tempdir().unwrap();
        let limits = BundleLimits::for_bundles_of(1 << 20);
        let store = Store::open(root.path(), None, None, limits).unwrap();
        let register = root.path().join("state/devices.json");
        let key: DeviceKey = "k1".parse().unwrap();
        let known = key.clone();
        store.registry.devices.note(move |devices| {
            devices.ensure(&known, "t");
        });
        let is_written_in = |minute| {
            let _ = std::fs::remove_file(&register);
            write_due(&store, minute).unwrap();
            register.exists()
        };
        assert!(is_written_in(1), "a device was added");
        last_contact::heard(&store.registry, &key, &Reported::default());
        assert!((2..10).all(|minute| !is_written_in(minute)));
        assert!(is_written_in(10));
        assert!(!is_written_in(20), "nothing new");
        last_contact::heard(&store.registry, &key, &Reported::default());
        let contact = Contact {
            device: &key,
            model: None,
            is_usb: false,
        };
        let learn = || {
            let version = Names::Version("1.2.3");
            last_contact::learned(&store, contact, &[(Kind::Upload, version)]);
        };
        learn();
        assert!(is_written_in(21), "another build runs");
        learn();
        assert!(!is_written_in(22), "the same build");
    }
}
