//! Reads the coredump from the board at a serial port, without a daemon, and
//! says how long it took.
//!
//! ```sh
//! cargo run --example flash_read -- /dev/ttyUSB0 core.bin
//! ```

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use espgate::bootloader::SessionSettings;
use espgate::config;
use espgate::serial::flash_session::{FlashReadOptions, read_coredump};
use espgate::serial::link::{ModemLines, SerialLink};
use espgate::serial::reset::ResetCircuit;
use tokio_util::sync::CancellationToken;

/// Reads the coredump from a board's flash. The board is reset.
#[derive(Parser)]
struct Arguments {
    port: PathBuf,
    /// Where to put the coredump
    output: Option<PathBuf>,
    /// auto, classic, usb-jtag or none
    #[arg(long, default_value = "auto")]
    reset: String,
    /// Speed for reading
    #[arg(long, default_value_t = 921_600)]
    baud: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let reset: config::Reset = serde_json::from_value(arguments.reset.into())?;
    let options = FlashReadOptions {
        reset: ResetCircuit::of(reset, None),
        lines: ModemLines::ON,
        console_baud: 115_200,
        settings: SessionSettings {
            faster: Some(arguments.baud),
            ..SessionSettings::default()
        },
    };
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        interrupted.cancel();
    });
    let mut link = SerialLink::open(&arguments.port, options.console_baud, options.lines)
        .with_context(|| arguments.port.display().to_string())?;
    let begun = Instant::now();
    let mut first = None;
    let found = read_coredump(&mut link, &options, &stop, &mut |_| {}, &mut |progress| {
        if progress.total > 0 {
            first.get_or_insert_with(Instant::now);
        }
    })
    .await?;
    let seconds = |time: Duration| time.as_secs_f32();
    println!(
        "{} bytes at {:#x} of {} {}: {:.2} s, the dump alone {:.2} s",
        found.bytes.len(),
        found.offset,
        found.chip,
        found.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        seconds(begun.elapsed()),
        seconds(first.map(|first| first.elapsed()).unwrap_or_default()),
    );
    if let Some(path) = &arguments.output {
        #[expect(clippy::disallowed_methods, reason = "no file of the data directory")]
        std::fs::write(path, &found.bytes).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
