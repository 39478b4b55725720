//! Dumps out of the flash of boards that also print.

use std::time::Duration;

use espgate::bootloader;
use espgate::serial::flash_session::SessionError;
use espgate::serial::status::State;
use espgate::serial::{Error, FlashRead, FlashReadError};

use super::Site;
use super::board::{boot, panic};
use super::dumps::{DumpSpec, xtensa};
use super::simulated_board::flash_image::FlashImage;
use super::simulated_board::registers::Chip;
use super::simulated_board::{SimulatedBoard, Spec, console};

/// A board whose bootloader answers, plugged in at the site's port.
pub(crate) fn plug_in(site: &Site, flash: &[u8], console: Vec<console::Piece>) -> SimulatedBoard {
    let image = FlashImage::erased().with_table(Some(esp_idf_part::Flags::empty()));
    start(site, image.with_dump(flash), |spec| spec.console = console)
}

/// A board with this flash, changed as told, plugged in at the site's port.
pub(crate) fn start(
    site: &Site,
    flash: FlashImage,
    change: impl FnOnce(&mut Spec),
) -> SimulatedBoard {
    let mut spec = Spec {
        idle: Duration::from_millis(400),
        ..Spec::new(Chip::Esp32, flash.into_bytes())
    };
    change(&mut spec);
    let simulated = SimulatedBoard::start(spec);
    std::os::unix::fs::symlink(simulated.path(), &site.name).unwrap();
    simulated
}

pub(crate) async fn read(site: &Site) -> Result<FlashRead, FlashReadError> {
    site.ports
        .start_flash_read(&site.name)
        .unwrap()
        .finish()
        .await
}

#[tokio::test]
async fn a_read_whose_asker_left_goes_on_and_leaves_nothing_behind() {
    let site = Site::with("");
    let board = plug_in(&site, &xtensa().image(0x0102, true), vec![]);
    site.reaches(State::Listening).await;
    let begun = site.ports.start_flash_read(&site.name).unwrap();
    let reading = tokio::spawn(begun.finish());
    site.reaches(State::ReadingFlash).await;
    let second = site.ports.start_flash_read(&site.name).map(drop);
    assert!(matches!(second, Err(Error::BeingRead(_))), "{second:?}");
    assert!(site.shown().await.read_progress().is_some());
    reading.abort();
    site.stored(1).await;
    let over = async {
        while site.shown().await.read_progress().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), over)
        .await
        .unwrap();
    // and so does one that ends with its port
    let begun = site.ports.start_flash_read(&site.name).unwrap();
    let reading = tokio::spawn(begun.finish());
    site.reaches(State::ReadingFlash).await;
    drop(board);
    reading.await.unwrap().unwrap_err();
    let site = site.stop().await;
    assert_eq!(site.shown().await.read_progress(), None);
}

#[tokio::test]
async fn a_dump_in_flash_that_an_older_build_left_has_the_version_of_its_bundle() {
    let site = Site::with("");
    let old = xtensa();
    let new = DumpSpec {
        app_elf_sha256: "ffffffff0",
        ..xtensa()
    };
    let printed = vec![console::Piece::Print(boot(&new, "1.2.3").into_bytes())];
    let _board = plug_in(&site, &old.image(0x0102, true), printed);
    site.until(|status| status.firmware_version.as_deref() == Some("1.2.3"))
        .await;
    read(&site).await.unwrap();
    assert_eq!(site.sidecar()["firmware_version"], "1.2.2");
    site.stop().await;
}

#[tokio::test]
async fn a_board_that_its_bootloader_named_keeps_that_name_until_another_may_be_there() {
    let site = Site::with("");
    let printed = console::crash(
        &xtensa().image(0x0102, false),
        Duration::ZERO,
        Duration::ZERO,
    );
    let first = plug_in(&site, &[], printed.clone());
    site.stored(1).await;
    assert_eq!(site.sidecar()["identity"], "place");
    read(&site).await.unwrap_err();
    assert_eq!(site.ports.list()[0].mac.as_deref(), Some("30aea44b417c"));

    let site = site.restart().await;
    site.reaches(State::Listening).await;
    assert_eq!(site.ports.list()[0].mac.as_deref(), Some("30aea44b417c"));

    std::fs::remove_file(&site.name).unwrap();
    drop(first);
    site.reaches(State::Absent).await;
    assert_eq!(site.ports.list()[0].mac, None);
    site.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_says_why_and_the_port_is_listened_to_again() {
    let site = Site::with("");
    let read = async || read(&site).await.unwrap_err();
    site.reaches(State::Absent).await;
    let error = read().await;
    assert!(matches!(error, FlashReadError::Absent), "{error}");
    let _board = plug_in(&site, &[], vec![]);
    site.reaches(State::Listening).await;
    let error = read().await;
    let FlashReadError::Flash(SessionError::Bootloader(bootloader::Error::Empty)) = error else {
        panic!("{error}");
    };
    assert_eq!(site.shown().await.status().state, State::Listening);
    site.stop().await;
}

#[tokio::test]
async fn what_the_board_said_before_its_crash_goes_with_the_dump_read_for_it() {
    let site = Site::with("read_flash = \"on-crash\"");
    let spec = xtensa();
    // the next boot has begun when the flash is read, and said little so far
    let text = format!(
        "{}I (7) app: the last words\r\n{}Rebooting...\r\nrst:0xc (SW_CPU_RESET),boot:0x13\r\n",
        boot(&spec, "1.2.3"),
        panic(&spec)
    );
    let printed = vec![console::Piece::Print(text.into_bytes())];
    let _board = plug_in(&site, &spec.image(0x0102, true), printed);
    site.stored(2).await;
    let sidecar = site.sidecar();
    assert_eq!(sidecar["source"], "flash");
    assert_eq!(sidecar["firmware_version"], "1.2.3");
    let log = site.log_of(&sidecar);
    for line in [
        "the last words",
        "Backtrace: 0x4008110a",
        "(coredump read from flash",
    ] {
        assert!(log.contains(line), "{line} in\n{log}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_loan_whose_asker_left_while_the_flash_was_read_is_given_back() {
    let site = Site::with("");
    let _board = plug_in(&site, &xtensa().image(0x0102, true), vec![]);
    site.reaches(State::Listening).await;
    let reading = tokio::spawn({
        let begun = site.ports.start_flash_read(&site.name).unwrap();
        begun.finish()
    });
    site.reaches(State::ReadingFlash).await;
    let lend = site.ports.lend(&site.name);
    let left = tokio::time::timeout(Duration::from_millis(50), lend).await;
    assert!(left.is_err(), "it was not being read any more");
    reading.await.unwrap().unwrap();
    site.reaches(State::Listening).await;
    drop(site.ports.lend(&site.name).await.unwrap());
    site.reaches(State::Listening).await;
    site.stop().await;
}

#[tokio::test]
async fn a_board_that_may_have_been_exchanged_while_its_port_was_released_is_not_known() {
    let site = Site::with("");
    let _board = plug_in(&site, &[], vec![]);
    site.reaches(State::Listening).await;
    read(&site).await.unwrap_err();
    let known = |site: &Site| site.ports.list()[0].mac.clone();
    assert!(known(&site).is_some());
    drop(site.ports.lend(&site.name).await.unwrap());
    site.reaches(State::Listening).await;
    assert!(known(&site).is_some(), "a flasher exchanges no board");
    site.ports.release(&site.name, None).await.unwrap();
    site.reaches(State::Released).await;
    assert_eq!(known(&site), None);
    site.stop().await;
}
