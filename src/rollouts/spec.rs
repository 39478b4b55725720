//! What a rollout is told: the settings of the configuration, and how durations are shown.

use crate::config;
use crate::store::rollouts::Spec;

impl From<&config::Rollouts> for Spec {
    fn from(settings: &config::Rollouts) -> Self {
        Self {
            waves: settings.waves.clone(),
            canary_soak: settings.canary_soak,
            soak: settings.soak,
            watch: settings.watch,
            return_within: settings.return_within,
            parallel: settings.parallel,
            window: settings.window,
            gate: settings.gate,
            confirmed: settings.confirmed,
            on_stop: settings.on_stop,
        }
    }
}

/// As [`config::duration`] reads it, in its two largest units.
pub fn shown(seconds: u64) -> String {
    let units = [(24 * 3600, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut text = String::new();
    let mut shown = 0;
    for (unit, name) in units {
        let count = rest / unit;
        rest %= unit;
        if count > 0 && shown < 2 {
            text.push_str(&format!("{count}{name}"));
            shown += 1;
        }
    }
    match text.is_empty() {
        true => String::from("0s"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_two_units() {
        let day = 24 * 3600;
        for (seconds, text) in [(0, "0s"), (90, "1m30s"), (day, "1d"), (day + 7261, "1d2h")] {
            assert_eq!(shown(seconds), text);
        }
    }
}
