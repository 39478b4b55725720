//! What is done every minute: notes are written, the clock is looked at.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Moment;
use crate::config::{AuthMode, Config};
use crate::http::app::App;
use crate::journal::{Event, chain};
use crate::store::registry::Gateway;

const MINUTE: Duration = Duration::from_secs(60);

/// Writes what is only noted in memory: crash counts, when devices were seen.
pub(super) fn write_notes(app: &App) -> crate::store::Result<()> {
    app.store
        .coredumps
        .flush()
        .and(app.store.registry.devices.flush())
}

/// Dumps that came before the clock was right get their time by this. Blocks on
/// the disk.
fn note_boot(app: &App) {
    let now = Moment::now();
    let gateway = &app.store.registry.gateway;
    let mut changed = Gateway::clone(&gateway.read());
    if !changed.note_boot(&now) {
        return;
    }
    let noted = gateway.change(|gateway| Ok::<_, Infallible>(gateway.note_boot(&now)));
    if let Err(error) = noted {
        log::warn!("cannot note when this boot began: {}", chain(&error));
    }
}

/// Goes on until `stop`.
pub(super) async fn every_minute(app: Arc<App>, stop: CancellationToken) {
    let mut synced = crate::clock::is_synced();
    if !synced {
        Event::ClockUnsynced
            .entry()
            .say("the clock is not synchronised: dumps are kept, their times are marked unsynced");
    }
    write(&app, synced).await;
    let mut minutes = 0u64;
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
            Event::ClockSynced
                .entry()
                .say("the clock is synchronised now");
        }
        synced = now_synced;
        write(&app, synced).await;
    }
}

async fn write(app: &Arc<App>, synced: bool) {
    let app = Arc::clone(app);
    let work = move || {
        if synced {
            note_boot(&app);
        }
        write_notes(&app)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => error.event().entry().say(format_args!(
            "cannot write what was noted: {}",
            chain(&error)
        )),
        Err(error) => log::error!("cannot write what was noted: {error}"),
    }
}

/// Says which doors the configuration leaves open.
pub(super) fn warn_if_open(config: &Config) {
    if config.auth.devices == AuthMode::Open {
        Event::AuthenticationOpen
            .entry()
            .say("auth.devices is \"open\": whoever reaches the gateway can speak for any device");
    }
    if config.auth.pipeline == AuthMode::Open {
        Event::AuthenticationOpen
            .entry()
            .say("auth.pipeline is \"open\": whoever is on this machine can upload firmware");
    }
}
