//! Every screen as a person sees it, on a terminal of 80 columns, held as a
//! snapshot. After a change of words: `INSTA_UPDATE=always cargo test --test cli
//! screens`, and read the difference.

mod alone;
mod gateway;
mod help;
pub(super) mod rollouts;

use std::path::Path;

use super::*;

/// Named, so that no daemon of this machine is asked.
const SOCKET: &str = "data/run/control.sock";

/// Commands that are typed one after the other in a folder, and what they show.
pub(super) struct Screens<'a> {
    folder: &'a Path,
    shown: String,
}

impl<'a> Screens<'a> {
    pub(super) fn of(folder: &'a Path) -> Self {
        let shown = String::new();
        Self { folder, shown }
    }

    /// Types `espgate ARGUMENTS`; the data directory is `data`, if there is one.
    pub(super) fn show(&mut self, arguments: &[&str]) -> &mut Self {
        self.show_with(arguments, &[])
    }

    fn show_with(&mut self, arguments: &[&str], environment: &[(&str, &str)]) -> &mut Self {
        let mut command = daemon::binary();
        command
            .args(arguments)
            .current_dir(self.folder)
            .env("ESPGATE_DATA_DIR", "data")
            .env("ESPGATE_SOCKET", SOCKET)
            .env("ESPGATE_PAGER", "")
            .env("NO_COLOR", "1")
            .envs(environment.iter().copied());
        let (text, status) = terminal::show(&mut command);
        let text = text.replace("\r\n", "\n");
        self.shown
            .push_str(&format!("$ espgate {}\n{text}", arguments.join(" ")));
        if status != 0 {
            self.shown.push_str(&format!("[exit status {status}]\n"));
        }
        self.shown.push('\n');
        self
    }

    /// Compares what was shown since the last time with a snapshot.
    pub(super) fn are(&mut self, name: &str) {
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_snapshot_path("snapshots");
        settings.set_omit_expression(true);
        settings.add_filter(&escaped(self.folder.to_str().unwrap()), "/srv");
        let version = escaped(env!("CARGO_PKG_VERSION"));
        settings.add_filter(&format!("(espgate +){version}"), "${1}[VERSION]");
        for (pattern, shown) in FILTERS {
            settings.add_filter(pattern, *shown);
        }
        let shown = std::mem::take(&mut self.shown);
        settings.bind(|| insta::assert_snapshot!(name, shown));
    }
}

fn escaped(text: &str) -> String {
    text.replace('.', r"\.")
}

/// A folder whose path is as long on every machine: lines are broken by it.
pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/tmp").unwrap()
}

/// What is different each time, by what stands for it.
const FILTERS: &[(&str, &str)] = &[
    // progress lines that were rewritten
    (r"\r[^\n]*\r\x1b\[K", ""),
    (r"eg1_\w+", "[TOKEN]"),
    (
        r"(?m)^(\S+ +(?:pipeline|fleet) +\S+ +)[a-z0-9]{8} ",
        "${1}[ID]     ",
    ),
    (r"\.tmp-\d+-\d+", "[TEMPORARY]"),
    (r"tmp-\.tmp\w{6}-", "srv-"),
    (r"(?m)^\d\d:\d\d:\d\d ", "[TIME] "),
    (r"(certificate for ).* (valid until)", "${1}[NAMES] ${2}"),
    (r"\b\d+s ago", "[N]s ago"),
    (r"coredump_\d{8}T\d{6}_\d{6}Z", "coredump_[TIME]"),
    (r"~?\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?", "[TIME]"),
    (r"\d{4}-\d\d-\d\d", "[DAY]"),
    (r"\d\d-\d\d \d\d:\d\d", "[TIME]"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]"),
    (r"--cursor \S+", "--cursor [CURSOR]"),
    (r"\b[0-9a-f]{64}\b", "[SHA256]"),
    (r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "[UUID]"),
    (r"\buid \d+", "uid [UID]"),
    (r"\b[0-9a-f]{12}\b", "[ID]"),
];
