//! Routes for crash groups: list, show, decide.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use http::header::LOCATION;

use super::app_state::AppState;
use super::coredumps::{find, with_dump};
use super::error::{Error, Result};
use super::query::Query;
use super::registry::json_body;
use crate::api::crashes::{
    Change, Detail, Explained, List, Merge, Merged, Moved, Recompute, Recomputed, Renamed, Split,
    SplitOff,
};
use crate::clock::Moment;
use crate::crashes::{self, Filter, Impossible, Wish, name_of};
use crate::decode::Report;
use crate::decode::signature;
use crate::device::ModelCode;
use crate::firmware;
use crate::identity::Caller;
use crate::journal::Event;
use crate::store::crashes::{At, Choice, State as GroupState};
use crate::store::firmware::Build;
use crate::worker::resign;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// `GET /api/crashes?model=&state=&since=&build=&device=&limit=&cursor=`
///
/// # Errors
/// 400 for invalid parameters.
pub async fn list(State(app): State<Arc<AppState>>, request: Request) -> Result<Json<List>> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let filter = filter_of(&query)?;
    let number = |name: &str, default: usize| {
        let given = query.get(name).map(str::parse);
        given.unwrap_or(Ok(default)).map_err(|_| invalid(name))
    };
    let (skip, limit) = (number("cursor", 0)?, number("limit", DEFAULT_LIMIT)?);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(invalid("limit"));
    }
    tokio::task::spawn_blocking(move || {
        let groups = app.ingest.crashes();
        let (crashes, is_more) = groups.list(&filter, now(), skip, limit);
        Ok(Json(List {
            crashes,
            next_cursor: is_more.then(|| (skip + limit).to_string()),
        }))
    })
    .await?
}

fn filter_of(query: &Query) -> Result<Filter> {
    let states = query.get("state").unwrap_or_default().split(',');
    let states = states
        .filter(|word| !word.is_empty())
        .map(|word| match word {
            "open" => Ok(GroupState::Open),
            "regressed" => Ok(GroupState::Regressed),
            "resolved" => Ok(GroupState::Resolved),
            "ignored" => Ok(GroupState::Ignored),
            _ => Err(invalid("state")),
        });
    let since = query
        .get("since")
        .map(|since| At::parse(since).ok_or_else(|| invalid("since")));
    Ok(Filter {
        model: query.get("model").map(str::to_owned),
        states: states.collect::<Result<_>>()?,
        since: since.transpose()?,
        build: query.get("build").map(str::to_owned),
        device: query.get("device").map(str::to_owned),
    })
}

fn invalid(what: &str) -> Error {
    Error::Invalid(format!("Invalid query parameter: {what}"))
}

fn now() -> At {
    At::of(Moment::now().wall)
}

/// `GET /api/crashes/{id}`; 301 with the group that it was merged into.
///
/// # Errors
/// 404.
pub async fn show(State(app): State<Arc<AppState>>, Path(id): Path<String>) -> Result<Response> {
    tokio::task::spawn_blocking(move || {
        let detail = detail(&app, &id)?;
        if detail.id == id {
            return Ok(Json(detail).into_response());
        }
        let place = format!("/api/crashes/{}", detail.id);
        let moved = Moved {
            id,
            redirect: detail.id,
        };
        Ok((
            StatusCode::MOVED_PERMANENTLY,
            [(LOCATION, place)],
            Json(moved),
        )
            .into_response())
    })
    .await?
}

fn detail(app: &AppState, id: &str) -> Result<Detail> {
    let detail = app.ingest.crashes().detail(id, now());
    let mut detail = detail.ok_or_else(|| no_group(id))?;
    detail.rollouts = app.rollouts.failed_by(&detail.id, &detail.merged_from);
    Ok(detail)
}

fn no_group(id: &str) -> Error {
    Error::NotFound(format!("Crash group {id}"))
}

/// `PUT /api/crashes/{id}` with `{"state":"open|resolved|ignored","in":..,"until":..,"note":..}`
///
/// # Errors
/// 400, 404.
pub async fn put(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Detail>> {
    let change: Change = json_body(request.into_body()).await?;
    tokio::task::spawn_blocking(move || {
        if change.state.is_none() && change.note.is_none() {
            return Err(Error::Invalid(String::from(
                "Nothing to change: give state or note",
            )));
        }
        if let Some(state) = &change.state {
            let wish = wish(&app, &id, state, &change)?;
            decide(&app, &caller, |register| register.wish(&id, wish.clone()))?;
        }
        if let Some(note) = &change.note {
            let note = Some(note.trim().to_owned()).filter(|note| !note.is_empty());
            decide(&app, &caller, |register| {
                let group = register
                    .get(&id)
                    .ok_or_else(|| Impossible::NoGroup(id.clone()))?;
                Ok(Choice::Note {
                    group: group.id.clone(),
                    note: note.clone(),
                })
            })?;
        }
        Ok(Json(detail(&app, &id)?))
    })
    .await?
}

/// The state that a change asks for, with the builds that it is about.
fn wish(app: &AppState, id: &str, state: &str, change: &Change) -> Result<Wish> {
    let model = app
        .ingest
        .crashes()
        .with(|register| register.get(id).map(|group| group.model.clone()));
    let model = model
        .ok_or_else(|| no_group(id))?
        .and_then(|code| code.parse::<ModelCode>().ok());
    let builds = match &model {
        Some(model) => app.store.firmware.builds(model)?,
        None => Vec::new(),
    };
    let refuse =
        |name: &str, state: &str| Err(Error::Invalid(format!("{name} is only for {state} groups")));
    let state = match state {
        "open" => GroupState::Open,
        "resolved" => GroupState::Resolved,
        "ignored" => GroupState::Ignored,
        _ => {
            return Err(Error::Invalid(String::from(
                "state must be open, resolved or ignored",
            )));
        }
    };
    if change.in_build.is_some() && state != GroupState::Resolved {
        return refuse("in", "resolved");
    }
    if change.until.is_some() && state != GroupState::Ignored {
        return refuse("until", "ignored");
    }
    let named = change.in_build.as_ref().filter(|name| *name != "next");
    let period = |text: &&String| crashes::Until::parse(text).is_none();
    let named = named.or(change.until.as_ref().filter(period));
    let first = named
        .map(|name| build_of(app, model.as_ref(), name))
        .transpose();
    let first = first.map_err(|error| match &change.until {
        Some(until) => Error::Invalid(Impossible::Until(until.clone()).to_string()),
        None => error,
    })?;
    let from = first.as_ref().map_or(u64::MAX, |build| build.sequence);
    let id_of = |build: &Build| build.id().to_string();
    let until = change.until.clone().map(|until| match &first {
        Some(build) => id_of(build),
        None => until,
    });
    Ok(Wish {
        state,
        known: builds.iter().map(id_of).collect(),
        fixed: builds
            .iter()
            .filter(|build| build.sequence >= from)
            .map(id_of)
            .collect(),
        until,
    })
}

fn build_of(app: &AppState, model: Option<&ModelCode>, name: &str) -> Result<Build> {
    let Some(model) = model else {
        return Err(Error::Invalid(String::from(
            "The group has no model: its builds are not known",
        )));
    };
    Ok(firmware::build_named(&app.store, model, name)?)
}

/// `POST /api/crashes/{id}/merge` with `{"into":".."}`
///
/// # Errors
/// 400, 404, 409.
pub async fn merge(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Detail>> {
    let Merge { into } = json_body(request.into_body()).await?;
    required("into", &into)?;
    tokio::task::spawn_blocking(move || {
        let id = decide(&app, &caller, |register| register.merge(&id, &into))?;
        Ok(Json(detail(&app, &id)?))
    })
    .await?
}

/// Checks that a field of a request's body is given.
fn required(name: &str, value: &str) -> Result<()> {
    match value.is_empty() {
        true => Err(Error::Invalid(format!("Missing field: {name}"))),
        false => Ok(()),
    }
}

/// `POST /api/crashes/{id}/split` with `{"coredump":".."}`; answers the new group.
///
/// # Errors
/// 400, 404, 409.
pub async fn split(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Detail>> {
    let Split { coredump } = json_body(request.into_body()).await?;
    required("coredump", &coredump)?;
    tokio::task::spawn_blocking(move || {
        let found = find(&app, &coredump)?;
        let name = app.store.coredumps.with(&found.device, |folder| {
            Ok(folder.find(&coredump).map(name_of))
        })?;
        let name = name.ok_or_else(|| Error::NotFound(format!("Coredump {coredump}")))?;
        let id = decide(&app, &caller, |register| {
            register.split(&id, &name.to_string(), &coredump)
        })?;
        Ok(Json(detail(&app, &id)?))
    })
    .await?
}

/// Decides, and says so; the id of the group that it is about then.
fn decide(
    app: &AppState,
    caller: &Caller,
    choose: impl FnOnce(&crashes::Register) -> std::result::Result<Choice, Impossible>,
) -> Result<String> {
    let mut what = String::new();
    let decided = app
        .ingest
        .crashes()
        .decide(&caller.to_string(), |register| {
            let choice = choose(register)?;
            what = described(&choice);
            Ok(choice)
        });
    let group = decided.map_err(|error| match error {
        crashes::Error::Impossible(Impossible::NoGroup(id)) => no_group(&id),
        crashes::Error::Impossible(Impossible::Until(_)) => Error::Invalid(error.to_string()),
        crashes::Error::Impossible(_) => Error::Conflict(error.to_string()),
        crashes::Error::Store(error) => error.into(),
        crashes::Error::Undecidable => Error::Internal(error.to_string()),
    })?;
    Event::CrashDecided
        .entry()
        .maybe("CRASH", Some(&group.id))
        .maybe("MODEL_CODE", group.model.as_ref())
        .actor(caller)
        .say(format_args!("{caller} {what}"));
    Ok(group.id)
}

fn described(choice: &Choice) -> String {
    match choice {
        Choice::State { group, state, .. } => format!("set crash {group} to {state}"),
        Choice::Note { group, .. } => format!("changed the note of crash {group}"),
        Choice::Merge { group, into, .. } => format!("merged crash {group} into {into}"),
        Choice::Split { group, into, .. } => format!("split crash {into} from {group}"),
    }
}

/// `POST /api/crashes/recompute` with `{"dry_run":bool}`
///
/// # Errors
/// 507, 500.
pub async fn recompute(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Recomputed>> {
    let Recompute { dry_run } = json_body(request.into_body()).await?;
    tokio::task::spawn_blocking(move || {
        let lists = app.config().crashes.lists();
        let (store, crashes) = (&app.store, app.ingest.crashes());
        let (changes, reports) = resign::all(store, crashes, &lists, dry_run, || {})?;
        if !dry_run {
            crashes.flush()?;
            log::info!("{caller} made the signatures of all stored reports anew");
        }
        Ok(Json(recomputed(changes, reports, dry_run)))
    })
    .await?
}

fn recomputed(changes: crashes::Changes, reports: usize, dry_run: bool) -> Recomputed {
    let split = changes.split.into_iter();
    let merged = changes.merged.into_iter();
    let renamed = changes.renamed.into_iter();
    Recomputed {
        dry_run,
        reports: reports as u64,
        fingerprints: changes.fingerprints as u64,
        split: split.map(|(id, from)| SplitOff { id, from }).collect(),
        merged: merged.map(|(id, into)| Merged { id, into }).collect(),
        renamed: renamed
            .map(|(id, before, now)| Renamed { id, before, now })
            .collect(),
    }
}

/// `GET /api/coredumps/{id}/signature`: each frame, and what decided about it.
///
/// # Errors
/// 404, also without a report.
pub async fn explain(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
) -> Result<Json<Explained>> {
    let lists = app.config().crashes.lists();
    with_dump(app, id.clone(), move |app, found| {
        let (entry, path) = app.store.coredumps.with(&found.device, |folder| {
            let path = folder.file(&found.stem, "report.json");
            Ok((folder.find(&id).cloned(), path))
        })?;
        let report = std::fs::read(path).ok();
        let report = report.and_then(|bytes| serde_json::from_slice::<Report>(&bytes).ok());
        let (Some(entry), Some(report)) = (entry, report) else {
            return Err(Error::NotFound(format!("The report of coredump {id}")));
        };
        let model = entry.model_code().unwrap_or_default();
        let outcome = signature::of_report(&report, model, &lists);
        Ok(Json(Explained {
            coredump_id: id,
            crash: app.ingest.crashes().id_of(&name_of(&entry)),
            signature: outcome.signature,
            reason: outcome.why_none,
            class: outcome.class,
            explanation: outcome.explanation,
        }))
    })
    .await
}
