//! Decoding in a process of its own: a hostile dump or ELF may take its
//! memory, its time or its life, and nothing else.
//!
//! [`Decoder::decode`] is the daemon's side. It starts the same binary with the
//! hidden command `decode-worker`, which calls [`confine`] before it touches a
//! byte of the input and prints the report as JSON.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use crate::coredump;
use crate::signature::Lists;

use super::{AppElf, Options, Report, decode, files, signature};

/// Starts decoders, one process per dump.
#[derive(Clone, Debug)]
pub struct Decoder {
    program: PathBuf,
    time_limit: Duration,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("cannot start the decoder")]
    Start(#[source] io::Error),
    #[error("the decoder took longer than {} s", .0.as_secs_f32())]
    TooSlow(Duration),
    #[error("{}", died(*status, said))]
    Died {
        status: ExitStatus,
        /// `: ` and its last words, or empty.
        said: String,
    },
    #[error("the decoder's report is larger than {} MiB", REPORT_LIMIT >> 20)]
    TooLarge,
    #[error("cannot parse the decoder's report")]
    NotAReport(#[source] serde_json::Error),
}

/// What the limits of [`confine`] do to a decoder, in words; `said` is what it
/// wrote to standard error.
pub fn died(status: ExitStatus, said: &str) -> String {
    if said.contains("memory allocation of") {
        return format!("out of memory: a decoder may use {} MiB", MEMORY >> 20);
    }
    match status.signal() {
        Some(signal) if signal == Signal::SIGKILL as i32 => {
            format!("decoder killed: {CPU_SECONDS} s of CPU time used, or machine out of memory")
        }
        // a stack that is used up ends in one of these
        Some(signal) if [Signal::SIGSEGV as i32, Signal::SIGABRT as i32].contains(&signal) => {
            format!("decoder crashed ({status}): damaged or hostile debug information")
        }
        _ => format!("the decoder ended with {status}{said}"),
    }
}

impl Default for Decoder {
    /// The running binary itself, half a minute for each dump.
    fn default() -> Self {
        // also right after the file was replaced by an upgrade
        Self::new("/proc/self/exe".into(), Duration::from_secs(30))
    }
}

impl Decoder {
    /// A decoder that runs `program` and is killed after `time_limit`.
    pub fn new(program: PathBuf, time_limit: Duration) -> Self {
        Self {
            program,
            time_limit,
        }
    }

    /// As [`Self::decode`], but if decoding with an ELF fails, without one: a
    /// dump must not be without a report for the ELF's sake. The report says why.
    ///
    /// # Errors
    /// If that fails too.
    pub async fn decode_somehow(&self, dump: &Path, elfs: &[PathBuf]) -> Result<Report, Failure> {
        match self.decode(dump, elfs).await {
            Err(Failure::Start(error)) => Err(Failure::Start(error)),
            Err(failure) if !elfs.is_empty() => {
                let mut report = self.decode(dump, &[]).await?;
                report.problems.push(elf_not_used(&failure));
                signature::put(&mut report, "", &Lists::default());
                Ok(report)
            }
            outcome => outcome,
        }
    }

    /// Decodes the dump in the file `dump` with that one of `elfs` (ELF files
    /// or bundles) whose hash it carries, else with the first.
    ///
    /// Dropping the future kills the process.
    ///
    /// # Errors
    /// If the process did not give a report, whatever the reason.
    pub async fn decode(&self, dump: &Path, elfs: &[PathBuf]) -> Result<Report, Failure> {
        let mut command = Command::new(&self.program);
        command.arg(WORKER_COMMAND).arg(dump);
        for elf in elfs {
            command.args([OsStr::new("--elf"), elf.as_os_str()]);
        }
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(Failure::Start)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let all = async {
            let (report, said) = tokio::join!(
                limited(stdout, REPORT_LIMIT + 1),
                limited(stderr, LAST_WORDS_LIMIT)
            );
            Ok((report?, said?, child.wait().await?))
        };
        let (report, said, status) = match tokio::time::timeout(self.time_limit, all).await {
            Ok(result) => result.map_err(Failure::Start)?,
            Err(_) => {
                // waits for the end, so that no zombie is left
                let _ = child.kill().await;
                return Err(Failure::TooSlow(self.time_limit));
            }
        };
        if report.len() as u64 > REPORT_LIMIT {
            return Err(Failure::TooLarge);
        }
        if !status.success() {
            let said = String::from_utf8_lossy(&said);
            let said = said.lines().next().map(|line| format!(": {line}"));
            return Err(Failure::Died {
                status,
                said: said.unwrap_or_default(),
            });
        }
        serde_json::from_slice(&report).map_err(Failure::NotAReport)
    }
}

/// The problem of a report that had to be made without an ELF that was given.
pub fn elf_not_used(why: &dyn std::fmt::Display) -> String {
    format!("{ELF_NOT_USED}{why}")
}

/// Whether a problem of a report says that an ELF was given and not used.
pub fn is_elf_not_used(problem: &str) -> bool {
    problem.starts_with(ELF_NOT_USED)
}

async fn limited(from: Option<impl AsyncRead + Unpin>, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // dropping the pipe ends a child that keeps writing
        from.take(limit).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Takes from this process what decoding does not need: memory beyond 256 MiB,
/// time beyond 20 s of CPU, open files beside the standard ones, core dumps,
/// and its standing when the system is short of memory or busy.
///
/// # Errors
/// If a limit cannot be set; then nothing should be decoded.
pub fn confine() -> io::Result<()> {
    for (resource, limit) in [
        (Resource::RLIMIT_AS, MEMORY),
        (Resource::RLIMIT_CPU, CPU_SECONDS),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_NOFILE, 16),
    ] {
        setrlimit(resource, limit, limit)?;
    }
    close_inherited()?;
    // a container may forbid these two; the limits above stand
    let _ = std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/oom_score_adj")
        .and_then(|mut file| io::Write::write_all(&mut file, b"1000"));
    let _ = rustix::process::nice(10);
    Ok(())
}

/// Closes everything that came open from the parent: systemd's sockets are
/// handed down without close-on-exec.
fn close_inherited() -> io::Result<()> {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // the folder's own descriptor is among them and already gone
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// The report of the dump in the file `dump`, made in this process.
///
/// # Errors
/// If the dump cannot be read. An ELF that cannot be used is a problem in the
/// report.
pub fn report(dump: &Path, elfs: &[PathBuf]) -> Result<Report, files::Error> {
    let bytes = files::core(dump)?;
    let prefix = match elfs {
        [_, _, ..] => coredump::examine(&bytes).app_elf_sha256,
        _ => None,
    };
    let mut problems = Vec::new();
    for path in elfs {
        let contents = match files::elf(path) {
            Ok(contents) => contents,
            Err(error) => {
                problems.push(elf_not_used(&error));
                continue;
            }
        };
        match AppElf::parse(&contents) {
            Ok(elf)
                if prefix
                    .as_ref()
                    .is_none_or(|prefix| elf.digest().has_prefix(prefix)) =>
            {
                return Ok(decode(&bytes, Some(&elf), Options::default()));
            }
            Ok(_) => {}
            Err(error) => problems.push(elf_not_used(&error)),
        }
    }
    let mut report = decode(&bytes, None, Options::default());
    report.problems.extend(problems);
    signature::put(&mut report, "", &Lists::default());
    Ok(report)
}

const ELF_NOT_USED: &str = "ELF not used: ";
/// The command of the binary that is the child's side.
pub const WORKER_COMMAND: &str = "decode-worker";
/// What a decoder may use.
const MEMORY: u64 = 256 << 20;
const CPU_SECONDS: u64 = 20;
/// Reports of real dumps are below 200 KiB.
const REPORT_LIMIT: u64 = 8 << 20;
const LAST_WORDS_LIMIT: u64 = 4096;
