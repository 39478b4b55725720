//! Which build a device is served: a decision, without any I/O.

use crate::store::registry::{Device, Model};

/// The name of the build for a device, `None` for "nothing": not held, not
/// blocked, the device's pinned one before the model's active one. `wanted` is
/// a version that the device asked for itself.
pub(super) fn build_for<'a>(
    model: &'a Model,
    device: Option<&'a Device>,
    wanted: Option<&'a str>,
) -> Option<&'a str> {
    let pin = device.and_then(|device| device.pin.as_deref());
    let chosen = wanted.or(pin).or(model.active.as_deref())?;
    // A person who pins a device of a held model means it.
    let is_held = model.held && pin != Some(chosen);
    (!model.is_blocked(chosen) && !is_held).then_some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_go_before_active_and_holds_and_blocks_before_both() {
        let model = |held: bool, blocked: &str| Model {
            active: Some(String::from("2")),
            held,
            blocked: vec![blocked.to_owned()],
            ..Model::default()
        };
        let pinned = Device {
            pin: Some(String::from("1")),
            ..Device::default()
        };
        for (model, device, wanted, expected) in [
            (model(false, ""), None, None, Some("2")),
            (model(false, ""), Some(&pinned), None, Some("1")),
            (model(false, ""), Some(&pinned), Some("3"), Some("3")),
            (model(true, ""), None, None, None),
            (model(true, ""), Some(&pinned), None, Some("1")),
            (model(true, ""), None, Some("2"), None),
            (model(false, "2"), None, None, None),
            (model(false, "1"), Some(&pinned), None, None),
            (Model::default(), None, None, None),
        ] {
            assert_eq!(
                build_for(&model, device, wanted),
                expected,
                "{model:?} {device:?}"
            );
        }
    }
}
