//! Which programs use a serial port. Root sees all of them, other users only
//! their own.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::printable::escaped;

/// The programs that have `device` open; `None` if there are none.
pub(super) fn of(device: &Path) -> Option<String> {
    let names = holders(device, Path::new("/proc"));
    match names.as_slice() {
        [] if geteuid().is_root() => None,
        [] => Some(String::from("unknown (use sudo to see it)")),
        names => Some(names.join(", ")),
    }
}

/// The processes below `proc` with an open descriptor of `device`, such as
/// `picocom (pid 1234)`; what ends meanwhile is left out.
fn holders(device: &Path, proc: &Path) -> Vec<String> {
    let device = fs::canonicalize(device).unwrap_or_else(|_| device.to_owned());
    let numbers = list(proc).into_iter().filter_map(|process| {
        let number: u32 = process.file_name()?.to_str()?.parse().ok()?;
        Some((number, process))
    });
    let mut found: Vec<(u32, String)> = numbers
        .filter(|(_, process)| {
            let open = list(&process.join("fd"));
            open.iter()
                .any(|link| fs::read_link(link).is_ok_and(|target| target == device))
        })
        .map(|(number, process)| {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            let name = escaped(name.trim()).into_owned();
            (number, format!("{name} (pid {number})"))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, words)| words).collect()
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_process_with_the_device_open_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("ttyUSB0");
        fs::write(&device, "").unwrap();
        let proc = folder.path().join("proc");
        for (number, name, target) in [
            ("90", "screen\n", &device),
            ("7", "mini\u{1b}com\n", &device),
            ("8", "other\n", &proc),
            ("self", "alias\n", &device),
        ] {
            fs::create_dir_all(proc.join(number).join("fd")).unwrap();
            fs::write(proc.join(number).join("comm"), name).unwrap();
            symlink(target, proc.join(number).join("fd/3")).unwrap();
        }
        let link = folder.path().join("kitchen");
        symlink(&device, &link).unwrap();
        let expected = ["mini\\u{1b}com (pid 7)", "screen (pid 90)"];
        assert_eq!(holders(&link, &proc), expected);
        assert!(holders(&proc, Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn this_process_is_found_where_the_kernel_shows_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let words = of(file.path()).unwrap();
        assert!(
            words.contains(&format!("(pid {})", std::process::id())),
            "{words}"
        );
    }
}
