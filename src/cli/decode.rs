//! `espgate decode`: decodes a dump in a file, without the daemon.

mod confined;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::pager;
use super::style::coloured;
use crate::coredump::{self, Crashes, Dump, Examination, Verdict};
use crate::decode::files::Input;
use crate::decode::{AppElf, Options, Report, child, decode_loaded, files, text};

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
    /// Decode all crashes in a console log, one JSON report per line
    #[arg(long)]
    pub all: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Show values whose names look secret, such as passwords
    #[arg(long)]
    pub secrets: bool,
    /// Decode in this process, under the limits of a decoder
    #[arg(long, hide = true)]
    confined: bool,
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
    let printed = match &args.elf {
        Some(elf) if !args.confined => confined::print_reports(args, elf),
        Some(_) => child::confine()
            .context("cannot confine the decoder")
            .and_then(|()| print_reports(args)),
        None => print_reports(args),
    };
    match printed {
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
    let input = files::input(&args.core).map_err(with_advice)?;
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
    let mut printer = Printer::new(args, elf);
    printer.input(input)?;
    printer.out.flush()?;
    Ok(printer.whole)
}

/// Where reports go, in the form that was asked for.
struct Printer<'a> {
    out: io::BufWriter<io::StdoutLock<'static>>,
    args: &'a DecodeArgs,
    elf: Option<AppElf<'a>>,
    /// All that was printed was of whole dumps.
    whole: bool,
    /// So many reports are printed already.
    skipped: usize,
    /// What is wrong with each report.
    problem: Option<String>,
}

type Loaded = (Examination, Option<Dump>);

impl<'a> Printer<'a> {
    fn new(args: &'a DecodeArgs, elf: Option<AppElf<'a>>) -> Self {
        Self {
            out: io::BufWriter::new(io::stdout().lock()),
            args,
            elf,
            whole: true,
            skipped: 0,
            problem: None,
        }
    }

    fn input(&mut self, input: Input) -> anyhow::Result<()> {
        match input {
            Input::Whole(bytes) => self.loaded(&bytes),
            Input::Long(head, from) if coredump::is_log(&head) => self.stream(head, from),
            Input::Long(head, from) => {
                let bytes = files::rest(head, from, &self.args.core).map_err(with_advice)?;
                self.loaded(&bytes)
            }
        }
    }

    fn loaded(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let crashes = match self.args.all {
            true => coredump::load_all(bytes),
            false => vec![coredump::load(bytes)],
        };
        crashes
            .iter()
            .try_for_each(|crash| self.print(bytes.len(), crash))
    }

    /// A log of any length: what is printed at once is not kept.
    fn stream(&mut self, head: Vec<u8>, mut from: impl io::Read) -> anyhow::Result<()> {
        let mut crashes = Crashes::default();
        let mut found = crashes.feed(&head);
        let mut last: Option<Loaded> = None;
        let mut count = 0;
        let mut size = head.len();
        drop(head);
        let mut piece = vec![0; PIECE];
        loop {
            for crash in found {
                count += 1;
                if self.args.all {
                    self.print(size, &crash)?;
                } else if last
                    .as_ref()
                    .is_none_or(|(held, _)| coredump::replaces(crash.0.verdict, held.verdict))
                {
                    last = Some(crash);
                }
            }
            let read = from.read(&mut piece)?;
            if read == 0 {
                break;
            }
            size += read;
            found = crashes.feed(piece.get(..read).unwrap_or_default());
        }
        for crash in crashes.finish() {
            count += 1;
            match self.args.all {
                true => self.print(size, &crash)?,
                false => last = Some(crash),
            }
        }
        match last {
            Some(mut crash) => {
                crash.0.crashes = Some(count);
                self.print(size, &crash)
            }
            None if count == 0 => self.print(size, &(coredump::no_crash(), None)),
            None => Ok(()),
        }
    }

    fn print(&mut self, size: usize, (examination, dump): &Loaded) -> anyhow::Result<()> {
        if self.skipped > 0 {
            self.skipped -= 1;
            return Ok(());
        }
        let options = Options {
            secrets: self.args.secrets,
        };
        let mut report =
            decode_loaded(size, examination, dump.as_ref(), self.elf.as_ref(), options);
        report.problems.extend(self.problem.clone());
        self.show(&report)
    }

    fn show(&mut self, report: &Report) -> anyhow::Result<()> {
        let verdict = Verdict::from_word(&report.verdict);
        self.whole &= verdict.is_some_and(Verdict::is_whole);
        if self.args.all || self.args.json {
            serde_json::to_writer(&mut self.out, report)?;
            self.out.write_all(b"\n")?;
        } else {
            let text = text::render(report, coloured());
            if !pager::takes(&text) {
                self.out.write_all(text.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// A long log is read in pieces of this size.
const PIECE: usize = 256 << 10;

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
