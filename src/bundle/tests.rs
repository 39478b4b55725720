//! Whole bundles, good and bad.

use std::io::Cursor;

use super::fixture::{self, Build};
use super::*;
use crate::esp::image_check::Fault;

fn model() -> ModelCode {
    "lamp".parse().unwrap()
}

fn limits() -> BundleLimits {
    BundleLimits::for_bundles_of(1 << 20)
}

fn checked(zip: &[u8]) -> Result<Bundle, Refusal> {
    check(Cursor::new(zip), &model(), &limits(), None)
}

fn refusal(zip: &[u8]) -> String {
    checked(zip).unwrap_err().to_string()
}

/// The files of a good bundle with `change` made to them.
fn with(change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Vec<u8> {
    let mut files = Build::of("lamp").files();
    change(&mut files);
    fixture::zip(&files)
}

fn replaced(name: &str, bytes: &[u8]) -> Vec<u8> {
    with(|files| {
        let file = files.iter_mut().find(|(file, _)| file == name);
        file.unwrap().1 = bytes.to_vec();
    })
}

#[test]
fn a_good_bundle_is_known_by_its_bin_and_has_no_warnings() {
    let build = Build::of("lamp");
    let bundle = checked(&build.zip()).unwrap();
    assert_eq!(bundle.warnings, []);
    assert_eq!(bundle.image.version.as_str(), "1.2.3");
    assert_eq!(bundle.size, build.bin().len() as u64);
    assert_eq!(bundle.sha256, Sha256::of(&build.bin()));
    assert_eq!(bundle.elf_sha256, Some(Sha256::of(&build.elf())));
    assert_eq!(bundle.app_elf_sha256(), bundle.elf_sha256);
    assert_eq!(bundle.manifest.unwrap().git_commit, "c0ffee");
}

#[test]
fn files_are_missing_before_others_are_unexpected() {
    let zip = with(|files| {
        files.retain(|(name, _)| name != "sdkconfig" && name != "lamp.map");
        files.push(("notes.txt".to_owned(), Vec::new()));
    });
    let text = "Invalid firmware ZIP: missing lamp.map, sdkconfig";
    assert_eq!(refusal(&zip), text);
}

#[test]
fn unexpected_files_are_listed_sorted() {
    for (extra, text) in [
        (&["z", "a.txt"][..], "a.txt, z"),
        (&["build/"], "build/"),
        (&["../lamp.bin"], "../lamp.bin"),
        (&["/etc/passwd"], "/etc/passwd"),
        (&["LAMP.bin"], "LAMP.bin"),
        (&["a\nb\u{202e}"], "a\\nb\\u{202e}"),
    ] {
        let zip = with(|files| files.extend(extra.iter().map(|n| (n.to_string(), vec![]))));
        let text = format!("Invalid firmware ZIP: unexpected files: {text}");
        assert_eq!(refusal(&zip), text);
    }
}

#[test]
fn a_bundle_of_another_model_misses_three_files() {
    let text = "Invalid firmware ZIP: missing lamp.bin, lamp.elf, lamp.map";
    assert_eq!(refusal(&Build::of("other").zip()), text);
}

#[test]
fn version_json_and_image_are_refused_in_fixed_words() {
    for (name, bytes, text) in [
        (
            "version.json",
            &b"{"[..],
            "Invalid firmware ZIP: version.json is not valid JSON: \
             EOF while parsing an object at line 1 column 1",
        ),
        (
            "version.json",
            b"{\"git_commit\":\"\"}",
            "Invalid firmware ZIP: version.json missing fields: firmware_version, idf_version",
        ),
        (
            "lamp.bin",
            b"",
            "Invalid firmware: binary too short (minimum 80 bytes required)",
        ),
    ] {
        assert_eq!(refusal(&replaced(name, bytes)), text);
    }
}

#[test]
fn entries_of_the_same_name_are_refused() {
    let zip = with(|files| files.push(("sdkconfiG".to_owned(), Vec::new())));
    let zip = fixture::rename_entry(zip, "sdkconfiG", "sdkconfig");
    assert_eq!(refusal(&zip), "Invalid firmware ZIP: duplicate entries");
}

#[test]
fn encrypted_entries_and_links_are_refused() {
    let mut encrypted = Build::of("lamp").zip();
    let directory = encrypted.windows(4).position(|w| w == b"PK\x01\x02");
    encrypted[directory.unwrap() + 8] |= 1;
    let text = "Invalid firmware ZIP: lamp.bin is encrypted";
    assert_eq!(refusal(&encrypted), text);

    let mut link = Build::of("lamp").zip();
    let directory = link.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    link[directory + 40..directory + 42].copy_from_slice(&0xA1FF_u16.to_le_bytes());
    assert_eq!(refusal(&link), "Invalid firmware ZIP: lamp.bin is a link");
}

#[test]
fn a_zip_bomb_is_refused_whether_it_declares_its_size_or_lies() {
    let zeros = vec![0; 6 << 20];
    let honest = replaced("lamp.map", &zeros);
    assert!(honest.len() < 20_000);
    let text = "Invalid firmware ZIP: uncompressed size exceeds 5242880 bytes";
    assert_eq!(refusal(&honest), text);

    let mut lying = honest;
    let size = u32::try_from(zeros.len()).unwrap().to_le_bytes();
    for place in 0..lying.len() - 4 {
        if lying[place..place + 4] == size {
            lying[place..place + 4].copy_from_slice(&[1, 0, 0, 0]);
        }
    }
    let text = refusal(&lying);
    assert!(
        text.starts_with("Invalid firmware ZIP: lamp.map: "),
        "{text}"
    );
}

#[test]
fn a_directory_of_thousands_is_refused_without_being_held() {
    for count in [100, 60_000] {
        let files: Vec<_> = (0..count).map(|i| (format!("{i}"), b"")).collect();
        let text = refusal(&fixture::zip(&files));
        assert!(text.starts_with("Invalid firmware ZIP: "), "{text}");
        assert!(text.len() < 200, "{text}");
    }
}

#[test]
fn damaged_zips_are_refused_wherever_they_are_cut_or_flipped() {
    let zip = Build::of("lamp").zip();
    for length in 0..zip.len() {
        assert!(refusal(&zip[..length]).starts_with("Invalid firmware ZIP: "));
    }
    // a flip may hit what nobody reads (a date); it must never be worse than a refusal
    for place in 0..zip.len() {
        let mut flipped = zip.clone();
        flipped[place] ^= 0x55;
        if let Err(refusal) = checked(&flipped) {
            assert!(
                !matches!(refusal, Refusal::Io(_)),
                "byte {place}: {refusal}"
            );
        }
    }
}

#[test]
fn flipped_data_never_passes_for_the_same_bundle() {
    let zip = Build::of("lamp").zip();
    let data = 100..600;
    for place in data {
        let mut flipped = zip.clone();
        flipped[place] ^= 1;
        assert!(checked(&flipped).is_err(), "byte {place}");
    }
}

#[test]
fn a_doubtful_bundle_is_taken_with_warnings() {
    let mut header_only = Build::of("lamp").bin();
    header_only.truncate(300);
    let zip = with(|files| {
        files[0].1 = header_only;
        files[1].1 = fixture::elf(2, false);
        files[3].1 = b"CONFIG_WIFI_PASSWORD=\"x\"\n".to_vec();
    });
    let bundle = checked(&zip).unwrap();
    assert_eq!(
        bundle.warnings,
        [
            Warning::Image(Fault::NotWhole),
            Warning::OtherElf {
                named: Some(Sha256::of(&fixture::elf(1, true)))
            },
            Warning::NoDebugInfo,
            Warning::CoredumpsOff,
            Warning::Secrets(vec!["CONFIG_WIFI_PASSWORD".to_owned()]),
        ]
    );
    assert!(bundle.warnings.iter().all(|w| !w.keeps_inactive()));
}

#[test]
fn a_bare_bin_is_known_by_itself() {
    let bin = Build::of("lamp").bin();
    let bundle = check_bare(bin.as_slice(), None).unwrap();
    assert_eq!(bundle.warnings, []);
    assert_eq!(bundle.sha256, Sha256::of(&bin));
    assert_eq!(bundle.elf_sha256, None);
    assert!(bundle.app_elf_sha256().is_some());
    assert!(!is_zip(&bin) && is_zip(&Build::of("lamp").zip()));
}

#[test]
fn an_empty_upload_is_no_firmware() {
    let text = check_bare(&b""[..], None).unwrap_err().to_string();
    assert_eq!(text, "No firmware content provided");
}

#[test]
fn a_part_is_extracted_as_it_went_in() {
    let build = Build::of("lamp");
    for (part, expected) in [(Part::Bin, build.bin()), (Part::Elf, build.elf())] {
        let mut to = Vec::new();
        let zip = Cursor::new(build.zip());
        let (size, sha256) = extract(zip, &model(), part, &limits(), &mut to).unwrap();
        assert_eq!(to, expected);
        assert_eq!((size, sha256), (to.len() as u64, Sha256::of(&to)));
    }
}
