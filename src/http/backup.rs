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
use serde_json::{Value, json};

use super::app::App;
use super::archive::{self, Archive};
use super::error::Result;
use super::query::Query;
use crate::clock::{Moment, iso8601};
use crate::identity::Caller;
use crate::journal::Event;

/// The entry that tells what the archive is; it comes first.
pub const MANIFEST: &str = "espgate-backup.json";
/// The form of archive that is written and read.
pub const SCHEMA: u64 = 1;

/// `GET /api/backup?with_dumps=1`: a ZIP of the data directory, keys and all.
///
/// # Errors
/// When what is only noted in memory cannot be written first.
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
            app.store.registry.devices.flush()?;
            app.store.coredumps.flush()?;
            Ok::<_, crate::store::Error>(manifest(&app, with_dumps))
        }
    })
    .await??;
    Event::BackupMade.entry().actor(&caller).say(format_args!(
        "{caller} took a backup {} coredumps",
        if with_dumps { "with" } else { "without" }
    ));
    Ok(archive::answer("espgate-backup.zip", move |archive| {
        archive.add(MANIFEST, manifest.to_string().as_bytes())?;
        fill(&app, archive, with_dumps)
    }))
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
/// directory. What can be made again or belongs to this run stays out.
fn fill(app: &App, archive: &mut Archive, with_dumps: bool) -> io::Result<()> {
    let data_dir = &app.store.data_dir;
    let root = data_dir.root();
    archive.add_file("FORMAT", &root.join("FORMAT"))?;
    for name in ["state", "tls", "config", "events"] {
        add_folder(archive, name, &root.join(name))?;
    }
    add_folder(archive, "assets", data_dir.assets())?;
    if with_dumps {
        add_folder(archive, "coredumps", data_dir.coredumps())?;
    }
    Ok(())
}

fn add_folder(archive: &mut Archive, name: &str, folder: &Path) -> io::Result<()> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut entries: Vec<fs::DirEntry> = listing.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let file_name = entry.file_name();
        let Some(text) = file_name.to_str().filter(|text| !text.starts_with('.')) else {
            continue;
        };
        let inner = format!("{name}/{text}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            add_folder(archive, &inner, &entry.path())?;
        } else if kind.is_file() {
            // Removed meanwhile: it is not in the backup.
            archive.add_file(&inner, &entry.path())?;
        }
    }
    Ok(())
}
