//! Where the parts of a restored gateway go: the daemon must find them there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::check::Entry;
use crate::cli::args::Global;
use crate::cli::places;
use crate::config::Config;

/// The folders that a daemon with a certain configuration uses.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) root: PathBuf,
    coredumps: PathBuf,
    assets: PathBuf,
}

impl Places {
    /// By command line, environment and `config`, in that order.
    pub(super) fn of(global: &Global, config: &Config) -> Self {
        let mut global = global.clone();
        global.data_dir = global.data_dir.or_else(|| config.data_dir.clone());
        let root = places::data_dir(&global);
        global.data_dir = Some(root.clone());
        Self {
            coredumps: places::coredumps(&global, config),
            assets: places::assets(&global, config),
            root,
        }
    }

    /// All below one folder, as they usually are.
    #[cfg(test)]
    pub(super) fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            coredumps: root.join("coredumps"),
            assets: root.join("assets"),
        }
    }

    /// The folder that an entry of a backup goes into, and its name there.
    pub(super) fn split<'a>(&self, entry: &'a Path) -> (&Path, &'a Path) {
        for (name, folder) in [("coredumps", &self.coredumps), ("assets", &self.assets)] {
            if let Ok(rest) = entry.strip_prefix(name) {
                return (folder, rest);
            }
        }
        (&self.root, entry)
    }

    /// The folders that these entries go into, the data directory first.
    pub(super) fn used(&self, entries: &[Entry]) -> Vec<PathBuf> {
        let others: BTreeSet<&Path> = entries
            .iter()
            .map(|entry| self.split(&entry.place).0)
            .filter(|folder| *folder != self.root)
            .collect();
        let others = others.into_iter().map(Path::to_owned);
        std::iter::once(self.root.clone()).chain(others).collect()
    }

    /// The folders that these entries go into, for people: those below the data
    /// directory go without saying.
    pub(super) fn shown(&self, entries: &[Entry]) -> String {
        let used = self.used(entries);
        let apart = used
            .iter()
            .filter(|folder| **folder == self.root || !folder.starts_with(&self.root));
        let shown: Vec<String> = apart.map(|folder| folder.display().to_string()).collect();
        shown.join(", ")
    }

    /// Whether this is one of the folders that have places of their own.
    pub(super) fn is_other(&self, path: &Path) -> bool {
        self.coredumps == path || self.assets == path
    }

    /// Whether something in the data directory is, or leads to, one of the
    /// folders that have places of their own.
    pub(super) fn leads_to_other(&self, path: &Path) -> bool {
        self.coredumps.starts_with(path) || self.assets.starts_with(path)
    }
}
