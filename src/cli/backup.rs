//! `espgate backup`: everything for another machine, in one file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::answer::say;
use super::args::Global;
use super::client::Client;
use super::failure::Outcome;
use super::files::write_new;

/// Save everything that another machine needs to take this one's place
///
/// The file holds the site's keys and tokens' digests: keep it as safe as the
/// gateway itself. The daemon goes on meanwhile.
#[derive(Args, Debug)]
pub(super) struct BackupArgs {
    /// Where to write it; `-` is standard output
    file: PathBuf,
    /// The coredumps too
    #[arg(long)]
    with_dumps: bool,
}

/// Fetches it from the daemon.
pub(super) fn run(global: &Global, args: &BackupArgs) -> Outcome {
    let client = Client::connect(global)?;
    let query = if args.with_dumps { "?with_dumps=1" } else { "" };
    let call = client
        .get(format!("/api/backup{query}"))
        .doing("make a backup")
        .patient();
    if args.file.as_os_str() == "-" {
        call.stream(&mut std::io::stdout().lock(), None)?;
        return Ok(ExitCode::SUCCESS);
    }
    let size = write_new(&args.file, |file| call.stream(file, Some("saving")))?;
    say(&format!(
        "{} is written ({}); it holds keys, keep it safe",
        args.file.display(),
        super::answer::bytes(size)
    ))?;
    Ok(ExitCode::SUCCESS)
}
