//! What the devices saw, and what they are told to do: shared by all devices of a site.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::device::Fate;

/// What a test waits for, at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// One device, as it sees itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The version that it runs.
    pub(crate) running: String,
    /// Versions that it was sent at least a byte of, and of which all of it.
    pub(crate) begun: BTreeMap<String, u32>,
    pub(crate) flashed: Vec<String>,
    /// How often it asked, and got an answer.
    pub(crate) polls: u64,
    pub(crate) dumps: u32,
    /// How often it was switched off and on.
    pub(crate) resets: u32,
    /// It is silent, until somebody switches it off and on.
    pub(crate) is_dead: bool,
    /// Answers that it did not expect.
    pub(crate) errors: Vec<String>,
}

/// What is shared.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) is_over: bool,
    pub(crate) devices: BTreeMap<String, Seen>,
    /// What becomes of which device with which version; with all others it works.
    pub(crate) fates: BTreeMap<(String, String), Fate>,
    /// Who may be sent which version; what is not in it may go to all.
    pub(crate) only: BTreeMap<String, BTreeSet<String>>,
    /// Who was sent what it may not get.
    pub(crate) leaked: Vec<String>,
    /// Downloads of this version stop in the middle while it is set.
    pub(crate) held: Option<String>,
    /// Devices in the middle of a download, by version, and the most at once.
    pub(crate) in_middle: BTreeMap<String, usize>,
    pub(crate) most: BTreeMap<String, usize>,
    /// To crash, with a dump.
    pub(crate) to_crash: BTreeSet<String>,
    /// To be switched off and on.
    pub(crate) to_reset: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
    changed: Condvar,
}

impl Ledger {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
    }

    /// Changes something, and wakes all who wait.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let answer = change(&mut self.state());
        self.changed.notify_all();
        answer
    }

    /// Changes what is noted of a device.
    pub(crate) fn note<R>(&self, key: &str, change: impl FnOnce(&mut Seen) -> R) -> R {
        self.change(|state| change(state.devices.entry(key.to_owned()).or_default()))
    }

    /// Waits until something is true of what the devices saw.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let end = Instant::now() + PATIENCE;
        let mut state = self.state();
        while !holds(&state) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what}: {state:#?}");
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(|poison| poison.into_inner()).0;
        }
    }

    /// A device does nothing for a while, unless all is over or it is reset. Whether it
    /// was.
    pub(crate) fn rest(&self, key: &str, how_long: Duration) -> bool {
        let end = Instant::now() + how_long;
        let mut state = self.state();
        loop {
            if state.to_reset.remove(key) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.is_over || left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(|poison| poison.into_inner()).0;
        }
    }

    /// A device is in the middle of a download: it goes on when no test holds it.
    pub(crate) fn in_middle(&self, version: &str) {
        self.change(|state| {
            let now = state.in_middle.entry(version.to_owned()).or_default();
            *now += 1;
            let now = *now;
            let most = state.most.entry(version.to_owned()).or_default();
            *most = now.max(*most);
        });
        self.until("a download goes on", |state| {
            state.held.as_deref() != Some(version) || state.is_over
        });
        self.change(|state| {
            if let Some(now) = state.in_middle.get_mut(version) {
                *now -= 1;
            }
        });
    }
}
