//! After a stop: nobody gets the target, and the way back.

use super::*;
use crate::config::OnStop;

fn stop() -> Command {
    Command::Stop {
        why: String::from("doors stay open"),
    }
}

#[test]
fn nobody_gets_it_any_more_and_all_come_back() {
    let mut fleet = Fleet::of(20);
    fleet.canaries_soak();
    fleet.say(&format!("kitchen3: {TAKES_IT}"));
    fleet.say("kitchen4: asks began");
    fleet.person(&stop()).unwrap();
    assert_eq!(
        (fleet.is().as_str(), fleet.why()),
        ("stopped", "doors stay open")
    );
    for device in 1..=20 {
        assert_eq!(fleet.gets(&format!("kitchen{device}")), Gets::Base);
    }
    // events that were under way offer nothing
    fleet.say("kitchen5: asks told began");
    assert_eq!(fleet.state("kitchen5"), "held");
    fleet.say("kitchen4: broke-off=500000");
    assert_eq!(fleet.state("kitchen4"), "held");
    fleet.say("kitchen1 kitchen2: booted runs-old");
    assert!(fleet.rollout.is_live());
    fleet.say("kitchen3: dump=d1 unsure-crash=d1 10m");
    assert!(fleet.rollout.paused.is_none());
    fleet.say("kitchen3: booted runs-old");
    assert!(!fleet.rollout.is_live());
    let back = Action::Back {
        back: 3,
        stranded: 0,
    };
    assert!(fleet.actions.contains(&back), "{:?}", fleet.actions);
    assert_eq!(fleet.person(&stop()), Err(Impossible::Ended("r1".into())));
}

#[test]
fn who_never_says_what_it_runs_is_back_once_it_took_the_base_and_asks_again() {
    let mut fleet = Fleet::of(5);
    fleet.say("kitchen1: asks began delivered");
    fleet.person(&stop()).unwrap();
    fleet.say("kitchen1: asks");
    assert_eq!(fleet.state("kitchen1"), "downloaded");
    fleet.say("kitchen1: took-base");
    assert_eq!(fleet.state("kitchen1"), "downloaded");
    fleet.say("kitchen1: 5m asks");
    assert_eq!(fleet.state("kitchen1"), "back");
    assert!(!fleet.rollout.is_live());
}

#[test]
fn who_is_not_heard_is_stranded_and_it_ends_after_a_week() {
    let mut fleet = Fleet::of(5);
    fleet.say(&format!("kitchen1 kitchen2: {TAKES_IT}"));
    fleet.person(&stop()).unwrap();
    assert_eq!(fleet.person(&stop()), Err(Impossible::Stopped("r1".into())));
    fleet.say("kitchen2: 10m booted runs-old 20m");
    assert_eq!(
        (fleet.state("kitchen1"), fleet.state("kitchen2")),
        ("stranded", "back")
    );
    fleet.say("kitchen2: pinned");
    assert_eq!(fleet.state("kitchen2"), "pinned");
    fleet.say("kitchen2: unpinned");
    assert_eq!(fleet.state("kitchen2"), "back");
    fleet.say("kitchen1: booted runs");
    assert_eq!(fleet.state("kitchen1"), "running");
    fleet.wait("167h");
    assert!(fleet.rollout.is_live());
    fleet.wait("1h");
    assert!(!fleet.rollout.is_live());
    let back = Action::Back {
        back: 1,
        stranded: 1,
    };
    assert!(fleet.actions.contains(&back), "{:?}", fleet.actions);
}

#[test]
fn a_board_that_waits_for_its_night_is_not_back_before_it() {
    let mut fleet = Fleet::of(5);
    fleet.say("kitchen1: asks began delivered 10m runs-old");
    fleet.person(&stop()).unwrap();
    fleet.say("kitchen1: 1m runs-old");
    assert_eq!(fleet.state("kitchen1"), "downloaded");
    fleet.say("kitchen1: 8h booted runs 1m booted runs-old");
    assert_eq!(fleet.state("kitchen1"), "back");
}

#[test]
fn the_last_byte_may_arrive_while_it_is_cut() {
    for (words, is_live) in [("broke-off=500000", false), ("delivered", true)] {
        let mut fleet = Fleet::of(5);
        fleet.say("kitchen1: asks began");
        fleet.person(&stop()).unwrap();
        assert!(fleet.rollout.is_live(), "{words}");
        fleet.say(&format!("kitchen1: {words}"));
        assert_eq!(fleet.rollout.is_live(), is_live, "{words}");
    }
}

#[test]
fn a_board_that_crashed_or_boots_after_the_stop_is_back_once_it_runs_the_base() {
    let mut fleet = Fleet::of(5);
    fleet.say("kitchen2: asks began delivered");
    fleet.say("kitchen1: asks began delivered dump=d1 new-crash=d1");
    assert_eq!(fleet.is(), "stopped");
    fleet.say("kitchen1: runs-old");
    assert_eq!(fleet.state("kitchen1"), "back");
    fleet.wait("1h");
    assert_eq!(fleet.state("kitchen2"), "stranded");
    fleet.say("kitchen2: booted runs-old");
    assert_eq!(fleet.state("kitchen2"), "back");
    assert!(!fleet.rollout.is_live());
}

#[test]
fn a_retired_board_keeps_nobody_waiting() {
    let mut fleet = Fleet::of(5);
    fleet.say(&format!("kitchen1 kitchen2: {TAKES_IT}"));
    fleet.person(&stop()).unwrap();
    fleet.say("kitchen1: retired");
    fleet.say("kitchen2: booted runs-old");
    assert!(!fleet.rollout.is_live());
}

#[test]
fn who_got_it_can_be_left_where_it_is() {
    let mut fleet = Fleet::with(5, |rollout| rollout.spec.on_stop = OnStop::Stay);
    fleet.say(&format!("kitchen1: {TAKES_IT}"));
    fleet.person(&stop()).unwrap();
    assert_eq!(
        (fleet.gets("kitchen1"), fleet.gets("kitchen2")),
        (Gets::Nothing, Gets::Base)
    );
    assert!(!fleet.rollout.is_live(), "nobody is waited for");
    assert!(fleet.rollout.effect_due, "and it is blocked");
}
