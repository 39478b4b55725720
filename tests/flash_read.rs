//! The flash read against a simulated board on a pseudo terminal.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use esp_idf_part::Flags;
use espgate::bootloader::partition::BadTable;
use espgate::bootloader::{self, LineActivity, RawDump, ReadProgress, ReadStage, SessionSettings};
use espgate::device::Chip;
use espgate::serial::flash_session::{
    BootloaderNote, FlashReadOptions, SessionError, read_coredump,
};
use espgate::serial::link::{LinkError, ModemLines, SerialLink};
use espgate::serial::reset::ResetCircuit;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

#[path = "common/simulated_board/mod.rs"]
mod simulated_board;

use simulated_board::flash_image::{COREDUMP_OFFSET, COREDUMP_SIZE, FlashImage, coredump};
use simulated_board::registers::Chip as Silicon;
use simulated_board::{Faults, Mode, SimulatedBoard, Spec};

/// A board with `dump` in its flash that is soon back in its application.
fn board(chip: Silicon, dump: &[u8]) -> Spec {
    let image = FlashImage::erased().with_table(Some(Flags::empty()));
    quick(chip, image.with_dump(dump))
}

fn quick(chip: Silicon, image: FlashImage) -> Spec {
    Spec {
        idle: Duration::from_millis(400),
        ..Spec::new(chip, image.into_bytes())
    }
}

/// The same, waiting for longer than a reader that lost an answer.
fn patient(chip: Silicon, dump: &[u8], faults: Faults) -> Spec {
    Spec {
        idle: Duration::from_millis(900),
        faults,
        ..board(chip, dump)
    }
}

struct Outcome {
    read: Result<RawDump, SessionError>,
    notes: Vec<BootloaderNote>,
    progress: Vec<ReadProgress>,
    opcodes: Vec<u8>,
}

impl Outcome {
    fn failure(self) -> bootloader::Error {
        match self.read {
            Err(SessionError::Bootloader(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }
}

async fn read(spec: Spec) -> Outcome {
    read_with(spec, SessionSettings::default(), CancellationToken::new()).await
}

async fn read_with(spec: Spec, settings: SessionSettings, stop: CancellationToken) -> Outcome {
    let unplugged = spec.faults.gone_after.is_some();
    let mut board = SimulatedBoard::start(spec);
    let options = FlashReadOptions {
        reset: ResetCircuit::Classic,
        lines: ModemLines::ON,
        console_baud: 115_200,
        settings,
    };
    let mut link = SerialLink::open(board.path(), 115_200, options.lines).unwrap();
    let (mut notes, mut progress) = (vec![], vec![]);
    let read = read_coredump(
        &mut link,
        &options,
        &stop,
        &mut |note| notes.push(note),
        &mut |step| progress.push(step),
    )
    .await;
    if !unplugged {
        assert_eq!(notes, [BootloaderNote::Entering, BootloaderNote::Left]);
        // Waiting blocks; other boards of the same test go on.
        let waiting = tokio::task::spawn_blocking(move || {
            board.wait_for(Mode::Application);
            board
        });
        board = waiting.await.unwrap();
    }
    Outcome {
        read,
        notes,
        progress,
        opcodes: board.opcodes(),
    }
}

#[tokio::test]
async fn exactly_the_dump_is_read_on_each_chip() {
    for (silicon, chip) in [
        (Silicon::Esp32, Chip::Esp32),
        (Silicon::Esp32S2, Chip::Esp32S2),
        (Silicon::Esp32C3, Chip::Esp32C3),
    ] {
        for length in [0x20, 64, 9396] {
            let dump = coredump(length, chip.id());
            let found = read(board(silicon, &dump)).await.read.unwrap();
            assert_eq!(found.bytes, dump, "{chip}, {length} bytes");
            assert_eq!(found.chip, chip);
            assert_eq!(found.mac.unwrap().to_string(), "30aea44b417c", "{chip}");
            assert_eq!(
                (found.offset, found.partition_size),
                (COREDUMP_OFFSET, COREDUMP_SIZE)
            );
        }
    }
}

#[tokio::test]
async fn nothing_is_ever_asked_that_changes_a_board() {
    // Sync, read register, flash size, attach, read flash, speed, security info.
    const ALLOWED: [u8; 7] = [0x08, 0x0A, 0x0B, 0x0D, 0x0E, 0x0F, 0x14];
    for silicon in [Silicon::Esp32, Silicon::Esp32S2, Silicon::Esp32C3] {
        let faults = Faults {
            cut_every: Some(60),
            ..Faults::default()
        };
        let outcome = read(patient(silicon, &coredump(9396, 0), faults)).await;
        assert!(outcome.read.is_ok(), "{:?}", outcome.read);
        let asked = outcome.opcodes;
        assert!(
            asked.iter().all(|opcode| ALLOWED.contains(opcode)),
            "{asked:x?}"
        );
        assert!(asked.contains(&0x0E) && asked.contains(&0x0F), "{asked:x?}");
    }
}

#[tokio::test]
async fn progress_counts_up_to_the_length_in_the_header() {
    let outcome = read(board(Silicon::Esp32, &coredump(1000, 0))).await;
    let reading = outcome.progress.iter().filter(|step| step.total > 0);
    let done: Vec<_> = reading.map(|step| (step.done, step.total)).collect();
    assert!(done.is_sorted(), "{done:?}");
    assert_eq!(done.first(), Some(&(64, 1000)));
    assert_eq!(done.last(), Some(&(1000, 1000)));
    assert_eq!(outcome.progress[0].stage, ReadStage::Connecting);
}

#[tokio::test]
async fn each_reason_for_no_dump_has_its_own_failure() {
    let dump = coredump(9396, 0);
    let image = |flags| FlashImage::erased().with_table(flags).with_dump(&dump);
    let plain = Some(Flags::empty());
    let esp32 = |image| quick(Silicon::Esp32, image);
    let mut erased_dump = vec![0; 32];
    erased_dump[..4].fill(0xFF);
    let available = COREDUMP_SIZE;
    let table = |cause| bootloader::Error::Table {
        offset: 0x8000,
        cause,
    };
    let encrypting = |silicon, image| Spec {
        encrypting: true,
        ..quick(silicon, image)
    };
    let cases = [
        (esp32(FlashImage::erased()), table(BadTable::Missing)),
        (esp32(image(None)), bootloader::Error::NoPartition),
        (
            esp32(FlashImage::erased().with_table(plain)),
            bootloader::Error::Empty,
        ),
        (
            esp32(image(plain).with_dump(&erased_dump)),
            bootloader::Error::Empty,
        ),
        (
            esp32(image(plain).with_dump(&[0; 4])),
            bootloader::Error::Empty,
        ),
        (
            esp32(image(plain).with_dump(&0x2_0001_u32.to_le_bytes())),
            bootloader::Error::Implausible {
                length: 0x2_0001,
                available,
            },
        ),
        (
            encrypting(Silicon::Esp32, image(plain).encrypted()),
            bootloader::Error::Encrypted,
        ),
        (
            encrypting(Silicon::Esp32C3, image(plain).encrypted()),
            bootloader::Error::Encrypted,
        ),
        (
            encrypting(Silicon::Esp32C3, image(Some(Flags::ENCRYPTED))),
            bootloader::Error::Encrypted,
        ),
        (
            Spec {
                secure_download: true,
                ..board(Silicon::Esp32C3, &dump)
            },
            bootloader::Error::SecureDownload,
        ),
        (
            Spec {
                secure_download: true,
                ..board(Silicon::Esp32S2, &dump)
            },
            bootloader::Error::SecureDownload,
        ),
        (
            board(Silicon::Unknown(4711), &dump),
            bootloader::Error::UnknownChip("chip id 4711".to_owned()),
        ),
    ];
    let cases = cases.map(async |(spec, expected)| {
        assert_eq!(read(spec).await.failure(), expected);
    });
    join_all(cases).await;
}

#[tokio::test]
async fn the_encrypted_flag_means_nothing_on_a_chip_that_does_not_encrypt() {
    let dump = coredump(500, 0);
    let image = FlashImage::erased().with_table(Some(Flags::ENCRYPTED));
    let found = read(quick(Silicon::Esp32, image.with_dump(&dump))).await;
    assert_eq!(found.read.unwrap().bytes, dump);
}

#[tokio::test]
async fn a_dump_past_the_limit_is_not_fetched() {
    let settings = SessionSettings {
        limit: 4096,
        ..SessionSettings::default()
    };
    let spec = board(Silicon::Esp32, &coredump(9396, 0));
    let outcome = read_with(spec, settings, CancellationToken::new()).await;
    let (length, limit) = (9396, 4096);
    assert_eq!(
        outcome.failure(),
        bootloader::Error::TooLarge { length, limit }
    );
}

#[tokio::test]
async fn a_table_that_was_moved_is_read_where_it_is() {
    let dump = coredump(500, 0);
    let image = FlashImage::erased().with_table_at(0x10_000, Some(Flags::empty()));
    let spec = quick(Silicon::Esp32, image.with_dump(&dump));
    let settings = SessionSettings {
        table_offset: 0x10_000,
        ..SessionSettings::default()
    };
    let outcome = read_with(spec, settings, CancellationToken::new()).await;
    assert_eq!(outcome.read.unwrap().bytes, dump);
}

#[tokio::test]
async fn noise_lost_bytes_and_late_answers_change_no_byte() {
    let dump = coredump(800, 0);
    let noise = Faults {
        noise: true,
        ..Faults::default()
    };
    let cut = Faults {
        cut_every: Some(11),
        ..Faults::default()
    };
    let late = Faults {
        late_every: Some(11),
        ..Faults::default()
    };
    let cases = [noise, cut, late].map(async |faults| {
        for silicon in [Silicon::Esp32, Silicon::Esp32C3] {
            let outcome = read(patient(silicon, &dump, faults.clone())).await;
            let found = outcome
                .read
                .unwrap_or_else(|error| panic!("{faults:?}: {error}"));
            assert_eq!(found.bytes, dump, "{faults:?}");
        }
    });
    join_all(cases).await;
}

#[tokio::test]
async fn a_line_that_cannot_do_the_speed_is_read_slowly() {
    let dump = coredump(1500, 0);
    let spec = Spec {
        line_limit: 230_400,
        ..board(Silicon::Esp32C3, &dump)
    };
    assert_eq!(read(spec).await.read.unwrap().bytes, dump);
}

#[tokio::test]
async fn an_esp32_whose_clock_drifted_is_still_heard_at_the_new_speed() {
    let dump = coredump(1500, 0);
    let spec = Spec {
        clock_error: 7,
        ..board(Silicon::Esp32, &dump)
    };
    let outcome = read(spec).await;
    assert_eq!(outcome.read.unwrap().bytes, dump);
    // To the new speed, and back, since this line resets no chip: nothing had to be
    // done over at the first speed.
    assert_eq!(
        outcome
            .opcodes
            .iter()
            .filter(|opcode| **opcode == 0x0F)
            .count(),
        2
    );
}

#[tokio::test]
async fn a_bootloader_that_hears_nothing_is_told_from_a_silent_line() {
    let mut spec = board(Silicon::Esp32, &coredump(500, 0));
    spec.faults.deaf = true;
    assert_eq!(
        read(spec).await.failure(),
        bootloader::Error::NoAnswer(LineActivity::DownloadPrompt)
    );
}

#[tokio::test]
async fn a_board_that_falls_silent_half_way_is_given_up() {
    let mut spec = board(Silicon::Esp32, &coredump(9396, 0));
    spec.faults.silent_after = Some(50);
    assert_eq!(
        read(spec).await.failure(),
        bootloader::Error::Lost(ReadStage::ReadingDump)
    );
}

#[tokio::test]
async fn a_conversation_that_is_lost_begins_again_three_times_and_continues_where_it_was() {
    let dump = coredump(9396, 0);
    let mut spec = board(Silicon::Esp32, &dump);
    spec.faults.hangs_after = vec![60, 90, 120];
    let outcome = read(spec.clone()).await;
    assert_eq!(outcome.read.unwrap().bytes, dump);
    // 147 blocks; each session reads the table and the first block again
    let reads = outcome.opcodes.iter().filter(|code| **code == 0x0E).count();
    assert!(reads < 147 + 4 * 8, "{reads}");
    let mut done = outcome.progress.iter().filter(|step| step.total > 0);
    assert!(done.any(|step| step.done > 6000));

    // longer than a session tries: it is not reset by that
    spec.idle = Duration::from_millis(1500);
    spec.faults.hangs_after = vec![60, 90, 120, 150];
    assert_eq!(
        read(spec).await.failure(),
        bootloader::Error::Lost(ReadStage::ReadingDump)
    );
}

#[tokio::test]
async fn a_board_without_a_reset_circuit_gets_its_speed_back() {
    let dump = coredump(1500, 0);
    for silicon in [Silicon::Esp32, Silicon::Esp32C3] {
        let board = SimulatedBoard::start(Spec {
            idle: Duration::from_secs(60),
            clock_error: if silicon == Silicon::Esp32 { 7 } else { 0 },
            ..board(silicon, &dump)
        });
        let mut link = SerialLink::open(board.path(), 115_200, ModemLines::ON).unwrap();
        let mut read = async |faster| {
            let options = FlashReadOptions {
                reset: ResetCircuit::None,
                lines: ModemLines::ON,
                console_baud: 115_200,
                settings: SessionSettings {
                    faster,
                    ..SessionSettings::default()
                },
            };
            let stop = CancellationToken::new();
            read_coredump(&mut link, &options, &stop, &mut |_| {}, &mut |_| {}).await
        };
        let fast = read(Some(921_600)).await.unwrap();
        assert_eq!(fast.bytes, dump, "{silicon:?}");
        assert_eq!(board.mode(), Mode::Bootloader);
        // hears nothing at another speed than the first one
        assert_eq!(read(None).await.unwrap().bytes, dump, "{silicon:?}");
        let changes = board.opcodes().iter().filter(|code| **code == 0x0F).count();
        assert_eq!(changes, 2, "{silicon:?}");
    }
}

#[tokio::test]
async fn a_board_that_is_unplugged_half_way_is_noted_as_not_reset() {
    let mut spec = board(Silicon::Esp32, &coredump(9396, 0));
    spec.faults.gone_after = Some(50);
    let outcome = read(spec).await;
    assert!(matches!(
        outcome.read,
        Err(SessionError::Link(LinkError::Gone))
    ));
    assert_eq!(outcome.notes, [BootloaderNote::Entering]);
}

#[tokio::test]
async fn an_interrupted_read_ends_with_the_board_in_its_application() {
    let stop = CancellationToken::new();
    stop.cancel();
    let spec = board(Silicon::Esp32, &coredump(9396, 0));
    let outcome = read_with(spec, SessionSettings::default(), stop).await;
    assert!(matches!(outcome.read, Err(SessionError::Interrupted)));
}
