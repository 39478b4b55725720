//! Which files of a data directory a backup contains: all but what the daemon
//! makes again, temporary files, and dumps unless asked for.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DataDir;

/// The entry that tells what an archive is; it comes first.
pub const MANIFEST: &str = "espgate-backup.json";
/// The form of archive that is written and read.
pub const SCHEMA: u64 = 1;
/// The entry that tells what could not be read; it comes last, and is there only
/// if there is something to tell.
pub const LEFT_OUT: &str = "espgate-left-out.json";
/// Where a restore puts everything until it is complete. While there is something
/// in the one of a data directory, what else is there may be a part of a gateway.
pub const STAGING: &str = ".restoring";
/// What filesystems keep in their topmost folder; nothing of ours.
pub const LOST_AND_FOUND: &str = "lost+found";

/// At the top of a data directory: what the daemon makes again.
const MADE_AGAIN: [&str; 3] = ["run", "cache", "lock"];
/// Folders that may be anywhere; in a backup they have these names.
const COREDUMPS: &str = "coredumps";
const ASSETS: &str = "assets";

/// What [`MANIFEST`] holds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Manifest {
    pub schema: u64,
    /// The version that made it.
    pub espgate: String,
    pub gateway_id: String,
    /// ISO 8601, UTC.
    pub made_at: String,
    pub with_dumps: bool,
    /// Files that the configuration names and that are not in it.
    pub outside: Vec<String>,
}

/// What [`LEFT_OUT`] holds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LeftOut {
    pub left_out: Vec<Lacking>,
}

/// A file or folder that is not in a backup, or not as a whole.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Lacking {
    /// The name that its entry has, or would have.
    pub name: String,
    /// For people: a name need not be text.
    pub path: String,
    pub why: String,
}

/// Whether a file with this place below a data directory can be in a backup.
/// No such place leads out of the data directory.
pub fn belongs(place: &Path) -> bool {
    let mut parts = place.components();
    let names = place.components().all(|part| match part {
        Component::Normal(name) => name
            .to_str()
            .is_some_and(|name| !is_passed_over(name) && !name.contains(['\\', '\0'])),
        _ => false,
    });
    let top = parts.next().map(|part| part.as_os_str());
    let is_ours = |name: &&str| top == Some(name.as_ref());
    let about = [MANIFEST, LEFT_OUT];
    top.is_some() && names && !MADE_AGAIN.iter().chain(&about).any(is_ours)
}

/// Temporary and hidden files, and what filesystems make.
fn is_passed_over(name: &str) -> bool {
    name.starts_with('.') || name == LOST_AND_FOUND
}

/// Something that belongs in a backup.
#[derive(Debug)]
pub struct Item {
    /// Its place below a data directory that has all its folders within.
    pub name: String,
    pub path: PathBuf,
    /// Why it cannot be in it; it may be a folder then.
    pub fault: Option<io::Error>,
}

/// Tells `each` what belongs in a backup of a data directory, folder by folder.
///
/// # Errors
/// What `each` says.
pub fn walk(
    data_dir: &DataDir,
    with_dumps: bool,
    each: &mut dyn FnMut(Item) -> io::Result<()>,
) -> io::Result<()> {
    let apart = [data_dir.coredumps(), data_dir.assets()];
    let apart = apart.map(|folder| fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()));
    let [coredumps, assets] = &apart;
    let mut walk = Walk {
        apart: &apart,
        each,
    };
    walk.folder("", data_dir.root())?;
    walk.folder(ASSETS, assets)?;
    match with_dumps {
        true => walk.folder(COREDUMPS, coredumps),
        false => Ok(()),
    }
}

struct Walk<'a> {
    /// Folders with a turn of their own.
    apart: &'a [PathBuf],
    each: &'a mut dyn FnMut(Item) -> io::Result<()>,
}

impl Walk<'_> {
    fn folder(&mut self, name: &str, folder: &Path) -> io::Result<()> {
        let listing = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries: Vec<fs::DirEntry> = match listing {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return self.tell(name, folder, Some(error)),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let file_name = entry.file_name();
            let file_name = file_name.to_string_lossy();
            let inner = match name {
                "" => file_name.into_owned(),
                name => format!("{name}/{file_name}"),
            };
            self.entry(&inner, &entry.path(), name.is_empty())?;
        }
        Ok(())
    }

    fn entry(&mut self, name: &str, path: &Path, is_top: bool) -> io::Result<()> {
        let is_apart = is_top && [ASSETS, COREDUMPS].contains(&name);
        let last = name.rsplit('/').next().unwrap_or(name);
        if is_passed_over(last) || is_apart || (is_top && MADE_AGAIN.contains(&name)) {
            return Ok(());
        }
        let link = path.is_symlink();
        let about = match path.metadata() {
            Ok(about) => about,
            // A link to nothing, or removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return self.tell(name, path, Some(error)),
        };
        // Of the links to folders only those at the top are followed: others may
        // lead in circles.
        let real = match link && is_top {
            true => fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
            false => path.to_owned(),
        };
        if self.apart.contains(&real) {
            return Ok(());
        }
        if !belongs(Path::new(name)) || path.to_str().is_none() {
            let fault = io::Error::new(io::ErrorKind::InvalidData, "name not allowed in a backup");
            return self.tell(name, path, Some(fault));
        }
        if about.is_dir() && link && !is_top {
            let fault = io::Error::new(
                io::ErrorKind::InvalidData,
                "links to folders are not followed",
            );
            return self.tell(name, path, Some(fault));
        }
        match (about.is_dir(), about.is_file()) {
            (true, _) => self.folder(name, &real),
            (_, true) => self.tell(name, path, None),
            // Sockets and the like hold nothing.
            _ => Ok(()),
        }
    }

    fn tell(&mut self, name: &str, path: &Path, fault: Option<io::Error>) -> io::Result<()> {
        (self.each)(Item {
            name: name.to_owned(),
            path: path.to_owned(),
            fault,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use super::*;

    /// What a backup of `root` has: the path of each entry, or why it is not in.
    fn found(data_dir: &DataDir, with_dumps: bool) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        walk(data_dir, with_dumps, &mut |item| {
            let shown = match item.fault {
                None => item.path.display().to_string(),
                Some(fault) => fault.to_string(),
            };
            assert_eq!(found.insert(item.name, shown), None);
            Ok(())
        })
        .unwrap();
        found
    }

    fn write(root: &Path, names: &[&str]) {
        for name in names {
            let path = root.join(name);
            let folder = path.parent().unwrap();
            fs::create_dir_all(folder).unwrap();
            fs::File::create(path).unwrap();
        }
    }

    #[test]
    fn everything_is_in_a_backup_but_what_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        let data_dir = DataDir::open(&root, None, None).unwrap();
        let kept = [
            "state/a",
            "config/k.json",
            "config/devices/k.json",
            "config/models/m.json",
            "assets/m/x.zip",
            "new/deep/x",
        ];
        write(&root, &kept);
        let dropped = [
            "run/x",
            "cache/images/x",
            ".tmp-1",
            "new/.tmp-2",
            "lost+found/x",
        ];
        write(&root, &dropped);
        write(&root, &["coredumps/k/x.dmp"]);
        let mut names: Vec<String> = found(&data_dir, false).into_keys().collect();
        assert_eq!(
            names,
            [
                "FORMAT",
                "assets/m/x.zip",
                "config/devices/k.json",
                "config/k.json",
                "config/models/m.json",
                "new/deep/x",
                "state/a"
            ]
        );
        names.insert(2, String::from("coredumps/k/x.dmp"));
        let with_dumps: Vec<String> = found(&data_dir, true).into_keys().collect();
        assert!(with_dumps.iter().all(|name| belongs(Path::new(name))));
        assert_eq!(with_dumps.len(), names.len());
        assert!(with_dumps.contains(&names[2]));
    }

    #[test]
    fn folders_that_are_elsewhere_come_once_under_their_usual_names() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        let (dumps, assets) = (root.join("disk/dumps"), folder.path().join("firmware"));
        let data_dir = DataDir::open(&root, Some(&dumps), Some(&assets)).unwrap();
        write(&dumps, &["k/x.dmp"]);
        write(&assets, &["m/x.zip"]);
        write(&root, &["disk/other", "coredumps/of/before"]);
        let names: Vec<String> = found(&data_dir, true).into_keys().collect();
        assert_eq!(
            names,
            [
                "FORMAT",
                "assets/m/x.zip",
                "coredumps/k/x.dmp",
                "disk/other"
            ]
        );
    }

    #[test]
    fn links_to_files_and_of_whole_folders_are_followed_and_others_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let (root, other) = (folder.path().join("data"), folder.path().join("other"));
        let data_dir = DataDir::open(&root, None, None).unwrap();
        write(&other, &["x"]);
        symlink(other.join("x"), root.join("config/k.json")).unwrap();
        symlink("nowhere", root.join("config/gone.json")).unwrap();
        symlink(&other, root.join("linked")).unwrap();
        symlink("..", root.join("config/up")).unwrap();
        let found = found(&data_dir, true);
        assert!(found["config/k.json"].ends_with("config/k.json"));
        assert!(found["linked/x"].ends_with("other/x"));
        assert_eq!(found["config/up"], "links to folders are not followed");
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn names_that_no_archive_can_have_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        let data_dir = DataDir::open(&root, None, None).unwrap();
        write(&root, &["new/a\\b", MANIFEST]);
        let bytes = std::ffi::OsStr::from_bytes(b"\xff");
        fs::File::create(root.join("new").join(bytes)).unwrap();
        let found = found(&data_dir, false);
        let told = found.values().filter(|why| why.contains("not allowed"));
        assert_eq!(told.count(), 3, "{found:?}");
    }

    #[test]
    fn no_place_leads_out_of_the_data_directory() {
        for good in ["FORMAT", "state/tokens.json", "new/x", "coredumps/k/c.dmp"] {
            assert!(belongs(Path::new(good)), "{good}");
        }
        for bad in [
            "../etc/passwd",
            "state/../../x",
            "/etc/passwd",
            "run/control.sock",
            "cache/x",
            "state/.tmp-1",
            "state/a\\b",
            "lock",
            MANIFEST,
            LEFT_OUT,
            "",
            ".",
        ] {
            assert!(!belongs(Path::new(bad)), "{bad}");
        }
    }
}
