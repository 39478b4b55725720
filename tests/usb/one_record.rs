//! What the console tells and what is read from flash of one crash is one record.

use std::time::Duration;

use espgate::coredump::Verdict;
use espgate::store::coredumps::Source;

use super::Site;
use super::board::{boot, panic};
use super::dumps::{DumpSpec, xtensa};
use super::flash::{plug_in, read, start};
use super::simulated_board::console;
use super::simulated_board::flash_image::FlashImage;

#[tokio::test]
async fn a_dump_that_was_printed_and_is_read_from_flash_is_one_dump() {
    let site = Site::with("device_key = \"bench7\"");
    let spec = xtensa();
    let printed = console::crash(&spec.image(0x0102, false), Duration::ZERO, Duration::ZERO);
    let _board = plug_in(&site, &spec.image(0x0102, true), printed);
    site.stored(1).await;
    let read = read(&site).await.unwrap();
    assert_eq!(read.device.as_str(), "bench7");
    assert!(!read.received.kept);
    let dumps = site.dumps();
    assert_eq!(
        (dumps.len(), dumps[0].verdict, dumps[0].source().known()),
        (1, Verdict::Valid, Some(Source::Uart))
    );
    let sidecar: serde_json::Value = serde_json::from_str(&site.beside("json")).unwrap();
    let sightings = sidecar["sightings"].as_array().unwrap();
    assert!(sightings.iter().any(|seen| seen["source"] == "flash"));
    let site = site.stop().await;
    let noted = site.folder.path().join("data/state/ports.json");
    assert!(
        !std::fs::read_to_string(noted)
            .unwrap()
            .contains("in_bootloader\": true")
    );
}

#[tokio::test]
async fn a_dump_that_a_person_reads_is_kept_although_its_crash_was_printed_three_times() {
    let site = Site::with("device_key = \"bench7\"");
    let mut printed = Vec::new();
    for round in 1..=3u8 {
        printed.extend(console::crash(
            &spec_of(round).image(0x0102, false),
            Duration::ZERO,
            Duration::ZERO,
        ));
    }
    let _board = plug_in(&site, &spec_of(9).image(0x0102, true), printed);
    site.stored(3).await;
    let read = read(&site).await.unwrap();
    assert!(read.received.kept);
    let sidecar = site.sidecar();
    assert_eq!(
        (&sidecar["id"], &sidecar["source"], &sidecar["requested"]),
        (
            &read.received.id.as_str().into(),
            &"flash".into(),
            &true.into()
        )
    );
    assert_eq!(site.dumps().len(), 4);
    site.stop().await;
}

#[tokio::test]
async fn a_read_in_the_middle_of_a_crash_loop_leaves_no_crash_of_its_own() {
    let site = Site::with("device_key = \"bench7\"");
    let image = xtensa().image(0x0102, false);
    let mut printed = Vec::new();
    for piece in console::crash(&image, Duration::from_millis(20), Duration::ZERO) {
        printed.extend([piece, console::Piece::Pause(Duration::from_millis(2))]);
    }
    let flash = FlashImage::erased().with_table(Some(esp_idf_part::Flags::empty()));
    let _board = start(
        &site,
        flash.with_dump(&xtensa().image(0x0102, true)),
        |spec| {
            spec.console = printed;
            spec.looping = true;
        },
    );
    site.until(|status| status.stored >= 1).await;
    for _ in 0..4 {
        let before = site.shown().await.status();
        site.until(|status| status.stored > before.stored).await;
        // in the middle of the next dump
        let before = site.shown().await.status();
        site.until(|status| status.bytes > before.bytes + 1200)
            .await;
        read(&site).await.unwrap();
    }
    let before = site.shown().await.status().stored;
    site.until(|status| status.stored > before).await;
    let verdicts: Vec<Verdict> = site.dumps().iter().map(|dump| dump.verdict).collect();
    assert_eq!(verdicts, [Verdict::Valid]);
    site.stop().await;
}

#[tokio::test]
async fn a_panic_and_the_dump_read_from_flash_for_it_are_one_record() {
    let site = Site::with("read_flash = \"on-crash\"");
    let spec = xtensa();
    let _board = plug_in(&site, &spec.image(0x0102, true), vec![once(&spec)]);
    site.until(|status| status.device_key.as_deref() == Some("30aea44b417c"))
        .await;
    one_record(&site).await;
    let sidecar = site.sidecar();
    assert_eq!(
        (&sidecar["source"], &sidecar["verdict"]),
        (&"flash".into(), &"valid".into())
    );
    assert_eq!(sidecar["model_code"], "demo");
    assert_eq!(sidecar["firmware_version"], "1.2.3");
    assert_eq!(sidecar["sightings"].as_array().unwrap().len(), 1);
    assert_eq!(sidecar["sightings"][0]["source"], "uart");
    assert_eq!(site.occurrences(), [1]);
    assert_eq!(sidecar.get("requested"), None);
    // the same dump again is a sighting
    let again = read(&site).await.unwrap();
    assert_eq!(again.received.id.as_str(), sidecar["id"].as_str().unwrap());
    assert_eq!(site.occurrences(), [1]);
    let sidecar = site.sidecar();
    assert_eq!(sidecar["sightings"][1]["source"], "flash");
    assert_eq!(sidecar["requested"], true);
    let site = site.stop().await;
    let noted = site.folder.path().join("data/state/ports.json");
    let noted = std::fs::read(noted).unwrap();
    let noted: serde_json::Value = serde_json::from_slice(&noted).unwrap();
    let reads = &noted["ports"][&site.name]["unasked_reads"]["crashes"];
    assert_eq!(reads.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_printed_dump_goes_with_its_board_when_the_flash_read_finds_its_name() {
    let site = Site::with("");
    let printed = console::crash(
        &xtensa().image(0x0102, false),
        Duration::ZERO,
        Duration::ZERO,
    );
    let _board = plug_in(&site, &xtensa().image(0x0102, true), printed);
    site.stored(1).await;
    assert_eq!(site.sidecar()["identity"], "place");
    read(&site).await.unwrap();
    assert_eq!(site.dumps().len(), 1);
    let sidecar = site.sidecar();
    assert_eq!(sidecar["device_key"], "30aea44b417c");
    assert_eq!(sidecar["sightings"][0]["source"], "uart");
    assert!(site.log_of(&sidecar).contains("Guru Meditation Error"));
    assert_eq!(site.occurrences(), [1]);
    site.stop().await;
}

#[tokio::test]
async fn a_panic_that_was_printed_three_times_gives_way_to_the_dump_once() {
    let site = Site::with("device_key = \"bench7\"");
    let printed = (1..=4).map(|_| once(&xtensa())).collect();
    let _board = plug_in(&site, &xtensa().image(0x0102, true), printed);
    site.stored(4).await;
    let first = read(&site).await.unwrap();
    assert!(first.received.kept);
    let verdicts: Vec<Verdict> = site.dumps().iter().map(|dump| dump.verdict).collect();
    assert_eq!(
        verdicts.iter().filter(|v| **v == Verdict::Valid).count(),
        1,
        "{verdicts:?}"
    );
    // four panics, however often the last one's dump is read
    read(&site).await.unwrap();
    assert_eq!(site.occurrences().iter().sum::<u64>(), 4);
    site.stop().await;
}

#[tokio::test]
async fn a_dump_of_another_crash_than_the_console_told_is_a_record_of_its_own() {
    let site = Site::with("device_key = \"bench7\"");
    let text = panic(&xtensa()).replace("0x4008110a", "0x4008220b");
    let piece = console::Piece::Print(format!("{text}Rebooting...\r\n").into_bytes());
    let _board = plug_in(&site, &xtensa().image(0x0102, true), vec![piece]);
    site.stored(1).await;
    read(&site).await.unwrap();
    assert_eq!(site.dumps().len(), 2);
    assert_eq!(site.sidecar()["sightings"], serde_json::json!([]));
    assert_eq!(site.occurrences(), [1, 1]);
    site.stop().await;
}

/// Another occurrence of the same crash: a stack that differs in one byte.
fn spec_of(round: u8) -> DumpSpec {
    let mut spec = xtensa();
    spec.segments[0].1[0] = round;
    spec
}

/// A boot, the panic of [`xtensa`] without a dump, and the next boot.
fn once(spec: &DumpSpec) -> console::Piece {
    let boot = boot(spec, "1.2.3");
    // a console prints each address stepped back by 3
    let panic = panic(spec).replace("0x4008110a", "0x400d1000");
    let text = format!("{boot}{panic}Rebooting...\r\n{boot}");
    console::Piece::Print(text.into_bytes())
}

/// Until one record is left; the old one goes after the new one came.
async fn one_record(site: &Site) {
    let one = async {
        while site.dumps().len() != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), one)
        .await
        .unwrap();
}
