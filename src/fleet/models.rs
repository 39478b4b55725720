//! Models: add, change, hold.

use super::{Condition, Result};
use crate::api::models::Change;
use crate::clock::{Moment, iso8601};
use crate::device::ModelCode;
use crate::identity::Caller;
use crate::journal::Event;
use crate::store::registry::{Activate, Model, Models, Registry};

/// Adds or changes a model; it as it is then.
///
/// # Errors
/// [`super::Error::Missing`], [`super::Error::Conflict`], [`super::Error::Store`].
pub fn put(
    registry: &Registry,
    code: &ModelCode,
    change: &Change,
    condition: Condition,
    actor: &Caller,
) -> Result<Model> {
    let now = iso8601(Moment::now().wall);
    let (model, is_new) = registry
        .models
        .change(|models| apply(models, code, change, condition, &now))??;
    let done = if is_new { "added" } else { "changed" };
    let held = if model.held { ", held" } else { "" };
    Event::ModelChanged
        .entry()
        .model(code)
        .actor(actor)
        .say(format_args!(
            "{actor} {done} model {code}: uploads become active {}{held}",
            match model.activate {
                Activate::OnUpload => "at once",
                Activate::Rollout => "by a rollout",
                Activate::Manual => "by hand",
            }
        ));
    Ok(model)
}

fn apply(
    models: &mut Models,
    code: &ModelCode,
    change: &Change,
    condition: Condition,
    now: &str,
) -> Result<(Model, bool)> {
    let is_known = models.models.contains_key(code);
    condition.check(is_known, || format!("DeviceModel {code}"))?;
    let model = models.ensure(code, now);
    model.activate = change.activate.unwrap_or(model.activate);
    if let Some(held) = change.held {
        model.held = held;
        model.held_why = None;
    }
    Ok((model.clone(), !is_known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Error;

    #[test]
    fn what_a_change_does_not_say_stays() {
        let mut models = Models::default();
        let code: ModelCode = "lamp".parse().unwrap();
        let mut put = |text: &str, condition| {
            let change: Change = serde_json::from_str(text).unwrap();
            let (model, is_new) = apply(&mut models, &code, &change, condition, "t")?;
            Ok::<_, Error>((model.activate, model.held, is_new))
        };
        let missing = put("{}", Condition::Change);
        assert!(matches!(missing, Err(Error::Missing(_))));
        for (text, condition, expected) in [
            ("{}", Condition::Create, (Activate::OnUpload, false, true)),
            (
                r#"{"activate":"manual"}"#,
                Condition::Change,
                (Activate::Manual, false, false),
            ),
            (
                r#"{"activate":"rollout"}"#,
                Condition::Change,
                (Activate::Rollout, false, false),
            ),
            (
                r#"{"activate":"manual"}"#,
                Condition::Change,
                (Activate::Manual, false, false),
            ),
            (
                r#"{"held":true}"#,
                Condition::Any,
                (Activate::Manual, true, false),
            ),
        ] {
            assert_eq!(put(text, condition).unwrap(), expected, "{text}");
        }
        let exists = put("{}", Condition::Create);
        assert!(matches!(exists, Err(Error::Conflict(_))));
    }
}
