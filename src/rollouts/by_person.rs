//! What people do with a rollout. `stop` and `pause` are always possible while it is live.

use super::evaluate::{Now, Outcome, Work};
use crate::store::rollouts::{MemberState, Phase, Rollout};

/// What a person asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// With a reason also if it is paused already, for that reason then.
    Pause {
        why: Option<String>,
    },
    Resume,
    /// The next wave, whether or not the one before is over.
    Release,
    Stop {
        why: String,
    },
    /// All waves at once.
    Finish,
    /// As if it had not been started.
    Cancel,
}

impl Command {
    /// The word of the command line and the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pause { .. } => "pause",
            Self::Resume => "resume",
            Self::Release => "release",
            Self::Stop { .. } => "stop",
            Self::Finish => "finish",
            Self::Cancel => "cancel",
        }
    }
}

/// Why it cannot be done.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Impossible {
    #[error("Rollout {0} has ended")]
    Ended(String),
    #[error("Rollout {0} was stopped")]
    Stopped(String),
    #[error("Rollout {0} is paused: resume it first")]
    Paused(String),
    #[error("Rollout {0} is not paused")]
    NotPaused(String),
    #[error("Rollout {0} is paused already")]
    PausedAlready(String),
    #[error("All waves of rollout {0} are released")]
    AllReleased(String),
    #[error("Rollout {0} was offered to devices already: stop it instead")]
    Offered(String),
}

/// Does what a person asks for.
///
/// # Errors
/// [`Impossible`]; nothing is changed then.
pub fn apply(
    before: &Rollout,
    command: &Command,
    by: &str,
    now: Now<'_>,
) -> Result<Outcome, Impossible> {
    let id = || before.id.clone();
    if !before.is_live() {
        return Err(Impossible::Ended(id()));
    }
    if before.phase == Phase::Stopped {
        return Err(Impossible::Stopped(id()));
    }
    let is_paused = before.paused.is_some();
    let mut work = Work::new(before, now);
    match command {
        Command::Pause { why: None } if is_paused && before.finishing_from.is_none() => {
            return Err(Impossible::PausedAlready(id()));
        }
        Command::Pause { why } => {
            work.take_finish_back(by);
            if why.is_some() {
                work.rollout.paused = None;
            }
            let by_whom = || format!("by {by}");
            work.pause(by, &why.clone().unwrap_or_else(by_whom));
        }
        Command::Resume if !is_paused => return Err(Impossible::NotPaused(id())),
        Command::Resume => work.resume(by),
        Command::Release | Command::Finish if is_paused => return Err(Impossible::Paused(id())),
        Command::Release => {
            if !work.release_next(by) {
                return Err(Impossible::AllReleased(id()));
            }
        }
        Command::Finish => {
            let released = work.rollout.released();
            if released >= work.rollout.waves.len() {
                return Err(Impossible::AllReleased(id()));
            }
            work.log(by, String::from("finish: all waves at once"), None);
            while work.release_next(by) {}
            work.rollout.finishing_from = Some(released);
        }
        Command::Stop { why } => work.stop(by, why, None),
        Command::Cancel => {
            let is_fresh = before.members.iter().all(|member| {
                use MemberState::{Eligible, HasIt, Held, Incompatible, Pinned, Retired};
                let is_waiting = matches!(
                    member.state,
                    Held | Eligible | Pinned | Incompatible | HasIt | Retired
                );
                is_waiting && !member.got_it() && member.tried_s.is_none()
            });
            if !is_fresh {
                return Err(Impossible::Offered(id()));
            }
            work.phase(Phase::Cancelled);
            work.rollout.why = Some(format!("cancelled by {by}"));
            work.rollout.paused = None;
            work.rollout.ended_at = Some(now.wall.to_owned());
            work.log(by, String::from("cancelled"), None);
        }
    }
    Ok(work.done())
}

impl Work<'_> {
    /// Who had not begun when all waves were released at once has to wait again.
    fn take_finish_back(&mut self, by: &str) {
        let Some(from) = self.rollout.finishing_from.take() else {
            return;
        };
        let first = match from.checked_sub(1) {
            Some(last) => self.rollout.waves.get(last).map_or(0, |wave| wave.members),
            None => 0,
        };
        for wave in self.rollout.waves.iter_mut().skip(from) {
            (wave.released_at, wave.released_s, wave.over_at) = (None, None, None);
        }
        for at in first..self.rollout.members.len() {
            let state = self.rollout.members.get(at).map(|member| member.state);
            if let Some(MemberState::Eligible | MemberState::Offered) = state {
                self.set(at, MemberState::Held, "finish was taken back");
            }
        }
        self.phase(match from {
            0 | 1 => Phase::Canary,
            _ => Phase::Wave,
        });
        self.log(by, String::from("finish was taken back"), None);
    }

    /// A person knows of all failures so far.
    fn resume(&mut self, by: &str) {
        self.rollout.paused = None;
        let mut accepted = 0;
        for member in &mut self.rollout.members {
            if let Some(failure) = &mut member.failure
                && !failure.accepted
            {
                failure.accepted = true;
                accepted += 1;
            }
        }
        let what = match accepted {
            0 => String::from("resumed"),
            1 => String::from("resumed; 1 failed device accepted"),
            _ => format!("resumed; {accepted} failed devices accepted"),
        };
        self.log(by, what, None);
    }
}
