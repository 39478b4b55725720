//! Everything that another machine needs to take this one's place, as one
//! archive, while the daemon runs: a file in the data directory is complete or
//! absent, so copying them one by one is enough.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use log::Level;
use serde_json::{Value, json};

use super::app::App;
use super::archive::{self, Archive, Unreadable};
use super::error::Result;
use super::query::Query;
use crate::clock::{Moment, iso8601};
use crate::identity::Caller;
use crate::journal::{Event, chain};

/// The entry that tells what the archive is; it comes first.
pub const MANIFEST: &str = "espgate-backup.json";
/// The form of archive that is written and read.
pub const SCHEMA: u64 = 1;

/// The entry that tells what could not be read; it comes last, and is there only
/// if there is something to tell.
pub const LEFT_OUT: &str = "espgate-left-out.json";
/// What filesystems keep in their topmost folder; nothing of ours.
pub const LOST_AND_FOUND: &str = "lost+found";
/// So many of those that are left out have a line in the journal each.
const MAX_TOLD: usize = 20;

/// `GET /api/backup?with_dumps=1`: a ZIP of the data directory, keys and all.
///
/// # Errors
/// When the daemon is ending.
pub async fn backup(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let with_dumps = matches!(query.get("with_dumps"), Some("1" | "true" | "yes"));
    let manifest = tokio::task::spawn_blocking({
        let app = Arc::clone(&app);
        move || {
            let registry = app.store.registry.devices.flush();
            for error in [registry, app.store.coredumps.flush()]
                .into_iter()
                .filter_map(std::result::Result::err)
            {
                // A full or broken disk is when a backup is needed most.
                Event::BackupMade.entry().at(Level::Warn).say(format_args!(
                    "a backup is made without what is only noted in memory: {}",
                    chain(&error)
                ));
            }
            manifest(&app, with_dumps)
        }
    })
    .await?;
    let fill = move |archive: &mut Archive| {
        archive.add(MANIFEST, manifest.to_string().as_bytes())?;
        let left_out = fill(&app, archive, with_dumps)?;
        if !left_out.is_empty() {
            let list = json!({ "left_out": left_out });
            archive.add(LEFT_OUT, list.to_string().as_bytes())?;
        }
        Ok(left_out.len())
    };
    Ok(archive::answer_then(
        "espgate-backup.zip",
        fill,
        move |lacking| {
            let level = if lacking == 0 {
                Level::Info
            } else {
                Level::Warn
            };
            let but = match lacking {
                0 => String::new(),
                count => format!("; {count} files or folders could not be read and are not in it"),
            };
            let how = if with_dumps { "with" } else { "without" };
            let entry = Event::BackupMade.entry().at(level).actor(&caller);
            entry.say(format_args!("{caller} took a backup {how} coredumps{but}"));
        },
    ))
}

fn manifest(app: &App, with_dumps: bool) -> Value {
    let tls = app.config().tls.clone();
    let outside = [tls.cert, tls.key, tls.ca_cert, tls.ca_key];
    let outside: Vec<PathBuf> = outside.into_iter().flatten().collect();
    json!({
        "schema": SCHEMA,
        "espgate": env!("CARGO_PKG_VERSION"),
        "gateway_id": app.store.gateway_id,
        "made_at": iso8601(Moment::now().wall),
        "with_dumps": with_dumps,
        "outside": outside,
    })
}

/// The folders that are kept wherever they are, then the rest of the data
/// directory. What can be made again or belongs to this run stays out. Gives
/// what could not be read.
fn fill(app: &App, archive: &mut Archive, with_dumps: bool) -> io::Result<Vec<Value>> {
    let data_dir = &app.store.data_dir;
    let root = data_dir.root();
    let mut left_out = Vec::new();
    archive.add_file("FORMAT", &root.join("FORMAT"))?;
    for name in ["state", "tls", "config", "events"] {
        add_folder(archive, name, &root.join(name), &mut left_out)?;
    }
    add_folder(archive, "assets", data_dir.assets(), &mut left_out)?;
    if with_dumps {
        add_folder(archive, "coredumps", data_dir.coredumps(), &mut left_out)?;
    }
    Ok(left_out)
}

fn add_folder(
    archive: &mut Archive,
    name: &str,
    folder: &Path,
    left_out: &mut Vec<Value>,
) -> io::Result<()> {
    let listing = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries: Vec<fs::DirEntry> = match listing {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            leave_out(left_out, name, folder, &Unreadable::of(folder, error));
            return Ok(());
        }
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let file_name = entry.file_name();
        let is_ours = |text: &&str| !text.starts_with('.') && *text != LOST_AND_FOUND;
        let Some(text) = file_name.to_str().filter(is_ours) else {
            continue;
        };
        let inner = format!("{name}/{text}");
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            add_folder(archive, &inner, &path, left_out)?;
        } else if kind.is_file() {
            match archive.add_file(&inner, &path) {
                // Removed meanwhile, it is not in the backup.
                Ok(_) => {}
                Err(error) if Unreadable::is(&error) => leave_out(left_out, &inner, &path, &error),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Notes that an entry is not in the backup, or not as a whole.
fn leave_out(left_out: &mut Vec<Value>, name: &str, path: &Path, error: &io::Error) {
    let why = chain(error);
    if left_out.len() < MAX_TOLD {
        let entry = Event::BackupMade.entry().at(Level::Warn);
        entry.say(format_args!("not in the backup: {why}"));
    }
    left_out.push(json!({ "name": name, "path": path, "why": why }));
}
