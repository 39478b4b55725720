//! Whether an archive is a backup, and where its entries may go.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;
use zip::ZipArchive;

use crate::store::backup::{LEFT_OUT, MANIFEST, Manifest, SCHEMA, belongs};
use crate::store::data_dir::FORMAT;

/// Largest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 1024 * 1024;

/// The manifest of a backup that this version can restore.
pub(super) fn manifest<R: Read + Seek>(archive: &mut ZipArchive<R>) -> anyhow::Result<Manifest> {
    let entry = archive
        .by_name(MANIFEST)
        .context("not a backup of espgate: no manifest")?;
    let mut bytes = Vec::new();
    entry.take(MAX_MANIFEST).read_to_end(&mut bytes)?;
    let manifest: Value = serde_json::from_slice(&bytes).context("cannot read its manifest")?;
    match manifest.get("schema").and_then(Value::as_u64) {
        Some(schema) if schema <= SCHEMA => {
            serde_json::from_value(manifest).context("cannot read its manifest")
        }
        _ => bail!("made by a newer espgate; install that version or newer"),
    }
}

/// An entry that becomes a file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) index: usize,
    /// Below a data directory.
    pub(super) place: PathBuf,
    /// Whether only its owner may read it.
    pub(super) is_secret: bool,
}

/// The entries to be restored: all but the `incomplete` ones. Names, kinds and
/// the data's format are checked, before anything is written.
pub(super) fn entries<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    incomplete: &[&str],
) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index)?;
        let name = entry.name()?;
        let mode = entry.unix_mode().unwrap_or(0o100_644);
        let is_file = matches!(mode & 0o170_000, 0 | 0o100_000);
        if !is_file || entry.encrypted() {
            bail!("entry {name:?} is not a regular file");
        }
        if let Some(place) = place(&name)?
            && !incomplete.contains(&&*name)
        {
            // Older backups give all files the same mode.
            let is_secret = mode & 0o077 == 0 || is_private(&place);
            entries.push(Entry {
                index,
                place,
                is_secret,
            });
        }
    }
    check_format(archive)?;
    if !entries.iter().any(|entry| entry.place.starts_with("state")) {
        bail!("no gateway in it: no state");
    }
    Ok(entries)
}

/// Whether a place is below a folder that only the daemon may look into.
pub(super) fn is_private(place: &Path) -> bool {
    place.starts_with("state") || place.starts_with("tls")
}

/// Checks that this version's daemon can use the data.
fn check_format<R: Read + Seek>(archive: &mut ZipArchive<R>) -> anyhow::Result<()> {
    let entry = archive
        .by_name("FORMAT")
        .context("no gateway in it: no FORMAT")?;
    let mut text = String::new();
    entry.take(MAX_MANIFEST).read_to_string(&mut text)?;
    match text.trim().parse::<u32>() {
        Ok(format) if format <= FORMAT => Ok(()),
        Ok(_) => bail!("its data is of a newer espgate; install that version or newer"),
        Err(_) => bail!("its FORMAT is {:?}, not a number", text.trim()),
    }
}

/// Where an entry goes below the data directory; `None` for what
/// tells about the backup.
///
/// # Errors
/// For a name that leaves the data directory, or that `espgate backup` never writes.
fn place(name: &str) -> anyhow::Result<Option<PathBuf>> {
    if [MANIFEST, LEFT_OUT].contains(&name) {
        return Ok(None);
    }
    let path = Path::new(name);
    if !belongs(path) {
        bail!("entry {name:?} does not belong in a backup");
    }
    Ok(Some(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_a_backup_have_a_place() {
        for good in ["FORMAT", "state/tokens.json", "later/x"] {
            assert_eq!(place(good).unwrap(), Some(PathBuf::from(good)));
        }
        assert_eq!(place(MANIFEST).unwrap(), None);
        assert_eq!(place(LEFT_OUT).unwrap(), None);
        for bad in ["../x", "/x", "run/x", "state/.tmp-1", ""] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
