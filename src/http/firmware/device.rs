//! Firmware routes for devices: `GET /api/iot/firmware` and related ones.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::IF_NONE_MATCH;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::download_report::Report;
use super::file_response::{answer, etag};
use super::offered::from_rollout;
use crate::device::{DeviceKey, ModelCode};
use crate::firmware::httpupdate::{Board, Update};
use crate::firmware::{self, Part, Question, Withheld};
use crate::fleet::evidence::{Kind, Names};
use crate::fleet::last_contact::{self, Contact};
use crate::http::app_state::AppState;
use crate::http::device_caller;
use crate::http::error::{Error, Result};
use crate::http::query::Query;
use crate::http::range_requests;
use crate::http::server::{Arrival, Connection};
use crate::journal::{Event, chain};
use crate::rollouts::Ask;
use crate::store::firmware::{Build, OpenedFile};

/// `GET`/`HEAD /api/iot/firmware?version=V`: the image.
///
/// # Errors
/// 401, 403, 404.
pub async fn image(State(app): State<Arc<AppState>>, request: Request) -> Result<Response> {
    serve(app, request.into_parts().0, What::Image).await
}

/// `GET`/`HEAD /api/iot/firmware.zip?version=V`: the bundle as uploaded.
///
/// # Errors
/// 401, 403 (also if bundles are not for devices), 404.
pub async fn bundle(State(app): State<Arc<AppState>>, request: Request) -> Result<Response> {
    serve(app, request.into_parts().0, What::Bundle).await
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    Image,
    Bundle,
}

async fn serve(app: Arc<AppState>, parts: Parts, what: What) -> Result<Response> {
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let device = device_caller::identify(&app, &parts, &query).await?;
    if what == What::Bundle && !app.config().firmware.zip_to_devices {
        return Err(Error::Forbidden(String::from(
            "Firmware bundles are not served to devices",
        )));
    }
    if what == What::Bundle && !device.has_own_credential() {
        return Err(Error::Forbidden(String::from(
            "Firmware bundles are not served for a fleet token",
        )));
    }
    let model = device.model()?.clone();
    let header = |name: &str| parts.headers.get(name)?.to_str().ok().map(str::trim);
    let board = Board::of(header).filter(|_| what == What::Image);
    let is_arduino = board.is_some();
    let request = Wanted {
        device: device.key.clone(),
        model: model.clone(),
        version: query.get("version").map(str::to_owned),
        board,
        part: range_requests::part(&parts.method, &parts.headers),
        has: header(IF_NONE_MATCH.as_str()).map(str::to_owned),
        ask: match (what, &parts.method) {
            (What::Image, &Method::GET) => Ask::Image,
            _ => Ask::Version,
        },
        what,
    };
    let missing = {
        let model = model.clone();
        move || Error::NotFound(format!("Firmware {model}"))
    };
    let opened = {
        let app = Arc::clone(&app);
        tokio::task::spawn_blocking(move || request.open(&app)).await??
    };
    let Opened {
        stored,
        image,
        build,
        name,
        update,
    } = opened.ok_or_else(&missing)?;
    match update {
        Update::Send => {}
        Update::NotServed => return Err(missing()),
        Update::HasIt => {
            app.metrics.download("not-modified", 0);
            return Ok(StatusCode::NOT_MODIFIED.into_response());
        }
        Update::TooLarge => {
            app.metrics.download("incompatible", 0);
            Event::FirmwareIncompatible
                .entry()
                .device(&device.key)
                .model(&model)
                .version(&name)
                .say(format_args!(
                    "firmware {name} of {model} does not fit device {}: {} bytes, its OTA \
                     partition is smaller; the device keeps its current firmware",
                    device.key, build.bin_size
                ));
            let told = Arc::clone(&app);
            tokio::task::spawn_blocking(move || {
                let why = "its OTA partition is smaller than the image";
                told.rollouts
                    .incompatible(&model, &device.key, build.id(), why);
            })
            .await?;
            return Ok(StatusCode::NOT_MODIFIED.into_response());
        }
    }
    let digests = match what {
        What::Image => digests(&build)?,
        What::Bundle => HeaderMap::new(),
    };
    let extension = match what {
        What::Image => "bin",
        What::Bundle => "zip",
    };
    let kind = match what {
        What::Image => "application/octet-stream",
        What::Bundle => "application/zip",
    };
    let file_name = format!("firmware-{model}.{extension}");
    let says_running = device.says_running || is_arduino;
    let shown = parts.headers.get(IF_NONE_MATCH);
    let shows_etag = shown.is_some_and(|shown| shown.as_bytes() != b"*");
    let report = Report {
        app,
        device,
        model,
        build: build.id(),
        name,
        is_image: what == What::Image,
        size: stored.size,
        says_running,
        shows_etag,
    };
    let connection = parts.extensions.get::<Arc<Connection>>().cloned();
    let under_way = report.app.rollouts.downloads().of(report.build);
    // one that was stopped before that is not sent, one that is stopped later is cut
    if report.app.rollouts.is_cut_off(&report.model, report.build) {
        return Err(missing());
    }
    let running = report.app.rollouts.downloads();
    let running = running.begins(report.build, &report.device.key);
    let until_it_ends = cut_when_stopped(under_way, connection.as_ref());
    let before = connection.as_ref().map_or(0, |one| one.acknowledged());
    let mut response = answer(
        &parts,
        stored,
        image,
        kind,
        &file_name,
        move |answer, outcome| match connection {
            Some(connection) => connection.settle(outcome, before, move |arrival| {
                drop((until_it_ends, running));
                report.say(answer, outcome, arrival);
            }),
            None => report.say(answer, outcome, Arrival::BrokenOff),
        },
    )?;
    response.headers_mut().extend(digests);
    Ok(response)
}

/// Ends the connection if its build is stopped or blocked, while the result lives.
fn cut_when_stopped(
    is_stopped: CancellationToken,
    connection: Option<&Arc<Connection>>,
) -> Option<DropGuard> {
    let connection = Arc::clone(connection?);
    let has_ended = CancellationToken::new();
    let until = has_ended.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = is_stopped.cancelled() => connection.cut_off(),
            () = until.cancelled() => {}
        }
    });
    Some(has_ended.drop_guard())
}

/// What Arduino's update client checks the image against.
fn digests(build: &Build) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let digests = [
        ("x-md5", build.bin_md5.clone()),
        ("x-sha256", Some(build.bin_sha256.to_string())),
    ];
    for (name, digest) in digests {
        if let Some(digest) = digest {
            let value = HeaderValue::try_from(digest).map_err(|error| Error::internal(&error))?;
            headers.insert(name, value);
        }
    }
    Ok(headers)
}

/// A device's firmware request.
struct Wanted {
    device: DeviceKey,
    model: ModelCode,
    /// The build that it asks for.
    version: Option<String>,
    /// What an Arduino board says of itself.
    board: Option<Board>,
    part: Part,
    /// The ETags of what it has.
    has: Option<String>,
    /// What a rollout is told of the request.
    ask: Ask,
    what: What,
}

/// An opened file, and its content if it is small.
struct Opened {
    stored: OpenedFile,
    image: Option<Arc<Vec<u8>>>,
    build: Build,
    /// What people call the build.
    name: String,
    update: Update,
}

impl Wanted {
    /// Notes what the headers of Arduino's update client say of the device.
    fn note(&self, app: &AppState, board: &Board) {
        let sketch = board.sketch.map(Names::Appended);
        let version = board.version.as_deref().map(Names::Version);
        // the digest names the image; an unknown one is of an image that was changed
        let evidence: Vec<_> = version.into_iter().chain(sketch).collect();
        let evidence: Vec<_> = evidence
            .into_iter()
            .map(|names| (Kind::UpdateClient, names))
            .collect();
        let contact = Contact {
            device: &self.device,
            model: Some(&self.model),
            is_usb: false,
        };
        last_contact::learned(&app.store, contact, &evidence);
    }

    /// What a rollout is told of the request: a client that shows the target's ETag does not
    /// download it.
    fn ask_of(&self, app: &AppState) -> Ask {
        let rollout = app.store.rollouts.live(&self.model);
        let target = rollout.map(|rollout| etag(rollout.target.build_id.digest()));
        let has_it = target.is_some_and(|target| {
            let shown = self.has.as_deref();
            self.what == What::Image && shown.is_some_and(|shown| shown.contains(&target))
        });
        match has_it {
            true => Ask::HasIt,
            false => self.ask,
        }
    }

    /// Opens the file that the device gets, if any.
    fn open(&self, app: &AppState) -> Result<Option<Opened>> {
        let model = &self.model;
        let asked = match &self.version {
            None => None,
            Some(name) => match firmware::build_named(&app.store, model, name) {
                Ok(build) => Some(build.id()),
                Err(firmware::Error::Store(error)) => return Err(error.into()),
                Err(_) => return Ok(None),
            },
        };
        if let Some(board) = &self.board {
            self.note(app, board);
        }
        let now = Instant::now();
        // a range goes on with what it began with
        let begun = app.sequences.begun(&self.device, self.part, now);
        let named = asked.or(begun);
        let offer = || {
            let question = Question {
                model,
                device: &self.device,
                asked,
                part: self.part,
                rollout: from_rollout(app, model, &self.device, self.ask_of(app), named),
            };
            firmware::offer_for(&app.store, &app.sequences, &question, now)
        };
        let offered = match offer() {
            // the rollout may have ended meanwhile, and its target be the active build
            Err(Withheld::Rollout) if asked.is_none() => offer(),
            offered => offered,
        };
        let Ok(build) = offered else {
            return Ok(None);
        };
        let opened = match self.what {
            What::Image => app.store.firmware.image(model, build),
            What::Bundle => app.store.firmware.bundle(model, build),
        };
        let name = firmware::shown_name(&app.store, model, &build.into());
        let trouble = match &opened {
            Ok(Some(stored)) => stored.trouble.clone(),
            // a build may have no bundle
            Ok(None) if self.what == What::Bundle => None,
            Ok(None) => Some(String::from("file missing")),
            Err(error) => Some(chain(error)),
        };
        if let Some(trouble) = trouble {
            app.metrics.unreadable_bundles.inc();
            Event::BundleUnreadable
                .entry()
                .model(model)
                .version(&name)
                .say(format_args!(
                    "cannot read firmware {name} of {model}: {trouble}; upload it again"
                ));
        }
        let Some(stored) = opened? else {
            return Ok(None);
        };
        let Some(build) = app.store.firmware.description(model, build)? else {
            return Ok(None);
        };
        let update = match &self.board {
            None => Update::Send,
            Some(board) => {
                let builds = app.store.firmware.builds(model)?;
                board.update_to(&build, |digest| {
                    let mut others = builds.iter().filter(|other| other.id() != build.id());
                    others.any(|other| other.bin_appended_sha256 == Some(digest))
                })
            }
        };
        Ok(Some(Opened {
            image: match self.what {
                What::Image => app.images.share(stored.sha256, &stored.file, stored.size),
                What::Bundle => None,
            },
            stored,
            build,
            name,
            update,
        }))
    }
}
