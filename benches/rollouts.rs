//! What evaluating a rollout costs: 500 devices, 10,000 events in one call, one event in
//! each of 10,000 calls, and deciding what a device is served.
//!
//!     cargo bench --bench rollouts
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use espgate::config;
use espgate::device::DeviceKey;
use espgate::digest::Sha256;
use espgate::rollouts::by_person::{self, Command};
use espgate::rollouts::evaluate::{Event, Facts, Now, What, evaluate, evaluate_owned};
use espgate::rollouts::order::waves;
use espgate::rollouts::serve::serve;
use espgate::store::rollouts::{Member, MemberState, NamedBuild, Rollout, Spec};

const DEVICES: usize = 500;
const EVENTS: usize = 10_000;
const WALL: &str = "2026-01-01T00:00:00Z";

fn key(at: usize) -> DeviceKey {
    format!("board{:03}", at % DEVICES).parse().unwrap()
}

fn at(s: u64) -> Now<'static> {
    Now {
        s,
        wall: WALL,
        minute: 0,
    }
}

/// All waves are released, all devices run the target.
fn rollout() -> Rollout {
    let build = |name: &str| NamedBuild {
        build_id: Sha256::of(name.as_bytes()).into(),
        name: name.to_owned(),
    };
    let new = |at| Member::new(key(at), MemberState::Held, "", WALL, at < 2, true, None);
    let rollout = Rollout {
        id: String::from("r1"),
        ..Rollout::planned(
            "lamp".parse().unwrap(),
            build("1.5.0"),
            build("1.4.2"),
            Spec::from(&config::Rollouts::default()),
            (0..DEVICES).map(new).collect(),
            waves(DEVICES, 2, &[10.0, 50.0, 100.0]),
            WALL,
        )
    };
    let released = by_person::apply(&rollout, &Command::Release, "anna", at(0)).unwrap();
    let all = by_person::apply(&released.rollout, &Command::Finish, "anna", at(0)).unwrap();
    let evidence = || String::from("running=");
    let what = [
        What::Asked,
        What::Began,
        What::Delivered,
        What::Booted,
        What::RunsTarget {
            evidence: evidence(),
        },
    ];
    let event = |device: usize, what: &What| Event {
        device: key(device),
        what: what.clone(),
    };
    let events: Vec<Event> = (0..DEVICES)
        .flat_map(|device| what.iter().map(move |what| event(device, what)))
        .collect();
    evaluate(&all.rollout, &events, &Facts::default(), at(1)).rollout
}

fn timed<R>(what: &str, count: u32, work: impl Fn() -> R) {
    let mut times: Vec<_> = (0..7)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("{what}: {:?} ({:?} each)", times[3], times[3] / count);
}

fn main() {
    let rollout = rollout();
    let events: Vec<Event> = (0..EVENTS)
        .map(|at| Event {
            device: key(at * 7),
            what: What::Heard,
        })
        .collect();
    let facts = Facts::default();
    timed("10,000 events in one call", 1, || {
        evaluate(&rollout, &events, &facts, at(100))
    });
    timed("10,000 calls of one event", 10_000, || {
        for event in &events {
            black_box(evaluate(
                &rollout,
                std::slice::from_ref(event),
                &facts,
                at(100),
            ));
        }
    });
    timed("10,000 calls of one event, without a copy", 10_000, || {
        let mut now = rollout.clone();
        for event in &events {
            now = evaluate_owned(now, std::slice::from_ref(event), &facts, at(100)).rollout;
        }
        now
    });
    timed("who gets what, 10,000 times", 10_000, || {
        for event in &events {
            black_box(serve(&rollout, &event.device, at(100), 1));
        }
    });
}
