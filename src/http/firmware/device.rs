//! `GET /api/iot/firmware` and what belongs to it: firmware for devices.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, RANGE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::choice::build_for;
use crate::clock::{Moment, iso8601};
use crate::device::ModelCode;
use crate::http::app::App;
use crate::http::conditional::{self, Answer};
use crate::http::device_caller::{self, DeviceCaller};
use crate::http::error::{Error, Result};
use crate::http::query::Query;
use crate::http::server::{Delivery, from_file, from_memory};
use crate::journal::Event;
use crate::store::firmware::Stored;
use crate::store::registry::devices::Running;

/// `GET`/`HEAD /api/iot/firmware?version=V`: the image.
///
/// # Errors
/// 401, 403, 404.
pub async fn image(State(app): State<Arc<App>>, request: Request) -> Result<Response> {
    serve(app, request.into_parts().0, What::Image).await
}

/// `GET`/`HEAD /api/iot/firmware.zip?version=V`: the bundle as uploaded.
///
/// # Errors
/// 401, 403 (also if bundles are not for devices), 404.
pub async fn bundle(State(app): State<Arc<App>>, request: Request) -> Result<Response> {
    serve(app, request.into_parts().0, What::Bundle).await
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    Image,
    Bundle,
}

async fn serve(app: Arc<App>, parts: Parts, what: What) -> Result<Response> {
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let device = device_caller::identify(&app, &parts, &query).await?;
    if what == What::Bundle && !app.config().firmware.zip_to_devices {
        return Err(Error::Forbidden(String::from(
            "Firmware bundles are not served to devices",
        )));
    }
    let model = device.model()?.clone();
    let name = choose(&app, &parts, &device, &model, query.get("version"))?;
    let missing = || Error::NotFound(format!("Firmware {model}"));
    let opened = {
        let (app, model, name) = (Arc::clone(&app), model.clone(), name.clone());
        let is_meant = query.get("version").is_none() && what == What::Image;
        tokio::task::spawn_blocking(move || open(&app, &model, &name, what, is_meant)).await??
    };
    let Opened { stored, image } = opened.ok_or_else(missing)?;
    let extension = match what {
        What::Image => "bin",
        What::Bundle => "zip",
    };
    let kind = match what {
        What::Image => "application/octet-stream",
        What::Bundle => "application/zip",
    };
    let file_name = format!("firmware-{model}.{extension}");
    let delivery = Report {
        app,
        device,
        model,
        name,
    };
    answer(
        &parts,
        stored,
        image,
        kind,
        &file_name,
        move |answer, outcome| {
            delivery.say(answer, outcome);
        },
    )
}

fn choose(
    app: &App,
    parts: &Parts,
    device: &DeviceCaller,
    model: &ModelCode,
    wanted: Option<&str>,
) -> Result<String> {
    let registry = &app.store.registry;
    let (models, devices) = (registry.models.read(), registry.devices.read());
    let missing = || Error::NotFound(format!("Firmware {model}"));
    let chosen = models
        .models
        .get(model)
        .and_then(|model| build_for(model, devices.devices.get(&device.key), wanted))
        .ok_or_else(missing)?;
    if wanted.is_some() {
        return Ok(chosen.to_owned());
    }
    let is_range = parts.method == Method::GET && parts.headers.contains_key(RANGE);
    Ok(app
        .sequences
        .build_for(&device.key, is_range, chosen, Instant::now()))
}

/// An opened file, and its content if it is small.
struct Opened {
    stored: Stored,
    image: Option<Arc<Vec<u8>>>,
}

/// `is_meant`: the build was chosen here, not by the device, so it must be there.
fn open(
    app: &App,
    model: &ModelCode,
    name: &str,
    what: What,
    is_meant: bool,
) -> Result<Option<Opened>> {
    let firmware = &app.store.firmware;
    let opened = match what {
        What::Image => firmware.image(model, name),
        What::Bundle => firmware.bundle(model, name),
    };
    let trouble = match &opened {
        Ok(Some(stored)) => stored.trouble.clone(),
        Ok(None) => is_meant.then(|| String::from("it is not there")),
        Err(error) => Some(crate::journal::chain(error)),
    };
    if let Some(trouble) = trouble {
        app.metrics.unreadable_bundles.inc();
        Event::BundleUnreadable
            .entry()
            .model(model)
            .version(&name)
            .say(format_args!(
                "firmware {name} of {model} cannot be read: {trouble}; upload it again"
            ));
    }
    Ok(opened?.map(|stored| Opened {
        image: match what {
            What::Image => app.images.share(stored.sha256, &stored.file, stored.size),
            What::Bundle => None,
        },
        stored,
    }))
}

/// Answers with a stored file: whole, in part, or not at all. `done` is told
/// how the delivery ended.
///
/// # Errors
/// None of its own; header values are all made here.
pub(super) fn answer(
    parts: &Parts,
    stored: Stored,
    image: Option<Arc<Vec<u8>>>,
    kind: &'static str,
    file_name: &str,
    done: impl FnOnce(Answer, Delivery) + Send + 'static,
) -> Result<Response> {
    let etag = format!("\"{}\"", stored.sha256.short(32));
    let decision = conditional::decide(&parts.method, &parts.headers, stored.size, &etag);
    let slice = decision.slice(stored.size);
    let mut headers = HeaderMap::new();
    let mut set = |name, value: String| -> Result<()> {
        let value = HeaderValue::try_from(value).map_err(|error| Error::internal(&error))?;
        headers.insert(name, value);
        Ok(())
    };
    set(ETAG, etag)?;
    set(ACCEPT_RANGES, String::from("bytes"))?;
    set(CACHE_CONTROL, String::from("no-cache"))?;
    if let Some(range) = decision.content_range(stored.size) {
        set(CONTENT_RANGE, range)?;
    }
    if let Some((_, length)) = slice {
        set(CONTENT_TYPE, kind.to_owned())?;
        set(
            CONTENT_DISPOSITION,
            format!("attachment; filename={file_name}"),
        )?;
        set(CONTENT_LENGTH, length.to_string())?;
    } else if decision == Answer::Unsatisfiable {
        set(CONTENT_LENGTH, String::from("0"))?;
    }
    let body = match slice {
        Some((start, length)) if parts.method == Method::GET => {
            let done = move |outcome| done(decision, outcome);
            match image.and_then(|image| part_of(image, start, length)) {
                Some(part) => from_memory(part, done),
                None => from_file(stored.file, start, length, done),
            }
        }
        _ => {
            if decision == Answer::NotModified {
                done(decision, Delivery::Complete { sent: 0 });
            }
            Body::empty()
        }
    };
    Ok((decision.status(), headers, body).into_response())
}

/// Part of an image that stays in memory as long as the part does.
fn part_of(image: Arc<Vec<u8>>, start: u64, length: u64) -> Option<Bytes> {
    struct Shared(Arc<Vec<u8>>);
    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let (start, end) = (
        usize::try_from(start).ok()?,
        usize::try_from(start.checked_add(length)?).ok()?,
    );
    let whole = Bytes::from_owner(Shared(image));
    (end <= whole.len()).then(|| whole.slice(start..end))
}

/// Says how a download ended.
struct Report {
    app: Arc<App>,
    device: DeviceCaller,
    model: ModelCode,
    name: String,
}

impl Report {
    fn say(self, answer: Answer, outcome: Delivery) {
        let metrics = &self.app.metrics;
        if answer == Answer::NotModified {
            metrics.download("not-modified", 0);
            return;
        }
        match outcome {
            Delivery::Complete { sent } => metrics.download("complete", sent),
            // Devices hang up when they see that they run this version.
            Delivery::BrokenOff { sent } => return metrics.download("broken-off", sent),
        }
        if answer != Answer::Full {
            return;
        }
        let (key, name) = (&self.device.key, &self.name);
        Event::FirmwareServed
            .entry()
            .device(key)
            .model(&self.model)
            .version(name)
            .say(format_args!(
                "served firmware {name} of {} to {key}",
                self.model
            ));
        let now = iso8601(Moment::now().wall);
        let (key, name) = (key.clone(), name.clone());
        self.app.store.registry.devices.note(move |devices| {
            let device = devices.ensure(&key, &now);
            device.last_seen = Some(now.clone());
            device.running = Some(Running {
                version: Some(name.clone()),
                app_elf_sha256: None,
                at: now.clone(),
                from: String::from("download"),
            });
        });
    }
}

/// `GET /api/iot/firmware-version`: what the device would be served.
///
/// # Errors
/// 401, 403.
pub async fn version(State(app): State<Arc<App>>, request: Request) -> Result<Json<Value>> {
    let (parts, _) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let device = device_caller::identify(&app, &parts, &query).await?;
    let chosen = device.model.as_ref().and_then(|model| {
        let registry = &app.store.registry;
        let devices = registry.devices.read();
        let models = registry.models.read();
        let chosen = build_for(
            models.models.get(model)?,
            devices.devices.get(&device.key),
            None,
        )?;
        Some(shown_version(chosen))
    });
    Ok(Json(json!({ "firmware_version": chosen })))
}

/// The version in a build's name, which may be `<version>~<hash8>`.
pub(super) fn shown_version(name: &str) -> String {
    name.split('~').next().unwrap_or(name).to_owned()
}

/// `GET /api/iot/config`: a file for the device, else for its model.
///
/// # Errors
/// 401, 403, 404.
pub async fn config(State(app): State<Arc<App>>, request: Request) -> Result<Response> {
    let (parts, _) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let device = device_caller::identify(&app, &parts, &query).await?;
    let folder = app.store.data_dir.device_config();
    let names = [
        Some(device.key.to_string()),
        device.model.as_ref().map(ToString::to_string),
    ];
    let read = tokio::task::spawn_blocking(move || {
        for name in names.into_iter().flatten() {
            match fs::read(folder.join(format!("{name}.json"))) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other.map(Some),
            }
        }
        Ok(None)
    });
    let found = read.await?.map_err(|error| Error::internal(&error))?;
    let Some(bytes) = found else {
        if app.first_missing_config(&device.key) {
            Event::DeviceConfigMissing
                .entry()
                .device(&device.key)
                .say(format_args!(
                    "device {} asked for its configuration; there is neither config/{}.json nor \
                     one for its model",
                    device.key, device.key
                ));
        }
        return Err(Error::NoSuchRoute);
    };
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-cache"),
    ];
    Ok((StatusCode::OK, headers, bytes).into_response())
}
