//! Makes signatures anew from the stored reports, after an upgrade or a change of the
//! site's lists. Nothing is decoded again.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::sync::Arc;

use super::{Parts, grouping};
use crate::crashes::{Changes, Crashes, NewSignatures, name_of};
use crate::decode::report::Report;
use crate::decode::signature;
use crate::device::DeviceKey;
use crate::digest::Sha256;
use crate::journal::chain;
use crate::signature::{ALGORITHM, Lists, Signature, lists};
use crate::store::coredumps::{BATCH, Entry, Resigned};
use crate::store::{Result, Store};

/// In `state/gateway.json`: what the stored signatures were made with.
const FIELD: &str = "signed_with";

/// What signatures are made with: algorithm, lists, and the site's additions.
fn made_with(site: &Lists) -> String {
    let site = Sha256::of(format!("{site:?}").as_bytes()).short(12);
    format!("{ALGORITHM} {} {site}", lists::VERSION)
}

/// Makes all signatures anew if they were made with something else.
///
/// # Errors
/// What the disk says; it is tried again at the next start or change.
pub(super) fn if_needed(parts: &Parts) -> Result<()> {
    let (store, crashes) = (&parts.store, &parts.crashes);
    let lists = &parts.config.borrow().crashes.lists();
    let now = made_with(lists);
    let gateway = store.registry.gateway.read();
    let before = gateway.extra.get(FIELD).and_then(|value| value.as_str());
    if before == Some(now.as_str()) {
        return Ok(());
    }
    let (changes, reports) = all(store, crashes, lists, false, || parts.handle.beat())?;
    if reports > 0 {
        log::info!(
            "made the signatures of {reports} stored reports anew: {} changed, {} crash groups split, {} merged",
            changes.fingerprints,
            changes.split.len(),
            changes.merged.len()
        );
    }
    let noted = store.registry.gateway.change(|gateway| {
        gateway.extra.insert(FIELD.into(), now.into());
        Ok::<_, Infallible>(())
    })?;
    match noted {
        Ok(()) => Ok(()),
        Err(never) => match never {},
    }
}

/// Makes the signatures of all stored reports anew; what that changes, and how many
/// reports have another one. A dry run changes nothing. `beat` is called now and then.
///
/// # Errors
/// What the disk says; some may have been written.
pub fn all(
    store: &Store,
    crashes: &Crashes,
    lists: &Lists,
    dry_run: bool,
    beat: impl Fn(),
) -> Result<(Changes, usize)> {
    let dumps = store
        .coredumps
        .collect(|device, entry| Some((device.clone(), entry.id.clone())));
    let mut signatures = NewSignatures::new();
    let mut known: HashMap<String, Arc<Signature>> = HashMap::new();
    let mut reports = 0;
    for batch in dumps.chunks(BATCH) {
        let mut changed: Vec<Resigned> = Vec::new();
        for (device, id) in batch {
            let entry = store
                .coredumps
                .with(device, |folder| Ok(folder.find(&id.to_string()).cloned()));
            let Some(entry) = entry.ok().flatten() else {
                continue;
            };
            let Some((resigned, is_other)) = resigned(store, device, &entry, lists) else {
                continue;
            };
            // of several dumps of a fingerprint the newest counts that has one
            let newest = signatures.entry(name_of(&entry)).or_default();
            if let Some(signature) = &resigned.signature {
                let known = known.entry(signature.id.clone() + &signature.variant);
                let known = known.or_insert_with(|| Arc::new(signature.clone()));
                *newest = Some(Arc::clone(known));
            }
            if is_other {
                changed.push(resigned);
            }
        }
        reports += changed.len();
        beat();
        if !dry_run {
            store.coredumps.resign(&changed)?;
        }
    }
    Ok((crashes.resign(&signatures, dry_run), reports))
}

/// A stored report with the signature that it has now, and whether that is another
/// one; `None` without a readable report.
fn resigned(
    store: &Store,
    device: &DeviceKey,
    entry: &Entry,
    lists: &Lists,
) -> Option<(Resigned, bool)> {
    let path = store
        .coredumps
        .with(device, |folder| Ok(folder.file(&entry.stem, "report.json")));
    let bytes = fs::read(path.ok()?).ok()?;
    let mut report: Report = match serde_json::from_slice(&bytes) {
        Ok(report) => report,
        Err(error) => {
            log::debug!(
                "report of coredump {} is not readable: {}",
                entry.id,
                chain(&error)
            );
            return None;
        }
    };
    let before = report.signature.take();
    let model = entry.model_code().map(str::to_owned);
    let model = model.or_else(|| grouping::decoded_by(store, entry).model);
    signature::put(&mut report, model.as_deref().unwrap_or_default(), lists);
    let is_other = report.signature != before;
    let mut bytes = Vec::new();
    if is_other {
        bytes = serde_json::to_vec_pretty(&report).ok()?;
    }
    let resigned = Resigned {
        device: device.clone(),
        stem: entry.stem.to_string(),
        report: bytes,
        signature: report.signature,
    };
    Some((resigned, is_other))
}
