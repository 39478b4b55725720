//! The update clients of devices, as ESP-IDF's, Arduino's and simple ones ask.

use std::io;
use std::sync::Arc;

use serde_json::Value;

use crate::device::{Device, Fate};
use crate::firmware::Firmware;
use crate::link::{Head, Link};

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
    /// Arduino's `HTTPUpdate`, with so many bytes of room.
    Arduino { free: usize },
    /// Asks for nothing: the test does so in its name.
    Never,
}

impl Device {
    /// The query by which it tells of itself.
    pub(crate) fn says(&self) -> String {
        let memory = &self.memory;
        let uptime = memory.ran_before + memory.booted.elapsed().as_secs();
        match self.client {
            Client::Mute => String::from("?x="),
            _ => format!(
                "?device_key={}&running={}&boot_count={}&uptime_s={uptime}&reset_reason={}",
                self.key, self.running.hash, memory.boots, memory.reset
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
    pub(crate) fn exchange(&mut self, head: &str, body: &[u8]) -> io::Result<(Head, Vec<u8>)> {
        let mut link = match self.memory.link.take() {
            Some(link) => link,
            None => self.connect(None)?,
        };
        let answer = link.exchange(&self.authorized(head), body)?;
        self.memory.link = Some(link);
        Ok(answer)
    }

    /// A new image, if there is one.
    pub(crate) fn update(&mut self) -> io::Result<Option<Arc<Firmware>>> {
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
            Client::Arduino { free } => {
                let version = &self.running.version;
                let head = format!(
                    "GET /api/iot/firmware{says}\r\nUser-Agent: ESP32-http-Update\r\n\
                     x-ESP32-version: {version}\r\nx-ESP32-free-space: {free}"
                );
                self.fetch(&head, 0)
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
                if self.fate(&version) == Some(Fate::Rejects) {
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
