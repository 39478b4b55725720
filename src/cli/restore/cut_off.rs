//! A restore that is cut off while it takes in what it unpacked leaves parts of a
//! gateway. A marker tells that: it is on the disk before the first part is in its
//! place, and goes after the last one is.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::unused::empty;
use crate::store::backup::STAGING;
use crate::store::publish::{SECRET_MODE, replace, sync_folder};

/// In the staging folder of a data directory: the other folders that the restore
/// fills, with a zero byte between them. No entry of a backup has such a name.
pub(super) const MARKER: &str = ".folders";

/// Notes that what is in `root` and `others` from now on is from a restore.
pub(super) fn mark<'a>(root: &Path, others: impl Iterator<Item = &'a Path>) -> anyhow::Result<()> {
    let others: Vec<&[u8]> = others.map(|path| path.as_os_str().as_bytes()).collect();
    replace(&root.join(STAGING), MARKER, &others.join(&0), SECRET_MODE)?;
    Ok(sync_folder(root)?)
}

/// Removes what a restore into `root` took in before it was cut off. The marker
/// stays, so this can be cut off too.
pub(super) fn clear(root: &Path) -> anyhow::Result<()> {
    let marker = root.join(STAGING).join(MARKER);
    let bytes = match fs::read(&marker) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", marker.display()));
        }
    };
    let others = bytes.split(|byte| *byte == 0);
    let others = others.map(|path| PathBuf::from(OsStr::from_bytes(path)));
    let others: Vec<PathBuf> = others.filter(|path| path.is_dir()).collect();
    let root = fs::canonicalize(root)?;
    let lock = root.join("lock");
    for folder in others.iter().chain([&root]) {
        empty(folder, &|path| {
            path == lock || others.iter().any(|other| other.starts_with(path))
        })?;
        sync_folder(folder)?;
    }
    Ok(())
}
