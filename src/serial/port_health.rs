//! Lasting problems of a port or its board, each reported once with what to do.
//! No I/O: time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use crate::console::BootFailure;

/// Something that a person should look at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PortProblem {
    /// The port disconnects repeatedly.
    Flapping,
    /// Repeated brown-out resets.
    BrownOuts,
    /// The data is not text.
    Babbling,
    /// The board waits in its bootloader.
    InBootloader,
    /// The board restarts and never comes to an application.
    BootLoop(BootFailure),
}

impl PortProblem {
    /// What is wrong and what to do.
    pub(super) fn text(self, baud: u32) -> String {
        match self {
            Self::Flapping => "port disconnects repeatedly: check cable, connector and USB hub power; retrying less often".to_owned(),
            Self::BrownOuts => {
                "repeated brown-out resets: use a shorter cable, a stronger power supply or a powered hub".to_owned()
            }
            Self::Babbling => format!(
                "received data is not text: set `baud` in its [[serial.port]] (now {baud}) or release the port; reading less often"
            ),
            Self::BootLoop(failure) => format!(
                "boot loop: board restarts without starting an application ({failure}); flash bootloader, partition table and application again"
            ),
            Self::InBootloader => "board is in its bootloader: reset it; if it stays there, check what pulls its boot pin low".to_owned(),
        }
    }
}

/// Watches one port.
#[derive(Default)]
pub(super) struct PortHealth {
    losses: VecDeque<Duration>,
    brown_outs: VecDeque<Duration>,
    failed_boots: VecDeque<Duration>,
    told: Vec<PortProblem>,
    /// When the port was lent, or the board reset by us.
    our_reset: Option<Duration>,
}

impl PortHealth {
    /// The gateway or whoever the port was lent to reset the board.
    pub(super) fn reset_by_us(&mut self, now: Duration) {
        self.our_reset = Some(now);
    }

    /// Whether the boot that is seen now is that reset's.
    pub(super) fn is_our_reset(&mut self, now: Duration) -> bool {
        let reset = self.our_reset.take();
        reset.is_some_and(|reset| now.saturating_sub(reset) <= OUR_RESET)
    }

    /// The port disconnected.
    pub(super) fn lost(&mut self, now: Duration) -> Option<PortProblem> {
        let many = often(&mut self.losses, now);
        if many {
            self.report(PortProblem::Flapping)
        } else {
            None
        }
    }

    /// Whether the port disconnects repeatedly, so that it is opened less often.
    pub(super) fn is_flapping(&mut self, now: Duration) -> bool {
        self.expire(now);
        self.losses.len() >= OFTEN
    }

    /// A brown-out reset. `false` if it is counted already: the detector prints a
    /// line, and the next boot gives it as its reason.
    pub(super) fn brown_out(&mut self, now: Duration) -> bool {
        let last = self.brown_outs.back();
        let is_another = last.is_none_or(|last| now.saturating_sub(*last) > SAME_RESET);
        if is_another {
            often(&mut self.brown_outs, now);
        }
        is_another
    }

    /// The problem of many brown-outs, if it was not reported yet.
    pub(super) fn many_brown_outs(&mut self) -> Option<PortProblem> {
        let many = self.brown_outs.len() >= OFTEN;
        many.then(|| self.report(PortProblem::BrownOuts))?
    }

    /// A boot that came to no application.
    pub(super) fn boot_failed(&mut self, now: Duration, why: BootFailure) -> Option<PortProblem> {
        let many = often(&mut self.failed_boots, now);
        many.then(|| self.report(PortProblem::BootLoop(why)))?
    }

    /// Whether boots fail repeatedly, so that each one is no news.
    pub(super) fn is_boot_loop(&self) -> bool {
        let is_loop = |told: &PortProblem| matches!(told, PortProblem::BootLoop(_));
        self.told.iter().any(is_loop)
    }

    /// An application was started.
    pub(super) fn booted(&mut self) {
        self.failed_boots.clear();
        self.told
            .retain(|told| !matches!(told, PortProblem::BootLoop(_)));
        self.resolved(PortProblem::InBootloader);
    }

    /// Ends problems that have not occurred for a while; `true` if one ended.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        let told = self.told.len();
        for (times, problem) in [
            (&mut self.losses, PortProblem::Flapping),
            (&mut self.brown_outs, PortProblem::BrownOuts),
        ] {
            forget(times, now);
            if times.len() < OFTEN {
                self.told.retain(|told| *told != problem);
            }
        }
        self.told.len() < told
    }

    /// When [`Self::expire`] may end a problem.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let watched = [
            (&self.losses, PortProblem::Flapping),
            (&self.brown_outs, PortProblem::BrownOuts),
        ];
        let told = watched
            .into_iter()
            .filter(|(_, problem)| self.told.contains(problem));
        let oldest = told.filter_map(|(times, _)| times.front());
        oldest.min().map(|oldest| *oldest + WINDOW + MOMENT)
    }

    /// The problem, if it was not reported yet.
    pub(super) fn report(&mut self, problem: PortProblem) -> Option<PortProblem> {
        if self.told.contains(&problem) {
            return None;
        }
        self.told.push(problem);
        Some(problem)
    }

    /// The problem ended; the next one is reported again.
    pub(super) fn resolved(&mut self, problem: PortProblem) {
        self.told.retain(|told| *told != problem);
    }

    /// The newest problem that lasts.
    pub(super) fn problem(&self) -> Option<PortProblem> {
        self.told.last().copied()
    }
}

fn often(times: &mut VecDeque<Duration>, now: Duration) -> bool {
    forget(times, now);
    times.push_back(now);
    if times.len() > OFTEN {
        times.pop_front();
    }
    times.len() >= OFTEN
}

fn forget(times: &mut VecDeque<Duration>, now: Duration) {
    times.retain(|time| now.saturating_sub(*time) <= WINDOW);
}

/// Two lines about one reset are no further apart.
const SAME_RESET: Duration = Duration::from_secs(5);
/// Past the end of [`WINDOW`], for sure.
const MOMENT: Duration = Duration::from_millis(10);
/// This many times within [`WINDOW`] is a problem.
const OFTEN: usize = 5;
const WINDOW: Duration = Duration::from_secs(600);

/// A boot is the one after our reset if it is seen within this time.
const OUR_RESET: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn a_flapping_port_is_told_once_until_it_was_calm() {
        let mut health = PortHealth::default();
        let told: Vec<_> = (0..20).filter_map(|n| health.lost(AT(n * 10))).collect();
        assert_eq!(told, [PortProblem::Flapping]);
        assert!(health.is_flapping(AT(300)));
        assert!(!health.is_flapping(AT(2000)));
        let told: Vec<_> = (0..20).filter_map(|n| health.lost(AT(3000 + n))).collect();
        assert_eq!(told, [PortProblem::Flapping]);
    }

    #[test]
    fn a_replug_now_and_then_is_nobodys_business() {
        let mut health = PortHealth::default();
        assert!((0..50).all(|n| health.lost(AT(n * 200)).is_none()));
        for n in 0..50 {
            assert!(health.brown_out(AT(n * 200)));
            assert_eq!(health.many_brown_outs(), None);
            health.expire(AT(n * 200));
        }
    }

    #[test]
    fn a_boot_loop_is_told_once_until_an_application_started() {
        let mut health = PortHealth::default();
        let fails = |health: &mut PortHealth, from: u64| {
            let why = BootFailure::PartitionTable;
            let told = (from..from + 20).filter_map(|n| health.boot_failed(AT(n), why));
            told.collect::<Vec<_>>()
        };
        let problem = PortProblem::BootLoop(BootFailure::PartitionTable);
        assert_eq!(fails(&mut health, 0), [problem]);
        assert!(health.is_boot_loop());
        health.booted();
        assert_eq!((health.is_boot_loop(), health.problem()), (false, None));
        assert_eq!(fails(&mut health, 100), [problem]);
        // it is not over because the board is silent
        assert!(!health.expire(AT(5000)) && health.is_boot_loop());
    }

    #[test]
    fn two_lines_about_one_brown_out_count_once_and_it_is_over_after_good_times() {
        let mut health = PortHealth::default();
        let mut told = Vec::new();
        for n in 0..5 {
            assert!(health.brown_out(AT(n * 10)));
            assert!(!health.brown_out(AT(n * 10 + 1)));
            told.push(health.many_brown_outs().is_some());
        }
        assert_eq!(told, [false, false, false, false, true]);
        let deadline = health.deadline().unwrap();
        assert!(!health.expire(AT(600)) && health.expire(deadline));
        assert_eq!((health.problem(), health.deadline()), (None, None));
    }
}
