//! Resolves what people type to a build, and names builds.

use super::{Error, Result};
use crate::build_id::BuildId;
use crate::device::ModelCode;
use crate::store::Store;
use crate::store::firmware::Build;
use crate::store::registry::BuildRef;

/// The registered model with this code.
///
/// # Errors
/// [`Error::NoModel`].
pub fn known_model(store: &Store, code: &str) -> Result<ModelCode> {
    let missing = || Error::NoModel(code.to_owned());
    let model: ModelCode = code.parse().map_err(|_| missing())?;
    let known = store.registry.models.read().models.contains_key(&model);
    known.then_some(model).ok_or_else(missing)
}

/// The build that a text selects: an exact version (its newest upload),
/// `<version>~<hash8>`, or 8 and more digits of the id.
///
/// # Errors
/// [`Error::NoBuild`], [`Error::Ambiguous`] with all that the digits fit, [`Error::Store`].
pub fn build_named(store: &Store, model: &ModelCode, name: &str) -> Result<Build> {
    let (model, name) = (model.clone(), name.to_owned());
    let mut found = store.firmware.named(&model, &name)?;
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(Error::NoBuild { model, name }),
        (Some(build), true) => Ok(build),
        (Some(last), false) => {
            let all = found.iter().chain([&last]);
            let builds = all.map(|build| format!("{} ({})", build.name, build.id()));
            let builds = builds.collect();
            Err(Error::Ambiguous {
                model,
                name,
                builds,
            })
        }
    }
}

/// What screens call a build of a register: its name, or, if nothing is known of it any more,
/// the first digits of its id.
pub fn shown_name(store: &Store, model: &ModelCode, build: &BuildRef) -> String {
    match build {
        BuildRef::Name(name) => name.clone(),
        BuildRef::Id(id) => name_of(store, model, *id),
    }
}

pub(super) fn name_of(store: &Store, model: &ModelCode, id: BuildId) -> String {
    let build = store.firmware.description(model, id);
    // a folder that cannot be read is told where the build is needed
    let name = build.ok().flatten().map(|build| build.name);
    name.unwrap_or_else(|| id.short())
}
