//! Taking a changed configuration into use while everything runs.

use std::sync::Arc;

use super::{Daemon, figures, go_on, listeners, minutely, settings};
use crate::config::Config;
use crate::http::server::Limits;
use crate::journal::Event;
use crate::systemd;

impl Daemon<'_> {
    /// Takes the configuration file's present text into use, or says what is
    /// wrong with it and goes on as before.
    pub(super) fn reload(&mut self) {
        systemd::reloading();
        match self.try_reload() {
            Ok(()) => {
                self.app.facts().degraded.clear();
                Event::ConfigurationReloaded
                    .entry()
                    .say("the configuration was read again and is in force");
            }
            Err(error) => {
                let message = format!("the new configuration is not used: {error:#}");
                let mut facts = self.app.facts();
                facts.degraded.clear();
                facts.degraded.push(message.clone());
                drop(facts);
                Event::ConfigurationFaulty.entry().say(&message);
            }
        }
        systemd::ready();
        figures::say(&self.app);
    }

    fn try_reload(&mut self) -> anyhow::Result<()> {
        let (text, loaded) = self.options.read()?.unwrap_or_else(|| {
            let loaded = crate::config::Loaded {
                config: Config::default(),
                unknown: Vec::new(),
            };
            (String::new(), loaded)
        });
        if let Some(unknown) = loaded.unknown.first() {
            anyhow::bail!("{unknown}");
        }
        let (old, new) = (self.app.config(), Arc::new(loaded.config));
        if old.data_dir != new.data_dir
            || old.coredumps.dir != new.coredumps.dir
            || old.firmware.dir != new.firmware.dir
        {
            anyhow::bail!("folders change with a restart only");
        }
        // What can fail comes first; after it nothing does.
        self.tls.reload(new.tls.clone())?;
        if old.http.listen != new.http.listen && !self.sockets_passed {
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
        self.config.send_replace(Arc::clone(&new));
        minutely::warn_if_open(&new);
        go_on(settings::keep(&self.app.store.data_dir.state(), &text));
        Ok(())
    }
}
