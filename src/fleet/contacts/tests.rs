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
        (9101, reported(Some(u64::MAX), Some(u64::MAX)), 109),
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
        let loops =
            state_of(&device.contacts, Some(0), DAY + 500, "2026-02-02") == Some(State::Looping);
        assert_eq!(loops, expected, "{usual} {boots}");
    }
}
