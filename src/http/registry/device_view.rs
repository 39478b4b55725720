//! Devices as answers show them: with what depends on the time and on their crashes.

use std::collections::HashMap;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::api::devices::{Device as Shown, LastCrash};
use crate::clock::{Moment, iso8601, parse};
use crate::device::DeviceKey;
use crate::firmware;
use crate::fleet::contacts::{self, State};
use crate::fleet::device_filter::{DeviceFilter, Retired, time_span};
use crate::http::app_state::AppState;
use crate::http::error::{Error, Result};
use crate::http::query::Query;
use crate::store::crashes::At;
use crate::store::last_shutdown::Outage;
use crate::store::registry::Device;

/// What is needed to show devices, looked up once for all of them.
pub(super) struct DeviceView {
    app: Arc<AppState>,
    hearing: Hearing,
    crashes: HashMap<String, (At, String)>,
}

/// How long devices were not heard at one moment, and their states by that.
pub(in crate::http) struct Hearing {
    now: Moment,
    day: String,
    outages: Vec<Outage>,
}

impl DeviceView {
    /// The view at this moment. Reads the crash groups if nobody has yet.
    pub(super) fn new(app: &Arc<AppState>) -> Self {
        Self {
            app: Arc::clone(app),
            hearing: Hearing::now(app),
            crashes: app.ingest.crashes().last_of_devices(),
        }
    }

    /// Whether a list with this filter has the device.
    pub(super) fn fits(&self, device: &Device, filter: &DeviceFilter) -> bool {
        let state = self.hearing.state(device);
        filter.fits(device, state, self.hearing.unheard(device))
    }

    /// A device: of its tokens the ids alone. Reads the folder of its model if it is
    /// pinned and nobody did yet.
    pub(super) fn shown(&self, key: &DeviceKey, device: &Device) -> Shown {
        let pin = device.pin.as_ref().zip(device.model.as_ref());
        let pin = pin.map(|(pin, model)| firmware::shown_name(&self.app.store, model, pin));
        let crash = self.crashes.get(key.as_str());
        let state = self.hearing.state(device);
        Shown {
            boots_today: contacts::boots_on(&device.contacts, &self.hearing.day),
            usual_interval_s: contacts::usual_interval(&device.contacts),
            state: state.map(|state| state.as_str().to_owned()),
            last_crash: crash.map(|(at, group)| LastCrash {
                at: at.to_string(),
                crash: group.clone(),
            }),
            ..Shown::of(key, device, pin)
        }
    }
}

impl Hearing {
    /// At this moment.
    pub(in crate::http) fn now(app: &AppState) -> Self {
        let now = Moment::now();
        let mut day = iso8601(now.wall);
        day.truncate(10);
        Self {
            now,
            day,
            outages: app.facts().outages.clone(),
        }
    }

    /// The state of a device.
    pub(in crate::http) fn state(&self, device: &Device) -> Option<State> {
        if device.retired.is_some() {
            return Some(State::Retired);
        }
        let seconds = self.now.monotonic_us / 1_000_000;
        contacts::state_of(&device.contacts, self.unheard(device), seconds, &self.day)
    }

    /// Seconds since the device was heard; before this daemon started, without the times
    /// in which nobody could hear it.
    fn unheard(&self, device: &Device) -> Option<u64> {
        if let Some(last) = device.contacts.live.last_contact {
            return Some((self.now.monotonic_us / 1_000_000).saturating_sub(last));
        }
        let since = parse(device.last_seen.as_deref()?)?;
        unheard_since(since, self.now.wall, &self.outages)
    }
}

fn unheard_since(since: OffsetDateTime, now: OffsetDateTime, outages: &[Outage]) -> Option<u64> {
    let deaf = outages
        .iter()
        .filter_map(|outage| outage.within(since, now));
    let deaf: time::Duration = deaf.sum();
    u64::try_from((now - since - deaf).whole_seconds()).ok()
}

/// The filter in a query: `model=`, `build=`, `silent=true`, `looping=true`,
/// `no-token=true`, `unregistered=true`, `unseen-for=7d`, `retired=true` (only those) or
/// `any` (those too).
///
/// # Errors
/// 400.
pub(super) fn filter_of(query: &Query) -> Result<DeviceFilter> {
    let invalid = |what: &str| Error::Invalid(format!("Invalid query parameter: {what}"));
    let text = |name: &str| query.get(name).map(str::to_owned);
    let is = |name: &str| match query.get(name) {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(invalid(name)),
    };
    let unseen_for = query.get("unseen-for");
    let unseen_for = unseen_for.map(|span| time_span(span).ok_or_else(|| invalid("unseen-for")));
    Ok(DeviceFilter {
        model: text("model"),
        build: text("build"),
        silent: is("silent")?,
        looping: is("looping")?,
        no_token: is("no-token")?,
        unregistered: is("unregistered")?,
        unseen_for: unseen_for.transpose()?,
        retired: match query.get("retired") {
            Some("any") => Retired::Any,
            _ if is("retired")? => Retired::Only,
            _ => Retired::Heard,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_could_hear_is_no_silence() {
        let at = |hours| OffsetDateTime::UNIX_EPOCH + time::Duration::hours(hours);
        let outage = |from, to| Outage {
            from: iso8601(at(from)),
            to: iso8601(at(to)),
        };
        for (since, now, outages, hours) in [
            (0, 30, vec![], Some(30)),
            (0, 30, vec![outage(1, 21)], Some(10)),
            (5, 30, vec![outage(1, 21), outage(29, 40)], Some(8)),
            (30, 0, vec![], None),
        ] {
            let found = unheard_since(at(since), at(now), &outages);
            assert_eq!(found, hours.map(|hours: u64| hours * 3600), "{outages:?}");
        }
    }

    #[test]
    fn filters_are_read_and_what_is_none_is_refused() {
        let read = |text: &str| filter_of(&Query::parse(text));
        let filter = read("model=lamp&silent=true&looping=0&unseen-for=7d").unwrap();
        let expected = DeviceFilter {
            model: Some(String::from("lamp")),
            silent: true,
            unseen_for: Some(7 * 86_400),
            ..DeviceFilter::default()
        };
        assert_eq!(filter, expected);
        for (text, retired) in [
            ("retired=true", Retired::Only),
            ("retired=any", Retired::Any),
            ("retired=false", Retired::Heard),
        ] {
            assert_eq!(read(text).unwrap().retired, retired, "{text}");
        }
        for text in ["unseen-for=7", "silent=yes", "no-token=x", "retired=no"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
