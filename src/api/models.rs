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
    /// Always `null`: the list is complete.
    pub next_cursor: Option<String>,
}

/// A product line and its active build.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Model {
    pub code: String,
    /// Its number; never changes.
    pub id: u64,
    /// When an upload becomes active.
    pub activate: OpenEnum<Activate>,
    /// Whether the model is held: nothing new is served.
    pub held: bool,
    /// Why the gateway itself holds it; `null` if a person does.
    pub held_why: Option<String>,
    /// Name of the active build.
    pub active: Option<String>,
    /// Id of that build; `null` if it is not stored.
    pub active_build_id: Option<String>,
    /// `served`, or why nothing is served: `blocked` (the active build), `missing`
    /// (its file), `held` (the model), `nothing` (no active build).
    pub state: String,
    /// Names of previously active builds, latest last.
    pub previous: Vec<String>,
    /// Names of blocked builds.
    pub blocked: Vec<String>,
    pub created_at: String,
    /// Number of devices of this model.
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
            held_why: model.held_why.clone(),
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

/// Changes; an absent field is left unchanged.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activate: Option<Activate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
}
