//! From a dump to a report that names functions and source lines.
//!
//! [`decode`] needs the dump alone; with the application's ELF it also tells
//! functions, lines and values. Nothing in either can make it fail.

mod application;
pub mod causes;
pub mod cfi;
pub mod child;
pub mod elf;
mod entry;
pub mod files;
mod lambda;
mod location;
pub mod report;
pub mod riscv;
pub mod secret_variables;
pub mod signature;
pub mod symbols;
mod tasks;
mod tcb;
pub mod text;
mod types;
pub mod unwind;
mod variables;

pub use application::Application;
pub use elf::AppElf;
pub use report::Report;

use crate::coredump::{self, Dump, Examination};
use crate::signature::Lists;
use report::{App, Checksum, DECODER, Image, Match, Named, Panic, Region, SCHEMA, hex};

/// What to do beyond the usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Show values whose names look secret.
    pub secrets: bool,
}

/// Reads a dump in any form that [`coredump::load`] knows.
///
/// `elf` is used if the hash in the dump is its own, or if the dump carries no
/// hash; else the report says that it does not fit.
pub fn decode(bytes: &[u8], elf: Option<&AppElf<'_>>, options: Options) -> Report {
    let (examination, dump) = coredump::load(bytes);
    decode_loaded(bytes.len(), &examination, dump.as_ref(), elf, options)
}

/// [`decode`] for a dump of `size` bytes that is already loaded.
pub fn decode_loaded(
    size: usize,
    examination: &Examination,
    dump: Option<&Dump>,
    elf: Option<&AppElf<'_>>,
    options: Options,
) -> Report {
    let mut report = unsigned(size, examination, dump, elf, options);
    signature::put(&mut report, "", &Lists::default());
    report
}

fn unsigned(
    size: usize,
    examination: &Examination,
    dump: Option<&Dump>,
    elf: Option<&AppElf<'_>>,
    options: Options,
) -> Report {
    let mut report = Report {
        schema: SCHEMA,
        decoder: DECODER.to_owned(),
        verdict: examination.verdict.as_str().to_owned(),
        problems: examination.problems.clone(),
        image: image(size, examination, dump),
        app: app(examination, dump, elf),
        fingerprint: examination.fingerprint.clone(),
        panic: Panic {
            reason: examination.panic_reason.clone(),
            ..Panic::default()
        },
        ..Report::default()
    };
    let Some(dump) = dump else {
        return report;
    };
    let usable = matches!(report.app.matched, Match::Exact | Match::Unverified);
    let application = elf.filter(|_| usable).map(Application::new);
    if let Some(problem) = application.as_ref().and_then(Application::problem) {
        report.problems.push(problem);
    }
    report.app.sdk_root = application.as_ref().and_then(Application::sdk_root);
    report.panic = panic(dump);
    report.tasks = tasks::tasks(dump, application.as_ref(), options);
    report.crashed_task = tasks::crashed(dump, &report.tasks, examination);
    if let Some(exception) = &dump.exception {
        let registers = exception.registers.iter();
        report.exception_registers = Named(
            registers
                .map(|(name, value)| (name.clone(), Some(hex(*value))))
                .collect(),
        );
    }
    report.memory = dump
        .memory
        .regions()
        .iter()
        .map(|region| Region {
            start: hex(region.start),
            size: region.size(),
            kind: region.kind.as_str().to_owned(),
        })
        .collect();
    report
}

fn image(size: usize, examination: &Examination, dump: Option<&Dump>) -> Image {
    Image {
        container: examination.container.map(|c| c.as_str().to_owned()),
        format: examination.format.map(|f| f.as_str().to_owned()),
        header_version: examination
            .header_version
            .map(|(major, minor)| format!("{major}.{minor}")),
        chip: examination.chip.map(|chip| chip.name().to_owned()),
        chip_revision: dump.and_then(|dump| dump.chip_revision),
        size: size as u64,
        wrapping: examination
            .wrapping
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        crashes_in_log: examination.crashes.map(|count| count as u64),
        checksum: dump
            .and_then(|dump| dump.checksum)
            .map(|checksum| Checksum {
                kind: checksum.kind.as_str().to_owned(),
                ok: checksum.ok,
            }),
    }
}

fn app(examination: &Examination, dump: Option<&Dump>, elf: Option<&AppElf<'_>>) -> App {
    let prefix = examination
        .app_elf_sha256
        .as_deref()
        .filter(|prefix| !prefix.is_empty());
    let other_machine =
        |elf: &AppElf<'_>| dump.is_some_and(|dump| dump.architecture != elf.architecture());
    let matched = match (elf, prefix) {
        (None, _) => Match::None,
        (Some(elf), _) if other_machine(elf) => Match::Mismatch,
        (Some(elf), Some(prefix)) if elf.digest().has_prefix(prefix) => Match::Exact,
        (Some(_), Some(_)) => Match::Mismatch,
        (Some(_), None) => Match::Unverified,
    };
    let description = elf
        .filter(|_| matched != Match::Mismatch)
        .and_then(AppElf::description);
    App {
        elf_sha256_prefix: prefix.map(str::to_owned),
        matched,
        elf_sha256: elf.map(|elf| elf.digest().to_string()),
        project: description
            .as_ref()
            .map(|about| about.project.clone())
            .or_else(|| dump?.project.clone()),
        version: description
            .map(|about| about.version)
            .or_else(|| dump?.version.clone()),
        sdk_root: None,
    }
}

fn panic(dump: &Dump) -> Panic {
    let exception = dump.exception.as_ref();
    let number = exception.and_then(|exception| exception.cause);
    let reason = dump.panic_reason.as_deref().unwrap_or_default();
    let cause = causes::told(dump.architecture, reason, number)
        .or_else(|| causes::cause(dump.architecture, number?));
    let address = exception.and_then(|exception| exception.address);
    let deliberate = address == Some(0)
        && number.is_some_and(|number| causes::is_store(dump.architecture, number))
        && dump.panic_reason.as_deref().is_some_and(causes::is_abort);
    Panic {
        reason: dump.panic_reason.clone(),
        reason_source: dump.panic_reason.is_some().then(|| {
            let source = if dump.reason_printed {
                signature::CONSOLE
            } else {
                signature::DUMP
            };
            source.to_owned()
        }),
        cause: cause.map(|cause| cause.name.to_owned()),
        explanation: match deliberate {
            true => Some(causes::DELIBERATE.to_owned()),
            false => cause.map(|cause| cause.explanation.to_owned()),
        },
        cause_number: number.or(cause.and_then(|cause| cause.number)),
        address: address.map(hex),
        in_isr: dump.extra.and_then(|extra| extra.isr_context),
    }
}
