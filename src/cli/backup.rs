//! `espgate backup`: everything another machine needs, in one file.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use zip::ZipArchive;
use zip::result::ZipError;

use super::args::Global;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::files::write_new;
use super::output::print_line;
use crate::store::backup::{LEFT_OUT, Lacking, LeftOut};

/// The end of an archive, where the name of its last entry is.
const TAIL: usize = 4096;
/// Files that are named in the line that tells what is missing.
const MAX_NAMED: usize = 5;
/// Largest list of what is missing that is read, in bytes.
const MAX_LIST: u64 = 64 * 1024 * 1024;

/// Back up everything another machine needs to replace this one
///
/// The backup contains keys and token digests: protect it like the gateway
/// itself. The daemon keeps running. Files that cannot be read are left out and
/// named, with exit status 1.
#[derive(Args, Debug)]
pub(super) struct BackupArgs {
    /// File to write; `-` is standard output
    file: PathBuf,
    /// Include the coredumps
    #[arg(long)]
    with_dumps: bool,
}

/// Downloads it from the daemon.
pub(super) fn run(global: &Global, args: &BackupArgs) -> Outcome {
    let client = Client::connect(global)?;
    let query = if args.with_dumps { "?with_dumps=1" } else { "" };
    let call = client
        .get(format!("/api/backup{query}"))
        .doing("make a backup")
        .slow();
    if args.file.as_os_str() == "-" {
        let mut out = Tail {
            out: io::stdout().lock(),
            tail: Vec::new(),
        };
        call.stream(&mut out, None)?;
        return match out.tells_of_missing() {
            false => Ok(ExitCode::SUCCESS),
            true => Err(Failure::of(
                "wrote the backup without files that could not be read; see `journalctl -u \
                 espgate`",
            )),
        };
    }
    let size = write_new(&args.file, |file| {
        let size = call.stream(file, Some("saving"))?;
        must_have_state(file)?;
        Ok(size)
    })?;
    print_line(&format!(
        "wrote {} ({}); it contains keys, keep it safe",
        args.file.display(),
        super::output::bytes(size)
    ))?;
    let missing = left_out(&args.file).with_context(|| format!("in {}", args.file.display()))?;
    match missing.as_slice() {
        [] => Ok(ExitCode::SUCCESS),
        missing => Err(Failure::of(format_args!(
            "wrote the backup without files that could not be read: {}; fix them and back up \
             again",
            named(missing)
        ))),
    }
}

/// Checks that there is a gateway in a backup, whatever the daemon says; or that it
/// says that there is none.
fn must_have_state(file: &File) -> anyhow::Result<()> {
    let archive = ZipArchive::new(file).context("the daemon sent an incomplete ZIP archive")?;
    let mut names = archive.file_names().flatten();
    match names.any(|name| name == LEFT_OUT || name.starts_with("state/")) {
        true => Ok(()),
        false => bail!("the daemon sent a backup without state; see `journalctl -u espgate`"),
    }
}

/// What a backup says that is not in it, or not as a whole.
///
/// # Errors
/// If it cannot be read.
pub(super) fn left_out(file: &Path) -> anyhow::Result<Vec<Lacking>> {
    let mut archive = ZipArchive::new(File::open(file)?)?;
    let mut bytes = Vec::new();
    match archive.by_name(LEFT_OUT) {
        Ok(entry) => entry.take(MAX_LIST).read_to_end(&mut bytes)?,
        Err(ZipError::FileNotFound) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let told: LeftOut =
        serde_json::from_slice(&bytes).context("cannot read its list of missing files")?;
    Ok(told.left_out)
}

/// A few of them by their paths.
pub(super) fn named(missing: &[Lacking]) -> String {
    let names = missing.iter().take(MAX_NAMED);
    let mut names: Vec<String> = names.map(|item| item.path.clone()).collect();
    if missing.len() > MAX_NAMED {
        names.push(format!("and {} more", missing.len() - MAX_NAMED));
    }
    names.join(", ")
}

/// Writes on, and remembers the end: what went to a pipe cannot be read again.
struct Tail<W> {
    out: W,
    tail: Vec<u8>,
}

impl<W> Tail<W> {
    fn tells_of_missing(&self) -> bool {
        let name = LEFT_OUT.as_bytes();
        self.tail.windows(name.len()).any(|part| part == name)
    }
}

impl<W: Write> Write for Tail<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.tail
            .extend_from_slice(bytes.get(..count).unwrap_or_default());
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
