//! Decoding with an ELF in a process of its own, under the limits of the
//! daemon's decoder: a hostile ELF may end it, and then the dump is decoded
//! without the ELF.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, anyhow};

use super::{DecodeArgs, Printer, with_advice};
use crate::decode::{Report, child, files};
use crate::store::publish::{SECRET_MODE, Temporary};

/// Decodes in a child and prints its reports; whether all dumps were whole.
pub(super) fn print_reports(args: &DecodeArgs, elf: &Path) -> anyhow::Result<bool> {
    // read twice if the child dies
    let copy = match args.core == Path::new("-") {
        true => Some(copy_of_stdin()?),
        false => None,
    };
    let core = copy
        .as_ref()
        .map_or(args.core.clone(), |copy| copy.path().to_owned());
    let mut child = start(args, &core, elf)?;
    let reports = child.stdout.take();
    let stderr = child.stderr.take();
    let said = std::thread::spawn(move || {
        let mut said = String::new();
        let _ =
            stderr.map(|from| io::Read::read_to_string(&mut io::Read::take(from, 4096), &mut said));
        said
    });
    let mut printer = Printer::new(args, None);
    let printed = reports.map_or(Ok(0), |from| print_all(&mut printer, from));
    if printed.is_err() {
        // nobody reads any more
        let _ = child.kill();
    }
    let status = child.wait()?;
    let printed = printed?;
    let said = said.join().unwrap_or_default();
    match (status.code(), said.trim()) {
        (Some(_), "") => {}
        (Some(_), message) if !message.contains("memory allocation of") => {
            let message = message.strip_prefix("espgate decode: ").unwrap_or(message);
            return Err(anyhow!("{}", message.to_owned()));
        }
        _ => {
            let why = child::died(status, &said);
            printer.skipped = printed;
            printer.problem = Some(child::elf_not_used(&why));
            printer.input(files::input(&core).map_err(with_advice)?)?;
        }
    }
    printer.out.flush()?;
    Ok(printer.whole)
}

fn start(args: &DecodeArgs, core: &Path, elf: &Path) -> anyhow::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["decode", "--confined", "--json", "--elf"])
        .arg(elf);
    for (is_set, flag) in [(args.all, "--all"), (args.secrets, "--secrets")] {
        if is_set {
            command.arg(flag);
        }
    }
    command
        .arg("--")
        .arg(core)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().context("cannot start the decoder")
}

/// Prints the reports as they come; how many came whole.
fn print_all(printer: &mut Printer<'_>, from: ChildStdout) -> anyhow::Result<usize> {
    let mut printed = 0;
    for line in BufReader::new(from).lines() {
        // cut off, if the child died while it wrote
        let Ok(report) = serde_json::from_str::<Report>(&line?) else {
            break;
        };
        printer.show(&report)?;
        printed += 1;
    }
    Ok(printed)
}

fn copy_of_stdin() -> anyhow::Result<Temporary> {
    let mut copy = Temporary::new(&std::env::temp_dir(), SECRET_MODE)?;
    let to: &mut File = copy.file();
    io::copy(&mut io::stdin().lock(), to).context("cannot read standard input")?;
    to.rewind()?;
    Ok(copy)
}
