//! The data directory: disk space and speed, permissions, copies of the card.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::finding::Finding;
use crate::cli::output::bytes;
use crate::config::Config;
use crate::store::disk_space::{self, Space};
use crate::store::dump_removal::{MIN_FREE_FILES, free_asked};
use crate::store::registry::Gateway;

/// Writing and syncing a small file takes less on any disk that is well.
const SLOW: Duration = Duration::from_millis(500);

pub(super) fn findings(root: &Path, coredumps: &Path, config: &Config) -> Vec<Finding> {
    let listing = fs::read_dir(root);
    if let Err(error) = &listing {
        return vec![unread(root, error)];
    }
    let mut findings = Vec::new();
    let mut folders = vec![root];
    if device_of(coredumps) != device_of(root) {
        folders.push(coredumps);
    }
    for folder in folders {
        findings.extend(disk_space::unsuitable(folder).map(|trouble| {
            let what = format!("{} {trouble}", folder.display());
            Finding::warning("data", what, "move it to an ext4 partition or another disk")
        }));
    }
    if let Ok(space) = Space::of(coredumps).or_else(|_| Space::of(root)) {
        let asked = free_asked(&config.coredumps, space.total);
        findings.push(room(space, asked));
    }
    findings.extend(rights(root));
    findings.extend(speed(root));
    findings.extend(cloned(root));
    findings
}

/// The finding for a data directory that cannot be listed.
fn unread(root: &Path, error: &io::Error) -> Finding {
    let shown = root.display();
    match error.kind() {
        io::ErrorKind::NotFound => Finding::note(
            "data",
            format!("no data directory {shown}; start the daemon once, or give it with --data-dir"),
        ),
        io::ErrorKind::PermissionDenied => Finding::warning(
            "data",
            format!("permission denied: {shown}; some checks were skipped"),
            "use sudo, or add your user to the group espgate",
        ),
        _ => Finding::error(
            "data",
            format!("cannot list {shown}: {error}"),
            "see `dmesg`: the disk may be failing",
        ),
    }
}

/// The filesystem that a path is on; `None` if the path is not there.
fn device_of(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|about| about.dev())
}

fn room(space: Space, asked: u64) -> Finding {
    let what = format!(
        "{} of {} free on the disk",
        bytes(space.free),
        bytes(space.total)
    );
    if space.free_files.is_some_and(|free| free < MIN_FREE_FILES) {
        let what = format!("no room for more files on the disk, {what}");
        let advice = "delete files now: dumps cannot be stored";
        return Finding::error("disk", what, advice);
    }
    if space.free < 4 * 1024 * 1024 {
        let advice = "free space now: dumps cannot be stored";
        return Finding::error("disk", what, advice);
    }
    if space.free < asked {
        let what = format!("{what}, below min_free ({})", bytes(asked));
        let advice = "free space: old dumps and bundles are being deleted";
        return Finding::warning("disk", what, advice);
    }
    Finding::note("disk", what)
}

/// Files must have the folder's owner; secrets must not be readable by others.
fn rights(root: &Path) -> Vec<Finding> {
    let owner = fs::metadata(root).map(|about| about.uid()).ok();
    let mut findings = Vec::new();
    for (name, forbidden) in [
        ("state", 0o077),
        ("tls", 0o077),
        ("coredumps", 0o007),
        ("assets", 0o007),
    ] {
        let path = root.join(name);
        let Ok(about) = fs::metadata(&path) else {
            continue;
        };
        if about.permissions().mode() & forbidden != 0 {
            let what = format!("{} is accessible to other users", path.display());
            let advice = format!(
                "chmod {} {}",
                if forbidden == 0o077 { "700" } else { "750" },
                path.display()
            );
            findings.push(Finding::warning("data", what, &advice));
        }
        let stranger = foreign_file(&path, owner);
        if let Some(stranger) = stranger {
            let what = format!("{stranger} is not owned by the owner of {}", root.display());
            let advice = format!("chown -R --reference={0} {0}", root.display());
            findings.push(Finding::error("data", what, &advice));
        }
    }
    findings
}

/// The folder itself or something directly in it that is not the owner's.
fn foreign_file(folder: &Path, owner: Option<u32>) -> Option<String> {
    let inside = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    std::iter::once(folder.to_owned())
        .chain(inside)
        .find_map(|path| {
            let about = fs::symlink_metadata(&path).ok()?;
            (Some(about.uid()) != owner).then(|| path.display().to_string())
        })
}

/// Writes and syncs a small file, as an intake does.
fn speed(root: &Path) -> Option<Finding> {
    let path = root
        .join("run")
        .join(format!(".tmp-{}-doctor", std::process::id()));
    let started = Instant::now();
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| {
            file.write_all(&[0; 64 * 1024])?;
            file.sync_all()
        });
    let took = started.elapsed();
    let _ = fs::remove_file(&path);
    match written {
        Ok(()) => Some(pace(took)),
        // Somebody else's data directory, or nothing in it yet.
        Err(error) if matches!(error.raw_os_error(), Some(2 | 13)) => None,
        Err(error) => Some(Finding::error(
            "disk",
            format!("cannot write a test file below {}: {error}", root.display()),
            "replace the card if it became read-only: it is worn out",
        )),
    }
}

fn pace(took: Duration) -> Finding {
    let what = format!("writing 64 KiB to disk takes {} ms", took.as_millis());
    match took > SLOW {
        true => Finding::warning(
            "disk",
            what,
            "slow or worn card: use an A1/A2 card or a USB disk",
        ),
        false => Finding::note("disk", what),
    }
}

fn cloned(root: &Path) -> Option<Finding> {
    let gateway = fs::read(root.join("state/gateway.json")).ok()?;
    let gateway: Gateway = serde_json::from_slice(&gateway).ok()?;
    let machine = fs::read_to_string("/etc/machine-id").ok()?;
    moved(&gateway, machine.trim())
}

fn moved(gateway: &Gateway, machine: &str) -> Option<Finding> {
    let last = gateway.machine_id.as_str();
    if last != machine && !last.is_empty() {
        return Some(Finding::warning(
            "identity",
            "data was last used on another machine",
            "if that machine still runs, stop one of them: both have the same gateway id",
        ));
    }
    let from = gateway.moved_from.as_deref().unwrap_or_default();
    (!from.is_empty()).then(|| {
        Finding::note(
            "identity",
            "data came from another machine; the daemon must not run there any more",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn a_full_disk_is_an_error_and_a_fuller_one_than_asked_for_a_warning() {
        let severity = |free, free_files, asked| {
            let space = Space {
                read_only: false,
                total: 1 << 30,
                free,
                free_files,
            };
            room(space, asked).severity
        };
        assert_eq!(severity(1 << 20, None, 0), Severity::Error);
        assert_eq!(severity(1 << 27, Some(0), 1 << 26), Severity::Error);
        assert_eq!(severity(1 << 25, None, 1 << 26), Severity::Warning);
        assert_eq!(severity(1 << 27, Some(9999), 1 << 26), Severity::Note);
    }

    #[test]
    fn a_slow_disk_is_a_warning_and_a_quick_one_a_note() {
        let severity = |millis| pace(Duration::from_millis(millis)).severity;
        assert_eq!(severity(40), Severity::Note);
        assert_eq!(severity(900), Severity::Warning);
    }

    #[test]
    fn what_may_not_be_looked_into_is_said_and_not_taken_for_well() {
        let severity = |kind: io::ErrorKind| unread(Path::new("/x"), &kind.into()).severity;
        assert_eq!(severity(io::ErrorKind::PermissionDenied), Severity::Warning);
        assert_eq!(severity(io::ErrorKind::NotFound), Severity::Note);
        assert_eq!(severity(io::ErrorKind::InvalidData), Severity::Error);
    }

    #[test]
    fn secrets_that_others_can_read_are_found() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("tls")).unwrap();
        let set = |mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(root.path().join("tls"), mode).unwrap();
        };
        set(0o750);
        assert_eq!(rights(root.path()).len(), 1);
        set(0o700);
        assert_eq!(rights(root.path()), []);
    }

    #[test]
    fn a_cloned_card_is_told_by_its_machine_id() {
        let mut gateway = Gateway {
            machine_id: String::from("a"),
            ..Gateway::default()
        };
        assert!(moved(&gateway, "b").is_some());
        assert!(moved(&gateway, "a").is_none());
        gateway.moved_from = Some(String::from("b"));
        assert_eq!(moved(&gateway, "a").unwrap().severity, Severity::Note);
    }
}
