//! Failed requests.

use serde::{Deserialize, Serialize};

/// The body of a failed request. With status 401 only `error` is present, except
/// for a device in open mode without `device_key`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct ErrorBody {
    /// Error message.
    pub error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// Error code for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Id of the journal entry: `journalctl CORRELATION_ID=..`.
    #[serde(rename = "correlationId", skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

impl ErrorBody {
    /// A whole one.
    pub fn new(error: String, generic: &str, code: &str, correlation_id: String) -> Self {
        Self {
            error,
            details: Some(Details {
                message: generic.to_owned(),
                advice: None,
            }),
            code: Some(code.to_owned()),
            correlation_id: Some(correlation_id),
        }
    }

    /// One that says what is wrong and no more.
    pub fn bare(error: String) -> Self {
        Self {
            error,
            ..Self::default()
        }
    }
}

/// More about a failed request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Details {
    /// The same text for all errors with this code.
    pub message: String,
    /// What to do about it, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}
