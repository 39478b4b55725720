//! Metrics of models and their builds: crashes, devices, crash-free shares. All of them
//! are replaced at once, so what was removed is not shown any more.

use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// What is known of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelFigures {
    /// Empty for devices and crashes without a registered model.
    pub model: String,
    /// Crash groups by state.
    pub open: u64,
    pub regressed: u64,
    /// Open groups that exist for less than 24 hours.
    pub new: u64,
    pub silent: u64,
    pub looping: u64,
    pub builds: Vec<BuildFigures>,
}

/// What is known of one build of a model, or of several in one. `None` is not shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildFigures {
    /// The first 8 digits of the build's id, [`OTHER`] or [`UNKNOWN`].
    pub build: String,
    /// Empty for several builds.
    pub version: String,
    /// Whether it is the model's active build.
    pub is_active: bool,
    /// Devices that run it.
    pub devices: Option<u64>,
    /// Crashes counted.
    pub crashes: Option<u64>,
    /// Seconds that devices ran it.
    pub seconds: Option<u64>,
    /// The share of devices without a crash, and the number of devices behind it.
    pub crash_free: Option<(f64, u32)>,
}

/// All builds of a model that are not named one by one.
pub const OTHER: &str = "other";
/// What no build is known of.
pub const UNKNOWN: &str = "unknown";

/// The figures that are shown.
#[derive(Debug, Default)]
pub(super) struct Fleet(RwLock<Option<Taken>>);

#[derive(Debug)]
struct Taken {
    models: Vec<ModelFigures>,
    at: Instant,
}

impl Fleet {
    /// Shows these figures instead of those before.
    pub(super) fn set(&self, models: Vec<ModelFigures>) {
        let at = Instant::now();
        let mut taken = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *taken = Some(Taken { models, at });
    }
}

impl Collector for Fleet {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let taken = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let models = taken.as_ref().map_or(&[][..], |taken| &taken.models);
        let mut written = Written { encoder, models };
        written.of_builds("crashes", "Crashes counted by model and build", |build| {
            build.crashes
        })?;
        written.of_builds("devices", "Devices by model and running build", |build| {
            build.devices
        })?;
        written.of_builds(
            "device_run_seconds",
            "Time that devices ran a build, all devices together",
            |build| build.seconds,
        )?;
        written.of_builds(
            "crash_free_ratio",
            "Share of the devices that a build did not crash on, 0 to 1",
            |build| build.crash_free.map(|(share, _)| share),
        )?;
        written.of_builds(
            "crash_free_devices",
            "Devices behind the crash-free share",
            |build| build.crash_free.map(|(_, devices)| devices),
        )?;
        written.of_builds(
            "active_build",
            "1 for the active build of a model",
            |build| build.is_active.then_some(1_u64),
        )?;
        written.of_models(
            "crash_groups",
            "Crash groups that nobody resolved or ignored, by state: open, regressed",
            |model| {
                vec![
                    (Some(("state", "open")), model.open),
                    (Some(("state", "regressed")), model.regressed),
                ]
            },
        )?;
        written.of_models(
            "new_crash_groups",
            "Open crash groups first seen in the last 24 hours",
            |model| vec![(None, model.new)],
        )?;
        written.of_models(
            "silent_devices",
            "Devices not heard for three times their usual interval",
            |model| vec![(None, model.silent)],
        )?;
        written.of_models("looping_devices", "Devices in a boot loop", |model| {
            vec![(None, model.looping)]
        })?;
        let Some(taken) = taken.as_ref() else {
            return Ok(());
        };
        let age = written.encoder.encode_descriptor(
            "fleet_metrics_age_seconds",
            "Time since crashes, devices and crash-free shares were counted",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(taken.at.elapsed().as_secs()).encode(age)
    }
}

/// What is being written for one scrape.
struct Written<'e, 'f> {
    encoder: DescriptorEncoder<'e>,
    models: &'f [ModelFigures],
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Written<'_, '_> {
    /// One value a build.
    fn of_builds<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        value: impl Fn(&BuildFigures) -> Option<V>,
    ) -> fmt::Result {
        let builds = self.models.iter().flat_map(|model| {
            let builds = model.builds.iter();
            builds.map(move |build| (model, build))
        });
        let samples = builds.filter_map(|(model, build)| {
            let labels = vec![
                ("model", model.model.as_str()),
                ("version", build.version.as_str()),
                ("build", build.build.as_str()),
            ];
            Some((labels, value(build)?))
        });
        self.family(name, help, samples)
    }

    /// One value or more a model.
    fn of_models(
        &mut self,
        name: &str,
        help: &str,
        values: impl Fn(&ModelFigures) -> Vec<(Option<(&'static str, &'static str)>, u64)>,
    ) -> fmt::Result {
        let samples = self.models.iter().flat_map(|model| {
            let values = values(model).into_iter();
            values.map(|(label, value)| {
                let mut labels = vec![("model", model.model.as_str())];
                labels.extend(label);
                (labels, value)
            })
        });
        self.family(name, help, samples)
    }

    /// A metric with all its samples.
    fn family<'l, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> fmt::Result {
        let kind = MetricType::Gauge;
        let mut family = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in samples {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    use super::*;

    fn lamp() -> ModelFigures {
        let build = BuildFigures {
            build: String::from("0123abcd"),
            version: String::from("1.2.3"),
            is_active: true,
            devices: Some(3),
            crashes: Some(7),
            seconds: Some(3600),
            crash_free: Some((0.75, 4)),
        };
        let other = BuildFigures {
            build: OTHER.to_owned(),
            devices: Some(2),
            ..BuildFigures::default()
        };
        ModelFigures {
            model: String::from("lamp"),
            open: 2,
            regressed: 1,
            new: 1,
            silent: 5,
            looping: 6,
            builds: vec![build, other],
        }
    }

    #[test]
    fn figures_appear_with_their_labels_and_those_before_are_gone() {
        let metrics = Metrics::default();
        assert!(
            !metrics
                .text()
                .contains("\nespgate_fleet_metrics_age_seconds "),
            "nothing counted"
        );
        metrics.set_fleet(vec![lamp()]);
        let text = metrics.text();
        let labels = "{model=\"lamp\",version=\"1.2.3\",build=\"0123abcd\"}";
        for line in [
            format!("espgate_crashes{labels} 7"),
            format!("espgate_devices{labels} 3"),
            String::from("espgate_devices{model=\"lamp\",version=\"\",build=\"other\"} 2"),
            format!("espgate_device_run_seconds{labels} 3600"),
            format!("espgate_crash_free_ratio{labels} 0.75"),
            format!("espgate_crash_free_devices{labels} 4"),
            format!("espgate_active_build{labels} 1"),
            String::from("espgate_crash_groups{model=\"lamp\",state=\"open\"} 2"),
            String::from("espgate_crash_groups{model=\"lamp\",state=\"regressed\"} 1"),
            String::from("espgate_new_crash_groups{model=\"lamp\"} 1"),
            String::from("espgate_silent_devices{model=\"lamp\"} 5"),
            String::from("espgate_looping_devices{model=\"lamp\"} 6"),
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}\n{text}");
        }
        assert!(
            text.contains("\nespgate_fleet_metrics_age_seconds 0\n"),
            "{text}"
        );
        assert!(!text.contains("crashes{model=\"lamp\",version=\"\""));

        let nameless = ModelFigures {
            silent: 1,
            ..ModelFigures::default()
        };
        metrics.set_fleet(vec![nameless]);
        let text = metrics.text();
        assert!(!text.contains("lamp"), "{text}");
        assert!(
            text.contains("\nespgate_silent_devices{model=\"\"} 1\n"),
            "{text}"
        );
    }
}
