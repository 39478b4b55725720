//! `espgate restore`: a backup becomes the data directory of this machine.

mod check;
mod cut_off;
mod places;
mod settings;
mod staged;
mod unused;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use zip::ZipArchive;

use super::answer::say;
use super::args::Global;
use super::backup;
use super::failure::Outcome;
use crate::clock::{Moment, iso8601};
use crate::store::backup::Restored;
use places::Places;
use settings::Settings;
use staged::Staged;
use unused::Unused;

/// Make this machine take the place of the one a backup is from
///
/// The daemon must not run, and the data directory must be absent, empty, or as
/// a daemon makes it that nothing was registered with yet. The settings come
/// back too, unless this machine's were changed; they say where the data goes.
#[derive(Args, Debug)]
pub(super) struct RestoreArgs {
    /// What `espgate backup` wrote
    file: PathBuf,
}

/// Checks everything, then unpacks it; a restore is there as a whole or not at all.
pub(super) fn run(global: &Global, args: &RestoreArgs) -> Outcome {
    let cannot = || format!("cannot restore {}", args.file.display());
    let file = File::open(&args.file).with_context(cannot)?;
    let mut archive = ZipArchive::new(file)
        .context("it is not a whole ZIP archive")
        .with_context(cannot)?;
    let manifest = check::manifest(&mut archive).with_context(cannot)?;
    let missing = backup::left_out(&args.file).with_context(cannot)?;
    let incomplete: Vec<String> = missing.iter().map(|item| item.name.clone()).collect();
    let entries = check::entries(&mut archive, &incomplete).with_context(cannot)?;
    let settings = Settings::of(&mut archive, global).with_context(cannot)?;
    let places = Places::of(global, &settings.in_force);
    // With a configuration that changes, the daemon that runs may be elsewhere.
    let current = super::places::data_dir(global);
    let is_other = fs::canonicalize(&current).ok() != fs::canonicalize(&places.root).ok();
    let other = is_other.then(|| unused::lock(&current)).transpose();
    let _lock = other.with_context(cannot)?;
    let note = Restored {
        schema: 1,
        from: args.file.display().to_string(),
        made_at: manifest.made_at.clone(),
        restored_at: iso8601(Moment::now().wall),
    };
    let made = put(&mut archive, &entries, &places, &note).with_context(cannot)?;
    say(&format!(
        "{} files of gateway {} ({}) are restored into {}",
        entries.len(),
        manifest.gateway_id,
        manifest.made_at,
        places.shown(&entries)
    ))?;
    for folder in made.iter().filter(|folder| settings.name(folder)) {
        say(&format!(
            "{} was not there and was made: if it is on a disk of its own, that is not mounted",
            folder.display()
        ))?;
    }
    for path in &manifest.outside {
        say(&format!("not in the backup, copy it yourself: {path}"))?;
    }
    if !missing.is_empty() {
        let named = backup::named(&missing);
        say(&format!(
            "not in the backup, its gateway could not read it: {named}"
        ))?;
    }
    for line in settings.settle(&places.root)? {
        say(&line)?;
    }
    say("start the daemon now; the old machine must not run any more")?;
    Ok(ExitCode::SUCCESS)
}

/// Unpacks `entries`; the folders that had to be made for them.
fn put(
    archive: &mut ZipArchive<File>,
    entries: &[check::Entry],
    places: &Places,
    note: &Restored,
) -> anyhow::Result<Vec<PathBuf>> {
    let unused = Unused::of(places)?;
    for folder in places.used(entries).iter().skip(1) {
        unused::must_be_empty(folder)?;
    }
    let staged = Staged::unpack(archive, entries, places, note)?;
    unused.clear(places)?;
    let made = staged.made();
    staged.take_in()?;
    Ok(made)
}
