//! Reading dumps, ELF files and bundles, up to a limit.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

/// Why a file could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is larger than {} MiB", .path.display(), .limit >> 20)]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{} is no bundle with an ELF file in it", .path.display())]
    NoElf { path: PathBuf },
}

/// What a file with a dump or a console log holds.
pub enum Input {
    Whole(Vec<u8>),
    /// Longer than most dumps, of which this is the beginning.
    Long(Vec<u8>, Box<dyn Read>),
}

/// Opens a file with a dump or a console log; `-` is standard input.
///
/// # Errors
/// If it cannot be read.
pub fn input(path: &Path) -> Result<Input, Error> {
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut from: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path).map_err(failed)?),
    };
    let mut head = Vec::new();
    let read = from.by_ref().take(LONGEST_WHOLE).read_to_end(&mut head);
    Ok(match read.map_err(failed)? as u64 == LONGEST_WHOLE {
        true => Input::Long(head, from),
        false => Input::Whole(head),
    })
}

/// The contents of the file with a dump or a console log.
///
/// # Errors
/// If it cannot be read or is larger than 64 MiB.
pub fn core(path: &Path) -> Result<Vec<u8>, Error> {
    from_file(path, CORE_LIMIT)
}

/// The rest of what [`input`] began to read, if it is no log after all.
///
/// # Errors
/// If it cannot be read or is larger than 64 MiB.
pub fn rest(head: Vec<u8>, from: impl Read, path: &Path) -> Result<Vec<u8>, Error> {
    limited(Cursor::new(head).chain(from), 0, path, CORE_LIMIT)
}

/// The contents of an application's ELF file, which may be in a firmware bundle.
///
/// # Errors
/// If it cannot be read, is larger than 128 MiB, or is a bundle without ELF.
pub fn elf(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = from_file(path, ELF_LIMIT)?;
    if !bytes.starts_with(b"PK\x03\x04") {
        return Ok(bytes);
    }
    let no_elf = || Error::NoElf {
        path: path.to_owned(),
    };
    let mut bundle = ZipArchive::new(Cursor::new(bytes)).map_err(|_| no_elf())?;
    let name = bundle
        .file_names()
        .filter_map(Result::ok)
        .find(|name| name.ends_with(".elf"))
        .ok_or_else(no_elf)?
        .into_owned();
    let entry = bundle.by_name(&name).map_err(|_| no_elf())?;
    let size = entry.size().min(ELF_LIMIT);
    limited(entry, size, path, ELF_LIMIT)
}

fn from_file(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > limit {
        return Err(Error::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    limited(file, size, path, limit)
}

fn limited(from: impl Read, size: u64, path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    from.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// Most dumps are shorter, also as text; longer logs are read as a stream.
const LONGEST_WHOLE: u64 = 2 << 20;
/// A console log of days fits.
const CORE_LIMIT: u64 = 64 << 20;
/// The largest bundle that is taken in; no application is near it.
const ELF_LIMIT: u64 = 128 << 20;
