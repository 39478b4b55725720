//! What must never happen, whatever devices, networks and people do.

use espgate::rollouts::by_person::Command;
use espgate::store::rollouts::Phase;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::fleet::board::{Board, Fault};
use crate::fleet::gateway::{Gateway, rollout};
use crate::fleet::random::Random;
use crate::fleet::{DAY, HOUR, Site, Step};

/// The same cases at each run.
pub(crate) fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

const FAULTS: [Fault; 9] = [
    Fault::None,
    Fault::AtBoot,
    Fault::RolledBack,
    Fault::Loops,
    Fault::After(3 * HOUR),
    Fault::OneOfTen,
    Fault::Vanishes,
    Fault::Hangs(2 * HOUR),
    Fault::CannotAsk,
];

fn boards(
    count: usize,
    random: &mut Random,
    change: impl Fn(usize, &mut Board, &mut Random),
) -> Vec<Board> {
    (0..count)
        .map(|number| {
            let mut board = Board::new(number, random);
            change(number, &mut board, random);
            board
        })
        .collect()
}

/// A fleet with all habits.
fn mixed(number: usize, board: &mut Board, random: &mut Random) {
    board.breaks = random.between(0, 30);
    if random.percent(15) {
        board.night = Some(random.between(0, DAY));
    }
    if random.percent(15) {
        board.interval = random.between(2 * HOUR, 12 * HOUR);
    }
    // two canaries and enough others by which an outage is told
    if number < 2 || random.percent(50) {
        board.interval = random.between(300, 1500);
    }
}

/// Outages of all kinds.
fn trouble(site: &mut Site, random: &mut Random, days: u64) {
    for _ in 0..random.between(0, 6) {
        let from = random.between(0, days * DAY);
        let long = random.between(30, 2 * HOUR);
        let (gone, back) = match random.percent(50) {
            true => (Step::Network(false), Step::Network(true)),
            false => (Step::Power(false), Step::Power(true)),
        };
        site.plan(from, gone);
        site.plan(from + long, back);
    }
    for _ in 0..random.between(0, 6) {
        let at = random.between(0, days * DAY);
        site.plan(at, Step::Restart);
    }
    if random.percent(30) {
        let at = random.between(0, days * DAY);
        site.plan(at, Step::Clock);
    }
}

#[test]
fn a_good_build_gets_to_all_devices_that_ask() {
    let cases = (5..40usize, any::<u64>(), any::<bool>());
    let result = runner(16).run(&cases, |(count, seed, has_trouble)| {
        let mut random = Random::new(seed);
        let boards = boards(count, &mut random, mixed);
        let gateway = Gateway::new(rollout(&boards, 2, |_| {}), true);
        let mut site = Site::new(boards, gateway, seed, 60);
        if has_trouble {
            trouble(&mut site, &mut random, 5);
        }
        site.run(40 * DAY, |site| !site.gateway.rollout.is_live());
        let rollout = &site.gateway.rollout;
        let log: Vec<&str> = rollout
            .log
            .iter()
            .map(|entry| entry.what.as_str())
            .collect();
        prop_assert_eq!(rollout.phase, Phase::Done, "{:#?}", log);
        prop_assert_eq!(site.on_target(), count);
        Ok(())
    });
    result.unwrap();
}

/// Faults that end at the canaries, and whether they stop it there or only pause it.
const AT_THE_CANARIES: [(Fault, bool); 7] = [
    (Fault::AtBoot, true),
    (Fault::RolledBack, true),
    (Fault::Loops, true),
    (Fault::After(60), true),
    (Fault::After(20 * HOUR), true),
    (Fault::Vanishes, false),
    (Fault::Hangs(6 * HOUR), false),
];

#[test]
fn a_bad_build_gets_no_further_than_the_canaries() {
    let cases = (
        5..30usize,
        any::<u64>(),
        0..AT_THE_CANARIES.len(),
        any::<bool>(),
    );
    let result = runner(28).run(&cases, |(count, seed, fault, has_trouble)| {
        let (fault, stops) = AT_THE_CANARIES[fault];
        // what takes hours to fail does not fail if the power goes before
        let is_slow = matches!(fault, Fault::After(HOUR..) | Fault::Hangs(_));
        let has_trouble = has_trouble && !is_slow;
        let mut random = Random::new(seed);
        let boards = boards(count, &mut random, |number, board, random| {
            mixed(number, board, random);
            board.fault = fault;
        });
        let gateway = Gateway::new(rollout(&boards, 2, |_| {}), true);
        let mut site = Site::new(boards, gateway, seed, 120);
        if has_trouble {
            trouble(&mut site, &mut random, 2);
        }
        let is_over = |site: &Site| site.noticed().is_some();
        site.run(6 * DAY, is_over);
        let rollout = &site.gateway.rollout;
        prop_assert!(site.noticed().is_some(), "{:?}", rollout.log);
        prop_assert_eq!(rollout.released(), 1, "{:?}", rollout.log);
        let stopped = rollout.phase == Phase::Stopped;
        // trouble may pause it first, for what else is to be seen
        prop_assert!(stopped == stops || has_trouble, "{:?}", rollout.log);
        site.run(20 * DAY, |site| !site.gateway.rollout.is_live());
        prop_assert_eq!(site.gateway.rollout.released(), 1);
        // who can, came back
        let can = !matches!(fault, Fault::Loops | Fault::After(60));
        if stopped && can {
            prop_assert_eq!(site.on_target(), 0);
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn whatever_happens_nobody_gets_it_out_of_turn() {
    let sizes = prop_oneof![20 => 5..40usize, 1 => 100..500usize];
    let cases = (sizes, any::<u64>());
    let result = runner(30).run(&cases, |(count, seed)| {
        let mut random = Random::new(seed);
        let faulty = random.between(0, 101);
        let boards = boards(count, &mut random, |number, board, random| {
            mixed(number, board, random);
            board.votes = number < 2 || random.percent(80);
            board.client.tells_build = random.percent(80);
            board.client.tells_boots = random.percent(80);
            board.is_regular = random.percent(80);
            if random.percent(faulty) {
                let fault = random.between(0, FAULTS.len() as u64);
                board.fault = FAULTS[usize::try_from(fault).unwrap()];
            }
        });
        let settings = random.next();
        let rollout = rollout(&boards, 2, |spec| {
            spec.gate = settings & 1 > 0;
            spec.confirmed = settings & 2 > 0;
            spec.parallel = 1 + u32::try_from(settings >> 8 & 7).unwrap();
            spec.canary_soak = HOUR * (1 + (settings >> 16 & 15));
            spec.watch = DAY;
            if settings & 4 > 0 {
                spec.window = Some(espgate::config::window("22:00-06:00").unwrap());
            }
        });
        let mut site = Site::new(boards, Gateway::new(rollout, true), seed, 60);
        trouble(&mut site, &mut random, 4);
        for _ in 0..random.between(0, 8) {
            let at = random.between(0, count as u64);
            let at = usize::try_from(at).unwrap();
            let (from, long) = (random.between(0, 4 * DAY), random.between(60, DAY));
            let (on, off) = match random.percent(60) {
                true => (Step::Pin(at, true), Step::Pin(at, false)),
                false => (Step::Retire(at, true), Step::Retire(at, false)),
            };
            site.plan(from, on);
            site.plan(from + long, off);
        }
        for number in 0..random.between(0, 12) {
            let command = match random.between(0, 12) {
                0 => Command::Stop {
                    why: String::from("no"),
                },
                1 => Command::Finish,
                2 => Command::Cancel,
                3..5 => Command::Pause { why: None },
                5..7 => Command::Release,
                _ => Command::Resume,
            };
            site.commands.push(command);
            let at = random.between(0, 5 * DAY);
            site.plan(at, Step::Person(usize::try_from(number).unwrap()));
        }
        // what may not be is asserted at each step
        site.run(12 * DAY, |site| !site.gateway.rollout.is_live());
        Ok(())
    });
    result.unwrap();
}

#[test]
fn invented_boards_alone_change_nothing() {
    let cases = (5..40usize, any::<u64>());
    let result = runner(12).run(&cases, |(count, seed)| {
        let mut random = Random::new(seed);
        let boards = boards(count, &mut random, |number, board, random| {
            mixed(number, board, random);
            board.votes = number < 2 || random.percent(40);
            if !board.votes {
                let fault = random.between(0, FAULTS.len() as u64);
                board.fault = FAULTS[usize::try_from(fault).unwrap()];
            }
        });
        let gateway = Gateway::new(rollout(&boards, 2, |spec| spec.watch = DAY), false);
        let mut site = Site::new(boards, gateway, seed, 60);
        site.run(40 * DAY, |site| !site.gateway.rollout.is_live());
        let rollout = &site.gateway.rollout;
        prop_assert_eq!(site.noticed(), None, "{:?}", rollout.log);
        prop_assert_eq!(rollout.phase, Phase::Done, "{:?}", rollout.log);
        Ok(())
    });
    result.unwrap();
}
