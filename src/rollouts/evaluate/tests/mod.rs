//! The rules, one by one. What happens to a fleet is written in words: `"kitchen1 kitchen2:
//! asks began delivered 1m booted runs"`.

mod after_a_stop;
mod evidence;
mod failures;
mod people;
mod waves;

use crate::config::{self, duration};
use crate::digest::Sha256;
use crate::rollouts::by_person::{self, Command, Impossible};
use crate::rollouts::order::waves;
use crate::rollouts::serve::{Gets, Served, goes_behind, hang_up_tells, serve};
use crate::store::rollouts::{Member, MemberState, NamedBuild, Phase, Rollout};

use super::{Action, Crash, Event, Facts, GroupRate, Now, Outcome, Rates, What, Work, evaluate};

const WALL: &str = "2026-01-01T00:00:00Z";
/// All a device does that takes a good build.
const TAKES_IT: &str = "asks began delivered 1m booted runs";

/// Devices `kitchen1` to `kitchenN`, the first two of them canaries, and the time.
struct Fleet {
    rollout: Rollout,
    actions: Vec<Action>,
    facts: Facts,
    s: u64,
    minute: u16,
    sequence: u64,
}

impl Fleet {
    fn of(members: usize) -> Self {
        Self::with(members, |_| {})
    }

    /// With other settings. The canaries are released.
    fn with(count: usize, set: impl FnOnce(&mut Rollout)) -> Self {
        let build = |name: &str| NamedBuild {
            build_id: Sha256::of(name.as_bytes()).into(),
            name: name.to_owned(),
        };
        let member = |at: usize| {
            let key = format!("kitchen{}", at + 1).parse().unwrap();
            let state = MemberState::Held;
            Member::new(key, state, "", WALL, at < 2, true, None)
        };
        let mut rollout = Rollout {
            id: String::from("r1"),
            ..Rollout::planned(
                "lamp".parse().unwrap(),
                build("1.5.0"),
                build("1.4.2"),
                (&config::Rollouts::default()).into(),
                (0..count).map(member).collect(),
                waves(count, count.min(2), &[10.0, 50.0, 100.0]),
                WALL,
            )
        };
        set(&mut rollout);
        let mut fleet = Self {
            rollout,
            actions: Vec::new(),
            facts: Facts {
                others_known: true,
                rates: Some(Rates::default()),
                ..Facts::default()
            },
            s: 0,
            minute: 0,
            sequence: 0,
        };
        let mut work = Work::new(&fleet.rollout, fleet.now());
        work.release_next("anna");
        fleet.take(work.done());
        fleet
    }

    fn now(&self) -> Now<'static> {
        Now {
            s: self.s,
            wall: WALL,
            minute: self.minute,
        }
    }

    fn take(&mut self, outcome: Outcome) {
        self.rollout = outcome.rollout;
        self.actions.extend(outcome.actions);
    }

    fn tell(&mut self, events: &[Event]) {
        let outcome = evaluate(&self.rollout, events, &self.facts, self.now());
        self.take(outcome);
    }

    /// Time passes, with a look once in five minutes.
    fn wait(&mut self, text: &str) {
        let until = self.s + duration(text).unwrap();
        while self.s < until {
            self.s = until.min(self.s + 300);
            self.tell(&[]);
        }
    }

    /// Lets devices do what is said after the colon, all at once word by word.
    fn say(&mut self, text: &str) {
        let (devices, words) = text.split_once(':').unwrap();
        let devices: Vec<&str> = devices.split_whitespace().collect();
        for word in words.split_whitespace() {
            if word.starts_with(|first: char| first.is_ascii_digit()) {
                self.wait(word);
                continue;
            }
            for device in &devices {
                let what = self.what(word);
                let device = device.parse().unwrap();
                self.tell(&[Event { device, what }]);
            }
        }
    }

    fn what(&mut self, word: &str) -> What {
        let evidence = || String::from("console");
        let (word, of) = word.split_once('=').unwrap_or((word, ""));
        let of = of.to_owned();
        let mut crash = |crash| {
            self.sequence += 1;
            What::Crashed {
                dump: of.clone(),
                sequence: self.sequence,
                crash,
            }
        };
        let group = of.clone();
        match word {
            "heard" => What::Heard,
            "asks" => What::Asked,
            "told" => What::Answered,
            "began" => What::Began,
            "goes-on" => What::Progress,
            "broke-off" => What::BrokeOff {
                offset: of.parse().unwrap(),
            },
            "delivered" => What::Delivered,
            "interrupted" => What::Interrupted,
            "runs" => What::RunsTarget {
                evidence: evidence(),
            },
            "runs-old" => What::RunsOther {
                build: String::from("1.4.2"),
                evidence: evidence(),
            },
            "names-old" => What::NamesOther {
                build: String::from("1.4.2"),
                evidence: String::from("upload"),
            },
            "runs-unknown" => What::RunsUnknown {
                build: of,
                is_stored: false,
                evidence: evidence(),
            },
            "has-it" => What::HasIt {
                evidence: evidence(),
            },
            "booted" => What::Booted,
            "took-base" => What::TookBase,
            "loops" => What::Loops,
            "dump" => What::DumpCame { dump: of },
            "new-crash" => crash(Crash::New {
                group,
                signature: String::from("abort | app_main"),
            }),
            "known-crash" => crash(Crash::Known { group }),
            "unsure-crash" => crash(Crash::Unsure {
                group: Some(group),
                why: String::from("a coredump that cannot be read"),
            }),
            "incompatible" => What::Incompatible {
                why: String::from("too large"),
            },
            "pinned" => What::Pinned(true),
            "unpinned" => What::Pinned(false),
            "retired" => What::Retired(true),
            "unretired" => What::Retired(false),
            "loses-vote" => What::LosesVote,
            "usual" => What::Usual(Some(duration(&of).unwrap())),
            other => panic!("{other}"),
        }
    }

    /// A person does something.
    fn person(&mut self, command: &Command) -> Result<(), Impossible> {
        let outcome = by_person::apply(&self.rollout, command, "anna", self.now())?;
        self.take(outcome);
        self.tell(&[]);
        Ok(())
    }

    fn member(&self, device: &str) -> &Member {
        self.rollout.member(&device.parse().unwrap()).unwrap()
    }

    fn state(&self, device: &str) -> &'static str {
        self.member(device).state.as_str()
    }

    fn serves(&self, device: &str) -> Served {
        let device = device.parse().unwrap();
        serve(&self.rollout, &device, self.now(), usize::MAX)
    }

    fn gets(&self, device: &str) -> Gets {
        self.serves(device).gets
    }

    /// Where it is, in one word: `paused` and `stopped` before all else.
    fn is(&self) -> String {
        match (&self.rollout.paused, self.rollout.phase) {
            (Some(_), _) => String::from("paused"),
            (None, Phase::Wave) => format!("wave {}", self.rollout.released()),
            (None, phase) => format!("{phase:?}").to_lowercase(),
        }
    }

    fn why(&self) -> &str {
        let paused = self.rollout.paused.as_ref().map(|pause| pause.why.as_str());
        paused.or(self.rollout.why.as_deref()).unwrap_or("")
    }

    /// Both canaries take it and are soaked; the others are heard meanwhile.
    fn canaries_soak(&mut self) {
        self.say(&format!("kitchen1 kitchen2: {TAKES_IT} 23h"));
        let others: Vec<String> = (3..=self.rollout.members.len())
            .map(|at| format!("kitchen{at}"))
            .collect();
        self.say(&format!("{}: heard", others.join(" ")));
        self.say("kitchen1 kitchen2: 1h heard");
        assert!(self.rollout.released() > 1 || self.rollout.spec.gate);
    }
}

fn a_rate(target: u64, base: u64) -> Rates {
    Rates {
        target_hours: 50.0,
        base_hours: 1000.0,
        groups: vec![GroupRate {
            group: String::from("c7k2fq"),
            signature: String::from("abort | mqtt_start"),
            target,
            base,
        }],
    }
}
