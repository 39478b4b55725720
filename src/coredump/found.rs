//! What an examination found so far, and how a payload changes it.

use std::borrow::Cow;

use crate::device::Chip;
use crate::reader::half_at;

use super::binary_payload::{self, Counts};
use super::dump::{Checksum, Dump, MOST_PROBLEMS};
use super::elf_payload::{self, Error, Layout};
use super::fingerprint::{Fingerprint, fingerprint};
use super::headerless;
use super::image::Image;
use super::{Container, Examination, PayloadFormat, Verdict};

/// Whether an ELF file is a program for one of these chips.
fn is_executable(elf: &[u8]) -> bool {
    let is_program = half_at(elf, 16).is_some_and(|kind| kind == 2 || kind == 1);
    is_program && matches!(half_at(elf, 18), Some(0x5e | 0xf3))
}

/// What is known so far.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) verdict: Verdict,
    pub(super) problems: Vec<String>,
    pub(super) container: Option<Container>,
    pub(super) format: Option<PayloadFormat>,
    pub(super) version: Option<(u8, u8)>,
    pub(super) chip: Option<Chip>,
    pub(super) checksum: Option<Checksum>,
    pub(super) dump: Option<Dump>,
    pub(super) canonical: Option<Vec<u8>>,
    /// The panic that was printed before the dump.
    pub(super) beside: Option<Dump>,
    /// How many crashes there are in the log that it was found in.
    pub(super) crashes: Option<usize>,
    /// What it was wrapped in, the outermost first.
    pub(super) wrapping: Vec<&'static str>,
}

impl Found {
    pub(super) fn new(verdict: Verdict, container: Container) -> Self {
        Self {
            verdict,
            problems: Vec::new(),
            container: Some(container),
            format: None,
            version: None,
            chip: None,
            checksum: None,
            dump: None,
            canonical: None,
            beside: None,
            crashes: None,
            wrapping: Vec::new(),
        }
    }

    pub(super) fn nothing(problem: &str) -> Self {
        let mut found = Self::new(Verdict::NotACoredump, Container::Raw);
        found.container = None;
        found.problem(problem.to_owned());
        found
    }

    pub(super) fn problem(&mut self, sentence: String) {
        if self.problems.len() < MOST_PROBLEMS && !self.problems.contains(&sentence) {
            self.problems.push(sentence);
        }
    }

    /// Adds a problem. The first one that spoils a dump decides the verdict.
    pub(super) fn lower(&mut self, verdict: Verdict, problem: String) {
        if self.verdict.is_whole() {
            self.verdict = verdict;
        }
        self.problem(problem);
    }

    pub(super) fn take_elf(&mut self, bytes: Cow<'_, [u8]>) {
        let layout = match Layout::of(&bytes) {
            Ok(layout) => layout,
            Err(Error::Truncated) => {
                let sentence = "ELF header truncated".to_owned();
                return self.lower(Verdict::Truncated, sentence);
            }
            Err(Error::NotACore) => {
                let sentence = match bytes.starts_with(b"\x7fELF") {
                    true if is_executable(&bytes) => {
                        "this is the ELF file of an application, not a dump: give the dump, and this file with --elf"
                    }
                    true => "ELF file is not a core file",
                    false => "payload is not an ELF file",
                };
                return self.lower(Verdict::NotACoredump, sentence.to_owned());
            }
            Err(Error::Machine(machine)) => {
                let sentence = format!("ELF machine {machine:#x} is not an ESP32");
                return self.lower(Verdict::UnsupportedChip, sentence);
            }
        };
        let mut dump = elf_payload::parse(&bytes, &layout);
        if layout.end > bytes.len() {
            let sentence = format!(
                "ELF file truncated: {} bytes expected, {} present",
                layout.end,
                bytes.len()
            );
            self.lower(Verdict::Truncated, sentence);
        } else if let Some(problem) = dump.problems.first() {
            self.lower(Verdict::Truncated, problem.clone());
        }
        if self.chip.is_none()
            && let Some(id) = dump.chip_id
            && dump.chip.is_none()
        {
            self.lower(Verdict::UnsupportedChip, format!("unknown chip id {id}"));
        }
        self.chip = self.chip.or(dump.chip);
        self.version = self.version.or(dump.header_version);
        if self.verdict.is_whole() {
            self.canonical = bytes.get(..layout.end).map(<[u8]>::to_vec);
        }
        dump.problems.clear();
        self.dump = Some(dump);
    }

    pub(super) fn take_binary(&mut self, image: &Image<'_>) {
        let Some(counts) = image.counts() else {
            let sentence = "header truncated".to_owned();
            return self.lower(Verdict::Truncated, sentence);
        };
        self.take_tasks(image.data(), counts);
    }

    /// Tasks and memory of a binary payload.
    pub(super) fn take_tasks(&mut self, data: &[u8], counts: Counts) {
        let layout = binary_payload::Layout::of(data, counts);
        if let Some(missing) = &layout.missing {
            self.lower(Verdict::Truncated, missing.clone());
        }
        let architecture = match self.chip {
            Some(chip) => Some(chip.architecture()),
            None => headerless::architecture(data, 0, counts.tcb_size),
        };
        self.dump =
            architecture.map(|architecture| binary_payload::parse(architecture, data, &layout));
        if self.verdict.is_whole() {
            self.canonical = data.get(..layout.end).map(<[u8]>::to_vec);
        }
    }

    pub(super) fn into_parts(self) -> (Examination, Option<Dump>) {
        let mut dump = self.dump;
        // a dump's fingerprint is made from the dump alone, however it travelled
        let known: Option<Fingerprint> = dump.as_ref().and_then(fingerprint);
        let known = known.as_ref();
        if let (Some(dump), Some(panic)) = (&mut dump, self.beside) {
            dump.complete(panic);
        }
        let described = dump.as_ref();
        let task = described
            .and_then(Dump::crashed_task)
            .and_then(|task| task.name_hint.clone());
        let examination = Examination {
            verdict: self.verdict,
            problems: self.problems.clone(),
            container: self.container,
            format: self.format,
            header_version: self.version,
            chip: self.chip,
            app_elf_sha256: described.and_then(|dump| dump.app_elf_sha256.clone()),
            panic_reason: described.and_then(|dump| dump.panic_reason.clone()),
            task,
            fingerprint: known.map(|known| known.id.clone()),
            fingerprint_algorithm: known.map(|known| known.algorithm),
            former_fingerprint: known.and_then(|known| known.former.clone()),
            canonical: self.canonical,
            crashes: self.crashes,
            wrapping: self.wrapping,
        };
        let dump = dump.map(|mut dump| {
            dump.problems = self.problems;
            dump
        });
        (examination, dump)
    }
}
