//! What systemd is told and what it hands us. Without systemd all of it does
//! nothing.

use std::net::TcpListener;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// Says that requests are answered now.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Says that a reload has begun.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Says that the end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The line that `systemctl status` shows.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// Says that everything critical is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Within which time [`alive`] is expected; `None`: nobody watches.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// TCP sockets that systemd listens on for us.
pub fn passed_sockets() -> Vec<TcpListener> {
    let mut passed = ListenFd::from_env();
    (0..passed.len())
        .filter_map(|index| passed.take_tcp_listener(index).ok().flatten())
        .collect()
}

fn tell(state: &[NotifyState<'_>]) {
    // Without a notify socket this does nothing; a broken one costs a message.
    let _ = sd_notify::notify(state);
}
