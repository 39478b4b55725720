//! How regularly a device is heard and how often it boots, and what follows: silent,
//! looping, or not known for long enough.

use crate::store::registry::Device;
use crate::store::registry::activity::{Contacts, DayBoots, RecentBoot};

/// A contact that follows another one within this time is part of it, seconds.
const SAME_CONTACT: u64 = 60;
/// Gaps that are remembered.
const MAX_GAPS: usize = 11;
/// What it takes to know the usual interval.
const MIN_GAPS: usize = 4;
const MIN_DAYS: u32 = 3;
/// Before the usual interval is known, gaps up to this time count as running.
const FIRST_GAPS: u64 = 3600;
/// Nobody is silent before, seconds.
const SILENT_AFTER: u64 = 24 * 3600;
/// A boot loop: so many boots in so many seconds.
const LOOP_BOOTS: usize = 3;
const LOOP_TIME: u64 = 600;
/// Days whose boots are remembered, today included.
const MAX_DAYS: usize = 8;
/// Boots that are remembered for the loop.
const MAX_RECENT: usize = 256;
/// Difference between two clocks that makes no boot, seconds.
const CLOCK_SLACK: u64 = 60;

/// What a person should know of a device beside what it runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// It boots again and again.
    Looping,
    /// It was not heard for three times its usual interval.
    Silent,
    /// It is not known for long enough to tell how often it is usually heard.
    Quiet,
    /// A person took it out of service.
    Retired,
}

impl State {
    /// The word in answers and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Looping => "looping",
            Self::Silent => "silent",
            Self::Quiet => "quiet",
            Self::Retired => "retired",
        }
    }
}

/// What a device reported of a boot, or its console showed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BootReport {
    /// Its boot messages were seen just now.
    pub is_banner: bool,
    /// The gateway reset it, or a program that the port was lent to.
    pub is_ours: bool,
    pub boot_count: Option<u64>,
    pub uptime_s: Option<u64>,
    pub reset_reason: Option<String>,
}

/// The time of a contact.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// By the machine's own clock.
    pub seconds: u64,
    /// ISO 8601, UTC.
    pub wall: &'a str,
}

impl At<'_> {
    /// The day, as in [`DayBoots`].
    fn day(&self) -> &str {
        self.wall.get(..10).unwrap_or(self.wall)
    }
}

/// Notes that a device was heard.
pub(super) fn heard(device: &mut Device, at: At<'_>) {
    at.wall.clone_into(device.last_seen.get_or_insert_default());
    let contacts = &mut device.contacts;
    today(contacts, at.day());
    let live = &mut contacts.live;
    live.last_contact = Some(at.seconds);
    let Some(from) = live.gap_from else {
        live.gap_from = Some(at.seconds);
        return;
    };
    let gap = at.seconds.saturating_sub(from);
    if gap < SAME_CONTACT {
        return;
    }
    live.gap_from = Some(at.seconds);
    let longest = usual_interval(contacts).map_or(FIRST_GAPS, |usual| usual.saturating_mul(3));
    contacts.gaps.push(u32::try_from(gap).unwrap_or(u32::MAX));
    let surplus = contacts.gaps.len().saturating_sub(MAX_GAPS);
    contacts.gaps.drain(..surplus);
    if gap <= longest
        && let Some(running) = &device.running
    {
        let build = running.build_id;
        let mut builds = device.builds.iter_mut();
        if let Some(seen) = builds.find(|seen| build.is_some() && seen.build_id == build) {
            seen.seconds += gap;
        }
    }
}

/// Today's boots; days with a contact are counted as far as the rules need.
fn today<'a>(contacts: &'a mut Contacts, day: &str) -> Option<&'a mut DayBoots> {
    if contacts.boots.last().is_none_or(|last| last.day != day) {
        contacts.boots.push(DayBoots {
            day: day.to_owned(),
            boots: 0,
        });
        let surplus = contacts.boots.len().saturating_sub(MAX_DAYS);
        contacts.boots.drain(..surplus);
        contacts.days = (contacts.days + 1).min(MIN_DAYS);
    }
    contacts.boots.last_mut()
}

/// The usual time between contacts, seconds: three quarters of the last ones came
/// within it. `None` before five contacts on three days.
pub fn usual_interval(contacts: &Contacts) -> Option<u64> {
    if contacts.gaps.len() < MIN_GAPS || contacts.days < MIN_DAYS {
        return None;
    }
    let mut gaps = contacts.gaps.clone();
    gaps.sort_unstable();
    let usual = gaps.get((gaps.len() * 3).div_ceil(4) - 1)?;
    Some(u64::from(*usual))
}

/// Notes the boots that a report proves. Whether there are any.
pub(super) fn note_boots(contacts: &mut Contacts, report: &BootReport, at: At<'_>) -> bool {
    let boots = count_boots(contacts, report, at.seconds);
    if boots == 0 {
        return false;
    }
    if let Some(today) = today(contacts, at.day()) {
        let boots = u32::try_from(boots).unwrap_or(u32::MAX);
        today.boots = today.boots.saturating_add(boots);
    }
    let reason = report.reset_reason.as_deref();
    if report.is_ours || reason.is_some_and(is_deep_sleep) {
        return true;
    }
    let boot = RecentBoot {
        at: at.seconds,
        has_reason: reason.is_some(),
    };
    let recent = &mut contacts.live.recent;
    recent.retain(|boot| at.seconds.saturating_sub(boot.at) < LOOP_TIME);
    let room = u64::try_from(MAX_RECENT.saturating_sub(recent.len())).unwrap_or(0);
    recent.extend((0..boots.min(room)).map(|_| boot));
    true
}

/// How many boots are new.
fn count_boots(contacts: &mut Contacts, report: &BootReport, now: u64) -> u64 {
    let live = &mut contacts.live;
    if report.is_banner {
        live.booted = i64::try_from(now).ok();
        live.uptime = None;
        live.boots_since_count += 1;
        return 1;
    }
    let booted = report.uptime_s.map(|uptime| {
        let ago = i64::try_from(uptime).unwrap_or(i64::MAX);
        i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(ago)
    });
    let by_uptime = match (report.uptime_s, booted) {
        (Some(uptime), Some(booted)) => {
            let slack = i64::try_from(CLOCK_SLACK + uptime / 1000).unwrap_or(i64::MAX);
            let is_shorter = live.uptime.is_some_and(|before| uptime < before);
            let is_later = live
                .booted
                .is_none_or(|before| booted > before.saturating_add(slack));
            is_shorter || is_later
        }
        _ => false,
    };
    // after a start of the daemon the boot may be one of long ago
    let is_recent = report.uptime_s.is_some_and(|uptime| uptime < LOOP_TIME);
    let is_first = live.booted.is_none();
    let by_uptime = u64::from(by_uptime && (!is_first || is_recent));
    let boots = match (report.boot_count, contacts.boot_count) {
        (Some(count), Some(before)) if count >= before => {
            let all = (count - before).saturating_sub(live.boots_since_count);
            let since = live.counted_at.map(|at| now.saturating_sub(at));
            match since {
                // no board boots more than once a second, whatever it reports
                Some(since) if since < LOOP_TIME => all.min(since + 1),
                // of those that happened at unknown times one counts as just now
                _ => all.min(1),
            }
        }
        // the device forgot its count
        (Some(_), Some(_)) => 1,
        _ => by_uptime,
    };
    if let Some(count) = report.boot_count {
        contacts.boot_count = Some(count);
        live.boots_since_count = 0;
        live.counted_at = Some(now);
    } else {
        live.boots_since_count += boots;
    }
    live.uptime = report.uptime_s.or(live.uptime.filter(|_| boots == 0));
    if boots > 0 {
        live.booted = booted.or(i64::try_from(now).ok());
    } else if is_first {
        live.booted = booted;
    }
    boots
}

/// The ROM's names, ESP-IDF's names and its number for a wake from deep sleep.
fn is_deep_sleep(reason: &str) -> bool {
    let reason = reason.to_ascii_uppercase();
    reason.contains("SLEEP") || reason == "8"
}

/// Boots today.
pub fn boots_on(contacts: &Contacts, day: &str) -> u32 {
    let days = contacts.boots.iter();
    let mut boots = days.filter(|boots| boots.day == day);
    boots.next().map_or(0, |boots| boots.boots)
}

/// The state of a device that was not heard for `unheard` seconds; `now` in seconds of
/// the machine's own clock.
pub fn state_of(contacts: &Contacts, unheard: Option<u64>, now: u64, day: &str) -> Option<State> {
    if is_looping(contacts, now, day) {
        return Some(State::Looping);
    }
    let Some(usual) = usual_interval(contacts) else {
        return Some(State::Quiet);
    };
    let limit = usual.saturating_mul(3).max(SILENT_AFTER);
    unheard
        .is_some_and(|unheard| unheard >= limit)
        .then_some(State::Silent)
}

fn is_looping(contacts: &Contacts, now: u64, day: &str) -> bool {
    let recent = || {
        let recent = contacts.live.recent.iter();
        recent.filter(|boot| now.saturating_sub(boot.at) < LOOP_TIME)
    };
    if recent().filter(|boot| boot.has_reason).count() >= LOOP_BOOTS {
        return true;
    }
    let all = recent().count();
    // any of them may be a wake from deep sleep: then only what is unusual counts
    let days = contacts.boots.iter().filter(|boots| boots.day != day);
    let (days, boots) = days.fold((0_u64, 0_u64), |(days, boots), of| {
        (days + 1, boots + u64::from(of.boots))
    });
    // per ten minutes, three times the usual: boots / days / 144 * 3
    let is_unusual = days > 0 && u64::try_from(all).unwrap_or(0).saturating_mul(days * 48) >= boots;
    all >= LOOP_BOOTS && is_unusual
}

#[cfg(test)]
mod tests;
