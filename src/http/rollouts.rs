//! Routes for rollouts: start, list, show, and what people do with one.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::{Extension, Json};

use super::app_state::AppState;
use super::error::{Error, Result};
use super::registry::json_body;
use super::rollout_advice;
use crate::api::rollouts::{Canary, Command as Body, List, Rollout, Start, Started};
use crate::config;
use crate::config::OnStop;
use crate::device::DeviceKey;
use crate::firmware::{build_named, known_model};
use crate::identity::Caller;
use crate::rollouts::by_person::Command;
use crate::rollouts::order::Canaries;
use crate::rollouts::{self, Request as Wanted};
use crate::store::rollouts::Spec;

/// Longest reason for a stop, in characters.
const MAX_REASON: usize = 500;

/// `GET /api/rollouts`, newest first.
///
/// # Errors
/// None of its own.
pub async fn list(State(app): State<Arc<AppState>>) -> Result<Json<List>> {
    tokio::task::spawn_blocking(move || {
        Ok(Json(List {
            rollouts: app.rollouts.summaries(),
            next_cursor: None,
        }))
    })
    .await?
}

/// `GET /api/rollouts/{id}`
///
/// # Errors
/// 404.
pub async fn show(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
) -> Result<Json<Rollout>> {
    tokio::task::spawn_blocking(move || detail(&app, &id)).await?
}

fn detail(app: &AppState, id: &str) -> Result<Json<Rollout>> {
    let mut rollout = app.rollouts.detail(id)?;
    rollout_advice::add(&mut rollout, &app.ports.list());
    Ok(Json(rollout))
}

/// `POST /api/rollouts`: starts one, or with `"dry_run":true` only says what would happen.
///
/// # Errors
/// 400 for what cannot be read, 404 for an unknown model or build, 409 if it cannot be
/// started now.
pub async fn start(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Started>> {
    let body: Start = json_body(request.into_body()).await?;
    tokio::task::spawn_blocking(move || {
        if body.model.is_empty() || body.build.is_empty() {
            return Err(Error::Invalid(String::from(
                "Missing model or build: {\"model\":..,\"build\":..}",
            )));
        }
        let model = known_model(&app.store, &body.model)?;
        let wanted = Wanted {
            target: build_named(&app.store, &model, &body.build)?,
            model,
            canaries: canaries(&body, &app.config().rollouts)?,
            spec: settings(&body, &app.config().rollouts).map_err(Error::Invalid)?,
            no_way_back: body.no_way_back,
            by: caller.to_string(),
        };
        let (rollout, warnings) = match body.dry_run {
            true => app.rollouts.dry_run(&wanted)?,
            false => app.rollouts.start_and_show(&wanted)?,
        };
        Ok(Json(Started {
            warnings,
            dry_run: body.dry_run,
            rollout,
        }))
    })
    .await?
}

fn canaries(body: &Start, defaults: &config::Rollouts) -> Result<Canaries> {
    let named = |keys: Vec<String>| {
        let keys = keys.iter().map(|key| key.trim().parse::<DeviceKey>());
        let keys = keys.collect::<std::result::Result<Vec<_>, _>>();
        let keys = keys.map_err(|error| Error::Invalid(format!("Invalid canary: {error}")))?;
        Ok(Canaries::Named(keys))
    };
    let counted = |count: u32| match count {
        0 => Err(Error::Invalid(String::from("Invalid canary: 0 devices"))),
        count => Ok(Canaries::Count(count as usize)),
    };
    match &body.canary {
        None => Ok(Canaries::Count(defaults.canary as usize)),
        Some(Canary::Count(count)) => counted(*count),
        Some(Canary::Keys(keys)) => named(keys.clone()),
        Some(Canary::Text(text)) => match text.trim().parse::<u32>() {
            Ok(count) if !text.contains(',') => counted(count),
            _ => named(text.split(',').map(str::to_owned).collect()),
        },
    }
}

fn settings(body: &Start, defaults: &config::Rollouts) -> std::result::Result<Spec, String> {
    let base = Spec::from(defaults);
    let duration = |name: &str, given: &Option<String>, or: u64| match given {
        None => Ok(or),
        Some(text) => config::duration(text).map_err(|why| format!("Invalid {name}: {why}")),
    };
    let parallel = body.parallel.unwrap_or(base.parallel);
    if parallel == 0 {
        return Err(String::from("Invalid parallel: 0 downloads"));
    }
    Ok(Spec {
        waves: match &body.waves {
            Some(text) => config::shares(text).map_err(|why| format!("Invalid waves: {why}"))?,
            None => base.waves,
        },
        canary_soak: duration("canary_soak", &body.canary_soak, base.canary_soak)?,
        soak: duration("soak", &body.soak, base.soak)?,
        watch: duration("watch", &body.watch, base.watch)?,
        return_within: duration("return_within", &body.return_within, base.return_within)?,
        parallel,
        window: match body.window.as_deref() {
            Some("") => None,
            Some(text) => {
                Some(config::window(text).map_err(|why| format!("Invalid window: {why}"))?)
            }
            None => base.window,
        },
        gate: body.gate.unwrap_or(base.gate),
        confirmed: body.confirmed.unwrap_or(base.confirmed),
        on_stop: match body.on_stop.as_deref() {
            None => base.on_stop,
            Some("back") => OnStop::Back,
            Some("stay") => OnStop::Stay,
            Some(other) => return Err(format!("Invalid on_stop: \"{other}\": back or stay")),
        },
    })
}

/// `POST /api/rollouts/{id}/{pause|resume|release|stop|finish|cancel}`; `stop` with
/// `{"why":..}`. Answers the rollout as `GET` does.
///
/// # Errors
/// 400, 404, 409 if that cannot be done now.
pub async fn command(
    State(app): State<Arc<AppState>>,
    Path((id, what)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Rollout>> {
    let body: Body = json_body(request.into_body()).await?;
    let command = command_of(&what, body)?;
    tokio::task::spawn_blocking(move || {
        app.rollouts.command(&id, &command, &caller.to_string())?;
        detail(&app, &id)
    })
    .await?
}

fn command_of(what: &str, body: Body) -> Result<Command> {
    Ok(match what {
        "pause" => Command::Pause { why: None },
        "resume" => Command::Resume,
        "release" => Command::Release,
        "finish" => Command::Finish,
        "cancel" => Command::Cancel,
        "stop" => {
            let why = body.why.map(|why| why.trim().to_owned());
            let why = why.filter(|why| !why.is_empty());
            let why =
                why.ok_or_else(|| Error::Invalid(String::from("Missing why: {\"why\":\"..\"}")))?;
            if why.chars().count() > MAX_REASON {
                return Err(Error::Invalid(format!(
                    "Invalid why: at most {MAX_REASON} characters"
                )));
            }
            Command::Stop { why }
        }
        _ => return Err(Error::NoSuchRoute),
    })
}

impl From<rollouts::Error> for Error {
    fn from(error: rollouts::Error) -> Self {
        match error {
            rollouts::Error::NotFound(id) => Self::NotFound(format!("Rollout {id}")),
            rollouts::Error::Impossible(why) => Self::Conflict(why.to_string()),
            rollouts::Error::Refused(why) => Self::Conflict(why.to_string()),
            rollouts::Error::Store(error) => error.into(),
        }
    }
}
