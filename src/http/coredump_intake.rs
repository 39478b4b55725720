//! `POST /api/iot/coredump`: a device uploads its dump. Devices erase their copy
//! whatever the response, so everything that can be stored is stored.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use http_body::Body as _;
use serde_json::{Map, Value};

use super::app_state::AppState;
use super::device_caller::{self, Sender};
use super::error::{Error, Result};
use super::query::Query;
use super::server::{Connection, Incomplete, Peer, Unread, read_limited};
use super::upload_limit::Slot;
use crate::api::coredumps::Stored;
use crate::clock::Moment;
use crate::crashes;
use crate::device::DeviceKey;
use crate::ingest::{Origin, Received};
use crate::journal::Event;
use crate::printable::escaped;
use crate::store::coredumps::{CLAIMED_KEY, Source};

/// How long an upload waits for memory. Devices give up after 15 s; until then,
/// and a little longer, waiting costs less than the dump, which a refusal would
/// lose and more memory than there is would not save.
const MEMORY_WAIT: Duration = Duration::from_secs(60);
/// Query parameters that are stored in the sidecar.
const REPORTED: [&str; 4] = ["reset_reason", "uptime_s", "boot_count", "mac"];

/// Handles the request: query, identity, body, in this order.
///
/// # Errors
/// As the contract says; the content of the dump is never a reason.
pub async fn receive(State(app): State<Arc<AppState>>, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let refused = |device: Option<&DeviceKey>, error| refuse(&app, &parts, device, error);
    let origin = origin(&app, &parts)
        .await
        .map_err(|error| refused(None, error))?;
    let device = origin.device.clone();
    let upload = app.rollouts.uploads().begin(&device);

    let limit = app.config().coredumps.max_upload_bytes;
    let announced = body.size_hint().exact();
    let expected = announced.map_or(limit, |bytes| {
        usize::try_from(bytes).unwrap_or(limit).min(limit)
    });
    let connection = parts.extensions.get::<Arc<Connection>>();
    let slot = app
        .uploads
        .take(&device, expected, MEMORY_WAIT, connection)
        .await;
    let slot = slot.ok_or_else(|| refused(Some(&device), Error::NoMemory))?;
    // hyper drops this handler when the connection breaks; a task of its own still stores
    // what was received
    let storing = store_body(Arc::clone(&app), body, announced, limit, origin, slot);
    let task = async move {
        let stored = storing.await;
        drop(upload);
        stored
    };
    let received = app.storing.spawn(task).await?;
    let received = received.map_err(|error| match error {
        Error::Invalid(_) => refused(Some(&device), error),
        // logged already
        error => error,
    })?;
    let answer = Stored {
        status: String::from("ok"),
        filename: received.filename,
        coredump_id: received.id,
        kept: (!received.kept).then_some(false),
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// Reads a body and stores it, or the part that was received.
async fn store_body(
    app: Arc<AppState>,
    body: Body,
    announced: Option<u64>,
    limit: usize,
    mut origin: Origin,
    slot: Slot,
) -> Result<Received> {
    let Incomplete { why, came } = match read_limited(body, limit).await {
        Ok(bytes) if bytes.is_empty() => {
            return Err(Error::Invalid(String::from("No coredump content provided")));
        }
        Ok(bytes) => return keep(&app, bytes, origin, slot).await,
        Err(incomplete) => incomplete,
    };
    let device = origin.device.clone();
    let count = came.len();
    let of = announced.map_or_else(String::new, |bytes| format!(" of {bytes}"));
    match why {
        Unread::TooLarge => origin.problems.push(String::from("oversize")),
        _ => origin
            .problems
            .push(format!("upload ended after {count}{of} bytes: {why}")),
    }
    let stored = match count {
        0 => None,
        _ => Some(keep(&app, came, origin, slot).await?),
    };
    if why == Unread::TooLarge {
        let limit = in_words(limit);
        let error = format!("Coredump exceeds maximum size of {limit}");
        return Err(Error::Invalid(error));
    }
    let kept = match &stored {
        Some(received) => format!("stored as coredump {}", received.id),
        None => String::from("nothing to store"),
    };
    Event::UploadBrokenOff
        .entry()
        .device(&device)
        .maybe("COREDUMP_ID", stored.as_ref().map(|stored| &stored.id))
        .say(format_args!(
            "upload from {device} ended after {count}{of} bytes: {why}; {kept}"
        ));
    Err(why.into())
}

/// The sender of a dump, and the values sent with it.
async fn origin(app: &Arc<AppState>, parts: &Parts) -> Result<Origin> {
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let required = |name: &str| {
        query
            .get(name)
            .map(Origin::bounded)
            .ok_or_else(|| Error::Invalid(format!("Missing required query parameter: {name}")))
    };
    let chip = required("chip")?;
    let firmware_version = required("firmware_version")?;
    let (device, claimed) = match device_caller::sender(app, parts, &query).await? {
        Sender::Device(device) => (device, None),
        Sender::DumpOnly {
            device, claimed, ..
        } => (device, Some(claimed)),
    };

    let mut origin = Origin::new(device.key, Source::Https, device.identity);
    let last_contact = device.last_contact.as_deref();
    let now = Moment::now().wall;
    origin.gateway_unreachable_s =
        crashes::unreachable_for(&app.facts().outages, last_contact, now);
    origin.model = device.model;
    origin.chip = Some(chip);
    origin.firmware_version = Some(firmware_version);
    origin.app_elf_sha256 = query.get("app_elf_sha256").and_then(hash_prefix);
    origin.reported = reported(&query);
    if let Some(claimed) = claimed {
        let claimed = Value::from(claimed.as_str());
        origin.reported.insert(CLAIMED_KEY.to_owned(), claimed);
    }
    Ok(origin)
}

/// Reports a refused upload: the device loses its dump. Internal errors are
/// reported where they become a response.
fn refuse(app: &AppState, parts: &Parts, device: Option<&DeviceKey>, error: Error) -> Error {
    let (status, ..) = error.status();
    if !status.is_client_error() {
        return error;
    }
    app.metrics.refused_upload(status.as_u16());
    let address = match parts.extensions.get::<Peer>() {
        Some(Peer::Network(address)) => address.ip().to_canonical().to_string(),
        _ => String::from("the control socket"),
    };
    let why = error.to_string();
    let why = escaped(&why);
    match device {
        Some(device) => Event::UploadRefused
            .entry()
            .device(device)
            .say(format_args!(
                "upload refused from {device} at {address}: {why}"
            )),
        None => Event::UploadRefused
            .entry()
            .about(&address)
            .say(format_args!("upload refused from {address}: {why}")),
    }
    error
}

/// Stores the dump in one blocking call, which a disconnecting client cannot interrupt.
/// The memory is released when it is done, not when the client disconnects.
async fn keep(app: &Arc<AppState>, bytes: Bytes, origin: Origin, slot: Slot) -> Result<Received> {
    let ingest = Arc::clone(&app.ingest);
    let device = origin.device.clone();
    let outcome = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        ingest.coredump(&bytes, origin)
    })
    .await;
    let kept = outcome.map_err(Error::from).and_then(|kept| Ok(kept?));
    kept.map_err(|cause| Error::Lost {
        device,
        cause: Box::new(cause),
    })
}

fn hash_prefix(text: &str) -> Option<String> {
    let fits = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then(|| text.to_ascii_lowercase())
}

fn reported(query: &Query) -> Map<String, Value> {
    REPORTED
        .iter()
        .filter_map(|name| {
            let value = query.get(name)?;
            let value = match value.parse::<u64>() {
                Ok(number) if *name != "mac" => Value::from(number),
                _ => Value::from(Origin::bounded(value)),
            };
            Some(((*name).to_owned(), value))
        })
        .collect()
}

/// A size for people: `1MB`, `512KB`, `1000 bytes`.
pub fn in_words(bytes: usize) -> String {
    const KIB: usize = 1024;
    const MIB: usize = 1024 * 1024;
    match bytes {
        _ if bytes > 0 && bytes.is_multiple_of(MIB) => format!("{}MB", bytes / MIB),
        _ if bytes > 0 && bytes.is_multiple_of(KIB) => format!("{}KB", bytes / KIB),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_said_in_words() {
        for (bytes, words) in [
            (1_048_576, "1MB"),
            (134_217_728, "128MB"),
            (1024, "1KB"),
            (1_000_000, "1000000 bytes"),
        ] {
            assert_eq!(in_words(bytes), words);
        }
    }

    #[test]
    fn what_devices_report_is_bounded_and_numbers_are_numbers() {
        let query = Query::parse(&format!(
            "uptime_s=12&boot_count=x&mac=112233445566&reset_reason={}&other=1",
            "r".repeat(1000)
        ));
        let reported = reported(&query);
        assert_eq!(reported["uptime_s"], 12);
        assert_eq!(reported["boot_count"], "x");
        assert_eq!(reported["mac"], "112233445566");
        assert_eq!(reported["reset_reason"].as_str().unwrap().len(), 128);
        assert_eq!(reported.len(), 4);
    }
}
