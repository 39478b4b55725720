//! `espgate restore`: a backup becomes the data directory of this machine.

mod check;
mod unused;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;
use nix::unistd::{Gid, Uid, chown};
use zip::ZipArchive;

use super::answer::{items, say, text};
use super::args::Global;
use super::failure::Outcome;
use super::places;
use crate::store::publish::{
    FILE_MODE, FOLDER_MODE, SECRET_FOLDER_MODE, SECRET_MODE, Temporary, make_folder, sync_folder,
};

/// Make this machine take the place of the one a backup is from
///
/// The daemon must not run, and the data directory must be absent, empty, or as
/// a daemon makes it that nothing was registered with yet.
#[derive(Args, Debug)]
pub(super) struct RestoreArgs {
    /// What `espgate backup` wrote
    file: PathBuf,
}

/// Checks everything, then unpacks it; a restore is there as a whole or not at all.
pub(super) fn run(global: &Global, args: &RestoreArgs) -> Outcome {
    let target = places::data_dir(global);
    let cannot = || format!("cannot restore {}", args.file.display());
    let file = File::open(&args.file).with_context(cannot)?;
    let mut archive = ZipArchive::new(file)
        .context("it is not a whole ZIP archive")
        .with_context(cannot)?;
    let manifest = check::manifest(&mut archive).with_context(cannot)?;
    check::entries(&mut archive).with_context(cannot)?;
    let owner = must_be_free(&target).with_context(cannot)?;
    let count = unpack(&mut archive, &target).with_context(cannot)?;
    hand_over(&target, owner).with_context(cannot)?;
    say(&format!(
        "{count} files of gateway {} ({}) are restored into {}",
        text(&manifest, "gateway_id"),
        text(&manifest, "made_at"),
        target.display()
    ))?;
    let last = target.join("state/espgate.toml.last");
    if last.exists() {
        say(&format!(
            "the configuration it ran with is {}; copy it to {} if it is not there",
            last.display(),
            crate::config::DEFAULT_PATH
        ))?;
    }
    for path in items(&manifest, "outside")
        .iter()
        .filter_map(|path| path.as_str())
    {
        say(&format!("not in the backup, copy it yourself: {path}"))?;
    }
    say("start the daemon now; the old machine must not run any more")?;
    Ok(ExitCode::SUCCESS)
}

/// Who owns the data directory, which is empty then; `None` if it is not there.
fn must_be_free(target: &Path) -> anyhow::Result<Option<(Uid, Gid)>> {
    use std::os::unix::fs::MetadataExt as _;
    let listing = match fs::read_dir(target) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot look into {}", target.display()));
        }
    };
    if listing.flatten().next().is_some() {
        unused::clear(target)?;
    }
    let about = fs::metadata(target)?;
    Ok(Some((
        Uid::from_raw(about.uid()),
        Gid::from_raw(about.gid()),
    )))
}

/// Writes all entries; on an error what was written is removed again.
fn unpack(archive: &mut ZipArchive<File>, target: &Path) -> anyhow::Result<usize> {
    let existed = target.exists();
    let outcome = unpack_all(archive, target);
    if outcome.is_err() {
        // It was empty, so all of it is ours.
        let _ = fs::remove_dir_all(target);
        if existed {
            let _ = fs::create_dir(target);
        }
    }
    outcome
}

fn unpack_all(archive: &mut ZipArchive<File>, target: &Path) -> anyhow::Result<usize> {
    make_folder(target, FOLDER_MODE)?;
    let mut count = 0;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        let Some(place) = check::place(&name)? else {
            continue;
        };
        let folder = target.join(place.parent().unwrap_or(Path::new("")));
        let is_secret = place.starts_with("state") || place.starts_with("tls");
        let (folder_mode, mode) = match is_secret {
            true => (SECRET_FOLDER_MODE, SECRET_MODE),
            false => (FOLDER_MODE, FILE_MODE),
        };
        make_folders(target, &place, folder_mode)?;
        let mut file = Temporary::new(&folder, mode)?;
        // The entry's checksum is compared at its end.
        io::copy(&mut entry, file.file()).with_context(|| format!("cannot unpack {name}"))?;
        file.sync()?;
        file.rename_new(&target.join(&place))?;
        count += 1;
    }
    sync_folders(target)?;
    Ok(count)
}

/// Makes every folder on the way to `place`, each with its mode.
fn make_folders(target: &Path, place: &Path, mode: u32) -> anyhow::Result<()> {
    let parents: Vec<&Path> = place.ancestors().skip(1).collect();
    for parent in parents
        .iter()
        .rev()
        .filter(|path| !path.as_os_str().is_empty())
    {
        make_folder(&target.join(parent), mode)?;
    }
    Ok(())
}

fn sync_folders(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    Ok(sync_folder(folder)?)
}

/// Gives everything to whom the folder belonged, or to the service's user if
/// root restores into a folder that was not there.
fn hand_over(target: &Path, owner: Option<(Uid, Gid)>) -> anyhow::Result<()> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let service = || {
        let user = nix::unistd::User::from_name("espgate").ok().flatten()?;
        Some((user.uid, user.gid))
    };
    let Some((user, group)) = owner.or_else(service) else {
        return Ok(());
    };
    give(target, user, group)
}

fn give(path: &Path, user: Uid, group: Gid) -> anyhow::Result<()> {
    chown(path, Some(user), Some(group))
        .map_err(|code| anyhow!("cannot give {} to its owner: {code}", path.display()))?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user, group)?;
        }
    }
    Ok(())
}
