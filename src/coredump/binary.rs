//! An image with its header, or an ELF core without one.

use std::borrow::Cow;

use crate::console::Unsummed;

use super::binary_payload::Counts;
use super::found::Found;
use super::image::{Header, Image};
use super::{Container, PayloadFormat, Verdict};

/// An image or a payload that is not text.
pub(super) fn binary(bytes: &[u8]) -> Found {
    let found = bare(bytes);
    if found.verdict != Verdict::NotACoredump {
        return found;
    }
    if let Some(header) = Unsummed::whole(bytes) {
        return unsummed(bytes, header);
    }
    match Header::of(bytes) {
        Header::Image(image) => raw(&image),
        Header::UnknownVersion { chip, major, minor } => {
            let mut found = Found::new(Verdict::UnsupportedVersion, Container::Raw);
            found.chip = Some(chip);
            found.version = Some((major, minor));
            found.problem(format!("unknown dump version {major}.{minor}"));
            take_elf_near(&mut found, bytes);
            found
        }
        Header::Cut => {
            let mut found = Found::new(Verdict::Truncated, Container::Raw);
            found.problem("header truncated".to_owned());
            found
        }
        Header::TooSmall(total) => Found::nothing(&format!(
            "invalid length in the header: {total} bytes, less than header and checksum"
        )),
        Header::Blank if bytes.is_empty() => Found::nothing("file is empty"),
        Header::Blank => Found::nothing("coredump partition is erased"),
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
            format!("{} of {} bytes missing", image.missing(), image.total),
        );
    }
    if image.chip().is_none() {
        found.lower(
            Verdict::UnsupportedChip,
            format!("unknown chip id {}", image.chip_id),
        );
    }
    if let Some(checksum) = found.checksum
        && !checksum.ok
    {
        let kind = checksum.kind.as_str();
        found.lower(
            Verdict::ChecksumMismatch,
            format!("{kind} checksum mismatch"),
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

/// An image that its tasks fill, of ESP-IDF up to 4.0 over UART.
fn unsummed(bytes: &[u8], header: Unsummed) -> Found {
    let mut found = Found::new(Verdict::Valid, Container::Raw);
    found.format = Some(PayloadFormat::Binary);
    found.version = header.version;
    found.chip = Some(header.chip);
    let counts = Counts {
        tasks: header.tasks,
        tcb_size: header.tcb_size,
        segments: 0,
    };
    let data = bytes.get(header.header..header.total).unwrap_or_default();
    found.take_tasks(data, counts);
    if let Some(dump) = &mut found.dump {
        dump.chip = found.chip;
        dump.chip_id = found.chip.map(crate::device::Chip::id);
        dump.header_version = header.version;
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
                format!("first {} bytes missing, reconstructed", missing.len()),
            );
        }
        found.format = Some(PayloadFormat::Elf);
        found.take_elf(elf);
        if whole || found.verdict != Verdict::NotACoredump {
            return found;
        }
    }
    Found::nothing("no coredump header found")
}

/// How an ELF core may begin when an uploader took the image's header for 24
/// bytes (it has 20 or 12 in some versions), and the constant bytes before it.
const MANGLED: [(&[u8], &[u8]); 4] = [
    (b"\x7fELF", b""),
    (b"\x01\x01\x01\0", b"\x7fELF"),
    (b"\0\0\0\0\x04\0\x5e\0", b"\x7fELF\x01\x01\x01\0\0\0\0\0"),
    (b"\0\0\0\0\x04\0\xf3\0", b"\x7fELF\x01\x01\x01\0\0\0\0\0"),
];
