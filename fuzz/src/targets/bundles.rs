//! Firmware as it is uploaded: a ZIP, or a bare image.

use std::io::{Cursor, Write as _};

use espgate::bundle::{self, Bundle, BundleLimits, Part};
use espgate::device::ModelCode;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const LIMITS: BundleLimits = BundleLimits {
    entries: 8,
    inflated: 256 << 10,
};

/// An even first byte: the upload itself. An odd one: what the files of a ZIP hold, cut
/// into parts by their lengths, so that the files are looked at too.
pub fn bundle(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let made;
    let upload = match choice % 2 {
        0 => rest,
        _ => {
            made = packed(rest);
            &made
        }
    };
    let model: ModelCode = "lamp".parse().expect("a model code");
    let found = bundle::check(Cursor::new(upload), &model, &LIMITS, None);
    if let Ok(found) = &found {
        assert!(found.size <= LIMITS.inflated);
        assert!(found.elf_sha256.is_some() && found.manifest.is_some());
        let mut image = Vec::new();
        let (size, sha256) =
            bundle::extract(Cursor::new(upload), &model, Part::Bin, &LIMITS, &mut image)
                .expect("what was checked");
        assert_eq!((size, sha256), (found.size, found.sha256));
        assert_eq!(image.len() as u64, size);
        same(
            found,
            &bundle::check_bare(image.as_slice(), None).expect("the same image"),
        );
    }
    if let Err(refusal) = &found {
        check_words(&refusal.to_string());
    }
    match bundle::check_bare(rest, None) {
        Ok(found) => assert_eq!(found.size, rest.len() as u64),
        Err(refusal) => check_words(&refusal.to_string()),
    }
}

/// An image says the same in a ZIP and on its own.
fn same(packed: &Bundle, bare: &Bundle) {
    assert_eq!(packed.image, bare.image);
    assert_eq!(packed.md5, bare.md5);
    assert_eq!(packed.appended_sha256, bare.appended_sha256);
    assert_eq!(
        packed.app_elf_sha256(),
        bare.image.app_elf_sha256.or(packed.elf_sha256)
    );
}

/// What the uploader is told fits on a screen, and is text.
fn check_words(words: &str) {
    assert!(words.len() <= 4096, "{} bytes: {words:.200}", words.len());
    assert!(!words.chars().any(char::is_control), "{words:?}");
}

fn packed(mut rest: &[u8]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for name in [
        "version.json",
        "sdkconfig",
        "lamp.elf",
        "lamp.map",
        "lamp.bin",
    ] {
        let (contents, after) = match rest.split_first_chunk::<2>() {
            Some((length, after)) if name != "lamp.bin" => {
                let length = usize::from(u16::from_le_bytes(*length));
                after.split_at(length.min(after.len()))
            }
            _ => (rest, rest),
        };
        rest = after;
        writer.start_file(name, options).expect("a new file");
        writer.write_all(contents).expect("memory");
    }
    writer.finish().expect("a whole ZIP").into_inner()
}
