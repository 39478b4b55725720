//! What is no evidence, or only little.

use super::*;

#[test]
fn a_hang_up_tells_nothing_of_a_build_that_the_device_may_have_to_fetch() {
    for (words, of_target, of_base) in [
        ("asks", false, true),
        ("asks began broke-off=150000", false, true),
        ("asks began delivered", false, true),
        ("asks began delivered booted runs", false, false),
        ("runs", false, false),
        ("asks began delivered booted runs-old", false, true),
    ] {
        let mut fleet = Fleet::of(5);
        fleet.say(&format!("kitchen1: {words}"));
        let tells = |build: &NamedBuild| {
            let device = "kitchen1".parse().unwrap();
            hang_up_tells(&fleet.rollout, &device, build.build_id)
        };
        let (target, base) = (&fleet.rollout.target, &fleet.rollout.base);
        assert_eq!(
            (tells(target), tells(base)),
            (of_target, of_base),
            "{words}"
        );
    }
    // when it has ended the target is a build like any other
    let mut fleet = Fleet::of(5);
    fleet.rollout.ended_at = Some(WALL.to_owned());
    let (device, target) = ("kitchen1".parse().unwrap(), fleet.rollout.target.build_id);
    assert!(hang_up_tells(&fleet.rollout, &device, target));
}

#[test]
fn an_upload_s_version_reverts_nobody_without_a_boot() {
    for (words, state) in [
        ("booted runs names-old", "running"),
        ("booted runs 25h names-old", "soaked"),
        // the boot after which it was seen on the target proves nothing
        ("booted runs booted runs names-old", "running"),
        ("names-old 1m names-old", "downloaded"),
        ("booted names-old", "reverted"),
        ("booted runs booted names-old", "reverted"),
    ] {
        let mut fleet = Fleet::of(5);
        fleet.say(&format!("kitchen1: asks began delivered 1m {words}"));
        assert_eq!(fleet.state("kitchen1"), state, "{words}");
        assert_eq!(fleet.is() == "stopped", state == "reverted", "{words}");
    }
    // nor does it bring anybody back
    let mut fleet = Fleet::of(5);
    fleet.say(&format!("kitchen1: {TAKES_IT}"));
    let why = String::from("doors stay open");
    fleet.person(&Command::Stop { why }).unwrap();
    fleet.say("kitchen1: names-old");
    assert_eq!(fleet.state("kitchen1"), "running");
    fleet.say("kitchen1: booted names-old");
    assert_eq!(fleet.state("kitchen1"), "back");
}

#[test]
fn a_build_that_nobody_here_gave_it_pauses_once_and_is_no_success() {
    let mut fleet = Fleet::of(5);
    let dirty = "runs-unknown=2.0-dirty";
    fleet.say(&format!("kitchen1 kitchen2: {TAKES_IT}"));
    fleet.say(&format!("kitchen1: {dirty}"));
    assert_eq!(
        (fleet.state("kitchen1"), fleet.is()),
        ("running", "paused".into())
    );
    assert_eq!(
        fleet.why(),
        "kitchen1 runs 2.0-dirty, which is not stored here: console"
    );
    fleet.person(&Command::Resume).unwrap();
    fleet.say(&format!("kitchen1: 1h {dirty}"));
    assert_eq!(fleet.is(), "soaking", "said once");
    fleet.say(&format!("kitchen1 kitchen2: 23h {dirty}"));
    assert_eq!(fleet.state("kitchen1"), "running", "not soaked");
    fleet.say("kitchen1: runs heard");
    assert_eq!(fleet.state("kitchen1"), "soaked", "the target after all");
    // who waits for its night with a build of its own is left alone until it boots
    let mut fleet = Fleet::of(5);
    fleet.say(&format!(
        "kitchen1: asks began delivered {dirty} 1m {dirty}"
    ));
    assert_eq!(
        (fleet.state("kitchen1"), fleet.is()),
        ("downloaded", "canary".into())
    );
    fleet.say(&format!("kitchen1: booted {dirty}"));
    assert_eq!(fleet.is(), "paused");
}

#[test]
fn who_was_told_of_it_and_runs_it_is_a_success_whatever_was_seen_of_the_download() {
    for words in ["asks told 1m booted runs", "asks began has-it booted runs"] {
        let mut fleet = Fleet::of(5);
        fleet.say(&format!("kitchen1: {words}"));
        assert_eq!(fleet.state("kitchen1"), "running", "{words}");
        fleet.say("kitchen1: new-crash=d1");
        assert_eq!(fleet.is(), "stopped", "{words}");
    }
}
