//! Models: what their devices are served.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::device::ModelCode;

/// When a new upload becomes active.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activate {
    #[default]
    OnUpload,
    Manual,
}

/// One product line.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Model {
    /// The model's number, for life.
    pub id: u64,
    pub activate: Activate,
    /// Whether new firmware is withheld from devices.
    pub held: bool,
    /// The version (or `version~hash8`) that devices are served.
    pub active: Option<String>,
    /// What was active before, newest last; at most [`MAX_HISTORY`].
    pub previous: Vec<String>,
    /// Versions that are never served.
    pub blocked: Vec<String>,
    pub created_at: String,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Former active versions that are remembered.
pub const MAX_HISTORY: usize = 20;

impl Model {
    /// Whether this build is never served.
    pub fn is_blocked(&self, name: &str) -> bool {
        self.blocked.iter().any(|blocked| blocked == name)
    }

    /// Makes `version` the active one.
    pub fn set_active(&mut self, version: &str) {
        let before = self.active.replace(version.to_owned());
        if let Some(before) = before.filter(|before| before != version) {
            self.previous.push(before);
            let surplus = self.previous.len().saturating_sub(MAX_HISTORY);
            self.previous.drain(..surplus);
        }
    }
}

/// `models.json`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Models {
    pub schema: u32,
    /// The number the last new model got.
    pub last_id: u64,
    pub models: BTreeMap<ModelCode, Model>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Models {
    /// The model with this code, made if it is new.
    pub fn ensure(&mut self, code: &ModelCode, now: &str) -> &mut Model {
        self.schema = 1;
        let last_id = &mut self.last_id;
        self.models.entry(code.clone()).or_insert_with(|| {
            *last_id += 1;
            Model {
                id: *last_id,
                created_at: now.to_owned(),
                ..Model::default()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_number_is_its_own_for_life() {
        let mut models = Models::default();
        let (a, b): (ModelCode, ModelCode) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert_eq!(models.ensure(&a, "t").id, 1);
        assert_eq!(models.ensure(&b, "t").id, 2);
        assert_eq!(models.ensure(&a, "u").id, 1);
        models.models.remove(&b);
        assert_eq!(models.ensure(&b, "t").id, 3);
    }

    #[test]
    fn activation_remembers_what_was_active() {
        let mut model = Model::default();
        for version in ["1", "2", "2", "3"] {
            model.set_active(version);
        }
        assert_eq!(model.active.as_deref(), Some("3"));
        assert_eq!(model.previous, ["1", "2"]);
    }
}
