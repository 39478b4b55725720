//! The first start with restored data: what happened at the site since the backup is not
//! known, so nothing is given to devices before a person looked.

use std::convert::Infallible;

use crate::http::app_state::AppState;
use crate::journal::Event;
use crate::store::Result;
use crate::store::restored::Restored;

/// Holds all models and pauses all rollouts if the data was restored.
///
/// # Errors
/// What the disk says.
pub(super) fn wait_for_a_person(app: &AppState) -> Result<()> {
    let store = &app.store;
    let Some(restored) = Restored::read(&store.data_dir.state()) else {
        return Ok(());
    };
    let made_at = restored.made_at.get(..16).unwrap_or(&restored.made_at);
    let why = format!(
        "restored from a backup of {} UTC",
        made_at.replace('T', " ")
    );
    let held = store.registry.models.change(|models| {
        let serving = models.models.iter_mut();
        let serving = serving.filter(|(_, model)| model.active.is_some() && !model.held);
        let held = serving.map(|(code, model)| {
            model.held = true;
            model.held_why = Some(why.clone());
            code.to_string()
        });
        Ok::<_, Infallible>(held.collect::<Vec<_>>())
    })?;
    let held = held.unwrap_or_else(|never| match never {});
    if !held.is_empty() {
        Event::ModelChanged
            .entry()
            .at(log::Level::Warn)
            .say(format_args!(
                "held after a restore: {}: their devices get nothing until \"espgate models \
                 unhold MODEL\" (data {why})",
                held.join(", ")
            ));
    }
    app.rollouts.pause_all(&why);
    Ok(())
}
