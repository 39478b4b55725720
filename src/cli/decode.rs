//! `espgate decode`: decodes a dump in a file, without the daemon.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::pager;
use super::style::coloured;
use crate::coredump::{self, Verdict};
use crate::decode::{AppElf, Options, child, decode, decode_loaded, files, text};

/// Decode a coredump file, without the daemon
///
/// CORE is a flash image, a core ELF, base64 text or a console log. Exit status:
/// 0 if the dump is complete, 1 if it is damaged (the report is printed anyway).
#[derive(Args, Clone, Debug)]
pub struct DecodeArgs {
    /// Coredump file; `-` is standard input
    #[arg(value_name = "CORE")]
    pub core: PathBuf,
    /// ELF file of the crashed application, for functions and source lines
    #[arg(long, value_name = "APP.elf")]
    pub elf: Option<PathBuf>,
    /// Decode all dumps in a console log, one JSON report per line
    #[arg(long)]
    pub all: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Show values whose names look secret, such as passwords
    #[arg(long)]
    pub secrets: bool,
}

/// The decoder's process; started by the daemon only.
#[derive(Args, Clone, Debug)]
pub struct WorkerArgs {
    core: PathBuf,
    #[arg(long)]
    elf: Vec<PathBuf>,
}

/// Confines this process, decodes, and prints the report as JSON.
pub fn run_worker(args: &WorkerArgs) -> ExitCode {
    let printed = child::confine()
        .context("cannot confine the decoder")
        .and_then(|()| Ok(child::report(&args.core, &args.elf)?))
        .and_then(|report| Ok(serde_json::to_writer(io::stdout().lock(), &report)?));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Decodes and prints.
pub fn run(args: &DecodeArgs) -> ExitCode {
    match print_reports(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // a reader that has seen enough, such as `head`
        Err(error) if is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "espgate decode: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all dumps were whole.
fn print_reports(args: &DecodeArgs) -> anyhow::Result<bool> {
    let core = files::core(&args.core).map_err(with_advice)?;
    let elf_bytes = args.elf.as_deref().map(files::elf).transpose();
    let elf_bytes = elf_bytes.map_err(with_advice)?;
    let elf = match (&elf_bytes, &args.elf) {
        (Some(bytes), Some(path)) => Some(AppElf::parse(bytes).map_err(|error| {
            anyhow!(
                "cannot use {} as the application's ELF: {:#}; use the .elf next to the .bin in \
                 the build folder",
                path.display(),
                anyhow::Error::new(error)
            )
        })?),
        _ => None,
    };
    let options = Options {
        secrets: args.secrets,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut whole = true;
    let mut reports = 0;
    if args.all {
        for (examination, dump) in coredump::dumps_in_log(&core) {
            let report = decode_loaded(
                core.len(),
                &examination,
                dump.as_ref(),
                elf.as_ref(),
                options,
            );
            serde_json::to_writer(&mut out, &report)?;
            out.write_all(b"\n")?;
            whole &= examination.verdict.is_whole();
            reports += 1;
        }
    }
    if reports == 0 {
        let report = decode(&core, elf.as_ref(), options);
        whole = Verdict::from_word(&report.verdict).is_some_and(Verdict::is_whole);
        if args.all || args.json {
            serde_json::to_writer(&mut out, &report)?;
            out.write_all(b"\n")?;
        } else {
            let text = text::render(&report, coloured());
            if !pager::takes(&text) {
                out.write_all(text.as_bytes())?;
            }
        }
    }
    out.flush()?;
    Ok(whole)
}

/// The error with what to do about it.
fn with_advice(error: files::Error) -> anyhow::Error {
    let advice = match &error {
        files::Error::Io { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => "use sudo",
            io::ErrorKind::IsADirectory => "give a file",
            _ => "check the file",
        },
        files::Error::TooLarge { .. } => "cut the dump out of it first",
        files::Error::NoElf { .. } => "use the .elf from the build folder",
    };
    let error = anyhow::Error::new(error);
    anyhow!("{error:#}; {advice}")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause
            .downcast_ref::<serde_json::Error>()
            .and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}
