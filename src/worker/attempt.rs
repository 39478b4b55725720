//! One try to decode one dump. It is written down before it begins, so that a
//! dump that takes the whole daemon down is not tried for ever.

use std::future::Future;
use std::path::Path;

use serde_json::Value;

use super::{Job, Parts, on_thread};
use crate::decode::report::{Match, Report};
use crate::decode::text::is_system;
use crate::journal::{Event, chain};
use crate::store::coredumps::{DecodeState, DeviceFolder, Sidecar};
use crate::store::{Result, Store};

/// After so many tries a dump is given up.
pub const MAX_ATTEMPTS: u64 = 3;
/// Where the sidecar counts them.
const ATTEMPTS: &str = "decode_attempts";

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeFailed(pub String);

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

/// Tries one dump and writes down what came of it.
pub(super) async fn attempt(parts: &Parts, decoder: &impl Decoder, job: Job) {
    let _held = parts.store.coredumps.hold(&job.id);
    let (store, begun) = (parts.store.clone(), job.clone());
    let may = on_thread(move || begin(&store, &begun)).await;
    if let Some(Ok(true)) = may {
        let outcome = decoder.decode(&job.dump, job.elf.as_deref()).await;
        let (parts, ended) = (parts.clone(), job.clone());
        on_thread(move || finish(&parts, &ended, outcome)).await;
    }
}

/// Counts the attempt; false if there were enough.
fn begin(store: &Store, job: &Job) -> Result<bool> {
    store.coredumps.with(&job.device, |folder| {
        let sidecar = folder.change(&job.stem, |sidecar| {
            let before = attempts(sidecar);
            sidecar.extra.insert(ATTEMPTS.into(), (before + 1).into());
            if before >= MAX_ATTEMPTS {
                sidecar.decode = DecodeState::Failed;
            }
        })?;
        if sidecar.decode == DecodeState::Failed {
            say_failed(job, "it was tried three times and never came to an end");
            return Ok(false);
        }
        Ok(true)
    })
}

fn attempts(sidecar: &Sidecar) -> u64 {
    sidecar
        .extra
        .get(ATTEMPTS)
        .and_then(Value::as_u64)
        .unwrap_or(0)
}

fn finish(parts: &Parts, job: &Job, outcome: std::result::Result<Vec<u8>, DecodeFailed>) {
    let written = parts
        .store
        .coredumps
        .with(&job.device, |folder| match &outcome {
            Ok(report) => keep(folder, job, report),
            Err(failed) => {
                folder.change(&job.stem, |sidecar| sidecar.decode = DecodeState::Failed)?;
                say_failed(job, &failed.to_string());
                Ok(DecodeState::Failed)
            }
        });
    match written {
        Ok(state) => parts.metrics.decode(state.as_str()),
        Err(error) => log::warn!(
            "the report of coredump {} of {} could not be kept: {}",
            job.id,
            job.device,
            chain(&error)
        ),
    }
}

/// Keeps a report, unless there is one with a stronger match.
fn keep(folder: &mut DeviceFolder, job: &Job, report: &[u8]) -> Result<DecodeState> {
    let new = Summary::of(report);
    let old = std::fs::read(folder.file(&job.stem, "report.json"))
        .map(|old| Summary::of(&old))
        .ok();
    let state = match new.strength {
        0 if new.has_tasks => DecodeState::NoElf,
        _ => DecodeState::Done,
    };
    let change = |sidecar: &mut Sidecar| {
        sidecar.decode = state;
        sidecar.extra.remove(ATTEMPTS);
    };
    if old.is_some_and(|old| old.strength > new.strength) {
        folder.change(&job.stem, |sidecar| {
            sidecar.decode = DecodeState::Done;
            sidecar.extra.remove(ATTEMPTS);
        })?;
        return Ok(DecodeState::Done);
    }
    let sidecar = folder.store_report(&job.stem, report, change)?;
    Event::CoredumpDecoded
        .entry()
        .device(&job.device)
        .coredump(&job.id)
        .maybe("MODEL_CODE", sidecar.model_code.as_ref())
        .maybe("FIRMWARE_VERSION", sidecar.firmware_version.as_ref())
        .maybe("FINGERPRINT", sidecar.fingerprint.as_ref())
        .say(format_args!(
            "decoded coredump {} of {}: {}",
            job.id, job.device, new.words
        ));
    Ok(state)
}

fn say_failed(job: &Job, why: &str) {
    Event::CoredumpUndecodable
        .entry()
        .device(&job.device)
        .coredump(&job.id)
        .say(format_args!(
            "coredump {} of {} could not be decoded: {why}; it is kept",
            job.id, job.device
        ));
}

/// What matters of a report here.
struct Summary {
    /// How sure it is that the ELF fits: 2 exact, 1 unverified, 0 without.
    strength: u8,
    has_tasks: bool,
    words: String,
}

impl Summary {
    fn of(report: &[u8]) -> Self {
        let report: Report = serde_json::from_slice(report).unwrap_or_default();
        Self {
            strength: match report.app.matched {
                Match::Exact => 2,
                Match::Unverified => 1,
                Match::Mismatch | Match::None => 0,
            },
            has_tasks: !report.tasks.is_empty(),
            words: words(&report),
        }
    }
}

/// A report in one line: the reason, and the first place in the application's
/// own code.
fn words(report: &Report) -> String {
    if report.tasks.is_empty() {
        let problem = report.problems.first().map_or("", String::as_str);
        return format!("nothing in it can be read ({}): {problem}", report.verdict);
    }
    let reason = [&report.panic.reason, &report.panic.cause]
        .into_iter()
        .find_map(|reason| reason.as_deref())
        .unwrap_or("no reason given");
    let frames = report.tasks.iter().take(1).flat_map(|task| &task.backtrace);
    let named = || {
        frames
            .clone()
            .filter(|frame| frame.function.is_some() && frame.file.is_some())
    };
    let place = named()
        .find(|frame| !is_system(frame))
        .or_else(|| named().next());
    let Some(place) = place else {
        return format!("{reason} (no ELF of this build is here)");
    };
    let file = place.file.as_deref().unwrap_or_default();
    let unverified = match report.app.matched {
        Match::Unverified => " (unverified ELF)",
        _ => "",
    };
    format!(
        "{reason}, in {} at {}:{}{unverified}",
        place.function.as_deref().unwrap_or_default(),
        file.rsplit('/').next().unwrap_or(file),
        place.line.unwrap_or(0),
    )
}
