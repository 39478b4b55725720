//! Models: what their devices are served.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::BuildRef;
use crate::build_id::BuildId;
use crate::device::ModelCode;

/// When an upload becomes active.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activate {
    #[default]
    OnUpload,
    /// An upload starts a rollout.
    Rollout,
    Manual,
}

/// A build that is never served.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Block {
    pub build: BuildRef,
    /// Its version: other builds of it are not activated by their upload.
    pub version: String,
    /// As the person who blocked it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One product line.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Model {
    /// The model's number; never changes.
    pub id: u64,
    pub activate: Activate,
    /// Whether the model is held: nothing new is served.
    pub held: bool,
    /// Why the gateway itself holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_why: Option<String>,
    /// The active build.
    pub active: Option<BuildRef>,
    /// What was active before, newest last; at most [`MAX_HISTORY`].
    pub previous: Vec<BuildRef>,
    pub blocked: Vec<Block>,
    pub created_at: String,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Former active builds that are remembered.
pub const MAX_HISTORY: usize = 20;

impl Model {
    /// The active build; `None` also for a name that stands for no build.
    pub fn active_id(&self) -> Option<BuildId> {
        self.active.as_ref()?.id()
    }

    /// Whether this build is never served.
    pub fn is_blocked(&self, build: BuildId) -> bool {
        let is_it = |block: &Block| block.build.id() == Some(build);
        self.blocked.iter().any(is_it)
    }

    /// The block of a build.
    pub fn block_of(&self, build: BuildId) -> Option<&Block> {
        let is_it = |block: &&Block| block.build.id() == Some(build);
        self.blocked.iter().find(is_it)
    }

    /// Notes who blocked a build, when and why; a reason that is known stays unless there
    /// is a new one.
    pub fn explain_block(&mut self, build: BuildId, by: &str, at: &str, why: Option<&str>) {
        let mut blocked = self.blocked.iter_mut();
        let block = blocked.find(|block| block.build.id() == Some(build));
        if let Some(block) = block.filter(|block| block.by.is_none() || why.is_some()) {
            block.by = Some(by.to_owned());
            block.at = Some(at.to_owned());
            block.why = why.map(str::to_owned);
        }
    }

    /// Whether a build of this version is blocked.
    pub fn blocks_version(&self, version: &str) -> bool {
        self.blocked.iter().any(|block| block.version == version)
    }

    /// Makes `build` the active one.
    pub fn set_active(&mut self, build: BuildId) {
        let before = self.active.replace(build.into());
        if let Some(before) = before.filter(|before| before.id() != Some(build)) {
            self.previous.push(before);
            let surplus = self.previous.len().saturating_sub(MAX_HISTORY);
            self.previous.drain(..surplus);
        }
    }

    /// Blocks or unblocks `build`.
    pub fn set_blocked(&mut self, build: BuildId, version: &str, blocked: bool) {
        if blocked == self.is_blocked(build) {
            return;
        }
        self.blocked.retain(|block| block.build.id() != Some(build));
        if blocked {
            self.blocked.push(Block {
                build: build.into(),
                version: version.to_owned(),
                why: None,
                by: None,
                at: None,
                extra: Map::new(),
            });
        }
    }
}

/// Release 0.1 wrote the build's name alone.
impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Name(BuildRef),
            Block {
                build: BuildRef,
                version: String,
                why: Option<String>,
                by: Option<String>,
                at: Option<String>,
                #[serde(flatten)]
                extra: Map<String, Value>,
            },
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Name(build) => {
                let version = match &build {
                    BuildRef::Name(name) => name.split('~').next().unwrap_or(name).to_owned(),
                    BuildRef::Id(_) => String::new(),
                };
                Self {
                    build,
                    version,
                    why: None,
                    by: None,
                    at: None,
                    extra: Map::new(),
                }
            }
            Written::Block {
                build,
                version,
                why,
                by,
                at,
                extra,
            } => Self {
                build,
                version,
                why,
                by,
                at,
                extra,
            },
        })
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
    use crate::digest::Sha256;

    fn build(number: u8) -> BuildId {
        Sha256::of(&[number]).into()
    }

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
        for number in [1, 2, 2, 3] {
            model.set_active(build(number));
        }
        assert_eq!(model.active_id(), Some(build(3)));
        assert_eq!(model.previous, [build(1).into(), build(2).into()]);
    }

    #[test]
    fn a_block_is_of_a_build_and_known_by_its_version() {
        let mut model = Model::default();
        model.set_blocked(build(1), "1.2", true);
        model.set_blocked(build(1), "1.2", true);
        assert_eq!(model.blocked.len(), 1);
        assert!(model.is_blocked(build(1)) && !model.is_blocked(build(2)));
        assert!(model.blocks_version("1.2"));
        let written = serde_json::to_string(&model).unwrap();
        assert_eq!(serde_json::from_str::<Model>(&written).unwrap(), model);
        model.set_blocked(build(1), "1.2", false);
        assert_eq!(model.blocked, []);
    }

    #[test]
    fn blocks_of_an_older_release_are_read() {
        let model: Model = serde_json::from_str(r#"{"blocked":["1.2~0a1b2c3d"]}"#).unwrap();
        assert!(model.blocks_version("1.2"));
        let name = String::from("1.2~0a1b2c3d");
        assert_eq!(model.blocked[0].build, BuildRef::Name(name));
    }
}
