//! A ZIP from outside, opened and inflated within limits.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use zip::ZipArchive;

use super::Refusal;
use crate::printable::escaped;

/// What a bundle may cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BundleLimits {
    /// How many entries a ZIP may have; more are refused before they are looked at.
    pub entries: usize,
    /// How many bytes all entries together may inflate to.
    pub inflated: u64,
}

impl BundleLimits {
    /// The limits for bundles of at most `max_bytes` as they are uploaded.
    ///
    /// Debug info and map files shrink to a fifth; what grows more is no bundle.
    pub const fn for_bundles_of(max_bytes: u64) -> Self {
        Self {
            entries: 64,
            inflated: max_bytes.saturating_mul(5),
        }
    }
}

/// An opened ZIP; what it inflates to is counted over all reads.
pub(super) struct Archive<R> {
    zip: ZipArchive<Metered<R>>,
    inflated_left: u64,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory and refuses what no bundle has: too many entries, the same name
    /// twice, encryption, links, or more declared bytes than allowed.
    pub(super) fn open(zip: R, limits: &BundleLimits) -> Result<Self, Refusal> {
        // The directory is found by searching backwards and its entries are held in memory:
        // what may be read until it is there bounds both.
        let left = Rc::new(Cell::new(MAX_DIRECTORY_BYTES));
        let metered = Metered {
            inner: zip,
            left: Rc::clone(&left),
        };
        let zip = ZipArchive::new(metered)?;
        left.set(u64::MAX);

        if zip.len() > limits.entries {
            let count = zip.len();
            return Err(Refusal::zip(format!("too many entries ({count})")));
        }
        if zip.has_duplicate_names() {
            return Err(Refusal::zip("duplicate entries"));
        }
        let mut declared = 0_u64;
        let mut names = BTreeSet::new();
        for index in 0..zip.len() {
            let entry = zip.by_index_data(index)?;
            let name = entry.name()?;
            if entry.encrypted() {
                let name = shown(&name);
                return Err(Refusal::zip(format!("{name} is encrypted")));
            }
            if entry.is_symlink() {
                let name = shown(&name);
                return Err(Refusal::zip(format!("{name} is a link")));
            }
            declared = declared.saturating_add(entry.size());
            if !names.insert(name.into_owned()) {
                return Err(Refusal::zip("duplicate entries"));
            }
        }
        if declared > limits.inflated {
            return Err(too_large(limits.inflated));
        }
        Ok(Self {
            zip,
            inflated_left: limits.inflated,
        })
    }

    /// Whether there is an entry of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// Refuses an archive whose names are not just these.
    pub(super) fn expect_exactly(&self, expected: &[&str]) -> Result<(), Refusal> {
        let mut found = BTreeSet::new();
        for name in self.zip.file_names() {
            found.insert(name?.into_owned());
        }
        let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        let missing: Vec<String> = expected.difference(&found).cloned().collect();
        if !missing.is_empty() {
            return Err(Refusal::Missing(missing));
        }
        let unexpected = found.difference(&expected).map(|name| shown(name));
        let unexpected: Vec<String> = unexpected.collect();
        if !unexpected.is_empty() {
            return Err(Refusal::Unexpected(unexpected));
        }
        Ok(())
    }

    /// Gives an entry's bytes to `feed`, piece by piece; its CRC has fitted when this returns.
    pub(super) fn read(&mut self, name: &str, mut feed: impl FnMut(&[u8])) -> Result<(), Refusal> {
        self.inflate(name, |bytes| {
            feed(bytes);
            Ok(())
        })
    }

    /// Writes an entry to `to`.
    pub(super) fn copy(&mut self, name: &str, to: &mut impl Write) -> Result<(), Refusal> {
        self.inflate(name, |bytes| to.write_all(bytes).map_err(Refusal::Io))
    }

    /// A small entry as a whole.
    pub(super) fn read_text(&mut self, name: &str) -> Result<Vec<u8>, Refusal> {
        let mut text = Vec::new();
        self.inflate(name, |bytes| {
            if text.len() + bytes.len() > MAX_TEXT_BYTES {
                let limit = MAX_TEXT_BYTES >> 20;
                return Err(Refusal::zip(format!("{name} is larger than {limit} MiB")));
            }
            text.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(text)
    }

    fn inflate(
        &mut self,
        name: &str,
        mut feed: impl FnMut(&[u8]) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let allowed = self.inflated_left;
        let mut inflated = 0_u64;
        let entry = self
            .zip
            .by_name(name)
            .map_err(|error| about(name, error.into()))?;
        let outcome = pump(entry, |bytes| {
            inflated += bytes.len() as u64;
            if inflated > allowed {
                return Err(too_large(allowed));
            }
            feed(bytes)
        });
        self.inflated_left -= inflated.min(allowed);
        outcome.map_err(|refusal| about(name, refusal))
    }
}

/// Reads to the end; every piece goes to `feed`.
pub(super) fn pump(
    mut from: impl Read,
    mut feed: impl FnMut(&[u8]) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => feed(buffer.get(..count).unwrap_or(&buffer))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Refusal::from_read(error)),
        }
    }
}

/// Puts the entry's name in front of what is wrong with it.
fn about(name: &str, refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Zip(why) if !why.starts_with(name) => Refusal::Zip(format!("{name}: {why}")),
        other => other,
    }
}

fn too_large(limit: u64) -> Refusal {
    Refusal::zip(format!("uncompressed size exceeds {limit} bytes"))
}

/// A name from outside, short and safe to print.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(100).collect();
    escaped(&short).into_owned()
}

/// Passes on at most `left` bytes.
struct Metered<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let left = self.left.get().checked_sub(count as u64);
        let too_much = || io::Error::new(io::ErrorKind::InvalidData, "no central directory");
        self.left.set(left.ok_or_else(too_much)?);
        Ok(count)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// Room for the search through a comment of 64 KiB and for a directory of a few dozen entries.
const MAX_DIRECTORY_BYTES: u64 = 512 << 10;

/// `sdkconfig` has about 100 KiB, `version.json` less than one.
const MAX_TEXT_BYTES: usize = 2 << 20;
