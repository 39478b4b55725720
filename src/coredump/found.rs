//! What an examination found so far, and how a payload changes it.

use std::borrow::Cow;

use crate::device::Chip;

use super::binary_payload;
use super::dump::{Checksum, Dump, MOST_PROBLEMS};
use super::elf_payload::{self, Error, Layout};
use super::fingerprint::fingerprint;
use super::headerless;
use super::image::Image;
use super::{Container, Examination, PayloadFormat, Verdict};

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
                let sentence = "the ELF header is cut off".to_owned();
                return self.lower(Verdict::Truncated, sentence);
            }
            Err(Error::NotACore) => {
                let sentence = match bytes.starts_with(b"\x7fELF") {
                    true => "it is an ELF file, but no core file",
                    false => "the payload is no ELF file",
                };
                return self.lower(Verdict::NotACoredump, sentence.to_owned());
            }
            Err(Error::Machine(machine)) => {
                let sentence = format!("ELF machine {machine:#x} is none of an ESP32");
                return self.lower(Verdict::UnsupportedChip, sentence);
            }
        };
        let mut dump = elf_payload::parse(&bytes, &layout);
        if layout.end > bytes.len() {
            let sentence = format!(
                "the ELF file needs {} bytes and has {}",
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
            self.lower(
                Verdict::UnsupportedChip,
                format!("chip id {id} is not known"),
            );
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
            let sentence = "the header is cut off".to_owned();
            return self.lower(Verdict::Truncated, sentence);
        };
        let layout = binary_payload::Layout::of(image.data(), counts);
        if let Some(missing) = &layout.missing {
            self.lower(Verdict::Truncated, missing.clone());
        }
        let architecture = match self.chip {
            Some(chip) => Some(chip.architecture()),
            None => headerless::architecture(image.data(), 0, counts.tcb_size),
        };
        self.dump = architecture
            .map(|architecture| binary_payload::parse(architecture, image.data(), &layout));
        if self.verdict.is_whole() {
            self.canonical = image.data().get(..layout.end).map(<[u8]>::to_vec);
        }
    }

    pub(super) fn into_parts(self) -> (Examination, Option<Dump>) {
        let dump = self.dump;
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
            fingerprint: described.and_then(fingerprint),
            canonical: self.canonical,
        };
        let dump = dump.map(|mut dump| {
            dump.problems = self.problems;
            dump
        });
        (examination, dump)
    }
}
