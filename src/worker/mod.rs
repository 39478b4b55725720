//! The worker: decodes dumps without a report, applies retention, then sleeps.
//! Nothing is queued: the work is read from the store each time, so a crash or a
//! restart loses nothing.

mod attempt;
#[cfg(test)]
mod gateway_induced_tests;
mod grouping;
mod handle;
mod job;
pub mod resign;
mod summary;
#[cfg(test)]
mod tests;
mod wait_for_quiet;

pub use attempt::{DecodeFailed, Decoder};
pub use handle::Handle;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use attempt::Next;
use job::{Job, Passed, next_job};

use crate::config::Config;
use crate::crashes::Crashes;
use crate::ingest::IntakeStats;
use crate::journal::{Event, chain, disk_trouble};
use crate::metrics::Metrics;
use crate::store::{Store, disk_space, dump_removal};

/// Longest sleep between two rounds.
const ROUND: Duration = Duration::from_secs(60);
/// Minimum time between two retention rounds, since each checks every dump.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(20);
/// Minimum time between two writings of crash groups while dumps are decoded.
const BETWEEN_KEEPS: Duration = Duration::from_secs(5);
/// Receiving dumps has priority: decoding waits until none arrived for this long.
const QUIET: Duration = Duration::from_millis(100);
/// Maximum time that decoding waits for this.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the worker works with.
#[derive(Clone, Debug)]
pub struct Parts {
    pub store: Arc<Store>,
    pub crashes: Arc<Crashes>,
    pub intake: watch::Receiver<IntakeStats>,
    pub metrics: Arc<Metrics>,
    pub config: watch::Receiver<Arc<Config>>,
    pub handle: Arc<Handle>,
}

/// Works until `stop`.
pub async fn run(mut parts: Parts, decoder: impl Decoder, stop: CancellationToken) {
    let upgraded = parts.clone();
    on_thread(move || job::after_an_upgrade(&upgraded.store)).await;
    let mut last_sweep: Option<Instant> = None;
    let mut passed = Passed::default();
    while !stop.is_cancelled() {
        parts.handle.beat();
        let signed = parts.clone();
        on_thread(move || sign_again(&signed)).await;
        if last_sweep.is_none_or(|last| last.elapsed() >= BETWEEN_SWEEPS) {
            let swept = parts.clone();
            on_thread(move || sweep(&swept)).await;
            last_sweep = Some(Instant::now());
        }
        let counted = parts.clone();
        on_thread(move || count(&counted)).await;
        round(&mut parts, &decoder, &mut passed, &stop).await;
        let kept = Arc::clone(&parts.crashes);
        on_thread(move || keep_groups(&kept)).await;
        let looking = parts.clone();
        on_thread(move || look_at_disk(&looking)).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = parts.handle.woken() => passed.forget_unreadable(),
            Ok(()) = parts.intake.changed() => {}
            // The rules may have changed.
            Ok(()) = parts.config.changed() => last_sweep = None,
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

/// Decodes what there is to decode, each dump once.
async fn round(
    parts: &mut Parts,
    decoder: &impl Decoder,
    passed: &mut Passed,
    stop: &CancellationToken,
) {
    passed.begin_round();
    let mut kept_at = Instant::now();
    while !stop.is_cancelled() {
        parts.handle.beat();
        // a decoded dump is three more syncs of the disk that boards wait for
        let _ = timeout(
            PATIENCE,
            wait_for_quiet::wait_for_quiet(&mut parts.intake, QUIET),
        )
        .await;
        let (store, mut passing) = (Arc::clone(&parts.store), std::mem::take(passed));
        let next = on_thread(move || (next_job(&store, &mut passing), passing)).await;
        let Some((job, passing)) = next else {
            return;
        };
        *passed = passing;
        let Some(job) = job else {
            return;
        };
        if attempt::attempt(parts, decoder, job, stop).await == Next::EndRound {
            return;
        }
        // a round lasts as long as dumps come
        if kept_at.elapsed() >= BETWEEN_KEEPS {
            let kept = Arc::clone(&parts.crashes);
            on_thread(move || keep_groups(&kept)).await;
            kept_at = Instant::now();
        }
    }
}

/// Blocking work off the async threads; `None` if it panicked, which costs this
/// round only.
async fn on_thread<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) => {
            log::error!("background task failed: {error}");
            None
        }
    }
}

fn sweep(parts: &Parts) {
    let settings = parts.config.borrow().coredumps.clone();
    let last = parts.crashes.last_dumps();
    if let Err(error) = dump_removal::sweep(&parts.store, &settings, 0, &last) {
        let entry = error.event().entry();
        entry.say(format_args!(
            "cannot remove old coredumps: {}",
            chain(&error)
        ));
    }
}

/// Says when a disk that was full or read-only takes uploads again.
fn look_at_disk(parts: &Parts) {
    let settings = parts.config.borrow().coredumps.clone();
    if disk_trouble().is_some() && takes_uploads(&parts.store, settings.max_upload_bytes) {
        Event::DiskRecovered
            .entry()
            .say("the disk can be written again: uploads are stored");
    }
}

/// Whether as much as an upload can be written wherever something is kept: less
/// may fit while dumps are still refused.
fn takes_uploads(store: &Store, bytes: usize) -> bool {
    let data_dir = &store.data_dir;
    [data_dir.coredumps(), data_dir.assets(), &data_dir.state()]
        .iter()
        .all(|folder| disk_space::try_write(folder, bytes).is_ok())
}

/// Brings stored signatures up to date with the algorithm and the site's lists.
fn sign_again(parts: &Parts) {
    if let Err(error) = resign::if_needed(parts) {
        let entry = error.event().entry();
        entry.say(format_args!("cannot renew signatures: {}", chain(&error)));
    }
}

/// Says which crashes are new, and writes the groups that changed.
fn keep_groups(crashes: &Crashes) {
    if let Err(error) = crashes.keep() {
        let entry = error.event().entry();
        entry.say(format_args!("cannot save crash groups: {}", chain(&error)));
    }
}

fn count(parts: &Parts) {
    let sizes = parts.store.coredumps.collect(|_, entry| Some(entry.bytes));
    let bytes: u64 = sizes.iter().sum();
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    parts.metrics.stored_dumps.set(signed(sizes.len() as u64));
    parts.metrics.stored_bytes.set(signed(bytes));
}
