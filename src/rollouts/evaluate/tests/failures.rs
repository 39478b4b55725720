//! Rules 1 to 8: what fails a device, what pauses and what stops a rollout.

use super::*;

/// What a canary, or a device of the third wave of 20, does after the download; then its
/// state, and the rollout's for a canary and for the other.
const FAULTS: [(&str, &str, &str, &str); 9] = [
    ("booted runs new-crash=d1", "crashed", "stopped", "paused"),
    ("booted runs loops", "looping", "stopped", "paused"),
    ("booted runs-old", "reverted", "stopped", "paused"),
    ("booted runs 1m runs-old", "reverted", "stopped", "paused"),
    ("30m", "lost", "paused", "paused"),
    ("booted runs unsure-crash=d1", "running", "paused", "paused"),
    ("booted runs known-crash=d1", "running", "soaking", "wave 3"),
    ("booted runs", "running", "soaking", "wave 3"),
    // it was heard, and nobody knows what it runs
    ("1m heard 26h", "downloaded", "paused", "paused"),
];

#[test]
fn what_becomes_of_a_canary_and_of_a_device_of_a_later_wave() {
    for (words, state, canary, later) in FAULTS {
        let mut fleet = Fleet::of(20);
        fleet.say(&format!("kitchen2: {TAKES_IT}"));
        fleet.say(&format!("kitchen1: asks began delivered {words}"));
        assert_eq!(
            fleet.state("kitchen1"),
            state,
            "{words}: {:?}",
            fleet.rollout
        );
        assert_eq!(fleet.is(), canary, "{words}: {}", fleet.why());

        let mut fleet = Fleet::of(20);
        fleet.canaries_soak();
        assert_eq!(fleet.is(), "wave 2");
        fleet.say(&format!("kitchen5: asks began delivered {words}"));
        assert_eq!(fleet.state("kitchen5"), state, "{words}");
        assert_eq!(
            fleet.is().replace('2', "3"),
            later,
            "{words}: {}",
            fleet.why()
        );
    }
}

#[test]
fn the_second_device_of_a_later_wave_stops_it_also_after_a_resume() {
    for resumes in [false, true] {
        let mut fleet = Fleet::of(20);
        fleet.canaries_soak();
        fleet.say(&format!("kitchen3 kitchen4: {TAKES_IT}"));
        fleet.say("kitchen3: new-crash=d1");
        assert_eq!(fleet.is(), "paused");
        if resumes {
            fleet.person(&Command::Resume).unwrap();
            assert_eq!(fleet.is(), "wave 2");
        }
        fleet.say("kitchen4: new-crash=d2");
        assert_eq!(fleet.is(), "stopped");
    }
}

#[test]
fn a_twentieth_of_many_devices_stops_it() {
    let mut fleet = Fleet::of(100);
    fleet.canaries_soak();
    fleet.person(&Command::Finish).unwrap();
    for device in 3..7 {
        fleet.say(&format!("kitchen{device}: {TAKES_IT} new-crash=d{device}"));
        assert_eq!(fleet.is(), "paused", "{device}");
        fleet.person(&Command::Resume).unwrap();
    }
    fleet.say(&format!("kitchen7: {TAKES_IT} new-crash=d7"));
    assert_eq!(fleet.is(), "stopped", "5 of 100");
}

#[test]
fn a_board_that_has_the_target_from_elsewhere_counts_for_nothing() {
    let mut fleet = Fleet::of(5);
    fleet.say("kitchen1: runs dump=d1 new-crash=d1 loops");
    assert_eq!(fleet.state("kitchen3"), "eligible", "in its place");
    assert_eq!(fleet.member("kitchen1").state.as_str(), "has-it");
    assert_eq!(fleet.is(), "canary");
    assert!(fleet.rollout.waiting.is_empty());
    assert_eq!(fleet.gets("kitchen1"), Gets::Target);
    fleet.say("kitchen1: booted runs-old");
    assert_eq!(
        fleet.gets("kitchen1"),
        Gets::Base,
        "its wave is not released"
    );
    // asks with an ETag in the middle of it all
    fleet.say("kitchen3: asks began has-it");
    assert_eq!(fleet.state("kitchen3"), "has-it");
}

#[test]
fn a_board_that_waits_for_its_night_has_not_reverted() {
    let mut fleet = Fleet::of(5);
    fleet.say("kitchen1: asks began delivered 10m asks runs-old 10h asks runs-old");
    assert_eq!(fleet.state("kitchen1"), "downloaded");
    fleet.say("kitchen1: booted runs 1m booted runs");
    assert_eq!(fleet.state("kitchen1"), "running");
    // one that only polls is asked about after a day
    let mut fleet = Fleet::of(5);
    fleet.say("kitchen1: asks began delivered 10m asks runs-old 25h");
    assert_eq!(
        (fleet.state("kitchen1"), fleet.is()),
        ("downloaded", "paused".into())
    );
    assert!(fleet.why().contains("still runs 1.4.2"), "{}", fleet.why());
}

#[test]
fn lost_is_a_question_of_the_usual_interval_and_of_the_others() {
    let mut fleet = Fleet::of(5);
    fleet.say("kitchen1: usual=1h asks began delivered 2h");
    assert_eq!(fleet.state("kitchen1"), "downloaded");
    fleet.facts.others_expected = 4;
    fleet.facts.others_missed = 2;
    fleet.wait("2h");
    assert_eq!(fleet.state("kitchen1"), "downloaded", "it is the network");
    fleet.facts.others_known = false;
    fleet.facts.others_missed = 0;
    fleet.wait("1m");
    assert_eq!(fleet.state("kitchen1"), "downloaded", "nobody has counted");
    fleet.facts.others_known = true;
    fleet.facts.others_missed = 1;
    fleet.wait("175m");
    assert_eq!(
        fleet.state("kitchen1"),
        "downloaded",
        "it has as long again"
    );
    fleet.wait("10m");
    assert_eq!(
        (fleet.state("kitchen1"), fleet.is()),
        ("lost", "paused".into())
    );
    assert_eq!(fleet.gets("kitchen1"), Gets::Base);
    // it may turn up again, well or worse
    let mut worse = Fleet::of(5);
    worse.say("kitchen1: asks began delivered 1h booted runs-old");
    assert_eq!(
        (worse.state("kitchen1"), worse.is()),
        ("reverted", "stopped".into())
    );
    fleet.say("kitchen1: booted runs");
    assert_eq!(
        (fleet.state("kitchen1"), fleet.is()),
        ("running", "paused".into())
    );
    fleet.person(&Command::Resume).unwrap();
    assert_eq!(fleet.is(), "canary");
}

#[test]
fn a_soak_that_ends_while_the_network_is_out_tells_nothing() {
    let mut fleet = Fleet::of(5);
    fleet.say(&format!(
        "kitchen1 kitchen2: usual=10m {TAKES_IT} 23h heard"
    ));
    fleet.facts.others_expected = 4;
    fleet.facts.others_missed = 2;
    fleet.wait("3h");
    assert_eq!(
        (fleet.state("kitchen1"), fleet.is()),
        ("running", "soaking".into())
    );
    fleet.facts.others_missed = 1;
    fleet.wait("25m");
    assert_eq!(fleet.is(), "soaking", "it has as long again");
    fleet.say("kitchen2: heard");
    fleet.wait("10m");
    assert_eq!(
        (fleet.state("kitchen2"), fleet.is()),
        ("soaked", "paused".into())
    );
    assert!(fleet.why().contains("on kitchen1"), "{}", fleet.why());
}

#[test]
fn a_console_that_tells_of_the_update_is_no_return() {
    let mut fleet = Fleet::of(5);
    fleet.say("kitchen1: asks began delivered heard 30m");
    assert_eq!(fleet.state("kitchen1"), "lost");
}

#[test]
fn a_download_that_a_restart_interrupted_may_have_been_whole() {
    let mut fleet = Fleet::of(5);
    fleet.say("kitchen1: asks began interrupted");
    fleet.wait("35m");
    assert_eq!(
        (fleet.state("kitchen1"), fleet.is()),
        ("lost", "paused".into())
    );
    let mut fleet = Fleet::of(5);
    fleet.say("kitchen1: asks began interrupted 5m booted runs new-crash=d1");
    assert_eq!(fleet.is(), "stopped");
    let mut fleet = Fleet::of(5);
    fleet.say("kitchen1: asks began interrupted 5m asks");
    assert_eq!(fleet.gets("kitchen1"), Gets::Target, "it takes it again");
    fleet.say("kitchen1: began delivered 1m booted runs");
    assert_eq!(fleet.state("kitchen1"), "running");
}

#[test]
fn a_board_that_does_not_install_it_is_left_alone() {
    let near = "began broke-off=1000000 asks began broke-off=1010000 asks began broke-off=990000";
    let far = "began broke-off=1000000 asks began broke-off=1210000 asks began broke-off=690000";
    let compared = "began broke-off=300 asks began broke-off=300 asks began broke-off=300";
    let twice = "began delivered 5m asks began delivered 1m asks";
    for (words, state, gets) in [
        (near, "refused", Gets::Base),
        (far, "eligible", Gets::Target),
        (compared, "eligible", Gets::Target),
        (twice, "refused", Gets::Base),
    ] {
        let mut fleet = Fleet::of(5);
        fleet.say(&format!("kitchen1: asks {words}"));
        assert_eq!(
            (fleet.state("kitchen1"), fleet.gets("kitchen1")),
            (state, gets),
            "{words}"
        );
    }
    let mut fleet = Fleet::of(5);
    fleet.say(&format!("kitchen1: asks {twice} booted runs"));
    assert_eq!(fleet.state("kitchen1"), "running", "after all");
}

#[test]
fn who_tries_in_vain_for_two_days_is_named() {
    let mut fleet = Fleet::of(5);
    for _ in 0..5 {
        fleet.say("kitchen1: asks told 10h");
    }
    assert_eq!(fleet.is(), "paused");
    assert!(
        fleet.why().contains("5 tries on kitchen1"),
        "{}",
        fleet.why()
    );
}

#[test]
fn no_offer_is_made_until_a_dump_is_judged() {
    let mut fleet = Fleet::of(5);
    fleet.say("kitchen1: asks began delivered 1m booted runs dump=d1");
    assert_eq!(fleet.gets("kitchen2"), Gets::Base);
    fleet.say("kitchen1: known-crash=d1");
    assert_eq!(fleet.gets("kitchen2"), Gets::Target);
    fleet.say("kitchen1: dump=d2");
    fleet.wait("5m");
    assert_eq!(fleet.is(), "paused");
    assert!(fleet.why().contains("d2 of kitchen1 was not decoded"));
    fleet.say("kitchen1: new-crash=d2");
    assert_eq!(fleet.is(), "stopped", "late, and judged all the same");
}

#[test]
fn a_known_bug_that_is_worse_pauses_at_the_end_of_a_wave_and_once() {
    for (target, base, paused) in [(3, 0, true), (2, 0, false), (3, 60, false)] {
        let mut fleet = Fleet::of(5);
        fleet.facts.rates = Some(a_rate(target, base));
        fleet.say(&format!("kitchen1 kitchen2: {TAKES_IT} 23h"));
        assert_eq!(fleet.is(), "soaking");
        fleet.wait("1h");
        assert_eq!(
            fleet.is() == "paused",
            paused,
            "{target} {base}: {}",
            fleet.is()
        );
        if paused {
            fleet.person(&Command::Resume).unwrap();
            assert_eq!(fleet.is(), "wave 2");
        }
    }
}

#[test]
fn boards_of_a_fleet_token_decide_nothing() {
    let mut fleet = Fleet::with(20, |rollout| {
        for member in rollout.members.iter_mut().skip(2) {
            member.votes = false;
        }
    });
    fleet.canaries_soak();
    fleet.say("kitchen3: asks began delivered dump=d1 new-crash=d1");
    fleet.say("kitchen4: asks began delivered booted runs-old");
    fleet.say("kitchen5: asks began delivered unsure-crash=d2 loops");
    fleet.say("kitchen6: asks began delivered 1h");
    assert_eq!(fleet.is(), "wave 2");
    assert_eq!(fleet.gets("kitchen3"), Gets::Base, "it failed all the same");
    // and the wave lasts as long as it would with devices that count
    fleet.wait("59m");
    assert_eq!(fleet.is(), "wave 2");
    fleet.wait("1m");
    assert_eq!(fleet.is(), "wave 3");
}
