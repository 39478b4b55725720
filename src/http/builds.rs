//! Routes for builds: what is stored, who runs it, what crashed with it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};

use super::app_state::AppState;
use super::error::{Error, Result};
use super::query::Query;
use crate::api::builds::{Block, Build, Devices, Group, Groups, List};
use crate::build_id::BuildId;
use crate::device::ModelCode;
use crate::firmware::known_model;
use crate::fleet::build_use;
use crate::store::firmware;
use crate::store::rollouts::Rollout;

/// Fewest digits of an id.
const MIN_DIGITS: usize = 8;

/// `GET /api/builds?model=`
///
/// # Errors
/// 404 for the model.
pub async fn list(State(app): State<Arc<AppState>>, request: Request) -> Result<Json<List>> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let model = query.get("model").map(str::to_owned);
    tokio::task::spawn_blocking(move || {
        let stored = match model {
            Some(code) => of_model(&app, known_model(&app.store, &code)?)?,
            None => all(&app)?,
        };
        let (dumps, rollouts) = (dumps(&app, &stored), app.store.rollouts.all());
        let builds = stored
            .iter()
            .map(|(model, build)| shown(&app, model, build, &dumps, &rollouts));
        Ok(Json(List {
            builds: builds.collect(),
            next_cursor: None,
        }))
    })
    .await?
}

/// `GET /api/builds/{build_id}`: by the id, or its first digits.
///
/// # Errors
/// 404; 409 if the digits fit several.
pub async fn show(State(app): State<Arc<AppState>>, Path(id): Path<String>) -> Result<Json<Build>> {
    tokio::task::spawn_blocking(move || {
        let digits = id.to_ascii_lowercase();
        let mut found = all(&app)?;
        found.retain(|(_, build)| digits.len() >= MIN_DIGITS && build.id().has_prefix(&digits));
        let names: Vec<String> = found
            .iter()
            .map(|(model, build)| format!("{model} {} ({})", build.name, build.id()))
            .collect();
        match found.as_slice() {
            [] => Err(Error::NotFound(format!("Build {id}"))),
            [(model, build)] => {
                let (dumps, rollouts) = (dumps(&app, &found), app.store.rollouts.all());
                Ok(Json(shown(&app, model, build, &dumps, &rollouts)))
            }
            _ => Err(Error::Conflict(format!(
                "Build {id} is ambiguous: {}",
                names.join(", ")
            ))),
        }
    })
    .await?
}

type Stored = Vec<(ModelCode, firmware::Build)>;

fn of_model(app: &AppState, model: ModelCode) -> Result<Stored> {
    let builds = app.store.firmware.builds(&model)?.into_iter();
    Ok(builds.map(|build| (model.clone(), build)).collect())
}

fn all(app: &AppState) -> Result<Stored> {
    let mut all = Vec::new();
    for model in app.store.firmware.models()? {
        all.extend(of_model(app, model)?);
    }
    Ok(all)
}

/// Numbers of stored dumps by build.
fn dumps(app: &AppState, builds: &Stored) -> HashMap<BuildId, u64> {
    let mut counts = HashMap::new();
    app.store.coredumps.collect(|_, entry| {
        let hash = entry.app_elf_sha256().filter(|hash| !hash.is_empty());
        let fits = |model: &ModelCode, build: &firmware::Build| match hash {
            Some(hash) => build.made(hash),
            None => {
                entry.model_code() == Some(model.as_str())
                    && entry.firmware_version() == Some(build.version.as_str())
            }
        };
        for (model, build) in builds {
            if fits(model, build) {
                *counts.entry(build.id()).or_insert(0) += 1;
            }
        }
        None::<()>
    });
    counts
}

fn shown(
    app: &AppState,
    code: &ModelCode,
    build: &firmware::Build,
    dumps: &HashMap<BuildId, u64>,
    rollouts: &[Arc<Rollout>],
) -> Build {
    let id = build.id();
    let in_use = build_use::of(app.store.registry.devices.read().of_model(code), id);
    let crashes = app.ingest.crashes().of_build(&id.to_string());
    let crash_free = build_use::crash_free(&in_use.ran, &crashes.devices);
    let models = app.store.registry.models.read();
    let model = models.models.get(code);
    let block = model.and_then(|model| model.block_of(id));
    let new = crashes.new.into_iter();
    let minutes = u32::try_from(in_use.seconds / 60).unwrap_or(u32::MAX);
    Build {
        build_id: id.to_string(),
        model: code.to_string(),
        name: build.name.clone(),
        version: build.version.to_string(),
        uploaded_at: build.uploaded_at.clone(),
        uploaded_by: build.uploaded_by.clone(),
        warnings: build.warnings.clone(),
        active: model.is_some_and(|model| model.active_id() == Some(id)),
        blocked: block.map(|block| Block {
            why: block.why.clone(),
            by: block.by.clone(),
            at: block.at.clone(),
        }),
        rollouts: rollouts
            .iter()
            .filter(|rollout| rollout.target.build_id == id && rollout.model == *code)
            .map(|rollout| rollout.id.clone())
            .collect(),
        devices: Devices {
            exact: in_use.exact,
            likely: in_use.likely,
        },
        // tenths are as exact as contacts are
        device_hours: (f64::from(minutes) / 6.0).round() / 10.0,
        dumps: dumps.get(&id).copied().unwrap_or(0),
        crashes: crashes.occurrences,
        gateway_induced: crashes.gateway_induced,
        groups: Groups {
            new: new.map(|(id, signature)| Group { id, signature }).collect(),
            known: crashes.known,
        },
        crash_free: crash_free.map(|free| free.share),
        crash_free_devices: crash_free.map_or(0, |free| free.devices),
    }
}
