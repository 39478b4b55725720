//! Requests that were not done.

use serde::{Deserialize, Serialize};

/// The body of a request that was not done. With status 401 it is `error` alone,
/// unless a device of an open gateway did not say who it is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct ErrorBody {
    /// What is wrong, in a sentence.
    pub error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// What kind of trouble it is, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// By which the journal's entry is found: `journalctl CORRELATION_ID=..`.
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

/// More about a request that was not done.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Details {
    /// The same for all requests with this code.
    pub message: String,
}
