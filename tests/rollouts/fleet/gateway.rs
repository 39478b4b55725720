//! What the engine does around the rules, and what must be true at each step.

use std::collections::{BTreeMap, BTreeSet};

use espgate::config;
use espgate::device::DeviceKey;
use espgate::digest::Sha256;
use espgate::rollouts::by_person::{self, Command};
use espgate::rollouts::evaluate::{Action, Event, Facts, Now, Outcome, What, evaluate_owned};
use espgate::rollouts::order::waves;
use espgate::rollouts::serve::{Gets, serve};
use espgate::store::rollouts::{Member, MemberState, NamedBuild, Phase, Rollout, Spec};

use super::board::Board;

const WALL: &str = "2026-01-01T00:00:00Z";

pub(crate) struct Gateway {
    pub(crate) rollout: Rollout,
    /// As the last decision left it on the disk.
    saved: Rollout,
    keeps: bool,
    empty: Rollout,
    released: usize,
    /// Seconds in which it did not run.
    pub(crate) down: u64,
    /// What was decided, and when.
    pub(crate) decided: Vec<(u64, Action)>,
    /// Failed, refused or incompatible, and not seen on the target since.
    barred: BTreeSet<DeviceKey>,
    downloads: BTreeMap<DeviceKey, bool>,
    pub(crate) most_downloads: usize,
}

/// A rollout of `boards`, the first ones canaries.
pub(crate) fn rollout(boards: &[Board], canaries: usize, set: impl FnOnce(&mut Spec)) -> Rollout {
    let build = |name: &str| NamedBuild {
        build_id: Sha256::of(name.as_bytes()).into(),
        name: name.to_owned(),
    };
    let members = boards.iter().enumerate().map(|(at, board)| {
        let key = board.key.clone();
        let is_canary = at < canaries;
        let mut member = Member::new(
            key,
            MemberState::Held,
            "",
            WALL,
            is_canary,
            board.votes,
            None,
        );
        member.usual_s = board.is_regular.then_some(board.interval);
        member
    });
    let mut spec = Spec::from(&config::Rollouts::default());
    set(&mut spec);
    let waves = waves(boards.len(), canaries, &spec.waves);
    Rollout {
        id: String::from("r1"),
        ..Rollout::planned(
            "lamp".parse().unwrap(),
            build("1.5.0"),
            build("1.4.2"),
            spec,
            members.collect(),
            waves,
            WALL,
        )
    }
}

fn at(s: u64) -> Now<'static> {
    Now {
        s,
        wall: WALL,
        minute: u16::try_from(s / 60 % 1440).unwrap(),
    }
}

impl Gateway {
    /// `keeps`: whether it may be restarted, which costs time.
    pub(crate) fn new(rollout: Rollout, keeps: bool) -> Self {
        let mut gateway = Self {
            saved: rollout.clone(),
            empty: Rollout {
                members: Vec::new(),
                ..rollout.clone()
            },
            released: 0,
            rollout,
            keeps,
            down: 0,
            decided: Vec::new(),
            barred: BTreeSet::new(),
            downloads: BTreeMap::new(),
            most_downloads: 0,
        };
        // the first wave are the canaries
        gateway.command(&Command::Release, 0);
        gateway
    }

    fn take(&mut self, outcome: Outcome, now: u64) {
        let released = self.released;
        self.released = outcome.rollout.released();
        self.rollout = outcome.rollout;
        if outcome.is_decision && self.keeps {
            self.saved = self.rollout.clone();
        }
        for action in outcome.actions {
            self.decided.push((now, action));
        }
        let is_taken_back = self.rollout.paused.is_some();
        assert!(self.released >= released || is_taken_back);
    }

    /// Events, without what is known of the others.
    pub(crate) fn tell(&mut self, events: &[Event], now: u64) {
        self.tell_with(events, &Facts::default(), now);
    }

    pub(crate) fn tell_with(&mut self, events: &[Event], facts: &Facts, now: u64) {
        let ended = (!self.rollout.is_live()).then(|| self.rollout.clone());
        // it is not copied: that costs most of the time
        let before = std::mem::replace(&mut self.rollout, self.empty.clone());
        let outcome = evaluate_owned(before, events, facts, at(now - self.down));
        self.take(outcome, now);
        if let Some(ended) = ended {
            assert_eq!(ended, self.rollout, "what ended is never edited");
        }
        for event in events {
            if matches!(event.what, What::RunsTarget { .. }) {
                self.barred.remove(&event.device);
            }
            let Some(member) = self.rollout.member(&event.device) else {
                continue;
            };
            use MemberState::{Crashed, Incompatible, Looping, Lost, Refused, Reverted};
            if let Crashed | Incompatible | Looping | Lost | Refused | Reverted = member.state {
                self.barred.insert(event.device.clone());
            }
        }
    }

    pub(crate) fn command(&mut self, command: &Command, now: u64) {
        let outcome = by_person::apply(&self.rollout, command, "anna", at(now - self.down));
        if let Ok(outcome) = outcome {
            self.take(outcome, now);
        }
    }

    /// What a board gets now, with all that must be true of it.
    pub(crate) fn serves(&self, board: &Board, now: u64) -> Gets {
        let gets = serve(&self.rollout, &board.key, at(now - self.down), usize::MAX).gets;
        let place = |member: &Member| member.device == board.key;
        let place = self.rollout.members.iter().position(place);
        if gets != Gets::Target || self.rollout.phase == Phase::Done {
            return gets;
        }
        let place = place.expect("who is no member gets the base");
        let member = &self.rollout.members[place];
        assert!(self.rollout.is_offering(), "offered after its end");
        assert!(
            place < self.rollout.released_members()
                || member.got_it()
                || matches!(member.state, MemberState::HasIt | MemberState::Downloading),
            "offered outside of the released waves: {member:?}"
        );
        assert!(!board.is_pinned, "pins win: {member:?}");
        assert!(!self.barred.contains(&board.key), "it failed: {member:?}");
        gets
    }

    /// A download of the target begins or ends.
    pub(crate) fn downloads(&mut self, board: &DeviceKey, begins: bool) {
        match begins {
            true => {
                self.downloads.insert(board.clone(), true);
                let count = self.downloads.len();
                self.most_downloads = self.most_downloads.max(count);
                let allowed = usize::try_from(self.rollout.spec.parallel).unwrap();
                assert!(count <= allowed, "{count} downloads at once");
            }
            false => {
                self.downloads.remove(board);
            }
        }
    }

    pub(crate) fn forget_downloads(&mut self) {
        self.downloads.clear();
    }

    /// Only what was saved is left; its clock is saved as well.
    pub(crate) fn restart(&mut self, now: u64) {
        let text = serde_json::to_string(&self.saved).unwrap();
        let clock_s = self.rollout.clock_s;
        let was = (self.rollout.phase, self.rollout.released());
        self.rollout = serde_json::from_str(&text).unwrap();
        assert_eq!(self.rollout, self.saved, "it is read as it was written");
        assert_eq!((self.rollout.phase, self.rollout.released()), was);
        if self.rollout.is_live() {
            self.rollout.clock_s = clock_s;
        }
        let members = self.rollout.members.iter();
        let interrupted = members.filter(|member| member.state == MemberState::Downloading);
        let events: Vec<Event> = interrupted
            .map(|member| Event {
                device: member.device.clone(),
                what: What::Interrupted,
            })
            .collect();
        self.tell(&events, now);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.rollout.phase == Phase::Stopped
    }

    /// The first decision of a kind.
    pub(crate) fn first(&self, is: impl Fn(&Action) -> bool) -> Option<u64> {
        let mut decided = self.decided.iter();
        decided.find(|(_, action)| is(action)).map(|(at, _)| *at)
    }
}
