//! A board's life: bytes of a pseudo terminal to and from the application or
//! the bootloader, at the right time.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::tcgetattr;

use super::console::{BOOT, DOWNLOAD, Piece};
use super::registers::Burned;
use super::rom::{self, READ_FLASH_SLOW, Rom, SYNC};
use super::{Mode, Shared, Spec};

pub(super) struct Board {
    spec: Spec,
    host: OwnedFd,
    _port: File,
    stopped: UnixStream,
    shared: Arc<Shared>,
    rom: Rom,
    mode: Mode,
    frame: Option<Vec<u8>>,
    /// The bootloader's speed; the application's is whatever it is asked at.
    speed: u32,
    requests: u32,
    reads: u32,
    hangs: bool,
    late: Vec<u8>,
    /// What the application does next, and when.
    piece: usize,
    due: Option<Instant>,
    waits_for_enter: bool,
}

impl Board {
    pub(super) fn new(
        spec: Spec,
        host: OwnedFd,
        port: File,
        stopped: UnixStream,
        shared: Arc<Shared>,
    ) -> Self {
        let rom = new_rom(&spec);
        Self {
            spec,
            host,
            _port: port,
            stopped,
            shared,
            rom,
            mode: Mode::Application,
            frame: None,
            speed: 0,
            requests: 0,
            reads: 0,
            hangs: false,
            late: vec![],
            piece: 0,
            due: Some(Instant::now()),
            waits_for_enter: false,
        }
    }

    /// Until unplugged.
    pub(super) fn live(mut self) {
        loop {
            let timeout = self
                .due
                .map(|due| due.saturating_duration_since(Instant::now()));
            let timeout = timeout.map(|time| Timespec::try_from(time).unwrap());
            let mut sources = [
                PollFd::new(&self.host, PollFlags::IN),
                PollFd::new(&self.stopped, PollFlags::IN),
            ];
            let ready = poll(&mut sources, timeout.as_ref());
            if matches!(ready, Err(rustix::io::Errno::INTR)) {
                continue;
            }
            if !sources[1].revents().is_empty() {
                return;
            }
            if !sources[0].revents().is_empty() {
                let mut buffer = [0; 4096];
                let Ok(count) = rustix::io::read(&self.host, &mut buffer) else {
                    return;
                };
                for byte in &buffer[..count] {
                    self.hear(*byte);
                }
                if self
                    .spec
                    .faults
                    .gone_after
                    .is_some_and(|limit| self.reads >= limit)
                {
                    return;
                }
            }
            if self.due.is_some_and(|due| due <= Instant::now()) {
                match self.mode {
                    Mode::Application => self.act(),
                    Mode::Bootloader => self.boot(),
                }
            }
        }
    }

    /// The application's next piece.
    fn act(&mut self) {
        self.due = None;
        self.waits_for_enter = false;
        if self.piece >= self.spec.console.len() && self.spec.looping {
            self.piece = 0;
        }
        let Some(piece) = self.spec.console.get(self.piece).cloned() else {
            return;
        };
        self.piece += 1;
        let pause = match piece {
            Piece::Print(text) => self.say(&text, tcgetattr(&self.host).unwrap().output_speed()),
            Piece::Pause(time) => time,
            Piece::Enter(time) => {
                self.waits_for_enter = true;
                time
            }
        };
        self.due = Some(Instant::now() + pause);
    }

    /// Reset into the application.
    fn boot(&mut self) {
        self.rom = new_rom(&self.spec);
        self.mode = Mode::Application;
        self.piece = 0;
        self.due = Some(Instant::now());
        self.say(BOOT.as_bytes(), 0);
        self.shared.update(|known| {
            known.mode = Mode::Application;
            known.boots += 1;
        });
    }

    fn hear(&mut self, byte: u8) {
        if self.waits_for_enter && matches!(byte, b'\r' | b'\n') {
            self.shared.update(|known| known.enters += 1);
            self.due = Some(Instant::now());
            self.waits_for_enter = false;
        }
        match (&mut self.frame, byte) {
            (Some(frame), 0xC0) if !frame.is_empty() => {
                let frame = unescaped(frame);
                self.frame = None;
                self.request(&frame);
            }
            (frame, 0xC0) => *frame = Some(vec![]),
            (Some(frame), _) if frame.len() < 0x4000 => frame.push(byte),
            _ => {}
        }
    }

    fn request(&mut self, frame: &[u8]) {
        let host = tcgetattr(&self.host).unwrap().output_speed();
        let parsed = rom::parse(frame);
        if self.mode == Mode::Application {
            // Stands for the reset lines.
            if parsed.is_some_and(|(opcode, data)| opcode == SYNC && data.len() == 36) {
                self.mode = Mode::Bootloader;
                self.hangs = false;
                self.speed = host;
                self.due = Some(Instant::now() + self.spec.idle);
                self.say(DOWNLOAD.as_bytes(), 0);
                self.shared.update(|known| known.mode = Mode::Bootloader);
            }
            return;
        }
        let faults = &self.spec.faults;
        let silent = faults.silent_after.is_some_and(|limit| self.reads >= limit);
        if !understood(host, self.speed)
            || host > self.spec.line_limit
            || silent
            || faults.deaf
            || self.hangs
        {
            return;
        }
        self.due = Some(Instant::now() + self.spec.idle);
        if let Some((opcode, _)) = parsed {
            self.shared.update(|known| known.opcodes.push(opcode));
            if opcode == READ_FLASH_SLOW {
                self.reads += 1;
                self.hangs = self.spec.faults.hangs_after.contains(&self.reads);
            }
        }
        self.requests += 1;
        let every = |n: Option<u32>| n.is_some_and(|n| self.requests.is_multiple_of(n));
        let (late, cut) = (every(faults.late_every), every(faults.cut_every));
        let reply = self.rom.request(frame, self.speed);
        let mut answer = std::mem::take(&mut self.late);
        if self.spec.faults.noise {
            answer.extend(b"I (1) noise\xDB\r\n");
        }
        for frame in &reply.frames {
            answer.extend(escaped(frame));
        }
        if late {
            self.late = answer;
            return;
        }
        if cut {
            answer.pop();
        }
        let bits = 10 * u32::try_from(frame.len() + answer.len()).unwrap();
        let wire = match self.spec.paced {
            true => Duration::from_secs_f64(f64::from(bits) / f64::from(self.speed)),
            false => Duration::ZERO,
        };
        std::thread::sleep(self.spec.turnaround + wire);
        self.say(&answer, 0);
        self.speed = reply.speed.unwrap_or(self.speed);
    }

    /// Says `bytes`, which are lost if nobody takes them; how long it takes.
    fn say(&mut self, bytes: &[u8], speed: u32) -> Duration {
        let mut rest = bytes;
        let mut moved = Instant::now();
        while !rest.is_empty() {
            match rustix::io::write(&self.host, rest) {
                Ok(count) => {
                    rest = &rest[count..];
                    moved = Instant::now();
                }
                // we are faster than any reader, as a UART would not be
                Err(rustix::io::Errno::AGAIN) if self.waits(moved) => {}
                Err(_) => break,
            }
        }
        match self.spec.paced && speed > 0 {
            true => Duration::from_secs_f64(10.0 * bytes.len() as f64 / f64::from(speed)),
            false => Duration::ZERO,
        }
    }

    /// Lets a full terminal be read for a moment; whether to go on.
    fn waits(&self, since: Instant) -> bool {
        // a terminal's other end gives no reliable sign that it has room again
        let moment = Timespec::try_from(Duration::from_millis(2)).unwrap();
        let mut stopped = [PollFd::new(&self.stopped, PollFlags::IN)];
        let quiet = matches!(poll(&mut stopped, Some(&moment)), Ok(0));
        quiet && since.elapsed() < Duration::from_millis(250)
    }
}

fn new_rom(spec: &Spec) -> Rom {
    let burned = Burned {
        chip: spec.chip,
        mac: spec.mac,
        encrypting: spec.encrypting,
        clock_error: spec.clock_error,
        flash_size: spec.flash.len(),
    };
    Rom::new(burned, spec.flash.clone(), spec.secure_download)
}

/// A UART's limit is about three percent.
fn understood(one: u32, other: u32) -> bool {
    one.abs_diff(other) <= other / 33
}

fn escaped(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xC0];
    for byte in payload {
        match byte {
            0xC0 => frame.extend([0xDB, 0xDC]),
            0xDB => frame.extend([0xDB, 0xDD]),
            byte => frame.push(*byte),
        }
    }
    frame.push(0xC0);
    frame
}

fn unescaped(frame: &[u8]) -> Vec<u8> {
    let mut payload = vec![];
    let mut bytes = frame.iter();
    while let Some(byte) = bytes.next() {
        payload.push(match byte {
            0xDB => match bytes.next() {
                Some(0xDC) => 0xC0,
                _ => 0xDB,
            },
            byte => *byte,
        });
    }
    payload
}
