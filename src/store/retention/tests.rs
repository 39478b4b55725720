//! The rules, one by one and all together.

use proptest::prelude::*;

use super::*;

const GENEROUS: RetentionLimits = RetentionLimits {
    keep_per_device: 1000,
    keep_first_of_crash: 3,
    keep_last_of_crash: 2,
    max_total: u64::MAX,
    must_free: 0,
    must_go: 0,
};

fn dump(device: usize, sequence: u64, fingerprint: &str) -> StoredDump {
    StoredDump {
        device,
        owner: Owner::Registered,
        sequence,
        bytes: 10,
        fingerprint: (!fingerprint.is_empty()).then(|| fingerprint.into()),
        rank: 7,
        requested: false,
        last_of_crash: false,
        in_use: false,
    }
}

fn removed(held: &[StoredDump], limits: RetentionLimits) -> Vec<u64> {
    plan(held, limits)
        .into_iter()
        .map(|(at, _)| held[at].sequence)
        .collect()
}

#[test]
fn of_a_crash_loop_the_first_three_and_the_last_two_stay() {
    let held: Vec<_> = (1..=9).map(|n| dump(0, n, "f")).collect();
    assert_eq!(removed(&held, GENEROUS), [4, 5, 6, 7]);
}

#[test]
fn the_best_verdict_of_a_crash_stays() {
    let mut held: Vec<_> = (1..=9).map(|n| dump(0, n, "f")).collect();
    for other in held.iter_mut() {
        other.rank = 4;
    }
    held[5].rank = 7;
    assert_eq!(removed(&held, GENEROUS), [4, 5, 7]);
}

#[test]
fn what_a_person_asked_for_is_never_thinned_and_the_caps_apply() {
    let mut held: Vec<_> = (1..=9).map(|n| dump(0, n, "f")).collect();
    held[4].requested = true;
    assert_eq!(removed(&held, GENEROUS), [4, 6, 7]);
    let limits = RetentionLimits {
        keep_per_device: 2,
        ..GENEROUS
    };
    assert!(removed(&held, limits).contains(&5));
}

#[test]
fn dumps_without_a_fingerprint_are_never_thinned() {
    let held: Vec<_> = (1..=50).map(|n| dump(0, n, "")).collect();
    assert_eq!(removed(&held, GENEROUS), [0; 0]);
}

#[test]
fn beyond_the_cap_a_devices_oldest_go() {
    let held: Vec<_> = (1..=5).map(|n| dump(0, n, "")).collect();
    let limits = RetentionLimits {
        keep_per_device: 3,
        ..GENEROUS
    };
    assert_eq!(removed(&held, limits), [1, 2]);
}

#[test]
fn room_is_taken_from_the_device_that_holds_the_most_and_only_as_much_as_needed() {
    let mut held: Vec<_> = (1..=30).map(|n| dump(0, n, "")).collect();
    held.extend((31..=55).map(|n| dump(1, n, "")));
    let limits = RetentionLimits {
        must_free: 25,
        ..GENEROUS
    };
    assert_eq!(removed(&held, limits), [1, 2, 3]);
    let limits = RetentionLimits {
        max_total: 530,
        ..GENEROUS
    };
    assert_eq!(removed(&held, limits), [1, 2]);
}

#[test]
fn the_last_twenty_of_a_device_are_safe_from_lack_of_room() {
    let held: Vec<_> = (1..=25).map(|n| dump(0, n, "")).collect();
    let limits = RetentionLimits {
        must_free: u64::MAX,
        max_total: 0,
        ..GENEROUS
    };
    assert_eq!(removed(&held, limits), [1, 2, 3, 4, 5]);
}

#[test]
fn the_oldest_strangers_on_usb_go_beyond_sixty_four() {
    let held: Vec<_> = (0..66)
        .map(|n| StoredDump {
            owner: Owner::UsbUnregistered,
            ..dump(n, n as u64, "")
        })
        .collect();
    assert_eq!(removed(&held, GENEROUS), [0, 1]);
}

#[test]
fn strangers_of_fleet_tokens_go_beyond_sixty_four_and_push_out_none_on_usb() {
    let owned = |owner, devices: std::ops::Range<usize>| {
        devices.map(move |n| StoredDump {
            owner,
            ..dump(n, n as u64, "")
        })
    };
    let held: Vec<_> = owned(Owner::UsbUnregistered, 0..10)
        .chain(owned(Owner::FleetUnregistered, 10..76))
        .chain(owned(Owner::Fleet, 76..200))
        .chain(owned(Owner::Removed, 200..300))
        .collect();
    assert_eq!(removed(&held, GENEROUS), [10, 11]);
}

#[test]
fn for_lack_of_room_boards_known_by_a_fleet_token_alone_go_first_and_whole() {
    let mut held: Vec<_> = (1..=30).map(|n| dump(0, n, "")).collect();
    held.extend((31..=33).map(|n| StoredDump {
        owner: Owner::Fleet,
        ..dump(1, n, "")
    }));
    let limits = RetentionLimits {
        must_free: 45,
        ..GENEROUS
    };
    assert_eq!(removed(&held, limits), [31, 32, 33, 1, 2]);
}

#[test]
fn small_dumps_go_too_if_there_is_no_room_for_more_files() {
    let mut held: Vec<_> = (1..=22).map(|n| dump(0, n, "")).collect();
    held.extend((23..=24).map(|n| StoredDump {
        owner: Owner::Fleet,
        bytes: 1,
        ..dump(1, n, "")
    }));
    for (must_go, expected) in [(1, vec![23]), (3, vec![23, 24, 1]), (9, vec![23, 24, 1, 2])] {
        let limits = RetentionLimits {
            must_go,
            ..GENEROUS
        };
        assert_eq!(removed(&held, limits), expected, "{must_go}");
    }
}

#[test]
fn dumps_that_came_with_a_fleet_token_push_out_none_that_the_same_board_told_on_usb() {
    let of = |owner, sequences: std::ops::RangeInclusive<u64>| {
        sequences.map(move |n| StoredDump {
            owner,
            ..dump(0, n, "")
        })
    };
    let held: Vec<_> = of(Owner::UsbUnregistered, 1..=3)
        .chain(of(Owner::Fleet, 4..=9))
        .collect();
    let keep = RetentionLimits {
        keep_per_device: 4,
        ..GENEROUS
    };
    assert_eq!(removed(&held, keep), [4, 5]);
    let room = RetentionLimits {
        must_free: u64::MAX,
        ..GENEROUS
    };
    assert_eq!(removed(&held, room), [4, 5, 6, 7, 8, 9]);
    // of a board that is not registered, the pool of those takes the one kind alone
    let mut held: Vec<_> = of(Owner::UsbUnregistered, 1..=3)
        .chain(of(Owner::FleetUnregistered, 4..=9))
        .collect();
    held.extend((10..74).map(|n| StoredDump {
        owner: Owner::FleetUnregistered,
        ..dump(n, n as u64, "")
    }));
    assert_eq!(removed(&held, GENEROUS), [4, 5, 6, 7, 8, 9]);
}

fn any_held() -> impl Strategy<Value = Vec<StoredDump>> {
    let one = (
        0..4usize,
        0..500u64,
        1..100u64,
        0..4u8,
        0..8u8,
        any::<bool>(),
    );
    proptest::collection::vec(one, 0..120).prop_map(|list| {
        let mut seen = HashSet::new();
        list.into_iter()
            .filter(|(_, sequence, ..)| seen.insert(*sequence))
            .map(
                |(device, sequence, bytes, fingerprint, rank, in_use)| StoredDump {
                    device,
                    owner: match device {
                        0 => Owner::Registered,
                        1 => Owner::Removed,
                        2 => Owner::Fleet,
                        _ => Owner::UsbUnregistered,
                    },
                    sequence,
                    bytes,
                    fingerprint: (fingerprint > 0).then(|| fingerprint.to_string().into()),
                    rank,
                    requested: false,
                    last_of_crash: sequence % 5 == 0,
                    in_use,
                },
            )
            .collect()
    })
}

proptest! {
    #[test]
    fn what_is_protected_is_never_chosen(
        held in any_held(), keep in 1..10usize, first in 0..4usize, last in 1..4usize,
        max_total in 0..3000u64, must_free in 0..3000u64, must_go in 0..9usize,
    ) {
        let limits = RetentionLimits {
            keep_per_device: keep, keep_first_of_crash: first, keep_last_of_crash: last,
            max_total, must_free, must_go,
        };
        let removals = plan(&held, limits);
        let gone: HashSet<usize> = removals.iter().map(|(at, _)| *at).collect();
        prop_assert_eq!(gone.len(), removals.len(), "one removal each");
        for (at, _) in &removals {
            prop_assert!(!held[*at].in_use);
            let newest = held.iter().filter(|d| d.device == held[*at].device)
                .map(|d| d.sequence).max();
            prop_assert!(held[*at].owner != Owner::Registered || newest != Some(held[*at].sequence));
        }
        // lack of room leaves twenty, and takes no more than needed
        for device in 0..4 {
            let left = held.iter().enumerate()
                .filter(|(at, d)| d.device == device && !gone.contains(at)).count();
            if removals.iter().any(|(at, rule)| held[*at].device == device
                && held[*at].owner != Owner::Fleet && matches!(rule, Rule::MaxTotal | Rule::MinFree)) {
                prop_assert!(left >= SAFE_PER_DEVICE);
            }
        }
        if let Some((at, Rule::MaxTotal)) = removals.last() {
            let left: u64 = held.iter().enumerate()
                .filter(|(n, _)| !gone.contains(n)).map(|(_, d)| d.bytes).sum();
            prop_assert!(left + held[*at].bytes > max_total);
        }
        // of every fingerprint somebody with the best rank is left, unless the cap took it
        for (at, rule) in &removals {
            if *rule == Rule::CrashLoop {
                let best = held.iter().filter(|d| d.device == held[*at].device
                    && d.fingerprint == held[*at].fingerprint).map(|d| d.rank).max();
                let kept = held.iter().enumerate().any(|(n, d)| d.device == held[*at].device
                    && d.fingerprint == held[*at].fingerprint && Some(d.rank) == best
                    && !removals.contains(&(n, Rule::CrashLoop)));
                prop_assert!(kept);
            }
        }
    }

    #[test]
    fn a_second_round_over_what_is_left_removes_nothing_more(held in any_held(), keep in 1..10usize) {
        let limits = RetentionLimits { keep_per_device: keep, ..GENEROUS };
        let gone: HashSet<usize> = plan(&held, limits).into_iter().map(|(at, _)| at).collect();
        let left: Vec<StoredDump> = held.iter().enumerate()
            .filter(|(at, _)| !gone.contains(at)).map(|(_, d)| d.clone()).collect();
        prop_assert_eq!(plan(&left, limits), vec![]);
    }
}

#[test]
fn the_last_dump_of_a_crash_outlives_the_cap_of_its_device_and_goes_last_for_room() {
    let mut held: Vec<StoredDump> = (0..40).map(|n| dump(0, n, &n.to_string())).collect();
    held[0].last_of_crash = true;
    held[2].last_of_crash = true;
    let capped = RetentionLimits {
        keep_per_device: 37,
        ..GENEROUS
    };
    assert_eq!(removed(&held, capped), [1, 3, 4]);
    let full = |must_free| RetentionLimits {
        must_free,
        ..GENEROUS
    };
    assert_eq!(removed(&held, full(20)), [1, 3]);
    // 20 of a device stay for lack of room; of the others the last ones go last
    let all = removed(&held, full(1000));
    assert_eq!(all.len(), 20);
    assert_eq!(all[18..], [0, 2]);
    // whoever has a fleet's token can make up crashes
    for dump in &mut held {
        dump.owner = Owner::Fleet;
    }
    assert_eq!(removed(&held, capped), [0, 1, 2]);
}
