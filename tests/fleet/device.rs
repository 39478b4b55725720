//! One simulated device: a state machine around an update client.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::firmware::Firmware;
use crate::ledger::Ledger;
use crate::link::{Head, Link};

/// Between two questions.
const POLL: Duration = Duration::from_millis(200);
/// What a partial download fetches at once.
const RANGE: usize = 64 * 1024;
/// The receive buffer of a device that is seen to hang up, or to read slowly.
const SMALL: usize = 4096;
/// Header and description of an image, as the first read of a device brings them.
const DESCRIPTION: usize = 1024;

/// How a device asks for firmware.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Client {
    /// `firmware-version`, then the image if it is another one.
    Asks,
    /// Plain `GET`; hangs up after the description if it has that version.
    Plain,
    /// The same, and says nothing of itself.
    Mute,
    /// Plain `GET` with `If-None-Match`.
    Etag,
    /// `HEAD`, then ranges, each on a connection of its own.
    Ranges,
    /// `Range: bytes=0-`.
    Resumes,
    /// Asks for nothing: the test does so in its name.
    Never,
}

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
    failed: Option<String>,
    dump: Option<Vec<u8>>,
    salt: u8,
    boots: u64,
    reset: &'static str,
    booted: Instant,
    /// It ran before the gateway heard of it.
    ran_before: u64,
    link: Option<Link>,
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

    fn trouble(&self, what: String) {
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

    fn fate(&self, version: &str) -> Option<Fate> {
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

    /// The query by which it tells of itself.
    fn says(&self) -> String {
        let memory = &self.memory;
        let uptime = memory.ran_before + memory.booted.elapsed().as_secs();
        match self.client {
            Client::Mute => String::from("?x="),
            _ => format!(
                "?running={}&boot_count={}&uptime_s={uptime}&reset_reason={}",
                self.running.hash, memory.boots, memory.reset
            ),
        }
    }

    fn connect(&self, receives: Option<usize>) -> io::Result<Link> {
        let address = self.ledger.state().address;
        let address = address.ok_or_else(|| io::Error::other("no gateway"))?;
        Link::open(address, &self.ca, receives)
    }

    fn authorized(&self, head: &str) -> String {
        format!("{head}\r\nAuthorization: Bearer {}", self.token)
    }

    /// A request on the connection that is kept, or on a new one.
    fn exchange(&mut self, head: &str, body: &[u8]) -> io::Result<(Head, Vec<u8>)> {
        let mut link = match self.memory.link.take() {
            Some(link) => link,
            None => self.connect(None)?,
        };
        let answer = link.exchange(&self.authorized(head), body)?;
        self.memory.link = Some(link);
        Ok(answer)
    }

    /// A new image, if there is one.
    fn update(&mut self) -> io::Result<Option<Arc<Firmware>>> {
        let says = self.says();
        match self.client {
            Client::Never => Ok(None),
            Client::Asks => {
                let head = format!("GET /api/iot/firmware-version{says}");
                let (head, body) = self.exchange(&head, b"")?;
                if head.status != 200 {
                    self.trouble(format!("firmware-version: {}", head.status));
                    return Ok(None);
                }
                let answer: Value = serde_json::from_slice(&body).map_err(io::Error::other)?;
                let offered = answer["firmware_version"].as_str().unwrap_or_default();
                if offered.is_empty() || self.is_refused(offered) {
                    return Ok(None);
                }
                self.fetch(&format!("GET /api/iot/firmware{says}"), 0)
            }
            Client::Plain | Client::Mute => self.fetch(&format!("GET /api/iot/firmware{says}"), 0),
            Client::Etag => {
                let has = format!("If-None-Match: \"{}\"", self.running.etag);
                self.fetch(&format!("GET /api/iot/firmware{says}\r\n{has}"), 0)
            }
            Client::Resumes => {
                let head = format!("GET /api/iot/firmware{says}\r\nRange: bytes=0-");
                self.fetch(&head, 0)
            }
            Client::Ranges => {
                let (head, _) = self.exchange(&format!("HEAD /api/iot/firmware{says}"), b"")?;
                if head.status != 200 {
                    self.trouble(format!("HEAD: {}", head.status));
                    return Ok(None);
                }
                if head.etag.as_deref() == Some(&*self.running.etag) {
                    return Ok(None);
                }
                self.fetch(&format!("GET /api/iot/firmware{says}"), RANGE)
            }
        }
    }

    /// Whether it compares this version, and wants nothing of it.
    fn is_refused(&self, version: &str) -> bool {
        version == self.running.version || self.memory.failed.as_deref() == Some(version)
    }

    fn by_etag(&self, head: &Head) -> Option<Arc<Firmware>> {
        let etag = head.etag.as_deref()?;
        let mut known = self.known.iter();
        known.find(|one| one.etag == etag).map(Arc::clone)
    }

    /// Fetches an image, in parts of `range` bytes if that is not 0.
    fn fetch(&mut self, head: &str, range: usize) -> io::Result<Option<Arc<Firmware>>> {
        let mut got = Vec::new();
        let mut fetched: Option<Arc<Firmware>> = None;
        loop {
            let may_get = self.may_get();
            let head = match (range, &fetched) {
                (0, _) => head.to_owned(),
                (_, Some(of)) if got.len() + range >= of.image.len() => {
                    format!("{head}\r\nRange: bytes={}-", got.len())
                }
                _ => format!(
                    "{head}\r\nRange: bytes={}-{}",
                    got.len(),
                    got.len() + range - 1
                ),
            };
            // the kernel takes less for it than an image, so that hanging up is seen
            let mut link = self.connect(Some(SMALL))?;
            let head = link.ask(&self.authorized(&head), b"")?;
            if !matches!(head.status, 200 | 206) {
                if head.status != 304 {
                    self.trouble(format!("firmware from {}: {}", got.len(), head.status));
                }
                return Ok(None);
            }
            let Some(offered) = self.by_etag(&head) else {
                self.trouble(format!("an unknown image: {head:?}"));
                return Ok(None);
            };
            if fetched.as_ref().is_some_and(|of| of.etag != offered.etag) {
                self.trouble(String::from("another image within a sequence"));
                return Ok(None);
            }
            let version = offered.version.clone();
            if !may_get.contains(&version) {
                let leak = format!("{} was sent {version}", self.key);
                self.ledger.change(|state| state.leaked.push(leak));
            }
            self.ledger.note(&self.key, |seen| {
                *seen.begun.entry(version.clone()).or_default() += 1;
            });
            let is_first = got.is_empty();
            if is_first {
                got = link.read(DESCRIPTION.min(head.length))?;
                if self.is_refused(&version) {
                    return Ok(None);
                }
            }
            let left = match is_first {
                true => head.length - got.len(),
                false => head.length,
            };
            if !self.read_body(&mut link, &offered, &mut got, left)? {
                return Ok(None);
            }
            if got.len() >= offered.image.len() {
                if got != offered.image {
                    self.trouble(format!("a spoilt image of {version}"));
                    return Ok(None);
                }
                return Ok(Some(offered));
            }
            fetched = Some(offered);
        }
    }

    /// The versions that the device may get by what is known before it asks.
    fn may_get(&self) -> Vec<String> {
        let state = self.ledger.state();
        let versions = self.known.iter().map(|one| one.version.clone());
        let may = |version: &String| {
            let only = state.only.get(version);
            only.is_none_or(|only| only.contains(&self.key))
        };
        versions.filter(may).collect()
    }

    /// Reads the rest of a response; whether the device did to its end.
    fn read_body(
        &self,
        link: &mut Link,
        of: &Firmware,
        got: &mut Vec<u8>,
        mut left: usize,
    ) -> io::Result<bool> {
        let middle = of.image.len() / 2;
        while left > 0 {
            if let Some(Fate::HangsUpAt(limit)) = self.fate(&of.version)
                && got.len() >= limit
            {
                return Ok(false);
            }
            let count = left.min(4096);
            let before = got.len();
            got.extend(link.read(count)?);
            left -= count;
            if before < middle && got.len() >= middle {
                self.ledger.in_middle(&of.version);
            }
        }
        Ok(true)
    }
}
