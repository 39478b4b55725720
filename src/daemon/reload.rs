//! Reloads the configuration while the daemon runs.

use std::sync::Arc;

use log::Level;

use super::{Daemon, effective_config, go_on, listeners, periodic, status_line};
use crate::bundle;
use crate::config::{self, Config};
use crate::http::server::Limits;
use crate::journal::Event;
use crate::systemd;

/// What a reload changed.
struct Changes {
    /// Settings that have another value now.
    made: Vec<String>,
    /// Settings that require a restart, a sentence each.
    waiting: Vec<String>,
}

impl Daemon<'_> {
    /// Applies the configuration file, or reports its errors and changes nothing.
    pub(super) fn reload(&mut self) {
        systemd::reloading();
        match self.try_reload() {
            Ok(Changes { made, waiting }) => {
                self.app.facts().degraded.clone_from(&waiting);
                let level = match waiting.is_empty() {
                    true => Level::Info,
                    false => Level::Warn,
                };
                let made = match made.is_empty() {
                    true => String::from("nothing"),
                    false => made.join(", "),
                };
                let waiting: String = waiting.iter().map(|what| format!("; {what}")).collect();
                let entry = Event::ConfigurationReloaded.entry().at(level);
                entry.say(format_args!(
                    "configuration reloaded; changed: {made}{waiting}"
                ));
            }
            Err(error) => {
                let message = format!("configuration reload rejected: {error:#}");
                self.app.facts().degraded = vec![message.clone()];
                Event::ConfigurationFaulty.entry().say(&message);
            }
        }
        systemd::ready();
        status_line::say(&self.app);
    }

    fn try_reload(&mut self) -> anyhow::Result<Changes> {
        let (text, loaded) = self.options.read()?.unwrap_or_else(|| {
            let loaded = config::Loaded {
                config: Config::default(),
                unknown: Vec::new(),
            };
            (String::new(), loaded)
        });
        if let Some(unknown) = loaded.unknown.first() {
            anyhow::bail!("{unknown}");
        }
        let old = self.app.config();
        let mut new = loaded.config.clone().without_restart(&old);
        if self.sockets_passed {
            new.http.listen.clone_from(&old.http.listen);
        }
        let new = Arc::new(new);
        let changes = self.changes(&old, &loaded.config);
        // What can fail comes first; after it nothing does.
        self.tls.reload(new.tls.clone())?;
        if old.http.listen != new.http.listen {
            match listeners::change(&self.listening, &new.http.listen, &self.stop) {
                Ok(listening) => {
                    self.accept_on(listening);
                }
                Err(error) => {
                    self.tls.reload(old.tls.clone())?;
                    return Err(error.into());
                }
            }
        }
        self.server.set_limits(Limits::from(&new.http));
        self.app.ingest.reconfigure(new.coredumps.clone());
        self.app
            .ports
            .reconfigure(new.serial.clone(), new.coredumps.max_upload_bytes);
        self.app
            .store
            .firmware
            .set_limits(bundle::BundleLimits::for_bundles_of(
                new.firmware.max_bundle_bytes,
            ));
        self.config.send_replace(Arc::clone(&new));
        periodic::warn_if_open(&new);
        // A configuration that was never started with is no fallback.
        if *new == loaded.config {
            go_on(effective_config::keep(
                &self.app.store.data_dir.state(),
                &text,
            ));
        }
        Ok(changes)
    }

    fn changes(&self, old: &Config, new: &Config) -> Changes {
        let mut changes = Changes {
            made: Vec::new(),
            waiting: Vec::new(),
        };
        for key in config::changed(old, new) {
            if config::AT_START.contains(&key.as_str()) {
                let what = format!("{key} changed: restart required");
                changes.waiting.push(what);
            } else if key == "http.listen" && self.sockets_passed {
                let what =
                    "http.listen changed, but systemd provides the sockets: change espgate.socket";
                changes.waiting.push(String::from(what));
            } else {
                changes.made.push(key);
            }
        }
        changes
    }
}
