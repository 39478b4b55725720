//! Whether the journal survives a reboot.

use std::path::Path;

use super::finding::Finding;

pub(super) fn findings() -> Vec<Finding> {
    check(Path::new("/run/log/journal"), Path::new("/var/log/journal"))
        .into_iter()
        .collect()
}

/// journald writes to the second folder only if it is there.
fn check(volatile: &Path, lasting: &Path) -> Option<Finding> {
    (volatile.exists() && !lasting.exists()).then(|| {
        Finding::warning(
            "journal",
            "journal is kept in memory and lost on reboot (the events file is not)",
            "mkdir /var/log/journal && systemctl restart systemd-journald",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_in_memory_alone_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent");
        assert!(check(folder.path(), &absent).is_some());
        assert!(check(folder.path(), folder.path()).is_none());
        assert!(check(&absent, &absent).is_none());
    }
}
