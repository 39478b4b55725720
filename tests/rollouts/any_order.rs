//! Events in any order, also such as no device makes: no panic, no way back from the end,
//! and what was not saved is not needed.

use espgate::rollouts::by_person::{self, Command};
use espgate::rollouts::evaluate::{Crash, Event, Facts, Now, Rates, What, evaluate};
use espgate::rollouts::serve::{Gets, serve};
use espgate::store::rollouts::{MemberState, Rollout};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::fleet::board::Board;
use crate::fleet::gateway::rollout;
use crate::fleet::random::Random;
use crate::never::runner;

#[derive(Clone, Debug)]
enum Doing {
    Event(usize, What),
    /// Time passes, seconds, and whether others were heard.
    Time(u64, bool),
    Person(Command),
    Restart,
}

fn what() -> impl Strategy<Value = What> {
    let evidence = || String::from("e");
    let crash = |crash: fn(String) -> Crash| {
        (0..6u64).prop_map(move |dump| What::Crashed {
            dump: format!("d{dump}"),
            sequence: dump,
            crash: crash(format!("c{}", dump % 3)),
        })
    };
    prop_oneof![
        4 => Just(What::Heard),
        6 => Just(What::Asked),
        4 => Just(What::Answered),
        8 => Just(What::Began),
        2 => Just(What::Progress),
        2 => (0..3_000_000u64).prop_map(|offset| What::BrokeOff { offset }),
        8 => Just(What::Delivered),
        8 => Just(What::RunsTarget { evidence: evidence() }),
        2 => Just(What::RunsOther { build: evidence(), evidence: evidence() }),
        2 => Just(What::NamesOther { build: evidence(), evidence: evidence() }),
        1 => any::<bool>().prop_map(move |is_stored| What::RunsUnknown {
            build: evidence(), is_stored, evidence: evidence(),
        }),
        1 => Just(What::HasIt { evidence: evidence() }),
        3 => Just(What::Booted),
        1 => Just(What::Loops),
        1 => Just(What::TookBase),
        1 => (0..6u64).prop_map(|dump| What::DumpCame { dump: format!("d{dump}") }),
        1 => crash(|group| Crash::New { group, signature: String::from("abort") }),
        1 => crash(|group| Crash::Known { group }),
        1 => crash(|group| Crash::Unsure { group: Some(group), why: String::from("?") }),
        1 => (0..6u64).prop_map(|sequence| What::Judged { sequence }),
        1 => Just(What::Incompatible { why: evidence() }),
        1 => any::<bool>().prop_map(What::Pinned),
        1 => any::<bool>().prop_map(What::Retired),
        1 => prop::option::of(60..100_000u64).prop_map(What::Usual),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(Command::Pause { why: None }),
        Just(Command::Resume),
        Just(Command::Release),
        Just(Command::Finish),
        Just(Command::Cancel),
        Just(Command::Stop {
            why: String::from("no")
        }),
    ]
}

fn doings(people: u32, length: usize) -> impl Strategy<Value = Vec<Doing>> {
    let seconds = prop_oneof![1..300u64, 300..7200u64, 7200..200_000u64];
    let time = (seconds, prop::bool::weighted(0.9));
    let one = prop_oneof![
        60 => (0..9usize, what()).prop_map(|(at, what)| Doing::Event(at, what)),
        20 => time.prop_map(|(seconds, heard)| Doing::Time(seconds, heard)),
        people => command().prop_map(Doing::Person),
        6 => Just(Doing::Restart),
    ];
    prop::collection::vec(one, 1..length)
}

fn start(seed: u64) -> Rollout {
    let mut random = Random::new(seed);
    let boards: Vec<Board> = (0..8)
        .map(|number| {
            let mut board = Board::new(number, &mut random);
            board.is_regular = random.percent(50);
            board.votes = number < 2 || random.percent(80);
            board
        })
        .collect();
    let settings = random.next();
    let rollout = rollout(&boards, 2, |spec| {
        spec.gate = settings & 1 > 0;
        spec.confirmed = settings & 2 > 0;
    });
    let released = by_person::apply(&rollout, &Command::Release, "anna", at(0)).unwrap();
    released.rollout
}

fn at(s: u64) -> Now<'static> {
    Now {
        s,
        wall: "2026-01-01T00:00:00Z",
        minute: 0,
    }
}

fn facts(others_heard: bool) -> Facts {
    Facts {
        others_known: true,
        others_expected: 4,
        others_missed: if others_heard { 0 } else { 3 },
        rates: Some(Rates::default()),
    }
}

/// A rollout in memory, and as it was saved last.
struct Kept {
    is: Rollout,
    saved: Rollout,
    now: u64,
    facts: Facts,
}

impl Kept {
    fn new(seed: u64) -> Self {
        let is = start(seed);
        Self {
            saved: is.clone(),
            is,
            now: 0,
            facts: facts(true),
        }
    }

    fn evaluate(&mut self, events: &[Event]) {
        let outcome = evaluate(&self.is, events, &self.facts, at(self.now));
        self.is = outcome.rollout;
        if outcome.is_decision {
            self.saved = self.is.clone();
        }
    }

    fn does(&mut self, doing: &Doing) {
        match doing {
            Doing::Event(member, what) => {
                let device = format!("board{member}").parse().unwrap();
                let what = what.clone();
                self.evaluate(&[Event { device, what }]);
            }
            Doing::Time(seconds, others_heard) => {
                self.now += seconds;
                self.facts = facts(*others_heard);
                self.evaluate(&[]);
            }
            Doing::Person(command) => {
                if let Ok(outcome) = by_person::apply(&self.is, command, "anna", at(self.now)) {
                    self.saved = outcome.rollout.clone();
                    self.is = outcome.rollout;
                }
            }
            // the connections end with the daemon
            Doing::Restart => self.without_downloads(),
        }
    }

    fn restart(&mut self) {
        let text = serde_json::to_string(&self.saved).unwrap();
        let before = std::mem::replace(&mut self.is, serde_json::from_str(&text).unwrap());
        // the register knows it, and tells it at the first look
        for (member, known) in self.is.members.iter_mut().zip(before.members) {
            member.usual_s = known.usual_s;
        }
        self.without_downloads();
        if self.is.is_live() {
            self.is.clock_s = self.now;
        }
    }

    fn without_downloads(&mut self) {
        let live = self.is.is_live();
        for member in self.is.members.iter_mut().filter(|_| live) {
            member.progress_s = None;
        }
    }

    fn targets(&self) -> usize {
        let members = self.is.members.iter();
        let gets = |device| serve(&self.is, device, at(self.now), usize::MAX).gets;
        members
            .filter(|member| gets(&member.device) == Gets::Target)
            .count()
    }
}

fn holds(kept: &Kept, ended: &Option<Rollout>) -> TestCaseResult {
    if let Some(ended) = ended {
        prop_assert_eq!(ended, &kept.is);
    }
    if kept.is.phase == espgate::store::rollouts::Phase::Stopped {
        prop_assert_eq!(kept.targets(), 0);
        prop_assert!(kept.is.paused.is_none() && kept.is.waiting.is_empty());
    }
    let released = kept.is.released_members();
    for (place, member) in kept.is.members.iter().enumerate() {
        use MemberState::{Eligible, Offered};
        if matches!(member.state, Eligible | Offered) {
            prop_assert!(place < released, "{:?}", member);
        }
    }
    Ok(())
}

#[test]
fn any_order_of_any_events_is_survived() {
    let cases = (any::<u64>(), doings(8, 150));
    let result = runner(600).run(&cases, |(seed, doings)| {
        let mut kept = Kept::new(seed);
        let mut ended = None;
        for doing in &doings {
            kept.does(doing);
            if let Doing::Restart = doing {
                kept.restart();
            }
            holds(&kept, &ended)?;
            if ended.is_none() && !kept.is.is_live() {
                ended = Some(kept.is.clone());
            }
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn a_restart_decides_nothing_else() {
    let cases = (any::<u64>(), doings(3, 150));
    let result = runner(600).run(&cases, |(seed, doings)| {
        let (mut without, mut with) = (Kept::new(seed), Kept::new(seed));
        for (number, doing) in doings.iter().enumerate() {
            without.does(doing);
            with.does(doing);
            if let Doing::Restart = doing {
                with.restart();
            }
            let told = || format!("{number}: {:?}\n{:?}", without.is.log, with.is.log);
            prop_assert_eq!(without.is.phase, with.is.phase, "{}", told());
            prop_assert_eq!(without.is.released(), with.is.released(), "{}", told());
            let paused = |kept: &Kept| kept.is.paused.is_some();
            prop_assert_eq!(paused(&without), paused(&with), "{}", told());
            prop_assert!(with.targets() <= without.targets(), "{}", told());
        }
        Ok(())
    });
    result.unwrap();
}
