//! `[rollouts]`: how builds go out if nothing else is said, and how durations, shares and
//! windows are written.

use std::fmt;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// No duration is longer, seconds.
const MAX: u64 = 366 * DAY;

/// `[rollouts]`. Durations are seconds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Rollouts {
    /// Canaries.
    pub canary: u32,
    /// Cumulative shares of the devices, percent.
    #[serde(deserialize_with = "by_shares", serialize_with = "as_shares")]
    pub waves: Vec<f64>,
    #[serde(deserialize_with = "by_duration", serialize_with = "as_duration")]
    pub canary_soak: u64,
    #[serde(deserialize_with = "by_duration", serialize_with = "as_duration")]
    pub soak: u64,
    #[serde(deserialize_with = "by_duration", serialize_with = "as_duration")]
    pub watch: u64,
    #[serde(deserialize_with = "by_duration", serialize_with = "as_duration")]
    pub return_within: u64,
    /// Downloads at once in one rollout.
    pub parallel: u32,
    /// Downloads at once in all rollouts.
    pub max_downloads: u32,
    #[serde(deserialize_with = "by_window", serialize_with = "as_window")]
    pub window: Option<Window>,
    pub gate: bool,
    pub confirmed: bool,
    pub on_stop: OnStop,
}

impl Default for Rollouts {
    fn default() -> Self {
        Self {
            canary: 2,
            waves: vec![10.0, 50.0, 100.0],
            canary_soak: DAY,
            soak: 2 * HOUR,
            watch: 7 * DAY,
            return_within: HOUR / 2,
            parallel: 2,
            max_downloads: 8,
            window: None,
            gate: false,
            confirmed: false,
            on_stop: OnStop::Back,
        }
    }
}

/// What is done with the boards that got a build which was stopped.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStop {
    /// They are offered the base.
    #[default]
    Back,
    /// They are offered nothing.
    Stay,
}

/// The part of a day in which downloads may begin, minutes after midnight by the gateway's
/// local time. It may span midnight.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Window {
    pub from: u16,
    pub to: u16,
}

impl Window {
    /// Whether it is open at a minute after midnight.
    pub fn has(self, minute: u16) -> bool {
        match self.from <= self.to {
            true => (self.from..self.to).contains(&minute),
            false => minute >= self.from || minute < self.to,
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from, self.to);
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            from / 60,
            from % 60,
            to / 60,
            to % 60
        )
    }
}

fn by_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn by_shares<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    shares(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn by_window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Window>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" => Ok(None),
        text => window(text).map(Some).map_err(D::Error::custom),
    }
}

/// In one unit, without a rest.
fn as_duration<S: Serializer>(seconds: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    let units = [(DAY, 'd'), (HOUR, 'h'), (60, 'm')];
    let unit = units
        .iter()
        .find(|(unit, _)| *seconds > 0 && seconds.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or(&(1, 's'));
    serializer.collect_str(&format_args!("{}{name}", seconds / unit))
}

fn as_shares<S: Serializer>(shares: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    let shares: Vec<String> = shares.iter().map(|share| format!("{share}%")).collect();
    serializer.serialize_str(&shares.join(","))
}

fn as_window<S: Serializer>(window: &Option<Window>, serializer: S) -> Result<S::Ok, S::Error> {
    match window {
        Some(window) => serializer.collect_str(window),
        None => serializer.serialize_str(""),
    }
}

/// A duration: a number and `s`, `m`, `h` or `d`; several may follow one another
/// (`1h30m`). Seconds.
///
/// # Errors
/// A message.
pub fn duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no duration: write 90s, 30m, 24h or 7d");
    let (mut total, mut digits) = (0u64, String::new());
    for letter in text.trim().chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        let unit = match letter {
            's' => 1,
            'm' => 60,
            'h' => HOUR,
            'd' => DAY,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let seconds = number.checked_mul(unit).ok_or_else(wrong)?;
        total = total.checked_add(seconds).ok_or_else(wrong)?;
        digits.clear();
    }
    if !digits.is_empty() || text.trim().is_empty() {
        return Err(wrong());
    }
    match total <= MAX {
        true => Ok(total),
        false => Err(format!("\"{text}\" is longer than a year")),
    }
}

/// `10%,50%,100%`: rising shares.
///
/// # Errors
/// A message.
pub fn shares(text: &str) -> Result<Vec<f64>, String> {
    let mut shares = Vec::new();
    let mut before = 0.0;
    for part in text.split(',') {
        let part = part.trim();
        let number = part.strip_suffix('%').unwrap_or(part);
        let share: f64 = number
            .trim()
            .parse()
            .map_err(|_| format!("\"{part}\" is no share: write 10%,50%,100%"))?;
        if !(share > before && share <= 100.0) {
            return Err(format!(
                "shares rise from more than 0% to 100%: \"{text}\" does not"
            ));
        }
        before = share;
        shares.push(share);
    }
    Ok(shares)
}

/// `01:00-05:00`, local time.
///
/// # Errors
/// A message.
pub fn window(text: &str) -> Result<Window, String> {
    let wrong = || format!("\"{text}\" is no window: write 01:00-05:00");
    let (from, to) = text.trim().split_once('-').ok_or_else(wrong)?;
    let minute = |text: &str| {
        let (hours, minutes) = text.trim().split_once(':')?;
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        let hours = Some(hours).filter(|hours| *hours <= 24)?;
        let minute = hours * 60 + minutes;
        (minutes < 60 && minute <= 24 * 60).then_some(minute)
    };
    let from = minute(from).ok_or_else(wrong)?;
    let to = minute(to).ok_or_else(wrong)?;
    // midnight has two names
    match from % (24 * 60) == to % (24 * 60) && (from, to) != (0, 24 * 60) {
        true => Err(format!("\"{text}\" is empty")),
        false => Ok(Window { from, to }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, seconds) in [
            ("2s", 2),
            ("30m", 1800),
            ("24h", DAY),
            ("7d", 7 * DAY),
            ("1h30m", 5400),
            (" 90s ", 90),
        ] {
            assert_eq!(duration(text), Ok(seconds), "{text}");
        }
        for text in [
            "",
            "30",
            "h",
            "1x",
            "-1h",
            "1.5h",
            "99999999999999999999d",
            "400d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_rise() {
        assert_eq!(shares("10%, 50 %,100"), Ok(vec![10.0, 50.0, 100.0]));
        for text in ["", "50%,10%", "0%", "101%", "10%,10%", "x", "NaN"] {
            assert!(shares(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let settings = Rollouts {
            waves: vec![0.5, 33.3, 100.0],
            canary_soak: DAY,
            soak: 5400,
            watch: 61,
            return_within: 0,
            window: Some(window("22:30-05:00").unwrap()),
            ..Rollouts::default()
        };
        for settings in [settings, Rollouts::default()] {
            let text = toml::to_string(&settings).unwrap();
            assert_eq!(
                toml::from_str::<Rollouts>(&text).unwrap(),
                settings,
                "{text}"
            );
        }
    }

    #[test]
    fn a_window_may_span_midnight() {
        let night = window("22:30-05:00").unwrap();
        for (minute, expected) in [
            (0, true),
            (299, true),
            (300, false),
            (1349, false),
            (1350, true),
        ] {
            assert_eq!(night.has(minute), expected, "{minute}");
        }
        assert_eq!(night.to_string(), "22:30-05:00");
        assert!(window("01:00-24:00").unwrap().has(1439));
        for text in [
            "",
            "1-5",
            "25:00-26:00",
            "01:60-02:00",
            "01:00-01:00",
            "24:00-00:00",
            "65535:0-1:00",
        ] {
            assert!(window(text).is_err(), "{text}");
        }
    }
}
