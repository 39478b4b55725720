//! An ESP32 on a pseudo terminal: an application that prints, and the
//! bootloader of the ROM over an image of its flash.
//!
//! Pseudo terminals carry no modem lines, so two things stand in for the reset
//! circuit: the board goes into its bootloader when it sees a SYNC request
//! (which it does not answer, as a board that comes out of reset does not),
//! and back into its application when nothing was asked for a while. The speed
//! that the other side set is looked up, and bytes at a wrong speed are lost.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test support: each user takes its part, and may panic"
)]

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

mod board;
pub mod console;
pub mod flash_image;
pub mod registers;
pub mod rom;

use console::Piece;
use registers::Chip;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Spec {
    pub chip: Chip,
    pub mac: [u8; 6],
    pub flash: Vec<u8>,
    pub encrypting: bool,
    pub secure_download: bool,
    /// Percent; see [`registers::Burned`].
    pub clock_error: u32,
    /// Bytes faster than this do not arrive.
    pub line_limit: u32,
    /// Time from a request's last byte to the answer's first.
    pub turnaround: Duration,
    /// Whether bytes take the time that they need at their speed.
    pub paced: bool,
    /// Silence after which the bootloader counts as left.
    pub idle: Duration,
    pub faults: Faults,
    /// What the application prints after a reset, over and over if `looping`.
    pub console: Vec<Piece>,
    pub looping: bool,
}

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Hears nothing at all in the bootloader.
    pub deaf: bool,
    /// Falls silent after so many flash reads.
    pub silent_after: Option<u32>,
    /// Falls silent after so many flash reads, until it is reset.
    pub hangs_after: Vec<u32>,
    /// Is unplugged after so many flash reads.
    pub gone_after: Option<u32>,
    /// Noise before every answer.
    pub noise: bool,
    /// Loses the last byte of every n-th answer.
    pub cut_every: Option<u32>,
    /// Answers every n-th request only after the next one came.
    pub late_every: Option<u32>,
}

impl Spec {
    /// A board with this flash and nothing to say.
    pub fn new(chip: Chip, flash: Vec<u8>) -> Self {
        Self {
            chip,
            mac: [0x30, 0xAE, 0xA4, 0x4B, 0x41, 0x7C],
            flash,
            encrypting: false,
            secure_download: false,
            clock_error: 0,
            line_limit: 2_000_000,
            turnaround: Duration::ZERO,
            paced: false,
            idle: Duration::from_secs(2),
            faults: Faults::default(),
            console: vec![],
            looping: false,
        }
    }
}

/// What a board does at the moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    Application,
    Bootloader,
}

/// What can be known about a board from outside.
#[derive(Debug)]
struct Known {
    mode: Mode,
    opcodes: Vec<u8>,
    enters: u32,
    /// Resets into the application, the first one at the start included.
    boots: u32,
}

#[derive(Debug)]
struct Shared {
    known: Mutex<Known>,
    changed: Condvar,
}

impl Shared {
    fn update(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock().unwrap());
        self.changed.notify_all();
    }
}

/// A running board; unplugged when dropped.
#[derive(Debug)]
pub struct SimulatedBoard {
    path: PathBuf,
    shared: Arc<Shared>,
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl SimulatedBoard {
    /// Plugs the board in and lets its application run.
    pub fn start(spec: Spec) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let host = openpt(flags).unwrap();
        grantpt(&host).unwrap();
        unlockpt(&host).unwrap();
        let path: PathBuf = ptsname(&host, Vec::new())
            .unwrap()
            .into_string()
            .unwrap()
            .into();
        // Held open, so that the board stays plugged in between two openings;
        // raw from the start, so that nothing is echoed.
        let options = &mut std::fs::OpenOptions::new();
        let port = options.read(true).write(true).open(&path).unwrap();
        let mut settings = tcgetattr(&port).unwrap();
        settings.make_raw();
        tcsetattr(&port, OptionalActions::Now, &settings).unwrap();
        rustix::io::ioctl_fionbio(&host, true).unwrap();
        let shared = Arc::new(Shared {
            known: Mutex::new(Known {
                mode: Mode::Application,
                opcodes: vec![],
                enters: 0,
                boots: 1,
            }),
            changed: Condvar::new(),
        });
        let (stop, stopped) = UnixStream::pair().unwrap();
        let board = board::Board::new(spec, host, port, stopped, Arc::clone(&shared));
        let thread = std::thread::spawn(move || board.live());
        Self {
            path,
            shared,
            stop,
            thread: Some(thread),
        }
    }

    /// The serial port that the board is plugged into.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The opcodes of all requests so far.
    pub fn opcodes(&self) -> Vec<u8> {
        self.known().opcodes.clone()
    }

    /// How often Enter was pressed.
    pub fn enters(&self) -> u32 {
        self.known().enters
    }

    pub fn mode(&self) -> Mode {
        self.known().mode
    }

    /// Waits until the board is in `mode`.
    pub fn wait_for(&self, mode: Mode) {
        let known = self.known();
        let changed = &self.shared.changed;
        let limit = Duration::from_secs(20);
        let waited = changed.wait_timeout_while(known, limit, |known| known.mode != mode);
        assert_eq!(waited.unwrap().0.mode, mode);
    }

    /// Waits until the board is unplugged from its own side.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.known.lock().unwrap()
    }
}

impl Drop for SimulatedBoard {
    fn drop(&mut self) {
        let _ = self.stop.write_all(b"x");
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
