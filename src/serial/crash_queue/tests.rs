//! What waits, in which order, and what goes when it is too much.

use super::super::crash_recorder;
use super::*;

const MIB: usize = 1 << 20;

fn like(kind: u64) -> Option<RepeatKey> {
    crash_recorder::tests::panic(&format!("assert failed: f main.c:{kind} (x)\r\n")).repeat_key()
}

/// Adds a crash whose content is its number.
fn push(waiting: &mut CrashQueues<u64>, port: &str, bytes: usize, kind: u64) -> u64 {
    let number = waiting.numbers + 1;
    waiting.push(port, bytes, Examined::As(like(kind)), true, number)
}

#[test]
fn a_repeat_goes_before_a_first_and_the_newest_of_the_port_with_the_most_bytes_first() {
    // (port, MiB, kind) of what waits, the last one too much, and what goes
    type Case = (&'static [(&'static str, usize, u64)], &'static [u64]);
    let cases: &[Case] = &[
        (&[("a", 9, 1)], &[]),
        (&[("a", 5, 1), ("b", 1, 1), ("b", 1, 1), ("a", 2, 2)], &[3]),
        (
            &[
                ("a", 2, 1),
                ("b", 2, 1),
                ("a", 2, 1),
                ("b", 1, 1),
                ("a", 2, 1),
            ],
            &[5],
        ),
        (&[("a", 4, 1), ("a", 3, 2), ("b", 2, 3)], &[2]),
        (
            &[("a", 4, 1), ("a", 4, 2), ("a", 4, 2), ("a", 4, 3)],
            &[3, 4],
        ),
        // the same crash on another port is another board's
        (&[("a", 5, 1), ("b", 4, 1)], &[1]),
    ];
    for (at, (crashes, expected)) in cases.iter().enumerate() {
        let mut waiting = CrashQueues::new();
        for (port, mib, kind) in *crashes {
            push(&mut waiting, port, mib * MIB, *kind);
        }
        assert_eq!(waiting.drop_excess(), *expected, "case {at}");
    }
}

#[test]
fn what_is_being_stored_or_was_asked_for_stays() {
    let mut waiting = CrashQueues::new();
    push(&mut waiting, "a", 5 * MIB, 1);
    assert_eq!(waiting.take("a").map(|(number, _)| number), Some(1));
    waiting.push("a", 5 * MIB, Examined::As(like(1)), false, 2);
    assert!(waiting.drop_excess().is_empty());
    push(&mut waiting, "a", MIB, 2);
    assert_eq!(waiting.drop_excess(), [3]);
    waiting.failed("a", 1);
    assert!(waiting.drop_excess().is_empty());
}

#[test]
fn one_that_is_being_examined_is_not_dropped_before_it_may_be_a_repeat() {
    let mut waiting = CrashQueues::new();
    push(&mut waiting, "a", 4 * MIB, 1);
    push(&mut waiting, "a", 4 * MIB, 2);
    let late = waiting.push("b", MIB, Examined::NotYet, true, 3);
    push(&mut waiting, "b", MIB, 1);
    assert!(waiting.drop_excess().is_empty());
    waiting.examined("b", late, like(1));
    assert_eq!(waiting.drop_excess(), [3, 2]);
}

#[test]
fn the_next_one_is_the_first_if_the_first_is_lost_and_a_repeat_if_it_is_stored() {
    let repeats = |waiting: &CrashQueues<u64>| -> Vec<bool> {
        let items = waiting.ports.values().flat_map(|queue| &queue.items);
        items.map(|item| item.is_repeat).collect()
    };
    let mut waiting = CrashQueues::new();
    for _ in 0..3 {
        push(&mut waiting, "a", 1, 1);
    }
    assert_eq!(repeats(&waiting), [false, true, true]);
    waiting.remove("a", 1);
    assert_eq!(repeats(&waiting), [false, true]);
    waiting.stored("a", 2, like(1).unwrap());
    waiting.remove("a", 2);
    push(&mut waiting, "a", 1, 1);
    assert_eq!(repeats(&waiting), [true, true]);
    // stored before it was examined
    let late = waiting.push("a", 1, Examined::NotYet, true, 5);
    push(&mut waiting, "a", 1, 2);
    waiting.stored("a", late, like(2).unwrap());
    waiting.remove("a", late);
    assert_eq!(repeats(&waiting), [true, true, true]);
}

#[test]
fn once_closed_only_attempts_that_were_begun_are_left() {
    let mut waiting = CrashQueues::new();
    for port in ["a", "b"] {
        push(&mut waiting, port, 1, 1);
        push(&mut waiting, port, 1, 1);
        waiting.take(port);
    }
    waiting.failed("b", 3);
    waiting.close();
    let mut lost = waiting.drop_excess();
    lost.sort_unstable();
    assert_eq!(lost, [2, 3, 4]);
    assert!(!waiting.try_again("b", 3));
    assert_eq!(waiting.contents().collect::<Vec<_>>(), [&1]);
    // neither a failed attempt nor a late crash waits
    waiting.failed("a", 1);
    push(&mut waiting, "a", 1, 2);
    assert_eq!(waiting.drop_excess(), [5, 1]);
    assert_eq!(waiting.bytes(), 0);
}

#[test]
fn the_sums_stay_right_and_bounded_whatever_happens() {
    let mut waiting = CrashQueues::new();
    let mut state = 7_u64;
    let mut next = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    for _ in 0..3000 {
        let port = match next(3) {
            0 => "a",
            1 => "b",
            _ => "c",
        };
        let (kind, number) = (next(9), 1 + next(waiting.numbers + 1));
        match next(8) {
            0 => {
                waiting.take(port);
            }
            1 => waiting.failed(port, number),
            2 => {
                waiting.remove(port, number);
            }
            3 => waiting.stored(port, number, like(kind).unwrap()),
            4 => {
                let number = waiting.numbers + 1;
                waiting.push(port, 9000, Examined::NotYet, true, number);
            }
            _ => {
                push(&mut waiting, port, 50_000, kind);
            }
        }
        waiting.drop_excess();
        let all = || waiting.ports.values().flat_map(|queue| &queue.items);
        let sum: usize = all().map(|item| item.bytes).sum();
        assert_eq!(waiting.bytes, sum);
        let unexamined = all().filter(|item| item.examined == Examined::NotYet);
        assert_eq!(waiting.unexamined, unexamined.count());
        for queue in waiting.ports.values() {
            let sum: usize = queue.items.iter().map(|item| item.bytes).sum();
            assert_eq!(queue.bytes, sum);
            for (repeat_key, count) in &queue.alike {
                let alike = queue.items.iter().filter(|item| item.is_like(repeat_key));
                assert_eq!(alike.count(), *count);
            }
        }
        assert!(sum <= MOST_BYTES + MOST_MORE);
    }
}
