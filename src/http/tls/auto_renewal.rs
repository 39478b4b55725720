//! Renews the certificate while the daemon runs: before it expires, when the
//! gateway's names change, and when its files are replaced.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Tls;
use crate::clock;
use crate::journal::{Event, chain};

/// Interval for checking names and dates.
const LOOK: Duration = Duration::from_secs(15);
/// Looks between two readings of the files, for a chain replaced in place.
const LOOKS_PER_READING: u32 = 240;

/// Checks `tls` until `stop`. Changed names are used once they are the same in two
/// checks, so that a network that comes up in steps causes one new certificate.
pub async fn follow(tls: Arc<Tls>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pending: Option<Vec<String>> = None;
    let mut looks = 0_u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        looks = looks.wrapping_add(1);
        let names = tls.names_changed();
        let settled = names.is_some() && names == pending;
        pending = names;
        let due = tls.is_due(clock::plausible());
        if !(settled || due || looks.is_multiple_of(LOOKS_PER_READING)) {
            continue;
        }
        let tls = Arc::clone(&tls);
        let outcome = tokio::task::spawn_blocking(move || tls.refresh(clock::plausible())).await;
        if let Ok(Err(error)) = outcome {
            Event::CertificateTrouble.entry().say(format_args!(
                "cannot renew the server certificate: {}",
                chain(&error)
            ));
        }
    }
}
