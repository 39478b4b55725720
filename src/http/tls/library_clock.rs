//! What the TLS library does with the time, for clocks before 1970 too: its own
//! way to read the clock panics then, in each handshake.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::crypto::ring::Ticketer;
use rustls::pki_types::UnixTime;
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;
use time::OffsetDateTime;

use crate::clock;

/// The time as far as it can be true.
#[derive(Debug)]
pub(super) struct PlausibleTime;

impl TimeProvider for PlausibleTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(clock::plausible().unix_timestamp()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Session tickets; none before 1970, where clients make a full handshake.
#[derive(Debug, Default)]
pub(super) struct Tickets(OnceLock<Option<Arc<dyn ProducesTickets>>>);

impl Tickets {
    fn usable(&self) -> Option<&dyn ProducesTickets> {
        if clock::wall() < OffsetDateTime::UNIX_EPOCH {
            return None;
        }
        self.0.get_or_init(|| Ticketer::new().ok()).as_deref()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.usable().is_some()
    }

    fn lifetime(&self) -> u32 {
        self.usable().map_or(0, ProducesTickets::lifetime)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.usable()?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.usable()?.decrypt(cipher)
    }
}
