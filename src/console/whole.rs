//! Whether a captured dump is whole, and what can be put right with certainty.
//!
//! Layout (ESP-IDF, components/espcoredump): total length and version words,
//! data, checksum over all before it. Nothing is called whole without its
//! checksum; ESP-IDF prints that a second time after the dump.

use crate::device::{Architecture, Chip};
use crate::digest::{Sha256, nibble};
use crate::reader::{half_at, word_at};

use super::payload::Payload;
use super::unsummed::Unsummed;

/// What became of a dump's bytes.
pub(super) struct Judged {
    pub(super) bytes: Vec<u8>,
    pub(super) whole: bool,
    pub(super) problems: Vec<String>,
}

/// Judges what was captured; `printed` is the checksum line's hex text.
pub(super) fn judge(payload: Payload, printed: Option<&str>, chip: Option<Chip>) -> Judged {
    let Payload {
        mut bytes,
        lines,
        damaged,
        doubtful,
        ..
    } = payload;
    let witness = printed.and_then(witness_bytes);
    if repair(&mut bytes, &lines, &doubtful, witness.as_deref(), chip) {
        let mut problems = Vec::new();
        if let Some(witness) = witness
            && !bytes.ends_with(&witness)
        {
            problems.push("printed checksum differs from the dump's own, which is correct (known bug of ESP-IDF before 5.5)".to_owned());
        }
        return Judged {
            bytes,
            whole: true,
            problems,
        };
    }
    let mut problems = Vec::new();
    if damaged > 0 {
        problems.push(format!(
            "{damaged} of {} lines damaged",
            lines.len().max(damaged)
        ));
    }
    match Header::of(&bytes) {
        None if Header::stand_in(&bytes, &lines, chip).is_none() => {
            problems.push("dump header missing".to_owned());
        }
        None => {
            let header = Header::stand_in(&bytes, &lines, chip);
            if let Some((header, skip)) = header {
                bytes.splice(..skip, header);
            }
            problems.push("dump header missing: replaced by a reconstructed one".to_owned());
        }
        Some(header) if bytes.len() < header.total => {
            problems.push(format!(
                "received {} of {} bytes",
                bytes.len(),
                header.total
            ));
        }
        Some(header) if bytes.len() > header.total => {
            problems.push(format!(
                "received {} bytes, expected {}",
                bytes.len(),
                header.total
            ));
        }
        Some(_) => problems.push("checksum mismatch".to_owned()),
    }
    Judged {
        bytes,
        whole: false,
        problems,
    }
}

/// Makes `bytes` whole if its checksum then proves it.
fn repair(
    bytes: &mut Vec<u8>,
    lines: &[u8],
    doubtful: &[usize],
    witness: Option<&[u8]>,
    chip: Option<Chip>,
) -> bool {
    if is_whole(bytes) {
        return true;
    }
    let Some(header) = Header::of(bytes) else {
        return with_stand_in(bytes, lines, chip);
    };
    if bytes.get(..header.total).is_some_and(is_whole) {
        bytes.truncate(header.total);
        return true;
    }
    if let Some(witness) = witness.filter(|witness| witness.len() == header.checksum.length()) {
        let data = header.total.saturating_sub(witness.len());
        // the checksum's own line was lost or damaged
        if (data..=header.total).contains(&bytes.len())
            && let Some(body) = bytes.get(..data)
            && header.checksum.of(body) == witness
        {
            bytes.truncate(data);
            bytes.extend_from_slice(witness);
            return true;
        }
    }
    match without_strays(bytes, lines, doubtful, header.total) {
        Some(repaired) => {
            *bytes = repaired;
            true
        }
        None => with_stand_in(bytes, lines, chip),
    }
}

fn with_stand_in(bytes: &mut Vec<u8>, lines: &[u8], chip: Option<Chip>) -> bool {
    let Some((header, skip)) = Header::stand_in(bytes, lines, chip) else {
        return false;
    };
    let mut candidate = header;
    candidate.extend_from_slice(bytes.get(skip..).unwrap_or_default());
    let whole = is_whole(&candidate);
    if whole {
        *bytes = candidate;
    }
    whole
}

/// Whether `bytes` is a dump image, complete and with a fitting checksum, or
/// one of those that have none.
fn is_whole(bytes: &[u8]) -> bool {
    let unsummed = Unsummed::whole(bytes).is_some_and(|found| found.total == bytes.len());
    unsummed
        || Header::of(bytes).is_some_and(|header| {
            let data = header.total.saturating_sub(header.checksum.length());
            bytes.len() == header.total
                && bytes
                    .split_at_checked(data)
                    .is_some_and(|(body, stored)| header.checksum.of(body) == stored)
        })
}

/// `bytes` without lines that were printed meanwhile and look like base64
/// (`done`), that came twice or that are doubtful, if that makes it whole.
fn without_strays(bytes: &[u8], lines: &[u8], doubtful: &[usize], total: usize) -> Option<Vec<u8>> {
    let excess = bytes
        .len()
        .checked_sub(total)
        .filter(|excess| *excess > 0)?;
    let spans = spans(lines);
    let text = |span: &(usize, usize)| bytes.get(span.0..span.1);
    let mut tried: Vec<&[u8]> = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        let Some(line) = text(span).filter(|line| !line.is_empty() && !tried.contains(line)) else {
            continue;
        };
        let doubled = index > 0 && spans.get(index - 1).and_then(text) == Some(line);
        let alone = doubled || doubtful.contains(&index);
        let equal: Vec<usize> = match excess == line.len() && alone {
            true => vec![index],
            false if line.len() < FULL && excess % line.len() == 0 => {
                let count = excess / line.len();
                let equal = spans
                    .iter()
                    .enumerate()
                    .filter(|(_, span)| text(span) == Some(line));
                let found: Vec<usize> = equal.map(|(index, _)| index).collect();
                if found.len() != count {
                    continue;
                } else {
                    found
                }
            }
            false => continue,
        };
        if tried.len() >= MOST_TRIALS {
            return None;
        }
        tried.push(line);
        let kept = spans
            .iter()
            .enumerate()
            .filter(|(index, _)| !equal.contains(index));
        let candidate: Vec<u8> = kept
            .filter_map(|(_, span)| text(span))
            .flatten()
            .copied()
            .collect();
        if is_whole(&candidate) {
            return Some(candidate);
        }
    }
    None
}

fn spans(lines: &[u8]) -> Vec<(usize, usize)> {
    let ends = lines.iter().scan(0usize, |end, length| {
        let start = *end;
        *end += usize::from(*length);
        Some((start, *end))
    });
    ends.collect()
}

/// The bytes that a printed checksum stands for.
fn witness_bytes(printed: &str) -> Option<Vec<u8>> {
    let (pairs, []) = printed.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digits = pairs
        .iter()
        .map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?));
    let mut bytes: Vec<u8> = digits.collect::<Option<_>>()?;
    match bytes.len() {
        // a CRC is printed as a number and stored little-endian
        4 => bytes.reverse(),
        32 => {}
        _ => return None,
    }
    Some(bytes)
}

#[derive(Clone, Copy)]
enum Checksum {
    Crc32,
    Sha256,
}

impl Checksum {
    fn length(self) -> usize {
        match self {
            Self::Crc32 => 4,
            Self::Sha256 => 32,
        }
    }

    fn of(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Crc32 => crc32fast::hash(data).to_le_bytes().to_vec(),
            Self::Sha256 => Sha256::of(data).as_bytes().to_vec(),
        }
    }
}

/// The two words that every dump image begins with.
struct Header {
    total: usize,
    checksum: Checksum,
}

impl Header {
    fn of(bytes: &[u8]) -> Option<Self> {
        let version = word_at(bytes, 4)?;
        let total = usize::try_from(word_at(bytes, 0)?).ok()?;
        Chip::from_id(u16::try_from(version >> 16).ok()?)?;
        let checksum = match version & 0xFFFF {
            0x0001..=0x0003 | 0x0100 | 0x0102 => Checksum::Crc32,
            0x0101 | 0x0103 | 0x0104 => Checksum::Sha256,
            _ => return None,
        };
        (48..MOST_BYTES)
            .contains(&total)
            .then_some(Self { total, checksum })
    }

    /// A header for an ELF payload whose own did not arrive, and how many bytes
    /// of `bytes` it replaces. Without it such a file would pass for a bare ELF,
    /// which carries no checksum to prove anything.
    fn stand_in(bytes: &[u8], lines: &[u8], chip: Option<Chip>) -> Option<(Vec<u8>, usize)> {
        let elf = |at: &usize| bytes.get(*at..*at + 4) == Some(b"\x7fELF");
        let skip = [0, 12, 20, 24].into_iter().find(elf)?;
        let machine = half_at(bytes, skip + 18);
        let fits = |chip: &Chip| {
            let architecture = match machine {
                Some(0xF3) => Architecture::RiscV,
                _ => Architecture::Xtensa,
            };
            chip.architecture() == architecture
        };
        let chip = chip
            .filter(fits)
            .or_else(|| Chip::ALL.iter().copied().find(fits))?;
        let sha = lines.last() == Some(&32);
        let (length, version): (usize, u32) = match (skip, sha) {
            (12, _) => (12, 0x0104),
            (20, sha) => (20, if sha { 0x0101 } else { 0x0100 }),
            (_, sha) => (24, if sha { 0x0103 } else { 0x0102 }),
        };
        let total = u32::try_from(bytes.len() - skip + length).ok()?;
        let mut header = total.to_le_bytes().to_vec();
        header.extend((u32::from(chip.id()) << 16 | version).to_le_bytes());
        // the words behind these two may have survived
        let rest = if skip == length {
            bytes.get(8..skip)
        } else {
            None
        };
        header.extend_from_slice(rest.unwrap_or_default());
        header.resize(length, 0);
        Some((header, skip))
    }
}

/// Whether `bytes`, one decoded line, is the header line of a dump.
pub(super) fn is_header(bytes: &[u8]) -> bool {
    let unversioned = bytes.len() == 12 && Unsummed::header(bytes).is_some();
    matches!(bytes.len(), 12 | 16 | 20 | 24) && (Header::of(bytes).is_some() || unversioned)
}

/// The bytes of a full line.
const FULL: usize = 48;
/// How many different lines are tried as strays.
const MOST_TRIALS: usize = 64;
/// No device writes a dump of this size.
const MOST_BYTES: usize = 16 << 20;
