//! What a device reports of itself with any of its requests.

use super::contacts::BootReport;

/// Longest text that is taken, in bytes.
const MAX_TEXT: usize = 128;

/// The optional parameters of a device's requests.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reported {
    /// The build that it runs: digits of its id or of the hash of its ELF, or its
    /// version.
    pub running: Option<String>,
    pub boot: BootReport,
    /// A word for its hardware.
    pub hw: Option<String>,
}

impl Reported {
    /// Takes the parameters that `get` knows; what is too long or no number is left
    /// out.
    pub fn of<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let text = |name: &str| {
            let text = get(name).filter(|text| text.len() <= MAX_TEXT);
            text.map(str::to_owned)
        };
        let number = |name: &str| get(name).and_then(|text| text.parse().ok());
        Self {
            running: text("running"),
            boot: BootReport {
                boot_count: number("boot_count"),
                uptime_s: number("uptime_s"),
                reset_reason: text("reset_reason"),
                ..BootReport::default()
            },
            hw: text("hw"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_numbers_and_texts_are_bounded() {
        let long = "x".repeat(129);
        let reported = Reported::of(|name| match name {
            "running" => Some("1.2.3"),
            "boot_count" => Some("12"),
            "uptime_s" => Some("soon"),
            "reset_reason" => Some("panic"),
            "hw" => Some(&long),
            _ => None,
        });
        assert_eq!(reported.running.as_deref(), Some("1.2.3"));
        assert_eq!(reported.boot.boot_count, Some(12));
        assert_eq!(reported.boot.uptime_s, None);
        assert_eq!(reported.boot.reset_reason.as_deref(), Some("panic"));
        assert_eq!(reported.hw, None);
    }
}
