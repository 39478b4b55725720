//! One attempt to decode one dump. It is recorded before it begins, so that a dump
//! that crashes the daemon is not tried forever.

use std::future::Future;
use std::io;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::summary::Summary;
use super::{Job, Parts, grouping, on_thread};
use crate::crashes::{Crashes, Decoded};
use crate::decode::report::Report;
use crate::decode::signature;
use crate::journal::{Event, chain};
use crate::signature::Lists;
use crate::store::coredumps::{DecodeState, DeviceFolder, MAX_ATTEMPTS, Sidecar};
use crate::store::{Error, Result};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum DecodeFailed {
    /// The decoder could not be started; not the dump's fault.
    #[error("{0}")]
    NotStarted(String),
    #[error("{0}")]
    Failed(String),
}

/// Makes a report from a dump: in the daemon a child process, in tests a mock.
#[cfg_attr(test, mockall::automock)]
pub trait Decoder: Send + Sync {
    /// The report as JSON.
    fn decode<'a>(
        &'a self,
        dump: &'a Path,
        elf: Option<&'a Path>,
    ) -> impl Future<Output = std::result::Result<Vec<u8>, DecodeFailed>> + Send;
}

/// Whether it is worth going on with the next dump.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    GoOn,
    /// The worker stops, or no decoder can be started now.
    EndRound,
}

/// Decodes one dump and records the result, also if it is cancelled.
pub(super) async fn attempt(
    parts: &Parts,
    decoder: &impl Decoder,
    job: Job,
    stop: &CancellationToken,
) -> Next {
    let _held = parts.store.coredumps.hold(&job.id);
    let (begun, of) = (parts.clone(), job.clone());
    if on_thread(move || begin(&begun, &of)).await != Some(true) {
        return Next::GoOn;
    }
    let elf = job.elf.as_ref().map(|elf| elf.path.as_path());
    let outcome = tokio::select! {
        () = stop.cancelled() => Outcome::BrokenOff,
        outcome = decoder.decode(&job.dump, elf) => match outcome {
            Ok(report) => Outcome::Report(report),
            Err(DecodeFailed::Failed(why)) => Outcome::Failed(why),
            Err(DecodeFailed::NotStarted(why)) => {
                log::warn!("decoding paused: {why}");
                Outcome::BrokenOff
            }
        },
    };
    let next = match outcome {
        Outcome::BrokenOff => Next::EndRound,
        _ => Next::GoOn,
    };
    let (ended, of) = (parts.clone(), job.clone());
    on_thread(move || finish(&ended, &of, &outcome)).await;
    next
}

enum Outcome {
    Report(Vec<u8>),
    Failed(String),
    BrokenOff,
}

/// Records the start of the attempt; whether it may start.
fn begin(parts: &Parts, job: &Job) -> bool {
    let mut may = false;
    let begun = with_dump(parts, job, |folder| {
        folder.change(&job.stem, |sidecar| may = sidecar.begin_attempt())
    });
    match begun {
        Ok(Some(sidecar)) if !may => {
            parts.metrics.decode(DecodeState::Failed.as_str());
            say_failed(job, &sidecar);
        }
        Ok(_) => {}
        Err(error) => {
            may = false;
            say_trouble(job, "cannot be decoded now", &error);
        }
    }
    may
}

fn finish(parts: &Parts, job: &Job, outcome: &Outcome) {
    let lists = parts.config.borrow().crashes.lists();
    let by = grouping::decoded_by(&parts.store, &job.entry);
    let crashes = &parts.crashes;
    let written = with_dump(parts, job, |folder| match outcome {
        Outcome::Report(report) => {
            // without a registered model, the build's
            let model = job.entry.model_code().or(by.model.as_deref());
            let model = model.unwrap_or_default().to_owned();
            let (report, summary) = signed(report, &model, &lists);
            keep(folder, crashes, job, &report, summary, by).map(Some)
        }
        Outcome::Failed(why) => give_up(folder, crashes, job, why, by),
        Outcome::BrokenOff => {
            folder.change(&job.stem, Sidecar::cancel_attempt)?;
            Ok(None)
        }
    });
    match written.map(Option::flatten) {
        Ok(Some(state)) => parts.metrics.decode(state.as_str()),
        Ok(None) => {}
        Err(error) => {
            say_trouble(job, "was decoded, but the report cannot be saved", &error);
            // it is not the dump's fault; if that cannot be written either, it counts
            let _ = with_dump(parts, job, |folder| {
                folder.change(&job.stem, Sidecar::cancel_attempt)
            });
        }
    }
}

/// Does something with the dump's folder; `None` if the dump was deleted meanwhile.
fn with_dump<R>(
    parts: &Parts,
    job: &Job,
    work: impl FnOnce(&mut DeviceFolder) -> Result<R>,
) -> Result<Option<R>> {
    parts.store.coredumps.with(&job.device, |folder| {
        match folder
            .find(&job.id)
            .is_some_and(|entry| entry.stem == job.stem)
        {
            true => work(folder).map(Some),
            false => Ok(None),
        }
    })
}

/// Counts the failure; after the last attempt the dump stays without a report.
fn give_up(
    folder: &mut DeviceFolder,
    crashes: &Crashes,
    job: &Job,
    why: &str,
    by: Decoded,
) -> Result<Option<DecodeState>> {
    let mut is_last = false;
    let sidecar = folder.change(&job.stem, |sidecar| is_last = sidecar.fail_attempt(why))?;
    if is_last {
        grouping::place(crashes, folder, &job.device, &job.id, by);
        say_failed(job, &sidecar);
        return Ok(Some(DecodeState::Failed));
    }
    log::info!(
        "decoding coredump {} of {} failed (attempt {} of {MAX_ATTEMPTS}): {why}",
        job.id,
        job.device,
        sidecar.decoding.attempts
    );
    Ok(None)
}

/// The decoder's report with the signature of this model and site, and what is needed
/// of it here.
fn signed(report: &[u8], model: &str, lists: &Lists) -> (Vec<u8>, Summary) {
    let Ok(mut read) = serde_json::from_slice::<Report>(report) else {
        return (report.to_vec(), Summary::of(&Report::default()));
    };
    signature::put(&mut read, model, lists);
    let written = serde_json::to_vec_pretty(&read).unwrap_or_else(|_| report.to_vec());
    (written, Summary::of(&read))
}

/// Keeps a report, unless there is one with a stronger match.
fn keep(
    folder: &mut DeviceFolder,
    crashes: &Crashes,
    job: &Job,
    report: &[u8],
    new: Summary,
    by: Decoded,
) -> Result<DecodeState> {
    let path = folder.file(&job.stem, "report.json");
    let old = match std::fs::read(&path) {
        Ok(old) => Some(Summary::of(
            &serde_json::from_slice(&old).unwrap_or_default(),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // it may be the better one
        Err(source) => return Err(Error::io("read", &path, source)),
    };
    let misfit = job.elf.as_ref().filter(|_| new.strength == 0);
    let misfit = misfit.map(|elf| elf.sha256);
    if old.is_some_and(|old| old.strength > new.strength) {
        let state = DecodeState::Done;
        folder.change(&job.stem, |sidecar| sidecar.end_attempt(state, misfit))?;
        return Ok(state);
    }
    let state = match new.strength {
        0 if new.has_tasks => DecodeState::NoElf,
        _ => DecodeState::Done,
    };
    let id = new.signature.as_ref().map(|signature| signature.id.clone());
    let decoded = Decoded {
        signature: new.signature,
        gateway_client: new.gateway_client,
        ..by
    };
    let group = grouping::place(crashes, folder, &job.device, &job.id, decoded);
    let end = |sidecar: &mut Sidecar| {
        sidecar.end_attempt(state, misfit);
        sidecar.signature = id;
        sidecar.place = new.place;
        sidecar.gateway_induced = new.gateway_client && sidecar.gateway_unreachable_s.is_some();
        sidecar.crash = group.or_else(|| sidecar.crash.take());
    };
    let sidecar = folder.store_report(&job.stem, report, end)?;
    sidecar
        .told_in(Event::CoredumpDecoded.entry())
        .say(format_args!(
            "decoded coredump {} of {}: {}",
            job.id, job.device, new.words
        ));
    Ok(state)
}

fn say_failed(job: &Job, sidecar: &Sidecar) {
    sidecar
        .told_in(Event::CoredumpUndecodable.entry())
        .say(format_args!(
            "decoding coredump {} of {} failed {} times: {}; the dump is kept",
            job.id,
            job.device,
            sidecar.decoding.attempts,
            sidecar.decoding.failure.as_deref().unwrap_or_default()
        ));
}

fn say_trouble(job: &Job, what: &str, error: &Error) {
    let entry = error.event().entry();
    entry
        .device(&job.device)
        .coredump(&job.id)
        .say(format_args!(
            "coredump {} of {} {what}: {}",
            job.id,
            job.device,
            chain(error)
        ));
}
