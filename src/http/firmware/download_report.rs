//! How a download ended, and what that proves of the device.

use std::sync::Arc;
use std::time::Instant;

use crate::build_id::BuildId;
use crate::device::ModelCode;
use crate::fleet::evidence::{Kind, Names};
use crate::fleet::last_contact::{self, Contact};
use crate::http::app_state::AppState;
use crate::http::device_caller::DeviceCaller;
use crate::http::range_requests::RangeAnswer;
use crate::http::server::{Arrival, Delivery};
use crate::journal::Event;
use crate::rollouts::serve::hang_up_tells;
use crate::store::rollouts::Rollout;

/// Bytes of a response, its head included, after which a client that compares hangs up: it
/// has the image's description, and what was on its way meanwhile.
const DESCRIPTION: std::ops::RangeInclusive<u64> = 1024..=64 * 1024;

/// Reports how a download ended.
pub(super) struct Report {
    pub(super) app: Arc<AppState>,
    pub(super) device: DeviceCaller,
    pub(super) model: ModelCode,
    pub(super) build: BuildId,
    pub(super) name: String,
    pub(super) is_image: bool,
    /// Bytes of the file.
    pub(super) size: u64,
    /// The request said what the device runs: what it does then proves nothing more.
    pub(super) says_running: bool,
    /// It names what it has; `*` would fit anything.
    pub(super) shows_etag: bool,
}

impl Report {
    /// Takes note of a response and how it ended.
    pub(super) fn say(self, answer: RangeAnswer, outcome: Delivery, arrival: Arrival) {
        let metrics = &self.app.metrics;
        if answer == RangeAnswer::NotModified {
            metrics.download("not-modified", 0);
            if self.shows_etag {
                self.learn(Kind::Etag);
            }
            return;
        }
        let (Delivery::Complete { sent } | Delivery::BrokenOff { sent }) = outcome;
        match arrival {
            Arrival::Delivered => metrics.download("complete", sent),
            // Devices disconnect when they already run this version.
            Arrival::PeerLeft { acknowledged } => {
                self.broke_off(answer, sent.min(acknowledged));
                metrics.download("broken-off", sent.min(acknowledged));
                if answer == RangeAnswer::Full
                    && DESCRIPTION.contains(&acknowledged)
                    && !self.says_running
                {
                    self.learn(Kind::HangUp);
                }
                return;
            }
            Arrival::BrokenOff => {
                self.broke_off(answer, sent);
                return metrics.download("broken-off", sent);
            }
        }
        if !self.is_whole(answer) {
            return;
        }
        let (key, name) = (&self.device.key, &self.name);
        Event::FirmwareServed
            .entry()
            .device(key)
            .model(&self.model)
            .version(name)
            .say(format_args!(
                "served firmware {name} of {} to {key}",
                self.model
            ));
        self.learn(Kind::Delivery);
    }

    /// A download broke off after `sent` bytes of a response.
    fn broke_off(&self, answer: RangeAnswer, sent: u64) {
        let before = match answer {
            RangeAnswer::Full => 0,
            RangeAnswer::Partial { first, .. } => first,
            _ => return,
        };
        let offset = before.saturating_add(sent).min(self.size);
        if !self.is_image || self.app.store.rollouts.live(&self.model).is_none() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (app, build) = (Arc::clone(&self.app), self.build);
        let (model, device) = (self.model.clone(), self.device.key.clone());
        runtime.spawn_blocking(move || app.rollouts.broke_off(&model, &device, build, offset));
    }

    /// Whether the device has the whole file by a response that was delivered.
    fn is_whole(&self, answer: RangeAnswer) -> bool {
        match answer {
            RangeAnswer::Full => true,
            RangeAnswer::Partial { first, last } if self.is_image => {
                let (ranges, device) = (&self.app.delivered_ranges, &self.device.key);
                ranges.note(device, self.build, (first, last), self.size, Instant::now())
            }
            _ => false,
        }
    }

    /// Notes what this proves of the device and the build.
    fn learn(self, kind: Kind) {
        if !self.is_image {
            return;
        }
        // the connection's thread must not wait; at the daemon's end nothing is learned
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn_blocking(move || {
            let rollout = self.app.store.rollouts.live(&self.model);
            let is_told = |rollout: &Rollout| hang_up_tells(rollout, &self.device.key, self.build);
            if kind == Kind::HangUp && !rollout.as_deref().is_none_or(is_told) {
                return;
            }
            let contact = Contact {
                device: &self.device.key,
                model: Some(&self.model),
                is_usb: false,
            };
            let evidence = [(kind, Names::Build(self.build))];
            last_contact::learned(&self.app.store, contact, &evidence);
            if kind == Kind::Delivery {
                let (model, device) = (&self.model, &self.device.key);
                self.app.rollouts.delivered(model, device, self.build);
            }
        });
    }
}
