//! Builds that come, are replaced, served, found and removed.

use std::fs;
use std::time::Duration;

use super::test_firmware::*;
use super::*;
use crate::bundle::fixture;
use crate::bundle::{Refusal, Warning};
use crate::clock::Moment;
use crate::digest::Sha256;

#[test]
fn a_bundle_is_stored_as_uploaded_and_its_image_served() {
    let mut site = TestFirmware::new();
    let one = version("1.2.3");
    let published = site.upload(&one.zip());
    assert_eq!(published.build.name, "1.2.3");
    assert_eq!(published.build.chip.as_deref(), Some("esp32s3"));
    assert!(published.activatable && !published.known);
    assert_eq!(published.warnings, []);
    assert_eq!(
        site.files(),
        [
            "firmware-lamp.bin",
            "lamp/firmware-1.2.3.json",
            "lamp/firmware-1.2.3.zip"
        ]
    );
    assert_eq!(site.image(&one).unwrap(), (one.bin(), None));
    assert_eq!(fs::read(site.path("firmware-lamp.bin")).unwrap(), one.bin());
    let zip = site.firmware.bundle(&lamp(), id(&one)).unwrap().unwrap();
    assert_eq!(zip.sha256, Sha256::of(&one.zip()));
    assert_eq!(contents(zip), one.zip());
    let unknown = version("9");
    assert!(site.image(&unknown).is_none());
    let bundle = site.firmware.bundle(&lamp(), id(&unknown));
    assert!(bundle.unwrap().is_none());
}

#[test]
fn a_refused_upload_leaves_nothing_behind() {
    let mut site = TestFirmware::new();
    let refusal = site.try_upload(b"").unwrap_err();
    assert_eq!(refusal.to_string(), "No firmware content provided");
    let refusal = site
        .try_upload(&fixture::Build::of("other").zip())
        .unwrap_err();
    assert!(matches!(
        refusal,
        PublishError::Refused(Refusal::Missing(_))
    ));
    assert_eq!(site.files(), [""; 0]);
    assert!(!site.path("lamp").exists());
}

#[test]
fn a_limit_that_is_lowered_is_not_for_what_is_stored() {
    let mut site = TestFirmware::new();
    let stored = version("1.0");
    site.upload(&stored.zip());
    let tiny = BundleLimits {
        inflated: 10,
        ..BundleLimits::for_bundles_of(1)
    };
    site.firmware.set_limits(tiny);
    let refused = site.try_upload(&version("2.0").zip());
    assert!(matches!(refused, Err(PublishError::Refused(_))));
    // Neither its sidecar nor what was taken out of it is there.
    fs::remove_file(site.path("lamp/firmware-1.0.json")).unwrap();
    fs::remove_dir_all(site.root.path().join("cache")).unwrap();
    fs::create_dir(site.root.path().join("cache")).unwrap();
    site.reopen();
    site.firmware.set_limits(tiny);
    assert_eq!(site.image(&stored).unwrap(), (stored.bin(), None));
}

#[test]
fn a_bundle_is_refused_when_dumps_would_lack_the_room() {
    let site = TestFirmware::new();
    assert!(site.firmware.check_room(1, 0).is_ok());
    let full = site.firmware.check_room(1, u64::MAX / 2);
    assert!(matches!(full, Err(Error::Full { .. })));
    let mut upload = site.firmware.incoming().unwrap();
    upload.write(&version("1").zip()).unwrap();
    let arrival = Arrival {
        at: Moment::now(),
        sequence: 1,
        active: None,
        version: None,
        by: None,
    };
    let full = site
        .firmware
        .publish(&lamp(), upload, &arrival, u64::MAX / 2);
    assert!(matches!(full, Err(PublishError::Store(Error::Full { .. }))));
    assert_eq!(site.files(), [""; 0]);
}

#[test]
fn a_bare_image_is_stored_as_it_is() {
    let mut site = TestFirmware::new();
    let two = version("2");
    assert_eq!(site.upload(&two.bin()).build.kind, Kind::Bin);
    assert_eq!(
        site.files(),
        [
            "firmware-lamp.bin",
            "lamp/firmware-2.bin",
            "lamp/firmware-2.json"
        ]
    );
    assert_eq!(site.image(&two).unwrap(), (two.bin(), None));
    assert!(site.firmware.bundle(&lamp(), id(&two)).unwrap().is_none());
    assert!(site.firmware.elf_of(&lamp(), "2").unwrap().is_none());
}

#[test]
fn another_build_of_a_version_keeps_the_older_one_decodable() {
    let mut site = TestFirmware::new();
    let (one, two) = (other(1), other(2));
    site.upload(&one.zip());
    let published = site.upload(&two.zip());
    let aside = format!("1.2.3~{}", hash8(&one));
    let version = "1.2.3".to_owned();
    assert_eq!(published.warnings, [Warning::OtherBuild { version }]);
    for _ in 0..2 {
        assert_eq!(site.names(), ["1.2.3", &aside]);
        assert_eq!(site.named("1.2.3"), ["1.2.3"]);
        assert_eq!(site.image(&two).unwrap().0, two.bin());
        assert_eq!(site.image(&one).unwrap().0, one.bin());
        let elf = site.firmware.elf(&hash8(&one)).unwrap().unwrap();
        assert_eq!(fs::read(&elf.path).unwrap(), one.elf());
        assert_eq!(elf.build.name, aside);
        site.reopen();
    }

    // and back again
    site.upload(&one.zip());
    let other_aside = format!("1.2.3~{}", hash8(&two));
    assert_eq!(site.names(), ["1.2.3", &other_aside]);
    assert_eq!(site.image(&two).unwrap().0, two.bin());
    assert_eq!(site.named(&aside), ["1.2.3"], "found by both names");
}

#[test]
fn a_build_is_found_by_version_hash_and_the_digits_of_its_id() {
    let mut site = TestFirmware::new();
    let (one, two) = (other(1), other(2));
    site.upload(&one.zip());
    site.upload(&two.zip());
    let aside = format!("1.2.3~{}", hash8(&one));
    let long = format!("1.2.3~{}", id(&one));
    for (text, expected) in [
        ("1.2.3", Some("1.2.3")),
        (&format!("1.2.3~{}", hash8(&two)), Some("1.2.3")),
        (&aside, Some(aside.as_str())),
        (&long, Some(&aside)),
        (&long[..14], Some(&aside)),
        (&id(&two).to_string(), Some("1.2.3")),
        (&id(&one).short(), Some(&aside)),
        (&id(&one).short().to_uppercase(), Some(&aside)),
        (&id(&one).short()[..7], None),
        (&aside[..13], None),
        ("1.2.4", None),
        ("", None),
        ("~", None),
        ("00000000", None),
    ] {
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(site.named(text), expected, "{text}");
    }
    // the newest upload of a version that is left
    site.firmware.delete(&lamp(), id(&two)).unwrap();
    assert_eq!(site.named("1.2.3"), [aside]);
}

#[test]
fn builds_of_one_program_are_told_apart_by_their_ids() {
    let mut site = TestFirmware::new();
    let signed = |secure_version| fixture::Build {
        secure_version,
        ..other(1)
    };
    let all = [signed(1), signed(2), signed(3)];
    for build in &all {
        site.upload(&build.zip());
    }
    let by_elf = format!("1.2.3~{}", hash8(&all[0]));
    let by_id = format!("1.2.3~{}", id(&all[1]).short());
    assert_eq!(site.names(), ["1.2.3", &by_id, &by_elf]);
    for build in &all {
        assert_eq!(site.image(build).unwrap(), (build.bin(), None));
    }
    assert_eq!(site.named(&by_elf), [by_elf.as_str()], "as it is shown");
    let digits = &Sha256::of(&all[0].elf()).to_string()[..12];
    assert_eq!(site.named(&format!("1.2.3~{digits}")).len(), 3);
}

#[test]
fn a_bare_image_does_not_cost_the_bundle_of_the_same_build() {
    let mut site = TestFirmware::new();
    let (one, two) = (other(1), other(2));
    site.upload(&one.zip());
    site.upload(&two.zip());
    let published = site.upload(&one.bin());
    assert!(published.known);
    assert_eq!(
        (published.build.kind, published.build.name),
        (Kind::Zip, "1.2.3".to_owned())
    );
    site.reopen();
    assert!(site.firmware.elf(&hash8(&one)).unwrap().is_some());
    assert_eq!(site.names(), ["1.2.3", &format!("1.2.3~{}", hash8(&two))]);
}

#[test]
fn the_same_build_again_changes_nothing_unless_it_says_more() {
    let mut site = TestFirmware::new();
    let one = other(1);
    site.upload(&one.bin());
    let published = site.upload(&one.zip());
    assert!(published.known);
    let files = [
        "firmware-lamp.bin",
        "lamp/firmware-1.2.3.json",
        "lamp/firmware-1.2.3.zip",
    ];
    assert_eq!(site.files(), files);
    assert_eq!(published.build.kind, Kind::Zip);

    let published = site.upload(&one.bin());
    assert!(published.known);
    assert_eq!(published.build.kind, Kind::Zip);

    let mut wrong = one.files();
    wrong[1].1 = fixture::elf(9, true);
    let published = site.upload(&fixture::zip(&wrong));
    assert!(published.known && published.build.has_its_elf());
    assert!(matches!(published.warnings[..], [Warning::OtherElf { .. }]));
    assert_eq!(site.files(), files);
    assert!(site.firmware.elf(&hash8(&one)).unwrap().is_some());
}

#[test]
fn another_chip_or_a_lower_secure_version_is_stored_but_not_to_be_activated() {
    let mut site = TestFirmware::new();
    let secure = fixture::Build {
        secure_version: 2,
        ..version("1")
    };
    assert!(site.upload(&secure.zip()).activatable);
    let published = site.upload(&version("2").zip());
    assert!(!published.activatable);
    let lower = Warning::LowerSecureVersion { before: 2, now: 0 };
    assert_eq!(published.warnings, [lower]);

    let foreign = fixture::Build {
        chip_id: 5,
        ..version("3")
    };
    let published = site.upload(&foreign.zip());
    assert!(!published.activatable);
    assert!(matches!(
        published.warnings[..],
        [Warning::OtherChip { .. }]
    ));
    assert_eq!(published.build.warnings.len(), 1);
    assert_eq!(site.names(), ["3", "2", "1"]);
}

#[test]
fn what_is_deleted_is_gone_with_its_copies() {
    let mut site = TestFirmware::new();
    let one = version("1");
    site.upload(&one.zip());
    site.firmware.elf(&hash8(&one)).unwrap().unwrap();
    assert!(site.firmware.delete(&lamp(), id(&one)).unwrap().is_some());
    assert_eq!(site.files(), [""; 0]);
    assert!(site.image(&one).is_none());
    assert!(site.firmware.elf(&hash8(&one)).unwrap().is_none());
    for folder in ["images", "elfs"] {
        let cached = fs::read_dir(site.root.path().join("cache").join(folder)).unwrap();
        assert_eq!(cached.count(), 0, "{folder}");
    }
    assert!(site.firmware.delete(&lamp(), id(&one)).unwrap().is_none());
}

#[test]
fn an_elf_is_found_by_any_beginning_of_its_hash_but_none() {
    let mut site = TestFirmware::new();
    let one = version("1");
    site.upload(&one.zip());
    let hash = Sha256::of(&one.elf()).to_string();
    for length in [1, 9, 16, 64] {
        let elf = site.firmware.elf(&hash[..length]).unwrap().unwrap();
        assert_eq!(
            (elf.sha256.to_string(), elf.build.name),
            (hash.clone(), "1".to_owned())
        );
    }
    assert!(site.firmware.elf("").unwrap().is_none());
    assert!(site.firmware.elf("ffffffffff").unwrap().is_none());
    let elf = site.firmware.elf_of(&lamp(), "1").unwrap().unwrap();
    assert_eq!(fs::read(elf.path).unwrap(), one.elf());
}

#[test]
fn a_sweep_keeps_the_newest_and_what_is_in_use() {
    let mut site = TestFirmware::new();
    for name in ["1", "2", "3", "4"] {
        site.upload(&version(name).zip());
    }
    let mut now = Moment::now();
    now.wall += Duration::from_secs(31 * 24 * 60 * 60);
    let in_use = |_: &ModelCode, build: &Build| Use {
        served: build.name == "1",
        ..Use::default()
    };
    now.synced = false;
    assert_eq!(
        site.firmware
            .sweep(2, &now, in_use, |_, _| false)
            .unwrap()
            .len(),
        0,
        "no clock, no age"
    );
    now.synced = true;
    let removed = site.firmware.sweep(2, &now, in_use, |_, _| false).unwrap();
    let removed: Vec<String> = removed.into_iter().map(|r| r.build.name).collect();
    assert_eq!(removed, ["2"]);
    assert_eq!(site.names(), ["4", "3", "1"]);
}
