//! What people do.

use super::*;

#[test]
fn a_pause_lets_downloads_end_and_offers_nothing() {
    let mut fleet = Fleet::of(5);
    fleet.say("kitchen1: asks began");
    fleet.say("kitchen2: asks told");
    fleet.person(&Command::Pause { why: None }).unwrap();
    assert_eq!(
        (fleet.gets("kitchen1"), fleet.gets("kitchen2")),
        (Gets::Target, Gets::Base)
    );
    let again = fleet.person(&Command::Pause { why: None });
    assert_eq!(again, Err(Impossible::PausedAlready("r1".into())));
    assert_eq!(
        fleet.person(&Command::Release),
        Err(Impossible::Paused("r1".into()))
    );
    fleet.say("kitchen1: delivered 1m booted runs 1h");
    assert_eq!(
        (fleet.is().as_str(), fleet.gets("kitchen1")),
        ("paused", Gets::Target)
    );
    fleet.person(&Command::Resume).unwrap();
    assert_eq!(fleet.gets("kitchen2"), Gets::Target);
    assert_eq!(
        fleet.person(&Command::Resume),
        Err(Impossible::NotPaused("r1".into()))
    );
}

#[test]
fn finish_releases_all_and_pause_takes_it_back() {
    for is_paused_by_rules in [false, true] {
        let mut fleet = Fleet::of(20);
        fleet.say(&format!("kitchen1 kitchen2: {TAKES_IT}"));
        fleet.person(&Command::Finish).unwrap();
        assert_eq!(
            fleet.person(&Command::Finish),
            Err(Impossible::AllReleased("r1".into()))
        );
        assert_eq!(fleet.gets("kitchen20"), Gets::Target);
        fleet.say("kitchen9: asks began");
        fleet.say("kitchen8: asks told");
        assert_eq!(fleet.gets("kitchen20"), Gets::Base, "the places stay");
        if is_paused_by_rules {
            fleet.say("kitchen1: unsure-crash=d1");
        }
        fleet.person(&Command::Pause { why: None }).unwrap();
        assert_eq!(fleet.state("kitchen8"), "held");
        assert_eq!(
            (fleet.state("kitchen20"), fleet.gets("kitchen9")),
            ("held", Gets::Target)
        );
        assert_eq!(
            (fleet.rollout.released(), fleet.is().as_str()),
            (1, "paused")
        );
        fleet.person(&Command::Resume).unwrap();
        fleet.say("kitchen9: delivered 1m booted runs");
        assert_eq!(fleet.state("kitchen9"), "running");
        assert_eq!(fleet.gets("kitchen20"), Gets::Base);
    }
}

#[test]
fn a_device_that_got_it_out_of_turn_still_counts() {
    let mut fleet = Fleet::of(20);
    fleet.person(&Command::Finish).unwrap();
    fleet.say("kitchen9: asks told");
    fleet.person(&Command::Pause { why: None }).unwrap();
    // the last byte was under way
    fleet.say("kitchen9: delivered 1m booted runs");
    assert_eq!(fleet.state("kitchen9"), "running");
    fleet.say("kitchen9: new-crash=d1");
    assert_eq!(fleet.is(), "stopped");
}

#[test]
fn release_does_not_wait() {
    let mut fleet = Fleet::of(5);
    fleet.person(&Command::Release).unwrap();
    assert_eq!(fleet.gets("kitchen3"), Gets::Target);
    fleet.person(&Command::Release).unwrap();
    assert_eq!(
        fleet.person(&Command::Release),
        Err(Impossible::AllReleased("r1".into()))
    );
}

#[test]
fn cancel_is_possible_before_the_first_offer() {
    for (words, expected) in [
        ("kitchen1: asks", true),
        ("kitchen1: pinned", true),
        ("kitchen1: runs", true),
        ("kitchen1: asks told", false),
        ("kitchen1: asks told 1h", false),
        ("kitchen1: asks began broke-off=300", false),
        ("kitchen1: asks began delivered", false),
    ] {
        let mut fleet = Fleet::of(5);
        fleet.say(words);
        let found = fleet.person(&Command::Cancel);
        assert_eq!(found.is_ok(), expected, "{words}");
        assert_eq!(fleet.rollout.is_live(), !expected);
        if expected {
            assert_eq!(fleet.gets("kitchen2"), Gets::Base);
            assert_eq!(
                fleet.person(&Command::Pause { why: None }),
                Err(Impossible::Ended("r1".into()))
            );
        }
    }
}

#[test]
fn a_resume_accepts_what_failed() {
    let mut fleet = Fleet::of(20);
    fleet.canaries_soak();
    let all: Vec<String> = (3..=10).map(|at| format!("kitchen{at}")).collect();
    fleet.say(&format!("{}: {TAKES_IT}", all.join(" ")));
    fleet.say("kitchen3: new-crash=d1");
    fleet.say("kitchen3: new-crash=d1 2h");
    assert_eq!(fleet.is(), "paused");
    fleet.person(&Command::Resume).unwrap();
    fleet.say("kitchen3: new-crash=d1");
    assert_eq!(fleet.is(), "wave 3", "said again it is nothing new");
    assert_eq!(fleet.gets("kitchen3"), Gets::Base);
}

#[test]
fn a_reason_to_pause_takes_the_place_of_another() {
    let mut fleet = Fleet::of(5);
    let why = Some(String::from("restored from a backup"));
    fleet.person(&Command::Pause { why: None }).unwrap();
    assert_eq!(fleet.why(), "by anna");
    fleet.person(&Command::Pause { why }).unwrap();
    assert_eq!(fleet.why(), "restored from a backup");
    fleet.person(&Command::Resume).unwrap();
    assert_eq!(fleet.is(), "canary");
}
