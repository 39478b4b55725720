//! `espgate ports`: serial ports.

mod read;
mod run;

use std::io;
use std::process::ExitCode;

use clap::Subcommand;

use super::args::{Global, Json};
use super::client::{Client, segment};
use super::failure::{Failure, Outcome};
use super::output::{
    bytes, known, moment, print, print_facts, print_json, print_line, print_table,
};
use super::port_users;
use super::table::{Table, cut};
use crate::api::ports::{LastCrash, List, PortStatus, Release, State};

pub(super) const SEE_LIST: &str = "see `espgate ports list`";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List ports, their boards and states
    List(Json),
    /// Read the coredump from a board's flash; resets the board
    Read {
        /// Port name, see `espgate ports list`
        port: String,
        /// Do not ask before resetting the board
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Show the latest console lines of a board
    Log {
        /// Port name, see `espgate ports list`
        port: String,
        /// Keep printing new lines
        #[arg(short, long)]
        follow: bool,
    },
    /// Listen on a port that is only seen, or was released
    Claim {
        /// Port name, see `espgate ports list`
        port: String,
    },
    /// Close a port for a while, so that other programs can use it
    Release {
        /// Port name, see `espgate ports list`
        port: String,
        /// How long, such as 90s, 10m or 2h [default: 10m]
        #[arg(long = "for", value_name = "TIME", value_parser = seconds, conflicts_with = "until_claimed")]
        time: Option<u64>,
        /// Until `espgate ports claim`
        #[arg(long)]
        until_claimed: bool,
    },
    /// Lend a port to a program, such as a flasher
    ///
    /// The daemon closes the port until the program ends. The program gets the
    /// port's path in ESPPORT and ESPTOOL_PORT, and in place of `{port}` in its
    /// arguments. Its exit status is passed on.
    Run {
        /// Port name, see `espgate ports list`
        port: String,
        /// Program and arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<String>,
    },
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let client = Client::connect(global)?;
    let path = |port: &str, what: &str| format!("/api/ports/{}/{what}", segment(port));
    match command {
        Command::List(json) => list(&client, json)?,
        Command::Read { port, yes, json } => read::run(&client, &port, yes, json)?,
        Command::Log { port, follow } => {
            let query = if follow { "log?follow=1" } else { "log" };
            let call = client.get(path(&port, query));
            let call = call
                .doing(format!("show the log of port {port}"))
                .advice(SEE_LIST);
            call.stream(&mut EscapeControls(io::stdout().lock()), None)?;
        }
        Command::Claim { port } => {
            let call = client.post(path(&port, "claim"));
            call.doing(format!("claim port {port}"))
                .advice(SEE_LIST)
                .send()?;
            print_line(&format!("claimed port {port}"))?;
        }
        Command::Release {
            port,
            time,
            until_claimed,
        } => {
            let call = client.post(path(&port, "release")).json(&Release {
                for_seconds: time,
                until_claimed,
            });
            call.doing(format!("release port {port}"))
                .advice(SEE_LIST)
                .send()?;
            let how_long = match (until_claimed, time) {
                (true, _) => String::from("until it is claimed"),
                (_, time) => format!("for {}", super::output::duration(time.unwrap_or(600))),
            };
            print_line(&format!("released port {port} {how_long}"))?;
        }
        Command::Run { port, command } => return run::run(&client, &port, &command),
    }
    Ok(ExitCode::SUCCESS)
}

/// `90s`, `10m`, `2h`, or seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (text.get(..at), 1),
        Some((at, 'm')) => (text.get(..at), 60),
        Some((at, 'h')) => (text.get(..at), 3600),
        _ => (Some(text), 1),
    };
    let number: Option<u64> = number.and_then(|number| number.parse().ok());
    number
        .and_then(|number| number.checked_mul(unit))
        .filter(|seconds| (1..=86400).contains(seconds))
        .ok_or_else(|| String::from("not a time such as 90s, 10m or 2h (at most 24h)"))
}

/// Makes control characters visible, but for line ends.
struct EscapeControls<W>(W);

impl<W: io::Write> io::Write for EscapeControls<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            let plain = text.strip_suffix('\n').unwrap_or(&text);
            self.0
                .write_all(crate::printable::escaped(plain).as_bytes())?;
            if plain.len() < text.len() {
                self.0.write_all(b"\n")?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn list(client: &Client, json: Json) -> Result<(), Failure> {
    let answer = client.get("/api/ports").doing("list the ports").send()?;
    if json.json {
        return print_json(&answer);
    }
    let ports = answer.read::<List>()?.ports;
    let mut table = Table::new(
        &[
            "PORT",
            "STATE",
            "BOARD",
            "ADAPTER",
            "VERSION",
            "BYTES",
            "DUMPS",
            "LAST DATA",
        ],
        &[0, 1, 7],
    );
    for port in &ports {
        let last = moment(&known(&port.last_data_at));
        table.row([
            port.name.clone(),
            port.state.to_string(),
            known(&port.device_key),
            known(&port.adapter),
            known(&port.firmware_version),
            bytes(port.bytes),
            port.dumps.to_string(),
            last.get(5..16).unwrap_or(&last).to_owned(),
        ]);
    }
    print_table(&table, ports.is_empty(), "no serial ports; plug in a board")?;
    for port in &ports {
        let said = details(port);
        if said.iter().any(|(_, value)| !value.is_empty()) {
            print("\n")?;
            print_line(&port.name)?;
            print_facts(&said)?;
        }
    }
    Ok(())
}

/// What a port's line has no room for.
fn details(port: &PortStatus) -> [(&'static str, String); 7] {
    let resets = port.resets.iter();
    let resets: Vec<String> = resets
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    let crash = |crash: &LastCrash| {
        let at = moment(&crash.at);
        format!("{} ({}) {at} UTC", crash.coredump_id, crash.verdict)
    };
    [
        ("  note", known(&port.note)),
        ("  used by", held_by(port).unwrap_or_default()),
        ("  mac", known(&port.mac)),
        ("  chip", known(&port.chip)),
        ("  resets", resets.join(", ")),
        ("  last crash", known(&port.last_crash.as_ref().map(crash))),
        ("  last line", cut(&known(&port.last_line), LINE)),
    ]
}

/// Who holds a port that is busy; looked up here, with the caller's rights,
/// since the daemon may not see other people's processes.
pub(super) fn held_by(port: &PortStatus) -> Option<String> {
    let busy = port.state == State::Busy;
    busy.then(|| port_users::of(&port.path))?
}

/// Columns of a board's line that are shown.
const LINE: usize = 64;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_release_lasts_as_long_as_asked_for() {
        for (text, expected) in [
            ("90s", Some(90)),
            ("10m", Some(600)),
            ("2h", Some(7200)),
            ("45", Some(45)),
            ("24h", Some(86400)),
            ("25h", None),
            ("0", None),
            ("m", None),
            ("ü", None),
        ] {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_port_shows_its_resets_its_last_crash_and_its_last_line() {
        let port = r#"{
            "resets": {"POWERON_RESET": 2, "SW_CPU_RESET": 7},
            "last_crash": {"at": "2026-02-11T14:30:00.1Z", "coredump_id": "0123456789ab", "verdict": "valid"},
            "last_line": "I (9) main: on", "note": null, "chip": null
        }"#;
        let port: PortStatus = serde_json::from_str(port).unwrap();
        let shown = details(&port).map(|(_, value)| value);
        assert_eq!(
            shown,
            [
                "",
                "",
                "",
                "",
                "POWERON_RESET 2, SW_CPU_RESET 7",
                "0123456789ab (valid) 2026-02-11 14:30:00 UTC",
                "I (9) main: on",
            ]
        );
    }

    #[test]
    fn a_port_of_another_release_is_shown_with_its_words() {
        let list = r#"{"ports": [{"name": "p", "state": "on-fire", "why": "odd", "heat": 99}]}"#;
        let list: List = serde_json::from_str(list).unwrap();
        let [port] = &list.ports[..] else {
            panic!("{list:?}")
        };
        assert_eq!((port.state.to_string(), port.bytes), ("on-fire".into(), 0));
        assert_eq!(known(&port.why), "odd");
    }

    #[test]
    fn what_a_board_prints_cannot_move_the_cursor() {
        let mut out = EscapeControls(Vec::new());
        out.write_all(b"a\x1b[2J\nb\r\n").unwrap();
        assert_eq!(out.0, b"a\\u{1b}[2J\nb\\r\n");
    }
}
