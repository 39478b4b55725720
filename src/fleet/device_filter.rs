//! Which devices a list shows.

use super::contacts::State;
use crate::store::registry::Device;

/// What is asked for; what is not given fits all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeviceFilter {
    pub model: Option<String>,
    /// A version, or the first 8 digits and more of a build's id or of the hash of its
    /// ELF.
    pub build: Option<String>,
    /// Of these two either is enough.
    pub silent: bool,
    pub looping: bool,
    pub no_token: bool,
    pub unregistered: bool,
    /// Not heard for so many seconds, or never.
    pub unseen_for: Option<u64>,
    pub retired: Retired,
}

/// Which devices out of service are shown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Retired {
    /// Those that were heard since.
    #[default]
    Heard,
    /// All of them, and no others.
    Only,
    /// All of them.
    Any,
}

impl Retired {
    fn fits(self, device: &Device) -> bool {
        match (self, &device.retired) {
            (Self::Heard, Some(retired)) => retired.heard_at.is_some(),
            (Self::Only, retired) => retired.is_some(),
            (Self::Heard, None) | (Self::Any, _) => true,
        }
    }
}

impl DeviceFilter {
    /// Whether a device fits that was last heard `unheard` seconds ago.
    pub fn fits(&self, device: &Device, state: Option<State>, unheard: Option<u64>) -> bool {
        let is_model = |model: &String| device.model.as_ref().is_some_and(|m| m.as_str() == model);
        let is_state = match (self.silent, self.looping) {
            (false, false) => true,
            (silent, looping) => {
                (silent && state == Some(State::Silent))
                    || (looping && state == Some(State::Looping))
            }
        };
        self.retired.fits(device)
            && self.model.as_ref().is_none_or(is_model)
            && self.build.as_ref().is_none_or(|build| runs(device, build))
            && is_state
            && (!self.no_token || device.tokens.is_empty())
            && (!self.unregistered || !device.registered)
            && self
                .unseen_for
                .is_none_or(|seconds| unheard.is_none_or(|unheard| unheard >= seconds))
    }
}

fn runs(device: &Device, build: &str) -> bool {
    let Some(running) = &device.running else {
        return false;
    };
    let digits = Some(build.to_ascii_lowercase()).filter(|digits| digits.len() >= 8);
    running.version.as_deref() == Some(build)
        || digits.is_some_and(|digits| {
            let elf = running.app_elf_sha256.as_deref();
            running.build_id.is_some_and(|id| id.has_prefix(&digits))
                || elf.is_some_and(|elf| elf.starts_with(&digits) || digits.starts_with(elf))
        })
}

/// Reads `7d`, `12h`, `30m` or `90s`: seconds.
pub fn time_span(text: &str) -> Option<u64> {
    let unit = text.chars().next_back()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;
    use crate::store::registry::devices::Running;
    use crate::store::registry::{Credential, devices};

    fn device() -> Device {
        Device {
            model: Some("lamp".parse().unwrap()),
            registered: true,
            running: Some(Running {
                build_id: Some(Sha256::from_bytes([0xAB; 32]).into()),
                version: Some(String::from("1.2.3")),
                app_elf_sha256: Some(String::from("1b43c5e74")),
                at: String::new(),
                from: String::new(),
                certainty: None,
            }),
            tokens: vec![Credential {
                id: String::new(),
                sha256: String::new(),
                created_at: String::new(),
                first_used_at: None,
            }],
            ..Device::default()
        }
    }

    #[test]
    fn a_device_is_listed_if_all_that_is_asked_for_is_so() {
        let text = |text: &str| Some(text.to_owned());
        let all = DeviceFilter::default;
        for (filter, state, unheard, expected) in [
            (all(), None, None, true),
            (
                DeviceFilter {
                    model: text("lamp"),
                    ..all()
                },
                None,
                None,
                true,
            ),
            (
                DeviceFilter {
                    model: text("pump"),
                    ..all()
                },
                None,
                None,
                false,
            ),
            (
                DeviceFilter {
                    build: text("1.2.3"),
                    ..all()
                },
                None,
                None,
                true,
            ),
            (
                DeviceFilter {
                    build: text("1.2"),
                    ..all()
                },
                None,
                None,
                false,
            ),
            (
                DeviceFilter {
                    build: text("ABABABAB"),
                    ..all()
                },
                None,
                None,
                true,
            ),
            (
                DeviceFilter {
                    build: text("ababab"),
                    ..all()
                },
                None,
                None,
                false,
            ),
            (
                DeviceFilter {
                    build: text("1b43c5e7"),
                    ..all()
                },
                None,
                None,
                true,
            ),
            (
                DeviceFilter {
                    silent: true,
                    ..all()
                },
                Some(State::Silent),
                None,
                true,
            ),
            (
                DeviceFilter {
                    silent: true,
                    ..all()
                },
                Some(State::Quiet),
                None,
                false,
            ),
            (
                DeviceFilter {
                    looping: true,
                    ..all()
                },
                Some(State::Silent),
                None,
                false,
            ),
            (
                DeviceFilter {
                    silent: true,
                    looping: true,
                    ..all()
                },
                Some(State::Looping),
                None,
                true,
            ),
            (
                DeviceFilter {
                    no_token: true,
                    ..all()
                },
                None,
                None,
                false,
            ),
            (
                DeviceFilter {
                    unregistered: true,
                    ..all()
                },
                None,
                None,
                false,
            ),
            (
                DeviceFilter {
                    unseen_for: Some(60),
                    ..all()
                },
                None,
                Some(59),
                false,
            ),
            (
                DeviceFilter {
                    unseen_for: Some(60),
                    ..all()
                },
                None,
                Some(60),
                true,
            ),
            (
                DeviceFilter {
                    unseen_for: Some(60),
                    ..all()
                },
                None,
                None,
                true,
            ),
            (
                DeviceFilter {
                    model: text("lamp"),
                    no_token: true,
                    ..all()
                },
                None,
                None,
                false,
            ),
        ] {
            assert_eq!(
                filter.fits(&device(), state, unheard),
                expected,
                "{filter:?}"
            );
        }
        let stranger = Device::default();
        for filter in [
            DeviceFilter {
                no_token: true,
                ..all()
            },
            DeviceFilter {
                unregistered: true,
                ..all()
            },
        ] {
            assert!(filter.fits(&stranger, None, None), "{filter:?}");
        }
        assert!(
            !DeviceFilter {
                build: text("1.2.3"),
                ..all()
            }
            .fits(&stranger, None, None)
        );
    }

    #[test]
    fn a_retired_device_is_listed_where_it_is_asked_for_or_was_heard() {
        let retired = |heard_at: Option<&str>| Device {
            retired: Some(devices::Retired {
                at: String::from("t"),
                heard_at: heard_at.map(str::to_owned),
            }),
            ..device()
        };
        for (asked, in_use, silent, heard) in [
            (Retired::Heard, true, false, true),
            (Retired::Only, false, true, true),
            (Retired::Any, true, true, true),
        ] {
            let filter = DeviceFilter {
                retired: asked,
                ..DeviceFilter::default()
            };
            let fits = |device: &Device| filter.fits(device, None, None);
            assert_eq!(fits(&device()), in_use, "{asked:?}");
            assert_eq!(fits(&retired(None)), silent, "{asked:?}");
            assert_eq!(fits(&retired(Some("u"))), heard, "{asked:?}");
        }
    }

    #[test]
    fn time_spans_have_a_unit() {
        for (text, expected) in [
            ("7d", Some(604_800)),
            ("12h", Some(43_200)),
            ("30m", Some(1800)),
            ("90s", Some(90)),
            ("7", None),
            ("d", None),
            ("7w", None),
            ("-7d", None),
            ("99999999999999999999d", None),
            ("7\u{e9}", None),
            ("", None),
        ] {
            assert_eq!(time_span(text), expected, "{text}");
        }
    }
}
