//! What a device of a rollout's model is served, and why. It depends on the member's state
//! only; who is no member gets the base.

use std::fmt;

use super::evaluate::Now;
use crate::build_id::BuildId;
use crate::config::{OnStop, Window};
use crate::device::DeviceKey;
use crate::store::rollouts::{Member, MemberState, Phase, Rollout};

/// What `firmware-version` answered is kept for the device for this time, seconds, from the
/// first answer: a device that asks often and does not fetch must not keep a place for ever.
pub const RESERVATION: u64 = 600;
/// A download without a sign of life for this time takes no place any more, seconds.
pub const IDLE_DOWNLOAD: u64 = 120;
/// Who asked within this time, seconds, and got nothing waits for a place.
const WAITS_FOR: u64 = 3600;

/// Which build a device gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gets {
    Target,
    Base,
    Nothing,
}

/// Why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Why {
    /// It is no member: it came later.
    NoMember,
    /// Its wave, counted from 1, is not released.
    Held {
        wave: usize,
    },
    Eligible,
    Offered,
    /// It began to download it, has it or runs it.
    Has(MemberState),
    Failed(MemberState),
    TakesNoPart(MemberState),
    Paused,
    OutsideWindow(Window),
    ClockJumped,
    /// A dump has to be judged first.
    Decoding,
    /// So many others download.
    AllPlacesTaken {
        downloads: usize,
    },
    /// It did not fetch what it was told of, and others wait.
    OthersFirst,
    /// The disk does not take what would have to be noted first.
    NotSaved,
    Stopped,
    /// It was stopped, and who got the target keeps it.
    StoppedStay,
    Cancelled,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMember => f.write_str("came after its start"),
            Self::Held { wave } => write!(f, "in wave {wave}, which is not released"),
            Self::Eligible => f.write_str("its wave is released"),
            Self::Offered => f.write_str("told of it"),
            Self::Has(state) => write!(f, "{}", state.as_str()),
            Self::Failed(state) => write!(f, "failed: {}", state.as_str()),
            Self::TakesNoPart(state) => write!(f, "takes no part: {}", state.as_str()),
            Self::Paused => f.write_str("paused"),
            Self::OutsideWindow(window) => write!(f, "outside of {window}"),
            Self::ClockJumped => f.write_str("the clock jumped: waits for an hour"),
            Self::Decoding => f.write_str("waits until a coredump is decoded"),
            Self::AllPlacesTaken { downloads } => {
                write!(
                    f,
                    "{downloads} downloads at once are allowed, and under way"
                )
            }
            Self::OthersFirst => {
                f.write_str("was told of it and did not fetch it: others that wait are told first")
            }
            Self::NotSaved => f.write_str("the rollout cannot be saved: see the disk"),
            Self::Stopped => f.write_str("stopped"),
            Self::StoppedStay => f.write_str("stopped; devices that got it keep it"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// The decision.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Served {
    pub gets: Gets,
    pub why: Why,
}

impl Served {
    fn target(why: Why) -> Self {
        Self {
            gets: Gets::Target,
            why,
        }
    }

    pub(super) fn base(why: Why) -> Self {
        Self {
            gets: Gets::Base,
            why,
        }
    }
}

/// What a device gets if it asks now. `free` is how many more downloads the gateway allows
/// beside those of this rollout.
pub fn serve(rollout: &Rollout, device: &DeviceKey, now: Now<'_>, free: usize) -> Served {
    use MemberState as S;
    let member = rollout.member(device);
    match (rollout.phase, member) {
        (Phase::Stopped, Some(member))
            if rollout.spec.on_stop == OnStop::Stay && member.got_it() =>
        {
            return Served {
                gets: Gets::Nothing,
                why: Why::StoppedStay,
            };
        }
        (Phase::Stopped, Some(_)) => return Served::base(Why::Stopped),
        (Phase::Cancelled, Some(_)) => return Served::base(Why::Cancelled),
        (Phase::Done, None) => return Served::target(Why::NoMember),
        _ => {}
    }
    let Some(member) = member else {
        return Served::base(Why::NoMember);
    };
    match member.state {
        S::Crashed | S::Looping | S::Reverted | S::Lost => Served::base(Why::Failed(member.state)),
        S::Refused | S::Pinned | S::Incompatible | S::Retired | S::Back | S::Stranded => {
            Served::base(Why::TakesNoPart(member.state))
        }
        state if rollout.phase == Phase::Done => Served::target(Why::Has(state)),
        S::Downloaded | S::Running | S::Soaked | S::HasIt => Served::target(Why::Has(member.state)),
        S::Downloading if downloads(member, now.s) => Served::target(Why::Has(member.state)),
        S::Offered if is_reserved(member, now.s) && rollout.paused.is_none() => {
            Served::target(Why::Offered)
        }
        S::Eligible | S::Offered | S::Downloading => match hindrance(rollout, now, free) {
            None => Served::target(Why::Eligible),
            Some(why) => Served::base(why),
        },
        S::Held => Served::base(Why::Held {
            wave: wave_of(rollout, member),
        }),
    }
}

/// Whether a device that fetches `build`, reads its description and hangs up shows by that
/// that it runs it. A download of a build that it does not have, and that breaks off early,
/// looks the same: of the target while it is given away, of any other build for a device
/// that runs the target.
pub fn hang_up_tells(rollout: &Rollout, device: &DeviceKey, build: BuildId) -> bool {
    let runs_target = |member: &Member| match member.own_state() {
        MemberState::HasIt => true,
        MemberState::Reverted | MemberState::Back => false,
        _ => member.ran_s.is_some(),
    };
    let runs_target = rollout.member(device).is_some_and(runs_target);
    !rollout.is_live() || (build != rollout.target.build_id && !runs_target)
}

/// What keeps a rollout from new offers now, if anything.
pub fn hindrance(rollout: &Rollout, now: Now<'_>, free: usize) -> Option<Why> {
    if rollout.paused.is_some() {
        return Some(Why::Paused);
    }
    waits_for(rollout, now).or_else(|| {
        let downloads = places_taken(rollout, now.s);
        let allowed = usize::try_from(rollout.spec.parallel).unwrap_or(usize::MAX);
        let is_full = downloads >= allowed || free == 0;
        is_full.then_some(Why::AllPlacesTaken { downloads })
    })
}

/// What a rollout waits for that ends by itself.
pub fn waits_for(rollout: &Rollout, now: Now<'_>) -> Option<Why> {
    if rollout
        .clock_unsure_until_s
        .is_some_and(|until| now.s < until)
    {
        return Some(Why::ClockJumped);
    }
    if !rollout.waiting.is_empty() {
        return Some(Why::Decoding);
    }
    let window = rollout.spec.window;
    window
        .filter(|window| !window.has(now.minute))
        .map(Why::OutsideWindow)
}

/// Downloads of the target that are under way, or were just promised.
pub fn places_taken(rollout: &Rollout, now_s: u64) -> usize {
    let takes_one = |member: &&Member| downloads(member, now_s) || is_reserved(member, now_s);
    rollout.members.iter().filter(takes_one).count()
}

/// Whether others are told of the target before a device: it let a place go unused, and one
/// that did so less often asked lately and waits.
pub fn goes_behind(rollout: &Rollout, device: &DeviceKey, now_s: u64) -> bool {
    // one that was told and whose time is over has not been looked at yet
    let tries = |one: &Member| one.failed_tries + u32::from(one.state == MemberState::Offered);
    let Some(tried) = rollout.member(device).map(tries).filter(|tried| *tried > 0) else {
        return false;
    };
    let is_recent = |asked: u64| now_s.saturating_sub(asked) < WAITS_FOR;
    rollout.members.iter().any(|other| {
        let waits = other.state == MemberState::Eligible && other.asked_s.is_some_and(is_recent);
        waits && tries(other) < tried
    })
}

/// Whether a download of it gave a sign of life lately. Devices that run the target may
/// download it as well.
fn downloads(member: &Member, now_s: u64) -> bool {
    let last = member.progress_s;
    last.is_some_and(|last| now_s.saturating_sub(last) < IDLE_DOWNLOAD)
}

/// Whether it was told of the target within the reservation's time.
fn is_reserved(member: &Member, now_s: u64) -> bool {
    member.state == MemberState::Offered && now_s.saturating_sub(member.since_s) < RESERVATION
}

/// The wave of a member, counted from 1.
pub fn wave_of(rollout: &Rollout, member: &Member) -> usize {
    let mut members = rollout.members.iter();
    let at = members.position(|one| one.device == member.device);
    let at = at.unwrap_or(usize::MAX);
    let mut waves = rollout.waves.iter();
    let wave = waves.position(|wave| at < wave.members);
    wave.map_or(rollout.waves.len(), |wave| wave + 1)
}

impl MemberState {
    /// The word in files, tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Eligible => "eligible",
            Self::Offered => "offered",
            Self::Downloading => "downloading",
            Self::Downloaded => "downloaded",
            Self::Running => "running",
            Self::Soaked => "soaked",
            Self::Crashed => "crashed",
            Self::Looping => "looping",
            Self::Reverted => "reverted",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Pinned => "pinned",
            Self::Incompatible => "incompatible",
            Self::HasIt => "has-it",
            Self::Retired => "retired",
            Self::Back => "back",
            Self::Stranded => "stranded",
        }
    }
}
