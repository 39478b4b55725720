//! Errors as HTTP status and error body.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use uuid::Uuid;

use super::server::{Incomplete, Unread};
use crate::api::errors::ErrorBody;
use crate::bundle::Refusal;
use crate::device::DeviceKey;
use crate::firmware;
use crate::fleet;
use crate::identity::{AuthError, Denied};
use crate::journal::{Event, chain};
use crate::store;

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// A file that is no firmware of this model, and what to do about it.
    #[error("{message}")]
    InvalidFile {
        message: String,
        advice: Option<String>,
    },
    /// No token, or an invalid one.
    #[error("{0}")]
    Unauthenticated(String),
    /// Open mode without `device_key`.
    #[error("Device authentication required")]
    DeviceUnknown,
    /// The caller lacks the role.
    #[error("{0}")]
    Forbidden(String),
    #[error("{0} was not found")]
    NotFound(String),
    #[error("Resource not found")]
    NoSuchRoute,
    #[error("Method not allowed")]
    MethodNotAllowed,
    /// It exists already, or conflicts with something.
    #[error("{0}")]
    Conflict(String),
    /// Body too large.
    #[error("{0}")]
    TooLarge(String),
    /// The body timed out.
    #[error("Request body timed out")]
    TooSlow,
    /// No memory for the body became free in time.
    #[error("Timed out waiting for memory for the request body")]
    NoMemory,
    /// The client disconnected; the response is not read.
    #[error("Client closed the connection")]
    ClientGone,
    #[error("Gateway is stopping")]
    Stopping,
    #[error("No space left on the gateway's disk")]
    NoRoom,
    #[error("The gateway's disk is read-only")]
    ReadOnlyDisk,
    /// A device's dump that could not be stored: the device gets the cause, the journal
    /// also the device.
    #[error("{cause}")]
    Lost { device: DeviceKey, cause: Box<Self> },
    /// An internal error; the cause goes to the journal.
    #[error("Internal error")]
    Internal(String),
}

/// Result of a handler.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An internal error, with its causes for the journal.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        Self::Internal(chain(error))
    }

    /// Status, code and the generic text of the answer.
    pub(super) fn status(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Invalid(_) | Self::InvalidFile { .. } => (
                StatusCode::BAD_REQUEST,
                "VALIDATION_FAILED",
                "Invalid request",
            ),
            Self::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "", ""),
            Self::DeviceUnknown => (
                StatusCode::UNAUTHORIZED,
                "AUTHENTICATION_REQUIRED",
                "Authentication is required",
            ),
            Self::Forbidden(_) => (
                StatusCode::FORBIDDEN,
                "AUTHORIZATION_FAILED",
                "Permission denied",
            ),
            Self::NotFound(_) | Self::NoSuchRoute => {
                (StatusCode::NOT_FOUND, "RECORD_NOT_FOUND", "Not found")
            }
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                "Method not allowed for this path",
            ),
            Self::Conflict(_) => (
                StatusCode::CONFLICT,
                "CONFLICT",
                "Request conflicts with the current state",
            ),
            Self::TooLarge(_) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "VALIDATION_FAILED",
                "Invalid request",
            ),
            Self::TooSlow | Self::NoMemory | Self::ClientGone => (
                StatusCode::REQUEST_TIMEOUT,
                "REQUEST_TIMEOUT",
                "Request timed out",
            ),
            Self::Stopping => (
                StatusCode::SERVICE_UNAVAILABLE,
                "SERVICE_UNAVAILABLE",
                "Service unavailable, try again later",
            ),
            Self::NoRoom | Self::ReadOnlyDisk => (
                StatusCode::INSUFFICIENT_STORAGE,
                "INSUFFICIENT_STORAGE",
                "Insufficient storage",
            ),
            Self::Lost { cause, .. } => cause.status(),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "PROCESSING_ERROR",
                "Request failed",
            ),
        }
    }
}

impl From<AuthError> for Error {
    fn from(refused: AuthError) -> Self {
        Self::Unauthenticated(refused.to_string())
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Anonymous => Self::Unauthenticated(denied.to_string()),
            denied => Self::Forbidden(denied.to_string()),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match &error {
            store::Error::Full { .. } => Self::NoRoom,
            store::Error::ReadOnly { .. } => Self::ReadOnlyDisk,
            store::Error::Io { .. }
            | store::Error::Damaged { .. }
            | store::Error::Exists { .. }
            | store::Error::Locked { .. }
            | store::Error::NotWritable { .. }
            | store::Error::NewerFormat { .. }
            | store::Error::Format { .. }
            | store::Error::RestoreCutOff { .. } => Self::internal(&error),
        }
    }
}

impl From<fleet::Error> for Error {
    fn from(error: fleet::Error) -> Self {
        match error {
            fleet::Error::Invalid(why) => Self::Invalid(why),
            fleet::Error::Missing(what) => Self::NotFound(what),
            fleet::Error::Conflict(why) => Self::Conflict(why),
            fleet::Error::Random(_) => Self::internal(&error),
            fleet::Error::Store(error) => error.into(),
        }
    }
}

impl From<firmware::Error> for Error {
    fn from(error: firmware::Error) -> Self {
        match error {
            firmware::Error::NoModel(code) => Self::NotFound(format!("DeviceModel {code}")),
            firmware::Error::NoBuild { model, name } => {
                Self::NotFound(format!("Firmware {name} of {model}"))
            }
            firmware::Error::Refused(Refusal::Io(cause)) => Self::internal(&cause),
            firmware::Error::Refused(refusal) => Self::InvalidFile {
                message: refusal.to_string(),
                advice: refusal.advice(),
            },
            firmware::Error::Ambiguous { .. } => Self::Invalid(error.to_string()),
            firmware::Error::Blocked { .. }
            | firmware::Error::InUse { .. }
            | firmware::Error::Rollout { .. }
            | firmware::Error::Pinned { .. }
            | firmware::Error::NothingBefore(_) => Self::Conflict(error.to_string()),
            firmware::Error::Store(error) => error.into(),
        }
    }
}

impl From<Incomplete> for Error {
    fn from(incomplete: Incomplete) -> Self {
        incomplete.why.into()
    }
}

impl From<Unread> for Error {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Self::TooLarge(unread.to_string()),
            Unread::TooSlow => Self::TooSlow,
            Unread::ClientGone => Self::ClientGone,
            Unread::Malformed => Self::Invalid(unread.to_string()),
        }
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::internal(&error)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, code, generic) = self.status();
        let message = self.to_string();
        let correlation = Uuid::new_v4().to_string();
        let (device, cause) = match &self {
            Self::Lost { device, cause } => (Some(device), &**cause),
            other => (None, other),
        };
        let what = match device {
            Some(device) => format!("coredump from {device} lost"),
            None => String::from("request failed"),
        };
        match cause {
            Self::Internal(cause) => Event::RequestFailed
                .entry()
                .maybe("DEVICE_KEY", device)
                .correlation(&correlation)
                .say(format_args!("{what} ({correlation}): {cause}")),
            Self::NoRoom => Event::DiskFull
                .entry()
                .maybe("DEVICE_KEY", device)
                .correlation(&correlation)
                .say(format_args!(
                    "{what} ({correlation}): no space left on the disk"
                )),
            Self::ReadOnlyDisk => Event::DiskReadOnly
                .entry()
                .maybe("DEVICE_KEY", device)
                .correlation(&correlation)
                .say(format_args!(
                    "{what} ({correlation}): the disk is read-only: see `journalctl -k`"
                )),
            _ => log::debug!("answered {status}: {message}"),
        }
        let mut body = match &self {
            Self::Unauthenticated(_) => ErrorBody::bare(message),
            _ => ErrorBody::new(message, generic, code, correlation),
        };
        if let (Self::InvalidFile { advice, .. }, Some(details)) = (&self, &mut body.details) {
            details.advice.clone_from(advice);
        }
        let mut response = (status, Json(body)).into_response();
        if matches!(self, Self::Unauthenticated(_)) {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
