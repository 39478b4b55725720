//! An ESP32 without an ESP32: opens a pseudo terminal, prints its path, and
//! behaves as a board behind it until it is killed.
//!
//! ```sh
//! cargo run --example simulated_board -- --chip esp32c3 --dump core.bin --crash
//! esptool --no-stub --port /dev/pts/7 read-mac
//! ```

#![allow(clippy::print_stdout, reason = "prints the path of the port")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use esp_idf_part::Flags;

#[path = "../tests/common/simulated_board/mod.rs"]
mod simulated_board;

use simulated_board::flash_image::{self, FlashImage};
use simulated_board::registers::Chip;
use simulated_board::{SimulatedBoard, Spec, console};

/// A simulated ESP32 on a pseudo terminal.
#[derive(Parser)]
struct Arguments {
    /// esp32, esp32s2 or esp32c3
    #[arg(long, default_value = "esp32")]
    chip: String,
    /// Twelve hex digits
    #[arg(long, default_value = "30aea44b417c")]
    mac: String,
    /// Whole flash contents, instead of a built image
    #[arg(long)]
    flash: Option<PathBuf>,
    /// Where to write the flash contents, to compare with what is read
    #[arg(long)]
    save_flash: Option<PathBuf>,
    /// Coredump image for the partition (and for --crash)
    #[arg(long)]
    dump: Option<PathBuf>,
    /// Bytes of a made-up coredump, if there is no --dump; 0 for none
    #[arg(long, default_value_t = 0x1_0000)]
    dump_size: u32,
    /// Leave the coredump partition out of the table
    #[arg(long)]
    no_partition: bool,
    /// Flash encryption is on
    #[arg(long)]
    encrypted: bool,
    /// Secure download mode is on
    #[arg(long)]
    secure_download: bool,
    /// Milliseconds from a request to its answer
    #[arg(long, default_value_t = 0)]
    turnaround: u64,
    /// Let bytes take the time that they need at their speed
    #[arg(long)]
    paced: bool,
    /// Milliseconds without a request after which the application runs again
    #[arg(long, default_value_t = 2000)]
    idle: u64,
    /// Print this recording on the console
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Crash, print the dump, reboot
    #[arg(long)]
    crash: bool,
    /// Do so for ever
    #[arg(long = "loop")]
    looping: bool,
    /// Milliseconds that a crash waits for Enter
    #[arg(long, default_value_t = 1000)]
    enter: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (chip, id) = match arguments.chip.as_str() {
        "esp32" => (Chip::Esp32, 0),
        "esp32s2" => (Chip::Esp32S2, 2),
        "esp32c3" => (Chip::Esp32C3, 5),
        other => bail!("no simulation of {other}"),
    };
    let dump = match &arguments.dump {
        Some(path) => std::fs::read(path).with_context(|| path.display().to_string())?,
        None if arguments.dump_size == 0 => vec![],
        None => flash_image::coredump(arguments.dump_size, id),
    };
    let flash = match &arguments.flash {
        Some(path) => std::fs::read(path).with_context(|| path.display().to_string())?,
        None => {
            let partition = (!arguments.no_partition).then(Flags::empty);
            let image = FlashImage::erased().with_table(partition).with_dump(&dump);
            match arguments.encrypted {
                true => image.encrypted().into_bytes(),
                false => image.into_bytes(),
            }
        }
    };
    if let Some(path) = &arguments.save_flash {
        #[expect(clippy::disallowed_methods, reason = "no file of the data directory")]
        std::fs::write(path, &flash).with_context(|| path.display().to_string())?;
    }
    let enter = Duration::from_millis(arguments.enter);
    let console = match (&arguments.replay, arguments.crash) {
        (Some(path), _) => {
            let recording = std::fs::read(path).with_context(|| path.display().to_string())?;
            console::replay(&recording, enter)
        }
        (None, true) => console::crash(&dump, Duration::from_secs(1), enter),
        (None, false) => vec![],
    };
    let mac = u64::from_str_radix(&arguments.mac, 16).context("--mac")?;
    let [_, _, mac @ ..] = mac.to_be_bytes();
    let board = SimulatedBoard::start(Spec {
        mac,
        encrypting: arguments.encrypted,
        secure_download: arguments.secure_download,
        turnaround: Duration::from_millis(arguments.turnaround),
        paced: arguments.paced,
        idle: Duration::from_millis(arguments.idle),
        console,
        looping: arguments.looping,
        ..Spec::new(chip, flash)
    });
    println!("{}", board.path().display());
    board.wait();
    Ok(())
}
