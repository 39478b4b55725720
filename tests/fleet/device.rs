//! One simulated device: a state machine around an update client.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::firmware::Firmware;
use crate::ledger::Ledger;
use crate::link::Link;

/// Between two questions.
const POLL: Duration = Duration::from_millis(200);
/// What becomes of a device with a build.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// Crashes at boot; the bootloader goes back, and the old build uploads the dump.
    CrashesAtBoot,
    /// Boots again after each question, without a dump.
    Loops,
    /// The bootloader goes back without a dump.
    RollsBack,
    /// Is not heard again until it is switched off and on; then it runs the build.
    Dies,
    /// Fetches it whole, and does not flash it.
    Rejects,
    /// Hangs up after so many bytes: its partition is full.
    HangsUpAt(usize),
}

/// A device.
pub(crate) struct Device {
    pub(crate) key: String,
    pub(crate) token: String,
    pub(crate) client: Client,
    pub(crate) ca: Arc<Vec<u8>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) running: Arc<Firmware>,
    /// All builds that there are.
    pub(crate) known: Arc<Vec<Arc<Firmware>>>,
    pub(crate) memory: Memory,
}

/// What a device keeps, and what it forgets in a boot.
pub(crate) struct Memory {
    pub(crate) failed: Option<String>,
    pub(crate) dump: Option<Vec<u8>>,
    pub(crate) salt: u8,
    pub(crate) boots: u64,
    pub(crate) reset: &'static str,
    pub(crate) booted: Instant,
    /// It ran before the gateway heard of it.
    pub(crate) ran_before: u64,
    pub(crate) link: Option<Link>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            failed: None,
            dump: None,
            salt: 0,
            boots: 7,
            reset: "POWERON",
            booted: Instant::now(),
            ran_before: 5000,
            link: None,
        }
    }
}

impl Device {
    /// Lives until the test is over.
    pub(crate) fn live(mut self) {
        self.say_running();
        while !self.ledger.state().is_over {
            if let Err(error) = self.wake() {
                self.memory.link = None;
                self.trouble(format!("connection: {error}"));
            }
            self.rest();
        }
    }

    fn rest(&mut self) {
        let is_dead = self.ledger.state().devices[&self.key].is_dead;
        let how_long = match is_dead {
            true => Duration::from_secs(600),
            false => POLL,
        };
        if self.ledger.rest(&self.key, how_long) {
            self.boot("POWERON");
            self.ledger.note(&self.key, |seen| {
                seen.is_dead = false;
                seen.resets += 1;
            });
        }
    }

    pub(crate) fn trouble(&self, what: String) {
        self.ledger.note(&self.key, |seen| seen.errors.push(what));
    }

    fn say_running(&self) {
        let version = self.running.version.clone();
        self.ledger.note(&self.key, |seen| seen.running = version);
    }

    fn wake(&mut self) -> io::Result<()> {
        self.upload_dump()?;
        if let Some(firmware) = self.update()? {
            self.flash(firmware);
            return Ok(());
        }
        self.ledger.note(&self.key, |seen| seen.polls += 1);
        if self.ledger.state().to_crash.remove(&self.key) {
            self.crash();
            self.boot("PANIC");
        }
        if self.fate(&self.running.version) == Some(Fate::Loops) {
            self.boot("TASK_WDT");
        }
        Ok(())
    }

    pub(crate) fn fate(&self, version: &str) -> Option<Fate> {
        let of = (self.key.clone(), version.to_owned());
        self.ledger.state().fates.get(&of).copied()
    }

    fn crash(&mut self) {
        self.memory.salt += 1;
        let firmware = &self.running;
        self.memory.dump = Some(firmware.dump(self.memory.salt));
    }

    fn boot(&mut self, reset: &'static str) {
        let memory = &mut self.memory;
        memory.boots += 1;
        memory.reset = reset;
        memory.booted = Instant::now();
        memory.ran_before = 1;
        memory.link = None;
    }

    /// Boots a new image, and what comes of it.
    fn flash(&mut self, firmware: Arc<Firmware>) {
        let old = std::mem::replace(&mut self.running, Arc::clone(&firmware));
        let version = firmware.version.clone();
        self.ledger
            .note(&self.key, |seen| seen.flashed.push(version.clone()));
        self.boot("SW");
        match self.fate(&version) {
            Some(fate @ (Fate::CrashesAtBoot | Fate::RollsBack)) => {
                if fate == Fate::CrashesAtBoot {
                    self.crash();
                }
                self.running = old;
                self.memory.failed = Some(version);
                self.boot("PANIC");
            }
            Some(Fate::Dies) => self.ledger.note(&self.key, |seen| seen.is_dead = true),
            _ => {}
        }
        self.say_running();
    }

    fn upload_dump(&mut self) -> io::Result<()> {
        let Some(dump) = self.memory.dump.clone() else {
            return Ok(());
        };
        let path = format!(
            "POST /api/iot/coredump{}&chip=esp32c3&firmware_version={}",
            self.says(),
            self.running.version
        );
        let (head, _) = self.exchange(&path, &dump)?;
        if head.status != 201 {
            self.trouble(format!("a dump: {}", head.status));
        }
        // erased, whatever the gateway says
        self.memory.dump = None;
        self.ledger.note(&self.key, |seen| seen.dumps += 1);
        Ok(())
    }
}
