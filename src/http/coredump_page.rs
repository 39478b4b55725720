//! Which dumps a page of the list has.

use std::collections::BTreeSet;

use super::app_state::AppState;
use super::error::{Error, Result};
use super::query::Query;
use crate::clock::parse;
use crate::device::DeviceKey;
use crate::store::compact::Stem;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// Dumps of a page, by their number.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) found: BTreeSet<(u64, DeviceKey, Stem)>,
    pub(super) next_cursor: Option<String>,
}

/// What a request asks for.
#[derive(Debug)]
pub(super) struct Filter {
    device: Option<DeviceKey>,
    model: Option<String>,
    /// Id of a crash group.
    crash: Option<String>,
    since: Option<time::OffsetDateTime>,
    before: Option<u64>,
    limit: usize,
}

impl Filter {
    /// # Errors
    /// 400 for invalid parameters.
    pub(super) fn of(query: &Query) -> Result<Self> {
        let invalid = |what: &str| Error::Invalid(format!("Invalid query parameter: {what}"));
        Ok(Self {
            device: query
                .get("device")
                .map(|key| key.parse().map_err(|_| invalid("device")))
                .transpose()?,
            model: query.get("model").map(str::to_owned),
            crash: query.get("crash").map(str::to_owned),
            since: query
                .get("since")
                .map(|since| parse(since).ok_or_else(|| invalid("since")))
                .transpose()?,
            before: query
                .get("cursor")
                .map(|cursor| cursor.parse().map_err(|_| invalid("cursor")))
                .transpose()?,
            limit: match query.get("limit").map(str::parse) {
                None => DEFAULT_LIMIT,
                Some(Ok(limit @ 1..=MAX_LIMIT)) => limit,
                Some(_) => return Err(invalid("limit")),
            },
        })
    }

    /// The page that is asked for. Looks at all dumps.
    pub(super) fn page(&self, app: &AppState) -> Page {
        let gateway = app.store.registry.gateway.read();
        let of_crash = self
            .crash
            .as_ref()
            .map(|id| app.ingest.crashes().dumps_in(id));
        let mut found = BTreeSet::new();
        let mut is_more = false;
        app.store.coredumps.collect(|device, entry| -> Option<()> {
            let fits = self.device.as_ref().is_none_or(|wanted| wanted == device)
                && (self.model.is_none() || self.model.as_deref() == entry.model_code())
                && of_crash.as_ref().is_none_or(|group| group.has(entry))
                && self.before.is_none_or(|before| entry.sequence < before)
                && self
                    .since
                    .is_none_or(|since| entry.came_at(&gateway).is_some_and(|at| at >= since));
            let is_older = |first: &(u64, DeviceKey, Stem)| entry.sequence < first.0;
            if fits && found.len() == self.limit && found.first().is_some_and(is_older) {
                is_more = true;
            } else if fits {
                found.insert((entry.sequence, device.clone(), entry.stem.clone()));
            }
            if found.len() > self.limit {
                found.pop_first();
                is_more = true;
            }
            None
        });
        let oldest = found.first().filter(|_| is_more);
        let next_cursor = oldest.map(|(sequence, ..)| sequence.to_string());
        Page { found, next_cursor }
    }
}
