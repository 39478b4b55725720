//! Parses text to [`Config`] and reports unknown keys, wrong types and invalid
//! values, each with its line.

use serde::{Deserialize, Deserializer};
use toml::de::{DeTable, DeValue};

use super::problem::line_of;
use super::{AuthMode, Config, Problem};
use crate::signature::check_entry;

/// Maximum number of reported type errors; parsing restarts after each.
const MAX_WRONG: usize = 50;

/// Maximum number of names in each list of `[crashes]`.
const MAX_ENTRIES: usize = 1000;

/// Largest limit of a firmware bundle's size.
pub const MAX_BUNDLE_BYTES: u64 = 1 << 32;

/// Most registrations by a fleet token in an hour: one in a millisecond.
const MAX_PER_HOUR: u32 = 3_600_000;

/// A configuration that parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub config: Config,
    /// Keys that mean nothing here: typos, or a newer version's.
    pub unknown: Vec<Problem>,
}

/// Reads a configuration file's text.
///
/// # Errors
/// All faults that make it impossible to run with it. Unknown keys are not
/// among them; they are listed in [`Loaded::unknown`].
pub fn parse(text: &str) -> Result<Loaded, Vec<Problem>> {
    let fault = |error: &toml::de::Error| {
        vec![Problem::new(
            line_of(text, error.span()),
            "",
            error.message().trim(),
        )]
    };
    let places = DeTable::parse(text).map_err(|error| fault(&error))?;
    // Reading ends at the first value that is no such value. It is noted and
    // taken out, so that one look tells all of them.
    let mut rest = places.clone();
    let mut wrong = Vec::new();
    let (config, paths) = loop {
        let mut paths = Vec::new();
        let deserializer = toml::Deserializer::from(rest.clone());
        let read = serde_ignored::deserialize(deserializer, |path| paths.push(path.to_string()));
        match read {
            Ok(config) => break (config, paths),
            Err(error) => {
                let error: toml::de::Error = error;
                let key = error.span().and_then(|at| take_out(rest.get_mut(), &at));
                wrong.push(Problem::new(
                    line_of(text, error.span()),
                    key.as_deref().unwrap_or_default(),
                    error.message().trim(),
                ));
                if key.is_none() || wrong.len() == MAX_WRONG {
                    return Err(wrong);
                }
            }
        }
    };
    // serde_ignored marks optional values with a `?` of their own
    let paths = paths.iter().map(|path| path.replace(".?", ""));
    let unknown: Vec<Problem> = paths
        .map(|path| {
            let line = line_of(text, span_of(places.get_ref(), &path));
            Problem::new(line, &path, "unknown key")
        })
        .collect();
    if !wrong.is_empty() {
        wrong.extend(unknown);
        wrong.sort_by_key(|fault| fault.line);
        return Err(wrong);
    }
    let faults = impossible_values(&config, |key| line_of(text, span_of(places.get_ref(), key)));
    if faults.is_empty() {
        Ok(Loaded { config, unknown })
    } else {
        Err(faults)
    }
}

/// The line of a key of a file that parses; `None` if it is not in the file.
pub fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    line_of(text, span_of(table.get_ref(), key))
}

/// An empty text stands for "not given".
pub(super) fn empty_is_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    match String::deserialize(deserializer)?.as_str() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

/// Removes the entry whose value holds `at`, the innermost one; its dotted key.
fn take_out(table: &mut DeTable<'_>, at: &std::ops::Range<usize>) -> Option<String> {
    let holds = |span: std::ops::Range<usize>| span.start <= at.start && at.end <= span.end;
    let tables_hold = |value: &DeValue<'_>| match value {
        // A table's span may be that of its heading only.
        DeValue::Table(_) => true,
        DeValue::Array(items) => items.iter().any(|item| item.get_ref().is_table()),
        _ => false,
    };
    for (name, value) in table.iter_mut() {
        let name = name.get_ref();
        let inner = match value.get_mut() {
            DeValue::Table(inner) => take_out(inner, at),
            DeValue::Array(items) => items.iter_mut().enumerate().find_map(|(index, item)| {
                let DeValue::Table(inner) = item.get_mut() else {
                    return None;
                };
                Some(format!("{index}.{}", take_out(inner, at)?))
            }),
            _ => None,
        };
        if let Some(inner) = inner {
            return Some(format!("{name}.{inner}"));
        }
    }
    let found = table.iter().find_map(|(name, value)| {
        let exact = value.span() == *at || !tables_hold(value.get_ref());
        (exact && (holds(value.span()) || holds(name.span()))).then(|| name.clone())
    })?;
    table.remove(&found);
    Some(found.get_ref().to_string())
}

fn span_of(table: &DeTable<'_>, path: &str) -> Option<std::ops::Range<usize>> {
    let (key, rest) = path.split_once('.').unwrap_or((path, ""));
    let (name, value) = table.get_key_value(key)?;
    let mut value = value.get_ref();
    let mut rest = rest;
    while let DeValue::Array(items) = value {
        let (index, deeper) = rest.split_once('.').unwrap_or((rest, ""));
        let Some(item) = index.parse().ok().and_then(|index: usize| items.get(index)) else {
            break;
        };
        value = item.get_ref();
        rest = deeper;
    }
    match value {
        DeValue::Table(inner) if !rest.is_empty() => span_of(inner, rest).or(Some(name.span())),
        _ => Some(name.span()),
    }
}

fn impossible_values(config: &Config, line: impl Fn(&str) -> Option<usize>) -> Vec<Problem> {
    let mut faults = Vec::new();
    let mut fault = |key: &str, message: &str| {
        faults.push(Problem::new(line(key), key, message));
    };
    if config.http.listen.is_empty() {
        fault("http.listen", "at least one address required");
    }
    if !config.http.public_url.is_empty() && !is_https_url(&config.http.public_url) {
        fault("http.public_url", "must be https://host[:port]");
    }
    for (key, value) in [
        ("http.max_connections", config.http.max_connections),
        (
            "http.max_connections_per_address",
            config.http.max_connections_per_address,
        ),
        (
            "coredumps.keep_per_device",
            config.coredumps.keep_per_device,
        ),
        (
            "coredumps.keep_last_of_crash",
            config.coredumps.keep_last_of_crash,
        ),
        ("firmware.keep_versions", config.firmware.keep_versions),
    ] {
        if value == 0 {
            fault(key, "must be at least 1");
        }
    }
    if !(1024..=64 * 1024 * 1024).contains(&config.coredumps.max_upload_bytes) {
        fault("coredumps.max_upload_bytes", "must be 1024 to 67108864");
    }
    if !(64 * 1024..=MAX_BUNDLE_BYTES).contains(&config.firmware.max_bundle_bytes) {
        fault("firmware.max_bundle_bytes", "must be 65536 to 4294967296");
    }
    if config.auth.fleet.per_hour > MAX_PER_HOUR {
        fault("auth.fleet.per_hour", "must be 0 to 3600000");
    }
    let rollouts = &config.rollouts;
    for (key, value) in [
        ("rollouts.canary", rollouts.canary),
        ("rollouts.parallel", rollouts.parallel),
        ("rollouts.max_downloads", rollouts.max_downloads),
    ] {
        if value == 0 {
            fault(key, "must be at least 1");
        }
    }
    if config.tls.cert.is_some() != config.tls.key.is_some() {
        fault("tls.cert", "cert and key must be set together");
    }
    if config.tls.ca_cert.is_some() != config.tls.ca_key.is_some() {
        fault("tls.ca_cert", "ca_cert and ca_key must be set together");
    }
    if config.auth.pipeline == AuthMode::Open
        && !config.http.listen.iter().all(|a| a.ip().is_loopback())
    {
        fault(
            "auth.pipeline",
            "\"open\" is only allowed if every listen address is loopback",
        );
    }
    for name in &config.tls.names {
        if !super::is_certificate_name(name) {
            let message = format!("{name:?} is neither a DNS name nor an IP address");
            fault("tls.names", &message);
        }
    }
    for (key, entries) in [
        ("crashes.skip", &config.crashes.skip),
        ("crashes.prefix", &config.crashes.prefix),
        ("crashes.base", &config.crashes.base),
    ] {
        if entries.len() > MAX_ENTRIES {
            fault(key, "at most 1000 names");
        }
        for entry in entries {
            if let Err(why) = check_entry(entry) {
                fault(key, &format!("{entry:?}: {why}"));
            }
        }
    }
    for (index, port) in config.serial.port.iter().enumerate() {
        let key = |name: &str| format!("serial.port.{index}.{name}");
        if port.path.is_some() == port.matching.is_some() {
            fault(&key("path"), "set either path or match");
        }
        if let Some(matching) = &port.matching
            && *matching == super::PortMatch::default()
        {
            fault(
                &key("match"),
                "at least one of usb_serial, vid, pid, place required",
            );
        }
        // 1200 baud makes USB CDC boards restart into their bootloader.
        if port.baud == 1200 || !(300..=4_000_000).contains(&port.baud) {
            fault(&key("baud"), "must be 300 to 4000000, and not 1200");
        }
    }
    faults
}

fn is_https_url(url: &str) -> bool {
    url.strip_prefix("https://").is_some_and(|authority| {
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        !authority.is_empty()
            && authority
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULT_TEXT, Quantity, RecordLimit};

    #[test]
    fn an_empty_file_is_the_default() {
        let loaded = parse("").unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.unknown.is_empty());
    }

    #[test]
    fn the_printed_default_is_the_default() {
        let loaded = parse(DEFAULT_TEXT).unwrap();
        assert_eq!(loaded.config, Config::default());
        assert_eq!(loaded.unknown, []);
    }

    #[test]
    fn every_commented_example_of_the_printed_default_is_possible() {
        let text: String = DEFAULT_TEXT
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .map(|line| format!("{line}\n"))
            .collect();
        let loaded = parse(&text).unwrap();
        assert_eq!(loaded.unknown, []);
        assert_eq!(loaded.config.serial.port.len(), 2);
    }

    #[test]
    fn unknown_keys_are_listed_with_their_lines() {
        let loaded =
            parse("[http]\nlistenn = 1\n\n[[serial.port]]\npath = \"/dev/x\"\nboud = 1\n").unwrap();
        let faults: Vec<_> = loaded.unknown.iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "line 2: http.listenn: unknown key",
                "line 6: serial.port.0.boud: unknown key"
            ]
        );
    }

    #[test]
    fn impossible_values_name_line_and_key() {
        for (text, fault) in [
            ("[http\n", "line 1: "),
            ("\n[http]\nlisten = [\"x\"]\n", "line 3: http.listen: "),
            ("[http]\nlisten = []\n", "line 2: http.listen: "),
            (
                "[http]\npublic_url = \"https://a/$(x)\"\n",
                "line 2: http.public_url: ",
            ),
            ("[auth]\npipeline = \"open\"\n", "line 2: auth.pipeline: "),
            (
                "[auth.fleet]\nper_hour = 4000000\n",
                "line 2: auth.fleet.per_hour: ",
            ),
            ("[tls]\ncert = \"x\"\n", "line 2: tls.cert: "),
            ("[tls]\nnames = [\"a b\"]\n", "line 2: tls.names: "),
            ("[coredumps]\nmax_total = \"101%\"\n", "line 2: "),
            (
                "[crashes]\nskip = [\"*\"]\n",
                "line 2: crashes.skip: \"*\": ",
            ),
            ("\n[crashes]\nbase = [\"\"]\n", "line 3: crashes.base: "),
            (
                "[[serial.port]]\nbaud = 1200\npath=\"/dev/x\"\n",
                "line 2: serial.port.0.baud: ",
            ),
            ("[[serial.port]]\ndevice_key = \"a b\"\n", "line 2: "),
            (
                "[coredumps]\nmin_free = -1\n",
                "line 2: coredumps.min_free: ",
            ),
        ] {
            let faults = parse(text).unwrap_err();
            assert!(
                faults[0].to_string().starts_with(fault),
                "{text}: {faults:?}"
            );
        }
    }

    #[test]
    fn all_wrong_values_and_unknown_keys_are_told_at_once() {
        let text = "data_dir = 5\n[http]\nlisten = [\"127.0.0.1:0\", \"x\"]\nlistenn = 1\n[auth]\ndevices = \"opne\"\n\
                    [[serial.port]]\npath = \"/dev/x\"\nlines = \"maybe\"\n[[serial.port]]\nmatch = { vid = \"a\" }\n[tls]\nnames = 3\n[firmware]\nkeep_versions = -1\n";
        let faults = parse(text).unwrap_err();
        let found: Vec<_> = faults
            .iter()
            .map(|fault| format!("{} {}", fault.line.unwrap(), fault.key))
            .collect();
        assert_eq!(
            found,
            [
                "1 data_dir",
                "3 http.listen",
                "4 http.listenn",
                "6 auth.devices",
                "9 serial.port.0.lines",
                "11 serial.port.1.match.vid",
                "13 tls.names",
                "15 firmware.keep_versions"
            ]
        );
        assert_eq!(parse("http = 3\n").unwrap_err()[0].key, "http");
        assert_eq!(parse("serial = { port = 3 }\n").unwrap_err().len(), 1);
    }

    #[test]
    fn amounts_are_bytes_or_percent() {
        let loaded = parse(
            "[coredumps]\nmax_total = 1000\nmin_free = \"7%\"\n[tls]\nmax_record_bytes = 0\n",
        )
        .unwrap();
        assert_eq!(loaded.config.coredumps.max_total, Quantity::Bytes(1000));
        assert_eq!(loaded.config.coredumps.min_free.of(1000), 70);
        assert_eq!(loaded.config.tls.max_record_bytes, RecordLimit::Maximum);
    }
}
