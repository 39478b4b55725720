//! Crashes that leave no dump: resets that a device reports.

use super::{Crashes, Decoded, Occurrence};
use crate::clock::Moment;
use crate::device::{DeviceKey, ModelCode};
use crate::store::crashes::At;
use crate::store::registry::Device;

/// The class of such crashes, without its reason.
const NO_DUMP: &str = "no_dump";

/// What stands for the fingerprint: one for each reason, model and build, so that very
/// many of them are one group.
fn name_of_reset(model: &str, build: &str, reason: &str) -> String {
    format!("{NO_DUMP}:{model}:{build}:{reason}")
}

/// Class and title of a group of such crashes, from what stands for its fingerprint.
pub(super) fn class_of(name: &str) -> Option<String> {
    let rest = name.strip_prefix(NO_DUMP)?.strip_prefix(':')?;
    let reason = rest.rsplit(':').next()?;
    Some(format!("{NO_DUMP} {reason}"))
}

impl Crashes {
    /// Counts a reset of a device for a reason that leaves no dump. Such counts are in the
    /// groups' files alone. Blocks.
    pub fn count_reset(&self, key: &DeviceKey, device: &Device, reason: &str) {
        let running = device.running.as_ref();
        let build_id = running.and_then(|running| running.build_id);
        let version = running.and_then(|running| running.version.clone());
        let app_elf = running.and_then(|running| running.app_elf_sha256.clone());
        let stored = build_id.zip(device.model.as_ref());
        // a folder that cannot be read is told where a build is needed
        let stored = stored.and_then(|(id, model)| self.store.firmware.get(model, id).ok()?);
        let app_elf = stored
            .and_then(|build| Some(build.app_elf_sha256?.to_string()))
            .or(app_elf);
        let model = device.model.as_ref().map_or("-", ModelCode::as_str);
        let build = app_elf.as_deref().or(version.as_deref()).unwrap_or("-");
        let crash = Occurrence {
            fingerprint: name_of_reset(model, build, reason),
            algorithm: None,
            device: key.to_string(),
            model: device.model.as_ref().map(ToString::to_string),
            app_elf_sha256: app_elf,
            version,
            panic_reason: Some(reason.to_owned()),
            task: None,
            at: At::of(Moment::now().wall),
            during_outage: false,
        };
        self.count(&crash);
        // there is nothing more to be known of it
        self.decoded(
            &crash,
            Decoded {
                builds: build_id.iter().map(ToString::to_string).collect(),
                ..Decoded::default()
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_follows_from_what_stands_for_the_fingerprint() {
        let name = name_of_reset("lamp", "1.0", "brownout");
        assert_eq!(class_of(&name).as_deref(), Some("no_dump brownout"));
        assert_eq!(class_of("0123456789abcdef"), None);
    }
}
