//! Which ports are opened, and how: decided by the ports found, the
//! configuration, and what was claimed or released. No I/O.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::api::ports::Why;
use crate::clock::Moment;
use crate::config::{self, Discover, PortMatch};

use super::discover::{FoundPort, Usb};
use super::port_plan::{PortPlan, PortSettings, Released};
use super::state::PortsState;
use super::usb_serial::is_unique;

/// A path in the configuration, and its target.
#[derive(Clone, Debug)]
pub struct ConfiguredPath {
    /// As written.
    pub path: PathBuf,
    /// With links resolved, if it exists.
    pub target: Option<PathBuf>,
}

/// Plans all ports; `named` are the configuration's paths.
pub fn plan_ports(
    found: &[FoundPort],
    named: &[ConfiguredPath],
    config: &config::Serial,
    state: &PortsState,
    now: &Moment,
) -> Vec<PortPlan> {
    let mut plans: Vec<PortPlan> = found
        .iter()
        .map(|port| {
            let remembered = state.of(&port.usb.place);
            let entry = config.port.iter().find(|entry| matches(entry, port, named));
            let discovered = match config.discover {
                Discover::Espressif => port.usb.is_espressif(),
                Discover::All => port.usb.kind().is_some(),
                Discover::Off => false,
            };
            let why = match (entry, remembered.claimed, discovered) {
                (Some(_), _, _) => Why::Configured,
                (None, true, _) => Why::Claimed,
                (None, false, true) => Why::Discovered,
                (None, false, false) => Why::Seen,
            };
            let settings = entry.map_or_else(
                || PortSettings::of(&config::SerialPort::default()),
                PortSettings::of,
            );
            PortPlan {
                id: port.usb.place.clone(),
                path: port.path.clone(),
                usb: Some(port.usb.clone()),
                why,
                settings,
                released: None,
                present: true,
                serial_is_unique: true,
                board_before: None,
            }
        })
        .collect();
    for entry in &config.port {
        let Some(path) = &entry.path else { continue };
        let target = named
            .iter()
            .find(|named| named.path == *path)
            .and_then(|named| named.target.as_ref());
        if found
            .iter()
            .any(|port| port.path == *target.unwrap_or(path))
        {
            continue;
        }
        plans.push(PortPlan {
            path: path.clone(),
            settings: PortSettings::of(entry),
            present: target.is_some(),
            ..PortPlan::configured(&path.display().to_string())
        });
    }
    for plan in &mut plans {
        plan.serial_is_unique = plan.usb.as_ref().is_none_or(|usb| is_unique(usb, found));
        let release = state.of(&plan.id).released;
        plan.released = release
            .map(|release| Released {
                remaining: release.remaining(now),
                lent: release.lent,
            })
            .filter(|released| released.remaining != Some(Duration::ZERO));
    }
    plans
}

fn matches(entry: &config::SerialPort, port: &FoundPort, named: &[ConfiguredPath]) -> bool {
    if let Some(path) = &entry.path {
        let target = named
            .iter()
            .find(|named| named.path == *path)
            .and_then(|named| named.target.as_deref());
        return target.unwrap_or(path) == port.path;
    }
    entry
        .matching
        .as_ref()
        .is_some_and(|matching| fits(matching, &port.usb))
}

fn fits(matching: &PortMatch, usb: &Usb) -> bool {
    let PortMatch {
        usb_serial,
        vid,
        pid,
        place,
    } = matching;
    // a place without interface means all ports of the device
    let is_at = |place: &String| {
        usb.place == *place
            || usb
                .place
                .strip_prefix(place.as_str())
                .is_some_and(|rest| rest.starts_with(':'))
    };
    *matching != PortMatch::default()
        && usb_serial
            .as_ref()
            .is_none_or(|serial| usb.serial.as_ref() == Some(serial))
        && vid.is_none_or(|vid| usb.vid == vid)
        && pid.is_none_or(|pid| usb.pid == pid)
        && place.as_ref().is_none_or(is_at)
}

/// The name of a port: its path without `/dev/`, usable as one segment of a URL.
pub fn name_of(path: &Path, dev: &Path) -> String {
    let path = path.strip_prefix(dev).unwrap_or(path);
    let text = path.to_string_lossy();
    text.trim_matches('/').replace('/', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serial::state::Release;

    fn port(path: &str, ids: (u16, u16), place: &str) -> FoundPort {
        let usb = Usb {
            vid: ids.0,
            pid: ids.1,
            serial: Some("0001".to_owned()),
            place: place.to_owned(),
            ..Usb::default()
        };
        FoundPort {
            path: path.into(),
            usb,
        }
    }

    fn found() -> Vec<FoundPort> {
        vec![
            port("/dev/ttyACM0", (0x303a, 0x1001), "1-1"),
            port("/dev/ttyUSB0", (0x10c4, 0xea60), "1-2"),
            port("/dev/ttyUSB1", (0x0403, 0x6010), "1-3:1.0"),
            port("/dev/ttyUSB2", (0x1234, 0x5678), "1-4"),
        ]
    }

    fn config(text: &str) -> config::Serial {
        config::parse(text).unwrap().config.serial
    }

    fn whys(config: &config::Serial, state: &PortsState) -> Vec<Why> {
        plan_ports(&found(), &[], config, state, &Moment::now())
            .iter()
            .map(|plan| plan.why)
            .collect()
    }

    #[test]
    fn only_espressifs_own_ports_are_taken_unless_told_otherwise() {
        use Why::{Claimed, Configured, Discovered, Seen};
        let mut state = PortsState::default();
        for (text, expected) in [
            ("", [Discovered, Seen, Seen, Seen]),
            (
                "[serial]\ndiscover = \"all\"",
                [Discovered, Discovered, Discovered, Seen],
            ),
            ("[serial]\ndiscover = \"off\"", [Seen, Seen, Seen, Seen]),
            (
                "[[serial.port]]\nmatch = { place = \"1-3\" }",
                [Discovered, Seen, Configured, Seen],
            ),
            (
                "[[serial.port]]\nmatch = { vid = 0x1234, pid = 1 }",
                [Discovered, Seen, Seen, Seen],
            ),
            (
                "[[serial.port]]\nmatch = { usb_serial = \"0001\", vid = 0x1234 }",
                [Discovered, Seen, Seen, Configured],
            ),
            (
                "[[serial.port]]\npath = \"/dev/ttyUSB2\"",
                [Discovered, Seen, Seen, Configured],
            ),
        ] {
            assert_eq!(whys(&config(text), &state), expected, "{text}");
        }
        state.ensure("1-2").claimed = true;
        assert_eq!(whys(&config(""), &state), [Discovered, Claimed, Seen, Seen]);
    }

    #[test]
    fn a_configured_path_may_be_a_link_or_missing_or_no_usb_port() {
        let config = config(
            "[[serial.port]]\npath = \"/dev/espgate/a\"\nbaud = 921600\n\
             [[serial.port]]\npath = \"/dev/pts/7\"\n[[serial.port]]\npath = \"/dev/ttyX\"\n",
        );
        let named = |path: &str, target: Option<&str>| ConfiguredPath {
            path: path.into(),
            target: target.map(Into::into),
        };
        let named = [
            named("/dev/espgate/a", Some("/dev/ttyUSB0")),
            named("/dev/pts/7", Some("/dev/pts/7")),
            named("/dev/ttyX", None),
        ];
        let plans = plan_ports(
            &found(),
            &named,
            &config,
            &PortsState::default(),
            &Moment::now(),
        );
        let ids: Vec<&str> = plans.iter().map(|plan| plan.id.as_str()).collect();
        assert_eq!(
            ids,
            ["1-1", "1-2", "1-3:1.0", "1-4", "/dev/pts/7", "/dev/ttyX"]
        );
        assert_eq!(
            (plans[1].why, plans[1].settings.baud),
            (Why::Configured, 921_600)
        );
        assert!(plans[4].present && !plans[5].present);
        assert!(!plans[0].serial_is_unique && plans[4].serial_is_unique);
    }

    #[test]
    fn released_ports_are_left_alone_until_their_time_is_over() {
        let mut state = PortsState::default();
        let now = Moment::now();
        let release = |seconds| {
            Some(Release::new(
                Some(Duration::from_secs(seconds)),
                false,
                &now,
            ))
        };
        state.ensure("1-1").released = release(600);
        state.ensure("1-2").released = release(0);
        state.ensure("1-2").claimed = true;
        let plans = plan_ports(&found(), &[], &config(""), &state, &now);
        let listening: Vec<bool> = plans.iter().map(PortPlan::is_to_be_open).collect();
        assert_eq!(listening, [false, true, false, false]);
    }

    #[test]
    fn names_fit_into_one_segment() {
        for (path, name) in [
            ("/dev/ttyUSB0", "ttyUSB0"),
            ("/dev/pts/3", "pts-3"),
            ("/tmp/x/port", "tmp-x-port"),
        ] {
            assert_eq!(name_of(Path::new(path), Path::new("/dev")), name);
        }
    }
}
