//! Models: product lines.

use serde::{Deserialize, Serialize};

use super::OpenEnum;
use crate::device::ModelCode;
use crate::store::registry::{self, Activate, BuildRef};

/// All models.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct List {
    pub models: Vec<Model>,
    /// Always `null`: all are listed.
    pub next_cursor: Option<String>,
}

/// A product line and what its devices are served.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Model {
    pub code: String,
    /// Its number, for life.
    pub id: u64,
    /// When an upload becomes active.
    pub activate: OpenEnum<Activate>,
    /// Whether its devices get nothing new.
    pub held: bool,
    /// The name of the build that its devices get.
    pub active: Option<String>,
    /// The same build by its id; `null` also if it is not stored.
    pub active_build_id: Option<String>,
    /// `served`; or why they get nothing: `blocked` and `missing` are of the
    /// active build and its file, `held`, `nothing`: no build is active.
    pub state: String,
    /// The names of what was active before, the last one last.
    pub previous: Vec<String>,
    /// The names of the builds that no device gets.
    pub blocked: Vec<String>,
    pub created_at: String,
    /// How many devices are of this model.
    pub devices: u64,
}

impl Model {
    /// A model of the register as answers show it, with the names of its builds.
    pub fn of(
        code: &ModelCode,
        model: &registry::Model,
        state: &str,
        devices: u64,
        name: impl Fn(&BuildRef) -> String,
    ) -> Self {
        Self {
            code: code.to_string(),
            id: model.id,
            activate: model.activate.into(),
            held: model.held,
            active: model.active.as_ref().map(&name),
            active_build_id: model.active_id().map(|id| id.to_string()),
            state: state.to_owned(),
            previous: model.previous.iter().map(&name).collect(),
            blocked: model
                .blocked
                .iter()
                .map(|block| name(&block.build))
                .collect(),
            created_at: model.created_at.clone(),
            devices,
        }
    }
}

/// What is to be so from now on; what is absent stays as it is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activate: Option<Activate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
}
