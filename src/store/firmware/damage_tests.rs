//! Builds whose files were lost or damaged.

use std::fs::{self, File};
use std::io::Write as _;

use super::test_firmware::{TestFirmware, contents, hash8, id, lamp, other, version};
use crate::digest::Sha256;

#[test]
fn missing_and_damaged_sidecars_are_made_again() {
    let mut site = TestFirmware::new();
    let one = version("1");
    let before = site.upload(&one.zip()).build;
    site.upload(&version("2").bin());
    fs::remove_file(site.path("lamp/firmware-1.json")).unwrap();
    site.damage("lamp/firmware-2.json", b"{");
    site.damage("lamp/notes.txt", b"");
    site.damage("lamp/firmware-9.json", b"{}");
    site.reopen();
    let mut names = site.names();
    names.sort();
    assert_eq!(names, ["1", "2"]);
    let after = site.firmware.get(&lamp(), id(&one)).unwrap().unwrap();
    assert_eq!(
        (after.sha256, after.bin_sha256),
        (before.sha256, before.bin_sha256)
    );
    assert_eq!((after.chip, after.warnings), (before.chip, before.warnings));
    assert!(site.path("lamp/firmware-2.json.damaged").exists());
    assert!(!site.path("lamp/firmware-9.json").exists());
}

#[test]
fn a_file_that_is_not_what_its_name_says_is_not_served() {
    let mut site = TestFirmware::new();
    fs::create_dir(site.path("lamp")).unwrap();
    site.damage("lamp/firmware-1.zip", &version("2").zip());
    site.damage("lamp/firmware-3.zip", b"PK\x03\x04");
    site.reopen();
    assert_eq!(site.names(), [""; 0]);
    assert!(site.image(&version("1")).is_none());
}

#[test]
fn images_survive_the_loss_of_the_cache() {
    let mut site = TestFirmware::new();
    let one = version("1");
    site.upload(&one.zip());
    fs::remove_dir_all(site.root.path().join("cache/images")).unwrap();
    assert_eq!(site.image(&one).unwrap(), (one.bin(), None));
    let cached = site
        .root
        .path()
        .join(format!("cache/images/{}.bin", Sha256::of(&one.bin())));
    File::create(&cached).unwrap().write_all(b"rot").unwrap();
    assert_eq!(site.image(&one).unwrap(), (one.bin(), None));
    assert_eq!(fs::read(cached).unwrap(), one.bin());
}

#[test]
fn an_unreadable_bundle_is_stood_in_for() {
    let mut site = TestFirmware::new();
    let one = version("1");
    site.upload(&one.zip());
    let stored = site.firmware.image(&lamp(), id(&one)).unwrap().unwrap();
    site.damage("lamp/firmware-1.zip", b"PK\x03\x04 rot");
    assert_eq!(contents(stored), one.bin(), "what was open goes on");

    let (bytes, trouble) = site.image(&one).unwrap();
    assert_eq!(bytes, one.bin());
    assert!(trouble.is_some(), "by its copy, and it says so");
    assert!(site.firmware.bundle(&lamp(), id(&one)).is_err());

    for lose_index in [false, true] {
        let _ = fs::remove_dir_all(site.root.path().join("cache/images"));
        if lose_index {
            site.reopen();
        }
        let (bytes, trouble) = site.image(&one).unwrap();
        assert_eq!(bytes, one.bin());
        assert!(trouble.is_some(), "by the image of the last upload");
    }
    fs::remove_file(site.path("lamp/firmware-1.zip")).unwrap();
    assert!(site.image(&one).unwrap().1.is_some());
}

#[test]
fn the_image_of_another_version_stands_in_for_nothing() {
    let mut site = TestFirmware::new();
    let one = version("1");
    site.upload(&one.zip());
    site.upload(&version("2").zip());
    lose_copies(&site);
    site.damage("lamp/firmware-1.zip", b"rot");
    assert!(site.firmware.image(&lamp(), id(&one)).is_err());
}

#[test]
fn another_build_of_the_same_version_stands_in_for_nothing() {
    let mut site = TestFirmware::new();
    let (one, two) = (other(1), other(2));
    site.upload(&one.zip());
    site.upload(&two.zip());
    lose_copies(&site);
    let aside = format!("lamp/firmware-1.2.3~{}.zip", hash8(&one));
    site.damage(&aside, b"rot");
    assert!(site.firmware.image(&lamp(), id(&one)).is_err());
    fs::remove_file(site.path(&aside)).unwrap();
    site.reopen();
    assert!(site.image(&one).is_none());
    assert_eq!(site.image(&two).unwrap(), (two.bin(), None));
}

#[test]
fn what_cannot_be_read_now_costs_no_other_build_and_is_read_again() {
    let mut site = TestFirmware::new();
    let (one, two, three) = (version("1"), version("2"), version("3"));
    let whole = site.upload(&one.zip()).build;
    for build in [&two, &three] {
        site.upload(&build.zip());
    }
    // reading them fails with ELOOP, also for root
    let make_unreadable = |name: &str| {
        let path = site.path(name);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(path.file_name().unwrap(), &path).unwrap();
    };
    make_unreadable("lamp/firmware-1.json");
    make_unreadable("lamp/firmware-2.zip");
    fs::remove_file(site.path("lamp/firmware-3.zip")).unwrap();
    make_unreadable("lamp/firmware-3.json");
    site.reopen();
    site.firmware.between_reads = std::time::Duration::ZERO;
    assert_eq!(
        site.names(),
        ["1"],
        "by its file, and the others not at all"
    );
    assert_eq!(site.image(&one).unwrap(), (one.bin(), None));
    assert!(site.firmware.check_read(&lamp()).is_err());
    assert!(
        site.path("lamp/firmware-1.json").is_symlink(),
        "not written over"
    );
    for name in [
        "lamp/firmware-1.json",
        "lamp/firmware-2.zip",
        "lamp/firmware-3.json",
    ] {
        fs::remove_file(site.path(name)).unwrap();
    }
    site.damage("lamp/firmware-2.zip", &two.zip());
    let mut names = site.names();
    names.sort();
    assert_eq!(names, ["1", "2"]);
    assert!(site.firmware.check_read(&lamp()).is_ok());
    let again = site.firmware.get(&lamp(), id(&one)).unwrap().unwrap();
    assert_eq!(again.sha256, whole.sha256);
}

fn lose_copies(site: &TestFirmware) {
    fs::remove_dir_all(site.root.path().join("cache/images")).unwrap();
}
