//! From bytes to a verdict: which container, which payload, how much of it.

use std::borrow::Cow;

use crate::device::Chip;

use super::binary_payload;
use super::console_text;
use super::dump::{Checksum, Dump, MOST_PROBLEMS};
use super::elf_payload::{self, Error, Layout};
use super::fingerprint::fingerprint;
use super::headerless;
use super::image::{Header, Image};
use super::{Container, Examination, PayloadFormat, Verdict};

/// What `bytes` are, as far as they say so themselves. Takes time and memory
/// in proportion to their length; never fails.
pub fn examine(bytes: &[u8]) -> Examination {
    load(bytes).0
}

/// [`examine`], and the contents of the dump as far as they are whole.
///
/// A console log gives the last whole dump in it, or the last one if none is
/// whole; see [`super::dumps_in_log`] for all of them.
pub fn load(bytes: &[u8]) -> (Examination, Option<Dump>) {
    let found = binary(bytes);
    if found.verdict == Verdict::NotACoredump {
        let other = console_text::text(bytes).or_else(|| without_header(bytes));
        return other.unwrap_or(found).into_parts();
    }
    found.into_parts()
}

/// An image or a payload that is not text.
pub(super) fn binary(bytes: &[u8]) -> Found {
    let found = bare(bytes);
    if found.verdict != Verdict::NotACoredump {
        return found;
    }
    match Header::of(bytes) {
        Header::Image(image) => raw(&image),
        Header::UnknownVersion { chip, major, minor } => {
            let mut found = Found::new(Verdict::UnsupportedVersion, Container::Raw);
            found.chip = Some(chip);
            found.version = Some((major, minor));
            found.problem(format!("dump version {major}.{minor} is not known"));
            found
        }
        Header::Cut => {
            let mut found = Found::new(Verdict::Truncated, Container::Raw);
            found.problem("only the beginning of the header is there".to_owned());
            found
        }
        Header::TooSmall(total) => Found::nothing(&format!(
            "the header gives a length of {total} bytes, less than header and checksum"
        )),
        Header::Blank if bytes.is_empty() => Found::nothing("it is empty"),
        Header::Blank => Found::nothing("it is erased flash"),
        Header::None => found,
    }
}

fn raw(image: &Image<'_>) -> Found {
    let mut found = Found::new(Verdict::Valid, Container::Raw);
    found.format = Some(image.format());
    found.version = Some(image.version());
    found.chip = image.chip();
    found.checksum = image.checksum();
    if image.missing() > 0 {
        found.lower(
            Verdict::Truncated,
            format!("{} of {} bytes are missing", image.missing(), image.total),
        );
    }
    if image.chip().is_none() {
        found.lower(
            Verdict::UnsupportedChip,
            format!("chip id {} is not known", image.chip_id),
        );
    }
    if let Some(checksum) = found.checksum
        && !checksum.ok
    {
        let kind = checksum.kind.as_str();
        found.lower(
            Verdict::ChecksumMismatch,
            format!("the {kind} checksum does not fit"),
        );
    }
    match image.format() {
        PayloadFormat::Elf => found.take_elf(Cow::Borrowed(image.data())),
        _ => found.take_binary(image),
    }
    if let Some(dump) = &mut found.dump {
        dump.chip = image.chip().or(dump.chip);
        dump.header_version = Some(image.version());
        dump.chip_revision = image.chip_revision().or(dump.chip_revision);
        dump.checksum = found.checksum;
    }
    found
}

/// A payload without its image, or with only a part of itself missing.
fn bare(bytes: &[u8]) -> Found {
    for (beginning, missing) in MANGLED {
        let whole = missing.is_empty();
        if !bytes.starts_with(beginning) {
            continue;
        }
        let mut elf = Cow::Borrowed(bytes);
        let mut found = Found::new(Verdict::Valid, Container::BareElf);
        if !whole {
            elf = Cow::Owned([missing, bytes].concat());
            found.lower(
                Verdict::Repaired,
                format!("the first {} bytes were missing", missing.len()),
            );
        }
        found.format = Some(PayloadFormat::Elf);
        found.take_elf(elf);
        if found.verdict != Verdict::NotACoredump {
            return found;
        }
    }
    Found::nothing("it begins like no coredump")
}

/// A binary payload whose header was cut off, possibly with some bytes more.
fn without_header(bytes: &[u8]) -> Option<Found> {
    let recovered = headerless::recover(bytes)?;
    let mut found = Found::new(Verdict::Valid, Container::Raw);
    found.format = Some(PayloadFormat::Binary);
    let Some(recovered) = recovered else {
        let sentence = "the header is missing, and the tasks cannot be told apart without it";
        found.lower(Verdict::Truncated, sentence.to_owned());
        return Some(found);
    };
    let data = &recovered.data;
    let layout = binary_payload::Layout::of(data, recovered.counts);
    let rest = data.get(layout.end..).unwrap_or_default();
    let padded = rest.len() < FLASH_PADDING && rest.iter().all(|b| *b == 0);
    let header = "the header was missing; counts were found from the tasks themselves";
    if layout.missing.is_none() && padded {
        found.lower(Verdict::Repaired, header.to_owned());
        found.canonical = data.get(..layout.end).map(<[u8]>::to_vec);
    } else {
        let sentence = layout.missing.clone();
        let sentence = sentence.unwrap_or_else(|| "the last task is cut off".to_owned());
        found.lower(Verdict::Truncated, sentence);
        found.problem(header.to_owned());
    }
    if recovered.put_back > 0 {
        let sentence = format!("the first {} bytes were missing", recovered.put_back);
        found.problem(sentence);
    }
    found.dump = Some(binary_payload::parse(recovered.architecture, data, &layout));
    Some(found)
}

/// How an ELF core may begin when an uploader took the image's header for 24
/// bytes (it has 20 or 12 in some versions), and the constant bytes before it.
const MANGLED: [(&[u8], &[u8]); 4] = [
    (b"\x7fELF", b""),
    (b"\x01\x01\x01\0", b"\x7fELF"),
    (b"\0\0\0\0\x04\0\x5e\0", b"\x7fELF\x01\x01\x01\0\0\0\0\0"),
    (b"\0\0\0\0\x04\0\xf3\0", b"\x7fELF\x01\x01\x01\0\0\0\0\0"),
];

/// What is known so far.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) verdict: Verdict,
    pub(super) problems: Vec<String>,
    pub(super) container: Option<Container>,
    pub(super) format: Option<PayloadFormat>,
    pub(super) version: Option<(u8, u8)>,
    pub(super) chip: Option<Chip>,
    pub(super) checksum: Option<Checksum>,
    pub(super) dump: Option<Dump>,
    pub(super) canonical: Option<Vec<u8>>,
}

impl Found {
    pub(super) fn new(verdict: Verdict, container: Container) -> Self {
        Self {
            verdict,
            problems: Vec::new(),
            container: Some(container),
            format: None,
            version: None,
            chip: None,
            checksum: None,
            dump: None,
            canonical: None,
        }
    }

    pub(super) fn nothing(problem: &str) -> Self {
        let mut found = Self::new(Verdict::NotACoredump, Container::Raw);
        found.container = None;
        found.problem(problem.to_owned());
        found
    }

    pub(super) fn problem(&mut self, sentence: String) {
        if self.problems.len() < MOST_PROBLEMS && !self.problems.contains(&sentence) {
            self.problems.push(sentence);
        }
    }

    /// Adds a problem. The first one that spoils a dump decides the verdict.
    pub(super) fn lower(&mut self, verdict: Verdict, problem: String) {
        if self.verdict.is_whole() {
            self.verdict = verdict;
        }
        self.problem(problem);
    }

    fn take_elf(&mut self, bytes: Cow<'_, [u8]>) {
        let layout = match Layout::of(&bytes) {
            Ok(layout) => layout,
            Err(Error::Truncated) => {
                let sentence = "the ELF header is cut off".to_owned();
                return self.lower(Verdict::Truncated, sentence);
            }
            Err(Error::NotACore) => {
                let sentence = "the payload is no ELF core file".to_owned();
                return self.lower(Verdict::NotACoredump, sentence);
            }
            Err(Error::Machine(machine)) => {
                let sentence = format!("ELF machine {machine:#x} is none of an ESP32");
                return self.lower(Verdict::UnsupportedChip, sentence);
            }
        };
        let mut dump = elf_payload::parse(&bytes, &layout);
        if layout.end > bytes.len() {
            let sentence = format!(
                "the ELF file needs {} bytes and has {}",
                layout.end,
                bytes.len()
            );
            self.lower(Verdict::Truncated, sentence);
        } else if let Some(problem) = dump.problems.first() {
            self.lower(Verdict::Truncated, problem.clone());
        }
        if self.chip.is_none()
            && let Some(id) = dump.chip_id
            && dump.chip.is_none()
        {
            self.lower(
                Verdict::UnsupportedChip,
                format!("chip id {id} is not known"),
            );
        }
        self.chip = self.chip.or(dump.chip);
        self.version = self.version.or(dump.header_version);
        if self.verdict.is_whole() {
            self.canonical = bytes.get(..layout.end).map(<[u8]>::to_vec);
        }
        dump.problems.clear();
        self.dump = Some(dump);
    }

    fn take_binary(&mut self, image: &Image<'_>) {
        let Some(counts) = image.counts() else {
            let sentence = "the header is cut off".to_owned();
            return self.lower(Verdict::Truncated, sentence);
        };
        let layout = binary_payload::Layout::of(image.data(), counts);
        if let Some(missing) = &layout.missing {
            self.lower(Verdict::Truncated, missing.clone());
        }
        if let Some(chip) = self.chip {
            let dump = binary_payload::parse(chip.architecture(), image.data(), &layout);
            self.dump = Some(dump);
        }
        if self.verdict.is_whole() {
            self.canonical = image.data().get(..layout.end).map(<[u8]>::to_vec);
        }
    }

    pub(super) fn into_parts(self) -> (Examination, Option<Dump>) {
        let dump = self.dump;
        let described = dump.as_ref();
        let task = described
            .and_then(Dump::crashed_task)
            .and_then(|task| task.name_hint.clone());
        let examination = Examination {
            verdict: self.verdict,
            problems: self.problems.clone(),
            container: self.container,
            format: self.format,
            header_version: self.version,
            chip: self.chip,
            app_elf_sha256: described.and_then(|dump| dump.app_elf_sha256.clone()),
            panic_reason: described.and_then(|dump| dump.panic_reason.clone()),
            task,
            fingerprint: described.and_then(fingerprint),
            canonical: self.canonical,
        };
        let dump = dump.map(|mut dump| {
            dump.problems = self.problems;
            dump
        });
        (examination, dump)
    }
}

/// Flash writers fill the data up to a multiple of this.
const FLASH_PADDING: usize = 32;
