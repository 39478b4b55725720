//! What a person writes of a rollout: durations, shares, a window; and the defaults.

use crate::store::rollouts::{OnStop, Spec, Window};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// No duration is longer, seconds.
const MAX: u64 = 366 * DAY;

/// What is used where nothing is said.
pub fn defaults() -> Spec {
    Spec {
        waves: vec![10.0, 50.0, 100.0],
        canary_soak: DAY,
        soak: 2 * HOUR,
        watch: 7 * DAY,
        return_within: HOUR / 2,
        parallel: 2,
        window: None,
        gate: false,
        confirmed: false,
        on_stop: OnStop::Back,
    }
}

/// Canaries if nothing is said.
pub const CANARIES: usize = 2;

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

/// As [`duration`] reads it, in its two largest units.
pub fn shown(seconds: u64) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut text = String::new();
    let mut shown = 0;
    for (unit, name) in units {
        let count = rest / unit;
        rest %= unit;
        if count > 0 && shown < 2 {
            text.push_str(&format!("{count}{name}"));
            shown += 1;
        }
    }
    match text.is_empty() {
        true => String::from("0s"),
        false => text,
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
    match from == to {
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
        for (seconds, text) in [(0, "0s"), (90, "1m30s"), (DAY, "1d"), (DAY + 61, "1d1m")] {
            assert_eq!(shown(seconds), text);
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
            "65535:0-1:00",
        ] {
            assert!(window(text).is_err(), "{text}");
        }
    }
}
