//! How one route is described.

use http::Method;
use serde::Serialize;
use serde_json::Value;

/// One route.
pub(crate) struct Entry {
    /// Method and path.
    pub(crate) route: &'static str,
    pub(crate) does: &'static str,
    pub(crate) query: &'static [(&'static str, &'static str)],
    pub(crate) takes: Body,
    pub(crate) status: u16,
    pub(crate) answers: Body,
    /// Beside those of any route.
    pub(crate) errors: &'static [(u16, &'static str)],
}

/// What a request or an answer carries.
pub(crate) enum Body {
    Nothing,
    /// Something that is no JSON of ours.
    Words(&'static str),
    /// A type by its name, and an example of it.
    Json(&'static str, Value),
}

impl Entry {
    pub(crate) fn new(route: &'static str, does: &'static str) -> Self {
        Self {
            route,
            does,
            query: &[],
            takes: Body::Nothing,
            status: 200,
            answers: Body::Nothing,
            errors: &[],
        }
    }

    pub(crate) fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    pub(crate) fn takes<T: Serialize>(mut self, name: &'static str, example: T) -> Self {
        self.takes = Body::Json(name, json(example));
        self
    }

    pub(crate) fn takes_words(mut self, what: &'static str) -> Self {
        self.takes = Body::Words(what);
        self
    }

    pub(crate) fn answers<T: Serialize>(mut self, name: &'static str, example: T) -> Self {
        self.answers = Body::Json(name, json(example));
        self
    }

    pub(crate) fn answers_words(mut self, what: &'static str) -> Self {
        self.answers = Body::Words(what);
        self
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn errors(mut self, errors: &'static [(u16, &'static str)]) -> Self {
        self.errors = errors;
        self
    }

    /// Whether this is about that route.
    pub(crate) fn is(&self, method: &Method, path: &str) -> bool {
        self.route.split_once(' ') == Some((method.as_str(), path))
    }
}

/// None of the examples can fail to be JSON.
fn json(example: impl Serialize) -> Value {
    serde_json::to_value(example).unwrap_or_default()
}
