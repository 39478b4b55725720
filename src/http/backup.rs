//! Backup: a ZIP with everything needed to move to another machine, created while
//! the daemon runs. Files in the data directory are complete or absent, so they
//! can be copied one by one.

use std::io;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use log::Level;

use super::app_state::AppState;
use super::error::Result;
use super::query::Query;
use super::zip_stream::{self, Archive, Unreadable};
use crate::clock::{Moment, iso8601};
use crate::identity::Caller;
use crate::journal::{Event, chain};
use crate::store::backup::{self, Item, LEFT_OUT, Lacking, LeftOut, MANIFEST, Manifest, SCHEMA};

/// Maximum number of journal lines for missing files.
const MAX_TOLD: usize = 20;

/// `GET /api/backup?with_dumps=1`: a ZIP of the data directory, keys and all.
///
/// # Errors
/// When the daemon is stopping.
pub async fn backup(
    State(app): State<Arc<AppState>>,
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
                // Continue: a backup is needed most when the disk is full or failing.
                Event::BackupMade.entry().at(Level::Warn).say(format_args!(
                    "backup lacks pending state, which cannot be saved: {}",
                    chain(&error)
                ));
            }
            manifest(&app, with_dumps)
        }
    })
    .await?;
    let fill = move |archive: &mut Archive| {
        archive.add(MANIFEST, &serde_json::to_vec(&manifest)?)?;
        let left_out = fill(&app, archive, with_dumps)?;
        let count = left_out.len();
        if count > 0 {
            let list = LeftOut { left_out };
            archive.add(LEFT_OUT, &serde_json::to_vec(&list)?)?;
        }
        Ok(count)
    };
    Ok(zip_stream::answer_then(
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
                count => format!("; {count} files or folders missing because they cannot be read"),
            };
            let how = if with_dumps { "with" } else { "without" };
            let entry = Event::BackupMade.entry().at(level).actor(&caller);
            entry.say(format_args!("{caller} made a backup {how} coredumps{but}"));
        },
    ))
}

fn manifest(app: &AppState, with_dumps: bool) -> Manifest {
    let tls = app.config().tls.clone();
    let outside = [tls.cert, tls.key, tls.ca_cert, tls.ca_key];
    let outside = outside.iter().flatten();
    Manifest {
        schema: SCHEMA,
        espgate: env!("CARGO_PKG_VERSION").to_owned(),
        gateway_id: app.store.gateway_id.to_string(),
        made_at: iso8601(Moment::now().wall),
        with_dumps,
        outside: outside.map(|path| path.display().to_string()).collect(),
    }
}

/// Adds everything that belongs in a backup; returns what could not be read.
fn fill(app: &AppState, archive: &mut Archive, with_dumps: bool) -> io::Result<Vec<Lacking>> {
    let mut left_out = Vec::new();
    backup::walk(&app.store.data_dir, with_dumps, &mut |mut item| {
        let added = match item.fault.take() {
            Some(fault) => Err(Unreadable::of(&item.path, fault)),
            // Removed meanwhile: not in the backup.
            None => archive.add_file(&item.name, &item.path).map(|_| ()),
        };
        match added {
            Err(error) if Unreadable::is(&error) => {
                let before = left_out.len();
                left_out.push(leave_out(item, &error, before));
                Ok(())
            }
            other => other,
        }
    })?;
    Ok(left_out)
}

/// Reports a missing or incomplete entry; `before` is the number of earlier ones.
fn leave_out(item: Item, error: &io::Error, before: usize) -> Lacking {
    let why = chain(error);
    if before < MAX_TOLD {
        let entry = Event::BackupMade.entry().at(Level::Warn);
        entry.say(format_args!("missing from the backup: {why}"));
    }
    Lacking {
        name: item.name,
        path: item.path.display().to_string(),
        why,
    }
}
