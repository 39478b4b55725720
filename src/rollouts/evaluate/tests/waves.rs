//! From the canaries to the end: soaks, releases, replacements, places, windows.

use super::*;

#[test]
fn a_good_build_goes_out_in_waves() {
    let mut fleet = Fleet::of(5);
    assert_eq!(
        (fleet.is().as_str(), fleet.gets("kitchen1")),
        ("canary", Gets::Target)
    );
    assert_eq!(fleet.gets("kitchen3"), Gets::Base);
    fleet.say(&format!("kitchen1 kitchen2: {TAKES_IT}"));
    assert_eq!(fleet.is(), "soaking");
    fleet.wait("23h");
    assert_eq!(fleet.is(), "soaking");
    fleet.wait("1h");
    assert_eq!(fleet.is(), "wave 2");
    assert_eq!(
        (fleet.gets("kitchen3"), fleet.gets("kitchen4")),
        (Gets::Target, Gets::Base)
    );
    fleet.say(&format!("kitchen3: {TAKES_IT} 119m"));
    assert_eq!(fleet.is(), "wave 2");
    fleet.say("kitchen3: 1m");
    assert_eq!(fleet.is(), "wave 3");
    fleet.say(&format!("kitchen4 kitchen5: {TAKES_IT} 2h"));
    assert_eq!(fleet.is(), "watching");
    assert_eq!(fleet.serves("stranger").gets, Gets::Base, "it came later");
    fleet.wait("167h");
    assert_eq!(fleet.is(), "watching");
    fleet.wait("1h");
    assert_eq!(fleet.is(), "done");
    assert_eq!(fleet.serves("stranger").gets, Gets::Target);
    assert!(fleet.actions.contains(&Action::Done));
    let ended = fleet.rollout.clone();
    fleet.say("kitchen1: 1h new-crash=d1 runs-old");
    assert_eq!(fleet.rollout, ended);
}

#[test]
fn a_wave_waits_for_devices_that_were_just_not_heard_yet() {
    let mut fleet = Fleet::of(5);
    fleet.say(&format!("kitchen1 kitchen2: {TAKES_IT} 24h 5m"));
    assert_eq!(fleet.is(), "wave 3", "kitchen3 has been silent for a day");
    let mut fleet = Fleet::of(5);
    fleet.canaries_soak();
    assert_eq!(fleet.is(), "wave 2", "kitchen3 was heard an hour ago");
    fleet.wait("22h");
    assert_eq!(fleet.is(), "wave 2");
    fleet.wait("1h");
    assert_eq!(fleet.is(), "wave 3");
}

#[test]
fn presumed_and_confirmed() {
    for (words, state, confirmed) in [
        ("24h", "soaked", false),
        ("24h heard", "soaked", true),
        ("24h 1m heard", "soaked", true),
        // it booted since, or was heard each hour before
        ("1h booted 23h", "running", false),
        ("1h booted 23h heard", "soaked", true),
        ("1h known-crash=d1 23h", "running", false),
        ("usual=1h 24h", "running", false),
    ] {
        let mut fleet = Fleet::of(5);
        fleet.say(&format!("kitchen1: {TAKES_IT} {words}"));
        let member = fleet.member("kitchen1");
        assert_eq!(
            (member.state.as_str(), member.confirmed),
            (state, confirmed),
            "{words}"
        );
    }
    let mut fleet = Fleet::of(5);
    fleet.say(&format!("kitchen1: usual=1h {TAKES_IT} 27h"));
    assert_eq!(fleet.is(), "paused", "no data is not success");
    assert!(
        fleet.why().contains("not heard after its soak on kitchen1"),
        "{}",
        fleet.why()
    );
}

#[test]
fn waves_can_be_made_to_need_confirmation() {
    let confirmed = |rollout: &mut Rollout| rollout.spec.confirmed = true;
    let mut fleet = Fleet::with(5, confirmed);
    fleet.say(&format!("kitchen1 kitchen2: {TAKES_IT} 25h"));
    assert_eq!(fleet.is(), "soaking");
    fleet.say("kitchen1: heard");
    assert_eq!(fleet.is(), "soaking");
    fleet.say("kitchen2: heard");
    assert_eq!(fleet.is(), "wave 2");
    let mut fleet = Fleet::with(5, confirmed);
    fleet.say(&format!("kitchen1 kitchen2: {TAKES_IT} 24h heard"));
    fleet.say(&format!("kitchen3: {TAKES_IT} 27h"));
    assert_eq!(fleet.is(), "paused");
}

#[test]
fn a_gate_waits_for_a_person() {
    let mut fleet = Fleet::with(5, |rollout| rollout.spec.gate = true);
    fleet.canaries_soak();
    fleet.wait("24h");
    assert_eq!(
        (fleet.is().as_str(), fleet.gets("kitchen3")),
        ("soaking", Gets::Base)
    );
    fleet.person(&Command::Release).unwrap();
    assert_eq!(
        (fleet.is().as_str(), fleet.gets("kitchen3")),
        ("wave 2", Gets::Target)
    );
}

#[test]
fn a_canary_that_does_not_ask_is_replaced_once() {
    let mut fleet = Fleet::of(20);
    fleet.say("kitchen3: asks");
    fleet.say(&format!("kitchen2: {TAKES_IT}"));
    fleet.say("kitchen1: heard 24h");
    assert_eq!(
        (fleet.state("kitchen1"), fleet.state("kitchen3")),
        ("held", "eligible")
    );
    let said = |fleet: &Fleet| {
        let log = fleet.rollout.log.iter();
        log.filter(|entry| entry.what.contains("in place of"))
            .count()
    };
    assert_eq!(said(&fleet), 1);
    fleet.wait("23h");
    assert_eq!(said(&fleet), 1);
    // it asked before it was a canary, and not since
    fleet.wait("1h");
    assert_eq!(
        (fleet.state("kitchen3"), fleet.state("kitchen4")),
        ("held", "eligible")
    );
    // one who asks and gets nothing, since there is a window, stays
    let mut fleet = Fleet::of(20);
    fleet.say("kitchen1 kitchen2: asks 25h");
    assert_eq!(said(&fleet), 0);
    // without another board a person is asked
    let mut fleet = Fleet::of(2);
    fleet.say(&format!("kitchen2: {TAKES_IT}"));
    fleet.say("kitchen1: heard 24h 5m");
    assert_eq!(fleet.is(), "paused");
}

#[test]
fn a_pinned_canary_makes_room() {
    let mut fleet = Fleet::of(20);
    fleet.say("kitchen1: pinned");
    assert_eq!(
        (fleet.gets("kitchen1"), fleet.gets("kitchen3")),
        (Gets::Base, Gets::Target)
    );
    fleet.say("kitchen1: unpinned");
    assert_eq!(fleet.state("kitchen1"), "held");
}

#[test]
fn pins_and_retirement_forget_no_failure() {
    for (words, state) in [
        ("pinned retired unpinned", "retired"),
        ("retired pinned unretired", "pinned"),
        ("pinned retired unretired unpinned", "crashed"),
        ("pinned new-crash=d2 unpinned", "crashed"),
        ("pinned", "pinned"),
    ] {
        let mut fleet = Fleet::of(20);
        fleet.canaries_soak();
        fleet.say(&format!("kitchen3: {TAKES_IT} new-crash=d1 {words}"));
        assert_eq!(fleet.state("kitchen3"), state, "{words}");
        assert_eq!(fleet.gets("kitchen3"), Gets::Base, "{words}");
    }
    // it ran its pin meanwhile: that is no return to the old build
    let mut fleet = Fleet::of(20);
    fleet.canaries_soak();
    fleet.say(&format!(
        "kitchen3: {TAKES_IT} pinned 1h booted runs-old unpinned runs-old"
    ));
    assert_eq!(
        (fleet.state("kitchen3"), fleet.is()),
        ("eligible", "wave 2".into())
    );
    fleet.say("kitchen3: incompatible booted runs");
    assert_eq!(fleet.state("kitchen3"), "running");
    fleet.say("kitchen4: incompatible");
    assert_eq!(fleet.gets("kitchen4"), Gets::Base);
}

#[test]
fn never_more_downloads_at_once_than_places() {
    let mut fleet = Fleet::of(20);
    fleet.canaries_soak();
    fleet.say("kitchen3: asks began");
    fleet.say("kitchen4: asks told");
    assert_eq!(
        (fleet.gets("kitchen4"), fleet.gets("kitchen5")),
        (Gets::Target, Gets::Base)
    );
    // one that stalled has no place, one that goes on has
    fleet.say("kitchen3: 1m goes-on 1m");
    assert_eq!(fleet.gets("kitchen5"), Gets::Base);
    fleet.say("kitchen3: 1m");
    assert_eq!(fleet.gets("kitchen5"), Gets::Target);
    fleet.say("kitchen5: asks began");
    assert_eq!(fleet.gets("kitchen3"), Gets::Base, "its place is taken");
    // a board that is told again and again keeps no place for ever
    fleet.say("kitchen4: 5m told");
    fleet.say("kitchen5: goes-on 1m goes-on");
    assert_eq!(fleet.gets("kitchen6"), Gets::Base);
    fleet.say("kitchen5: 1m goes-on");
    assert_eq!(fleet.gets("kitchen6"), Gets::Target);
}

#[test]
fn nothing_is_offered_outside_of_the_window_and_after_a_jump_of_the_clock() {
    let mut fleet = Fleet::with(5, |rollout| {
        rollout.spec.window = Some(config::window("01:00-05:00").unwrap());
    });
    assert_eq!(fleet.gets("kitchen1"), Gets::Base);
    fleet.minute = 60;
    assert_eq!(fleet.gets("kitchen1"), Gets::Target);
    fleet.say("kitchen1: asks began");
    fleet.minute = 300;
    assert_eq!(
        (fleet.gets("kitchen1"), fleet.gets("kitchen2")),
        (Gets::Target, Gets::Base)
    );
    let mut fleet = Fleet::of(5);
    fleet.rollout.clock_unsure_until_s = Some(3600);
    fleet.wait("59m");
    assert_eq!(fleet.gets("kitchen1"), Gets::Base);
    fleet.wait("1m");
    assert_eq!(fleet.gets("kitchen1"), Gets::Target);
}

#[test]
fn half_of_the_devices_are_enough_and_fewer_are_a_question() {
    let mut fleet = Fleet::of(20);
    fleet.say(&format!("kitchen1 kitchen2: {TAKES_IT} 24h"));
    assert_eq!(fleet.is(), "wave 2", "2 of 10, 8 are silent");
    let mut few = Fleet::of(20);
    few.say(&format!("kitchen1 kitchen2: {TAKES_IT} 24h"));
    fleet.say(&format!("kitchen3 kitchen4 kitchen5: {TAKES_IT} 2h"));
    assert_eq!(fleet.is(), "wave 3", "5 of 10");
    few.say(&format!("kitchen3: {TAKES_IT} 2h 21h"));
    assert_eq!(few.is(), "wave 2", "others may still come");
    few.wait("1h");
    assert_eq!(few.is(), "paused");
    assert!(few.why().starts_with("only 3 of 10"), "{}", few.why());
    few.person(&Command::Resume).unwrap();
    assert_eq!(few.is(), "wave 3", "a person goes on without them");
    // without a single one only a person goes on
    let mut fleet = Fleet::of(20);
    fleet.say("kitchen1 kitchen2: asks began delivered 5m asks began delivered");
    assert_eq!((fleet.is(), fleet.rollout.released()), ("paused".into(), 1));
    assert!(fleet.why().starts_with("only 0 of 2"), "{}", fleet.why());
    fleet.wait("48h");
    assert_eq!(fleet.rollout.released(), 1);
    fleet.person(&Command::Resume).unwrap();
    assert_eq!(fleet.is(), "wave 2");
}

#[test]
fn a_wave_of_which_nobody_takes_part_is_over() {
    let mut fleet = Fleet::of(2);
    fleet.say("kitchen1: has-it");
    fleet.say("kitchen2: pinned 1m");
    assert_eq!(fleet.is(), "watching");
    // a canary that was lost, and that a person accepted
    let mut fleet = Fleet::of(2);
    fleet.say("kitchen1 kitchen2: asks began delivered 2h");
    assert_eq!(fleet.is(), "paused");
    fleet.person(&Command::Resume).unwrap();
    assert!(fleet.why().starts_with("only 0 of 2"), "{}", fleet.why());
    fleet.person(&Command::Resume).unwrap();
    assert_eq!(fleet.is(), "watching");
}

#[test]
fn a_canary_that_a_fleet_token_registers_again_makes_room_and_decides_nothing() {
    let mut fleet = Fleet::of(20);
    fleet.say("kitchen1: asks began delivered loses-vote new-crash=d1");
    assert_eq!(fleet.is(), "canary");
    assert!(fleet.member("kitchen3").canary && !fleet.member("kitchen1").canary);
    // nobody is left to take its place
    let mut fleet = Fleet::of(2);
    fleet.say("kitchen1 kitchen2: loses-vote");
    fleet.wait("24h");
    assert_eq!(fleet.is(), "paused");
    assert!(fleet.why().contains("fleet token"), "{}", fleet.why());
    fleet.person(&Command::Resume).unwrap();
    assert_eq!(fleet.is(), "watching");
}

#[test]
fn who_did_not_fetch_what_it_was_told_of_lets_others_go_first() {
    let mut fleet = Fleet::with(20, |rollout| rollout.spec.parallel = 1);
    fleet.say("kitchen1: asks told");
    fleet.say("kitchen2: asks");
    let behind =
        |fleet: &Fleet, key: &str| goes_behind(&fleet.rollout, &key.parse().unwrap(), fleet.s);
    assert!(!behind(&fleet, "kitchen2"), "it waits");
    fleet.say("kitchen1: 10m asks");
    assert!(behind(&fleet, "kitchen1") && !behind(&fleet, "kitchen2"));
    assert_eq!(fleet.gets("kitchen1"), Gets::Target, "it may fetch it");
    fleet.say("kitchen2: told 10m asks");
    assert!(!behind(&fleet, "kitchen1"), "both let a place go unused");
    // nobody waits for one that is gone
    fleet.say("kitchen1: told 10m asks");
    assert!(behind(&fleet, "kitchen1"));
    fleet.say("kitchen1: 1h asks");
    assert!(!behind(&fleet, "kitchen1"));
}

#[test]
fn who_takes_part_again_is_where_it_was() {
    for (words, state) in [
        ("asks began delivered pinned unpinned", "downloaded"),
        // a shelf is no place to be heard from
        ("asks began delivered retired 3h unretired", "downloaded"),
        ("asks began pinned delivered unpinned", "downloaded"),
        (
            "asks began delivered 1m booted runs pinned unpinned",
            "running",
        ),
        (
            "asks began delivered 1m booted runs retired pinned unretired unpinned",
            "running",
        ),
        (
            "asks began delivered 1m booted runs 2h heard pinned runs unpinned",
            "soaked",
        ),
        (
            "asks began delivered pinned 1m booted runs unpinned",
            "running",
        ),
        ("pinned 1m booted runs unpinned", "has-it"),
        ("has-it retired unretired", "has-it"),
        ("has-it retired booted runs-old unretired", "eligible"),
        ("asks told pinned unpinned", "eligible"),
        (
            "asks began delivered pinned 1m booted runs-old unpinned",
            "eligible",
        ),
    ] {
        let mut fleet = Fleet::of(20);
        fleet.canaries_soak();
        fleet.say(&format!("kitchen3: {words}"));
        assert_eq!(fleet.state("kitchen3"), state, "{words}");
        assert_eq!(fleet.gets("kitchen3"), Gets::Target, "{words}");
        assert_eq!(fleet.is(), "wave 2", "{words}");
        // also while nobody is offered it
        fleet.person(&Command::Pause { why: None }).unwrap();
        let gets = match state {
            "eligible" => Gets::Base,
            _ => Gets::Target,
        };
        assert_eq!(fleet.gets("kitchen3"), gets, "{words}");
    }
}

#[test]
fn the_soak_stands_still_while_a_device_takes_no_part() {
    let mut fleet = Fleet::of(20);
    fleet.canaries_soak();
    fleet.say(&format!(
        "kitchen3: {TAKES_IT} 1h retired 5h unretired heard 59m"
    ));
    assert_eq!(fleet.state("kitchen3"), "running");
    fleet.say("kitchen3: 1m heard");
    assert_eq!(fleet.state("kitchen3"), "soaked");
}
