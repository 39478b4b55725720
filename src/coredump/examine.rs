//! From bytes to a verdict: which container, which payload, how much of it.

use std::borrow::Cow;

use super::binary_payload;
use super::console_text;
use super::dump::Dump;
use super::found::Found;
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
/// A console log gives the last whole dump in it, or the least damaged one if
/// none is whole; see [`super::dumps_in_log`] for all of them.
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
            take_elf_near(&mut found, bytes);
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

/// Whatever a header of another version says, an ELF right behind it can be
/// read all the same.
fn take_elf_near(found: &mut Found, bytes: &[u8]) {
    const LARGEST_HEADER: usize = 128;
    let near = bytes.get(..LARGEST_HEADER).unwrap_or(bytes);
    let at = near.windows(4).position(|window| window == b"\x7fELF");
    if let Some(elf) = at.and_then(|at| bytes.get(at..)) {
        found.format = Some(PayloadFormat::Elf);
        found.take_elf(Cow::Borrowed(elf));
        if let Some(dump) = &mut found.dump {
            dump.header_version = found.version;
        }
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
        if whole || found.verdict != Verdict::NotACoredump {
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

/// Flash writers fill the data up to a multiple of this.
const FLASH_PADDING: usize = 32;
