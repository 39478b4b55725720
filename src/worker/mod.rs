//! Works through what is stored: decodes what lacks a report, removes what the
//! rules say, then sleeps. Nothing is queued: what there is to do is read from
//! the store each time, so a crash or a restart loses nothing.

mod attempt;
mod heartbeat;
mod job;

pub use attempt::{DecodeFailed, Decoder, MAX_ATTEMPTS};
pub use heartbeat::Heartbeat;
pub use job::{Job, Misfits, next_job};

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::ingest::Ingest;
use crate::journal::{Event, chain};
use crate::metrics::Metrics;
use crate::store::{Store, housekeeping};

/// Longest sleep between two rounds.
const ROUND: Duration = Duration::from_secs(60);
/// Least time between two looks at the rules: they go through every dump, which
/// is not for every arrival.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(20);
/// Dumps that come in go before those to be decoded: until none came for so long.
const LULL: Duration = Duration::from_millis(100);
/// But a dump waits no longer than this for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the worker works with.
#[derive(Clone, Debug)]
pub struct Parts {
    pub store: Arc<Store>,
    pub ingest: Arc<Ingest>,
    pub metrics: Arc<Metrics>,
    pub config: watch::Receiver<Arc<Config>>,
    pub heartbeat: Arc<Heartbeat>,
}

/// Works until `stop`.
pub async fn run(mut parts: Parts, decoder: impl Decoder, stop: CancellationToken) {
    let upgraded = parts.clone();
    on_thread(move || job::after_an_upgrade(&upgraded.store)).await;
    let mut last_sweep: Option<Instant> = None;
    // An ELF that has the dump's version only may turn out not to fit. It does
    // not fit in the next round either.
    let mut misfits = Misfits::new();
    // Dumps that failed in this round are not tried again before the next.
    while !stop.is_cancelled() {
        parts.heartbeat.beat();
        if last_sweep.is_none_or(|last| last.elapsed() >= BETWEEN_SWEEPS) {
            let swept = parts.clone();
            on_thread(move || sweep(&swept)).await;
            last_sweep = Some(Instant::now());
        }
        let counted = parts.clone();
        on_thread(move || count(&counted)).await;
        let mut tried = HashSet::new();
        loop {
            parts.heartbeat.beat();
            // a decoded dump is three more syncs of the disk that boards wait for
            let _ = timeout(PATIENCE, parts.ingest.lull(LULL)).await;
            let (looking, seen) = (Arc::clone(&parts.store), tried.clone());
            let unfit = misfits.clone();
            let next = on_thread(move || next_job(&looking, &seen, &unfit)).await;
            let Some(job) = next.flatten() else {
                break;
            };
            tried.insert(job.id.clone());
            if let Some(elf) = &job.elf {
                misfits.insert((job.id.clone(), elf.clone()));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = attempt::attempt(&parts, &decoder, job) => {}
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = parts.ingest.arrival() => {}
            // The rules may have changed.
            Ok(()) = parts.config.changed() => last_sweep = None,
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

/// Blocking work off the async threads; `None` if it panicked, which costs this
/// round only.
async fn on_thread<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) => {
            log::error!("the worker failed in this round: {error}");
            None
        }
    }
}

fn sweep(parts: &Parts) {
    let settings = parts.config.borrow().coredumps.clone();
    let in_use = parts
        .ingest
        .in_use()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    if let Err(error) = housekeeping::sweep(&parts.store, &settings, 0, &in_use) {
        Event::DiskFull.entry().say(format_args!(
            "cannot remove old coredumps: {}",
            chain(&error)
        ));
    }
}

fn count(parts: &Parts) {
    let sizes = parts.store.coredumps.collect(|_, entry| Some(entry.bytes));
    let bytes: u64 = sizes.iter().sum();
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    parts.metrics.stored_dumps.set(signed(sizes.len() as u64));
    parts.metrics.stored_bytes.set(signed(bytes));
}
