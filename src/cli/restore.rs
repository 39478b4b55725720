//! `espgate restore`: a backup becomes the data directory of this machine.

mod archive;
mod destination;
mod settings;
mod staging;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use zip::ZipArchive;

use super::args::Global;
use super::backup;
use super::failure::Outcome;
use super::output::print_line;
use super::paths;
use crate::clock::{Moment, iso8601};
use crate::store::restored::Restored;
use destination::Destination;
use settings::Settings;
use staging::Staging;

/// Restore a backup on this machine
///
/// Stop the daemon first. The data directory must be absent, empty, or new:
/// nothing registered, no dumps, no firmware. The configuration file is restored
/// too, unless this machine's was changed.
#[derive(Args, Debug)]
pub(super) struct RestoreArgs {
    /// File written by `espgate backup`
    file: PathBuf,
}

/// Checks the whole archive, unpacks it beside what is there, then replaces that.
pub(super) fn run(global: &Global, args: &RestoreArgs) -> Outcome {
    let cannot = || format!("cannot restore {}", args.file.display());
    let file = File::open(&args.file).with_context(cannot)?;
    let mut zip = ZipArchive::new(file)
        .context("not a complete ZIP archive")
        .with_context(cannot)?;
    let manifest = archive::manifest(&mut zip).with_context(cannot)?;
    let missing = backup::left_out(&args.file).with_context(cannot)?;
    let incomplete: Vec<&str> = missing.iter().map(|item| item.name.as_str()).collect();
    let entries = archive::entries(&mut zip, &incomplete).with_context(cannot)?;
    let settings = Settings::of(&mut zip, global).with_context(cannot)?;
    let destination = Destination::of(global, &settings.in_force);
    // With a configuration that changes, the daemon that runs may use another one.
    let current = paths::data_dir(global);
    let is_other = fs::canonicalize(&current).ok() != fs::canonicalize(&destination.root).ok();
    let other = is_other.then(|| destination::lock(&current)).transpose();
    let _other = other.with_context(cannot)?;
    let note = Restored {
        schema: 1,
        from: args.file.display().to_string(),
        made_at: manifest.made_at.clone(),
        restored_at: iso8601(Moment::now().wall),
    };
    let created = (|| {
        let _lock = destination.lock_unused(&entries)?;
        let staging = Staging::unpack(&mut zip, &entries, &destination, &note)?;
        let created = staging.created();
        staging.move_in()?;
        anyhow::Ok(created)
    })();
    let created = created.with_context(cannot)?;
    print_line(&format!(
        "restored {} files of gateway {} (backup of {}) to {}",
        entries.len(),
        manifest.gateway_id,
        manifest.made_at,
        destination.shown(&entries)
    ))?;
    for folder in created.iter().filter(|folder| settings.name(folder)) {
        print_line(&format!(
            "{} did not exist and was created; if it belongs on a separate disk, that disk is \
             not mounted",
            folder.display()
        ))?;
    }
    for path in &manifest.outside {
        print_line(&format!("not in the backup, copy it yourself: {path}"))?;
    }
    if !missing.is_empty() {
        let named = backup::named(&missing);
        print_line(&format!(
            "missing from the backup, unreadable on the old machine: {named}"
        ))?;
    }
    if let Some(line) = settings.restore(&destination.root)? {
        print_line(&line)?;
    }
    print_line("start the daemon now, and never again on the old machine")?;
    Ok(ExitCode::SUCCESS)
}
