//! What a terminal program put before every line: time stamps, quotes, names.
//!
//! A prefix is known by its shape (`12:34:56.789 -> ` is `d:d:d.d -> `) and is
//! taken off once that shape came again and again in this log: a time that only
//! one line begins with belongs to the line.

use std::collections::VecDeque;

use super::frame::Frames;

/// The shapes that lines of one log began with.
#[derive(Default)]
pub(super) struct Prefixes {
    recent: VecDeque<Stamps>,
    /// Of a log whose beginning was looked at: what its lines begin with.
    learned: Option<u64>,
    frames: Frames,
}

/// The prefixes that a line may begin with, the longer one first: length and
/// shape.
type Stamps = [Option<(usize, u64)>; 2];

impl Prefixes {
    /// Learns from lines of a log in which a panic may be.
    pub(super) fn learn_panics<'a>(&mut self, lines: impl Iterator<Item = &'a str> + Clone) {
        self.frames.learn(lines);
    }

    /// Learns from the lines at the beginning of a log.
    pub(super) fn learn<'a>(&mut self, lines: impl Iterator<Item = &'a str>) {
        let mut counts: Vec<(u64, usize)> = Vec::new();
        let mut all = 0;
        for line in lines.take(MOST_SAMPLES) {
            all += 1;
            for (_, shape) in stamps(line).into_iter().flatten() {
                match counts.iter_mut().find(|(known, _)| *known == shape) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((shape, 1)),
                }
            }
        }
        // of equal ones the first, which is the longer
        let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
        self.learned = most
            .filter(|(_, count)| *count >= 2 && count * 3 >= all)
            .map(|(shape, _)| shape);
    }

    /// How many bytes of `line` are not its own.
    pub(super) fn length(&mut self, line: &str) -> usize {
        let stamps = stamps(line);
        let is_known = |(_, shape): &(usize, u64)| {
            let has = |stamps: &&Stamps| stamps.iter().flatten().any(|(_, known)| known == shape);
            let same = self.recent.iter().filter(has).count();
            self.learned == Some(*shape) || same >= 3 && same * 3 >= self.recent.len()
        };
        let known = stamps.into_iter().flatten().find(is_known);
        self.recent.push_back(stamps);
        if self.recent.len() > WINDOW {
            self.recent.pop_front();
        }
        let known = known.map_or(0, |(length, _)| length);
        known.max(self.frames.length(line))
    }
}

/// The prefixes that `line` may begin with: with the sender's name, and without.
fn stamps(line: &str) -> Stamps {
    let Some(rest) = stamp(line) else {
        return [None; 2];
    };
    let of = |rest: &str| {
        let length = line.len() - rest.len();
        Some((length, shape(line.get(..length)?)))
    };
    [
        sender(rest).and_then(|rest| of(arrow(rest))),
        of(arrow(rest)),
    ]
}

/// What follows the times and marks that `line` begins with.
fn stamp(line: &str) -> Option<&str> {
    let first = line.bytes().next()?;
    if !matches!(first, b'0'..=b'9' | b'[' | b'>' | b'|' | b'A'..=b'W' | b'a'..=b'z') {
        return None;
    }
    let mut rest = line;
    let mut told = false;
    for _ in 0..MOST_PIECES {
        let named = || (!told).then(|| named(rest).or_else(|| numbered(rest)))?;
        let time = || bracket(rest).or_else(|| time(rest)).or_else(|| epoch(rest));
        let after = quote(rest).or_else(time).or_else(named);
        match after {
            Some(after) => {
                rest = after;
                told = true;
            }
            None => match date(rest) {
                Some(after) => rest = after,
                None => break,
            },
        }
    }
    told.then_some(rest)
}

/// `name-1  | `, as Docker Compose puts before lines.
fn named(text: &str) -> Option<&str> {
    let (name, rest) = text.split_once(' ')?;
    let is_name = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let rest = rest.trim_start().strip_prefix('|')?;
    (is_name && name.len() <= 64).then(|| rest.strip_prefix(' ').unwrap_or(rest))
}

/// `12: `, `1234 -> `: numbers of lines, milliseconds.
fn numbered(text: &str) -> Option<&str> {
    let (_, rest) = digits(text, 1, 7)?;
    [": ", " -> ", " | "]
        .iter()
        .find_map(|sign| rest.strip_prefix(sign))
        .or_else(|| matches!(rest, ":" | " ->" | " |").then_some(""))
}

/// `> ` and `| `, as mail and tables put before lines.
fn quote(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(['>', '|'])?;
    rest.strip_prefix(' ')
        .or_else(|| rest.starts_with('>').then_some(rest))
        .or_else(|| rest.is_empty().then_some(rest))
}

/// `[12:34:56.789] `: digits with what dates and times have between them.
fn bracket(text: &str) -> Option<&str> {
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    let inside = inside.trim();
    let is_part = |c: char| c.is_ascii_digit() || ":.,-+/ TZ_APM".contains(c);
    let is_float = |word: &str| {
        let parts = word.split_once('.');
        parts.is_some_and(|(a, b)| is_digits(a) && b.len() >= 3 && is_digits(b))
    };
    let is_word = |word: &str| {
        word.chars().all(is_part) || WEEKDAYS.contains(&word) || MONTHS.contains(&word)
    };
    let is_time = inside.len() <= 40
        && inside.split(' ').all(is_word)
        && (inside
            .split([' ', 'T', '_'])
            .any(|word| time(word.trim_start_matches('+')).is_some())
            || inside.split_whitespace().all(is_float) && !inside.is_empty());
    is_time.then(|| rest.trim_start_matches([' ', '\t']))
}

/// `2026-01-31 `, `2026-01-31T`, `31.01.2026 `, `01/31/2026, `, `Jan 31 `, `Sat `.
fn date(text: &str) -> Option<&str> {
    let word = |names: &[&'static str]| names.iter().find_map(|name| text.strip_prefix(*name));
    if let Some(rest) = word(&WEEKDAYS) {
        return rest.strip_prefix([' ', ',']).map(str::trim_start);
    }
    if let Some(rest) = word(&MONTHS) {
        let rest = rest.strip_prefix(' ')?.trim_start();
        let (day, rest) = digits(rest, 1, 2)?;
        let rest = rest.strip_prefix([' ', ','])?.trim_start();
        let year = digits(rest, 4, 4).and_then(|(_, rest)| rest.strip_prefix(' '));
        return (!day.is_empty()).then(|| year.unwrap_or(rest));
    }
    let (first, rest) = digits(text, 1, 4)?;
    let sign = rest.chars().next().filter(|c| "-./".contains(*c))?;
    let (second, rest) = digits(rest.strip_prefix(sign)?, 1, 2)?;
    let (third, rest) = digits(rest.strip_prefix(sign)?, 1, 4)?;
    let is_date = (first.len() == 4 || third.len() == 4 || sign == '/') && !second.is_empty();
    let rest = rest.strip_prefix(',').unwrap_or(rest);
    is_date.then_some(())?;
    rest.strip_prefix(['T', ' ', '_', '\t'])
        .map(str::trim_start)
}

/// `12:34:56`, with a fraction, a zone, AM or PM behind it.
fn time(text: &str) -> Option<&str> {
    let (_, rest) = digits(text, 1, 2)?;
    let (_, rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
    let (_, rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
    let fraction = rest
        .strip_prefix(['.', ',', ':'])
        .and_then(|rest| digits(rest, 1, 9))
        .map(|(_, rest)| rest);
    let rest = fraction.unwrap_or(rest);
    // Zephyr's microseconds
    let rest = rest
        .strip_prefix(',')
        .and_then(|rest| digits(rest, 3, 3))
        .map_or(rest, |(_, rest)| rest);
    let zone = rest.strip_prefix('Z').or_else(|| {
        let (_, rest) = digits(rest.strip_prefix(['+', '-'])?, 2, 4)?;
        let minutes = rest.strip_prefix(':').and_then(|rest| digits(rest, 2, 2));
        Some(minutes.map_or(rest, |(_, rest)| rest))
    });
    let rest = zone.unwrap_or(rest);
    let half = [" AM", " PM", " am", " pm"]
        .iter()
        .find_map(|half| rest.strip_prefix(half));
    let rest = half.unwrap_or(rest);
    match rest.strip_prefix([' ', '\t']) {
        Some(behind) => Some(behind),
        None if rest.starts_with(|c: char| c.is_ascii_alphanumeric()) && fraction.is_none() => None,
        None => Some(rest),
    }
}

/// `1767225600.123456 `, seconds since 1970.
fn epoch(text: &str) -> Option<&str> {
    let (_, rest) = digits(text, 10, 10)?;
    let (_, rest) = digits(rest.strip_prefix('.')?, 3, 9)?;
    rest.strip_prefix(' ')
}

/// `host process[123]: ` and `host process: ` behind a time, as in journals.
fn sender(text: &str) -> Option<&str> {
    let (host, rest) = text.split_once(' ')?;
    let (process, rest) = rest
        .split_once(": ")
        .or_else(|| Some((rest.strip_suffix(':')?, "")))?;
    let is_word = |word: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./@[]".contains(c);
        !word.is_empty() && word.len() <= 64 && word.chars().all(plain)
    };
    let named = process.ends_with(']') && process.contains('[');
    let is_host = host.starts_with(|c: char| c.is_ascii_alphabetic()) && !LEVELS.contains(&host);
    let plain = process.starts_with(|c: char| c.is_ascii_lowercase());
    ((named || plain) && is_host && is_word(host) && is_word(process)).then_some(rest)
}

/// What stands between a stamp and the line.
fn arrow(text: &str) -> &str {
    let trimmed = text.trim_start();
    for sign in ["->", "=>", ">", "|", "-", "RX:", "RX <-", "<-"] {
        if let Some(rest) = trimmed.strip_prefix(sign) {
            if rest.is_empty() {
                return rest;
            }
            if let Some(rest) = rest.strip_prefix([' ', '\t']) {
                return rest;
            }
        }
    }
    trimmed
}

/// At least `least` and at most `most` digits, and what follows them.
fn digits(text: &str, least: usize, most: usize) -> Option<(&str, &str)> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    (least..=most)
        .contains(&count)
        .then(|| text.split_at(count))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
}

/// The text with every run of digits as one, as a number (FNV-1a).
fn shape(prefix: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut in_number = false;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for byte in prefix.trim_end().bytes() {
        match byte {
            b'0'..=b'9' if in_number => {}
            b'0'..=b'9' => add(b'0'),
            b' ' | b'\t' => {}
            _ => add(byte),
        }
        in_number = byte.is_ascii_digit();
    }
    hash | 1
}

const WINDOW: usize = 24;
const MOST_SAMPLES: usize = 400;
const MOST_PIECES: usize = 6;
const LEVELS: [&str; 5] = ["E", "W", "I", "D", "V"];
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// One of every kind that is claimed.
    pub(in crate::console) const KINDS: &[&str] = &[
        "12:34:56.789 -> ",
        "12:34:56.789 > ",
        "[12:34:56]",
        "[12:34:56] ",
        "[12:34:56.789]",
        "[12:34:56.789] ",
        "[00:00:07.250,000] ",
        "2026-01-31 12:34:56 ",
        "2026-01-31 12:34:56.789 ",
        "2026-01-31T12:34:56.789012Z ",
        "2026-01-31T12:34:56+0200 gw espgate[812]: ",
        "Jan 31 12:34:56 gate-1 ser2net[77]: ",
        "[2026-01-31 12:34:56.789] ",
        "[2026-01-31T12:34:56.789] ",
        "[Sat Jan 31 12:34:56.789 2026] ",
        "[12.345678 0.000012] ",
        "1767225600.123456 ",
        "31.01.2026 12:34:56 ",
        "01/31/2026 12:34:56 PM ",
        "> ",
        ">> ",
        "> > ",
        "| ",
        "> 12:34:56.789 -> ",
        "12:34:56,789 | ",
        "[+00:00:12.345] ",
        "Jan 31 12:34:56 gate-1 console: ",
        "monitor-1  | ",
        "17: ",
        "12345 -> ",
    ];

    #[test]
    fn a_prefix_of_every_kind_is_taken_off_once_it_was_repeated() {
        for kind in KINDS {
            let mut prefixes = Prefixes::default();
            for line in ["I (30) boot: a", "Connecting", "3fc94a30: 0x0", "AQID"] {
                let whole = format!("{kind}{line}");
                prefixes.length(&whole);
            }
            for line in [
                "Guru Meditation Error: Core",
                "AAECAwQ=",
                "12: 34",
                "A0 : 0x1",
            ] {
                let whole = format!("{kind}{line}");
                assert_eq!(whole.get(prefixes.length(&whole)..), Some(line), "{kind}");
            }
        }
    }

    #[test]
    fn what_a_line_begins_with_by_itself_stays() {
        let mut prefixes = Prefixes::default();
        for line in [
            "12:34:56 is the time",
            "I (12) wifi: up",
            "3fc94a30: 0x42001640 0x00000000",
            "40380000: 0x42001640 0x00000000",
            "12:34:56.789 -> once",
        ] {
            assert_eq!(prefixes.length(line), 0, "{line}");
        }
        let lines = ["ets Jul 29 2019 12:21:46", "rst:0x1", "[0;32mI (1) a: b"];
        for line in lines.iter().cycle().take(30) {
            assert_eq!(prefixes.length(line), 0, "{line}");
        }
    }

    #[test]
    fn a_short_log_is_learned_from_its_beginning() {
        let lines = [
            "09:00:00.001 -> Guru",
            "09:00:00.002 ->",
            "09:00:00.002 -> x",
        ];
        let mut prefixes = Prefixes::default();
        prefixes.learn(lines.into_iter());
        assert_eq!(prefixes.length(lines[0]), 16);
        assert_eq!(prefixes.length(lines[1]), 15);
    }
}
