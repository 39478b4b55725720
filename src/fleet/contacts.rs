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
}

impl State {
    /// The word in answers and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Looping => "looping",
            Self::Silent => "silent",
            Self::Quiet => "quiet",
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

/// Notes the boots that a report proves.
pub(super) fn note_boots(contacts: &mut Contacts, report: &BootReport, at: At<'_>) {
    let boots = count_boots(contacts, report, at.seconds);
    if boots == 0 {
        return;
    }
    if let Some(today) = today(contacts, at.day()) {
        let boots = u32::try_from(boots).unwrap_or(u32::MAX);
        today.boots = today.boots.saturating_add(boots);
    }
    let reason = report.reset_reason.as_deref();
    if report.is_ours || reason.is_some_and(is_deep_sleep) {
        return;
    }
    let boot = RecentBoot {
        at: at.seconds,
        has_reason: reason.is_some(),
    };
    let recent = &mut contacts.live.recent;
    recent.retain(|boot| at.seconds.saturating_sub(boot.at) < LOOP_TIME);
    let room = u64::try_from(MAX_RECENT.saturating_sub(recent.len())).unwrap_or(0);
    recent.extend((0..boots.min(room)).map(|_| boot));
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
            let quick = live
                .counted_at
                .is_some_and(|at| now.saturating_sub(at) < LOOP_TIME);
            // of those that happened at unknown times one counts as just now
            if quick { all } else { all.min(1) }
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
mod tests {
    use super::*;
    use crate::build_id::BuildId;
    use crate::digest::Sha256;
    use crate::store::registry::activity::BuildSeen;
    use crate::store::registry::devices::Running;

    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;

    fn at(seconds: u64) -> (u64, String) {
        (
            seconds,
            format!("2026-02-{:02}T00:00:00Z", 1 + seconds / DAY),
        )
    }

    fn hear(device: &mut Device, seconds: u64) {
        let (seconds, wall) = at(seconds);
        heard(
            device,
            At {
                seconds,
                wall: &wall,
            },
        );
    }

    fn boot(device: &mut Device, seconds: u64, report: BootReport) {
        let (seconds, wall) = at(seconds);
        note_boots(
            &mut device.contacts,
            &report,
            At {
                seconds,
                wall: &wall,
            },
        );
    }

    fn state(device: &Device, now: u64) -> Option<State> {
        let (seconds, wall) = at(now);
        let last = device.contacts.live.last_contact.unwrap();
        state_of(&device.contacts, Some(now - last), seconds, &wall[..10])
    }

    #[test]
    fn the_usual_interval_is_known_after_five_contacts_on_three_days() {
        let mut device = Device::default();
        for (seconds, expected) in [
            (0, None),
            (HOUR, None),
            (2 * HOUR, None),
            (3 * HOUR, None),
            (4 * HOUR, None),
            (DAY, None),
            (DAY + HOUR, None),
            (2 * DAY, Some(20 * HOUR)),
            (2 * DAY + HOUR, Some(HOUR)),
        ] {
            hear(&mut device, seconds);
            assert_eq!(usual_interval(&device.contacts), expected, "{seconds}");
        }
    }

    #[test]
    fn requests_one_after_the_other_are_one_contact() {
        let mut device = Device::default();
        for seconds in [0, 1, 30, 59, HOUR, HOUR + 2] {
            hear(&mut device, seconds);
        }
        assert_eq!(device.contacts.gaps, [3600]);
        let (_, wall) = at(HOUR + 2);
        assert_eq!(device.last_seen, Some(wall));
    }

    #[test]
    fn a_board_is_silent_after_three_intervals_and_a_day_and_quiet_before_they_are_known() {
        let mut device = Device::default();
        hear(&mut device, 0);
        assert_eq!(state(&device, 30 * DAY), Some(State::Quiet));
        let mut hourly = Device::default();
        (0..72).for_each(|hour| hear(&mut hourly, hour * HOUR));
        let last = 71 * HOUR;
        for (after, expected) in [(23 * HOUR, None), (24 * HOUR, Some(State::Silent))] {
            assert_eq!(state(&hourly, last + after), expected, "{after}");
        }
        let mut daily = Device::default();
        (0..9).for_each(|day| hear(&mut daily, day * DAY));
        for (after, expected) in [(2 * DAY, None), (3 * DAY, Some(State::Silent))] {
            assert_eq!(state(&daily, 8 * DAY + after), expected, "{after}");
        }
    }

    #[test]
    fn gaps_up_to_three_usual_intervals_are_hours_of_the_running_build() {
        let build = BuildId::from(Sha256::of(b"1"));
        let mut device = Device {
            running: Some(Running {
                build_id: Some(build),
                version: None,
                app_elf_sha256: None,
                at: String::new(),
                from: String::new(),
                certainty: None,
            }),
            builds: vec![BuildSeen {
                build_id: Some(build),
                ..BuildSeen::default()
            }],
            ..Device::default()
        };
        let mut expected = 0;
        for (seconds, counts) in [
            (0, false),
            (HOUR, true),
            // not known yet: no more than an hour
            (3 * HOUR, false),
            (DAY, false),
            (DAY + HOUR, true),
            (DAY + 2 * HOUR, true),
            (DAY + 3 * HOUR, true),
            (DAY + 4 * HOUR, true),
            (2 * DAY, false),
            (2 * DAY + HOUR, true),
            (2 * DAY + 4 * HOUR, true),
        ] {
            let before = device.contacts.live.last_contact.unwrap_or(0);
            hear(&mut device, seconds);
            expected += if counts { seconds - before } else { 0 };
            assert_eq!(device.builds[0].seconds, expected, "{seconds}");
        }
    }

    fn reported(boot_count: Option<u64>, uptime_s: Option<u64>) -> BootReport {
        BootReport {
            boot_count,
            uptime_s,
            ..BootReport::default()
        }
    }

    fn banner(reason: &str) -> BootReport {
        BootReport {
            is_banner: true,
            reset_reason: Some(reason.to_owned()),
            ..BootReport::default()
        }
    }

    #[test]
    fn a_boot_is_counted_once_whoever_tells_of_it() {
        let mut device = Device::default();
        for (seconds, report, boots) in [
            (1000, reported(Some(7), Some(900)), 0),
            (1100, reported(Some(7), Some(1000)), 0),
            (1200, reported(Some(8), Some(20)), 1),
            (1300, reported(None, Some(120)), 1),
            (1400, banner("SW_CPU_RESET"), 2),
            (1410, reported(Some(9), Some(10)), 2),
            (1420, reported(None, Some(20)), 2),
            (1430, reported(None, Some(5)), 3),
            (1440, reported(Some(12), Some(15)), 5),
            (1450, reported(Some(1), Some(2)), 6),
            (9000, reported(Some(9), Some(4)), 7),
            (9100, reported(None, None), 7),
        ] {
            boot(&mut device, seconds, report.clone());
            let (_, wall) = at(seconds);
            let counted = boots_on(&device.contacts, &wall[..10]);
            assert_eq!(counted, boots, "{seconds} {report:?}");
        }
    }

    #[test]
    fn a_board_loops_after_three_boots_in_ten_minutes_that_nobody_asked_for() {
        let ours = || BootReport {
            is_ours: true,
            ..banner("POWERON_RESET")
        };
        let panic = || banner("SW_CPU_RESET");
        let sleep = || banner("DEEPSLEEP_RESET");
        for (reports, expected) in [
            (vec![(0, panic()), (100, panic()), (599, panic())], true),
            (vec![(0, panic()), (100, panic()), (700, panic())], false),
            (vec![(0, panic()), (100, panic()), (200, ours())], false),
            (vec![(0, panic()), (100, panic()), (200, sleep())], false),
            (vec![(0, sleep()), (1, sleep()), (2, sleep())], false),
            // without reasons and without a day to compare with
            (
                vec![(0, reported(Some(1), None)), (9, reported(Some(5), None))],
                false,
            ),
        ] {
            let mut device = Device::default();
            hear(&mut device, 0);
            let mut last = 0;
            for (seconds, report) in reports.clone() {
                boot(&mut device, seconds, report);
                last = seconds;
            }
            let loops = state(&device, last) == Some(State::Looping);
            assert_eq!(loops, expected, "{reports:?}");
            assert_ne!(state(&device, last + 601), Some(State::Looping));
        }
    }

    #[test]
    fn without_reasons_a_board_loops_at_three_times_its_own_rate() {
        for (usual, boots, expected) in [
            (1_u32, 2_u64, false),
            (1, 3, true),
            // ten in ten minutes: it wakes from deep sleep
            (1440, 10, false),
            (1440, 29, false),
            (1440, 30, true),
        ] {
            let mut device = Device::default();
            hear(&mut device, 0);
            device.contacts.boots[0].boots = usual;
            boot(&mut device, DAY, reported(Some(100), None));
            boot(&mut device, DAY + 500, reported(Some(100 + boots), None));
            let loops = state_of(&device.contacts, Some(0), DAY + 500, "2026-02-02")
                == Some(State::Looping);
            assert_eq!(loops, expected, "{usual} {boots}");
        }
    }
}
