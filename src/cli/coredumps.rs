//! `espgate coredumps`: list, show, export, delete, read again.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use http::StatusCode;
use time::OffsetDateTime;

use super::answer::{known, moment, print, print_facts, print_json, print_table, say};
use super::args::{Global, Json};
use super::client::{Answer, Client, segment};
use super::failure::{Failure, Outcome};
use super::progress::Stage;
use super::style::coloured;
use super::table::{Table, WIDTH, folded};
use crate::api::coredumps::{Coredump, List, Queued};
use crate::api::status::Status;
use crate::decode::{self, Report};
use crate::printable::escaped;
use crate::store::coredumps::{DecodeState, REBUILT};

const SEE_LIST: &str = "see `espgate coredumps list`";
/// Dumps that are listed unless told otherwise.
const DEFAULT_LIMIT: u16 = 100;
/// How often somebody at a terminal is told how far it is.
const PULSE: Duration = Duration::from_millis(300);
/// Looks without news after which nobody waits any longer: a minute.
const MAX_LOOKS: u32 = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The stored dumps, newest first
    List(ListArgs),
    /// The decoded report of a dump
    Show {
        id: String,
        #[command(flatten)]
        json: Json,
    },
    /// One archive with everything a developer needs
    ///
    /// A ZIP with the dump as received and as an ELF, the report, the console
    /// log, the firmware's ELF if it is here, and how to open it in GDB.
    Export {
        id: String,
        /// Where to write it; default coredump-<ID>.zip, `-` is standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Remove a dump and what was made from it
    Delete { id: String },
    /// Decode a dump again, or all that are not decoded with their own ELF
    Redecode {
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// All stored dumps
        #[arg(long, conflicts_with = "id")]
        all: bool,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Of this device only
    #[arg(long, value_name = "KEY")]
    device: Option<String>,
    /// Of this model only
    #[arg(long, value_name = "CODE")]
    model: Option<String>,
    /// Since this moment, such as 2026-02-11T14:30:00Z
    #[arg(long, value_name = "TIME", value_parser = moment_in_time)]
    since: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Go on where another list ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    pub(super) json: Json,
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let client = Client::connect(global)?;
    match command {
        Command::List(args) => list(&client, &args)?,
        Command::Show { id, json } => show(&client, &id, json.json)?,
        Command::Export { id, output } => export(&client, &id, output)?,
        Command::Delete { id } => {
            client
                .delete(format!("/api/coredumps/{}", segment(&id)))
                .doing(format!("delete coredump {id}"))
                .advice(SEE_LIST)
                .send()?;
            say(&format!("coredump {id} is deleted"))?;
        }
        Command::Redecode { id, json, .. } => redecode(&client, id.as_deref(), json.json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(client: &Client, args: &ListArgs) -> Result<(), Failure> {
    let mut path = format!("/api/coredumps?limit={}", args.limit);
    for (name, value) in args
        .filter()
        .chain(args.cursor.iter().map(|at| ("cursor", at)))
    {
        path.push_str(&format!("&{name}={}", segment(value)));
    }
    let answer = client.get(path).doing("list coredumps").patient().send()?;
    if args.json.json {
        return print_json(&answer);
    }
    let list: List = answer.read()?;
    let mut table = Table::new(
        &[
            "ID",
            "WHEN (UTC)",
            "DEVICE",
            "VERSION",
            "VERDICT",
            "DECODE",
            "PANIC",
        ],
        &[0, 1, 2],
    );
    // What a program reads is whole; a person knows what year it is.
    let year = io::stdout()
        .is_terminal()
        .then(|| OffsetDateTime::now_utc().year());
    for dump in &list.coredumps {
        let sidecar = &dump.sidecar;
        table.row([
            sidecar.id.clone(),
            uploaded_in_short(dump, year),
            sidecar.device_key.clone(),
            known(&sidecar.firmware_version),
            sidecar.verdict.clone(),
            sidecar.decode.to_string(),
            known(&sidecar.panic_reason),
        ]);
    }
    let nothing = match args.filter().next().is_some() || args.cursor.is_some() {
        true => "no stored coredump matches",
        false => "no coredumps are stored",
    };
    print_table(&table, list.coredumps.is_empty(), nothing)?;
    match list.next_cursor {
        None => Ok(()),
        Some(cursor) => say(&format!("older ones: {}", args.command_for(&cursor))),
    }
}

impl ListArgs {
    /// What restricts the list, as the API and the flags name it.
    fn filter(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let given = [
            ("device", &self.device),
            ("model", &self.model),
            ("since", &self.since),
        ];
        let given = given.into_iter();
        given.filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }

    /// The command that goes on where this list ended.
    fn command_for(&self, cursor: &str) -> String {
        let mut command = String::from("espgate coredumps list");
        for (name, value) in self.filter() {
            command.push_str(&format!(" --{name} {value}"));
        }
        if self.limit != DEFAULT_LIMIT {
            command.push_str(&format!(" --limit {}", self.limit));
        }
        command.push_str(&format!(" --cursor {cursor}"));
        command
    }
}

/// A moment as the API takes it.
fn moment_in_time(text: &str) -> Result<String, &'static str> {
    match crate::clock::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("it is not a moment such as 2026-02-11T14:30:00Z (RFC 3339)"),
    }
}

/// When a dump came; `~` marks a time by a clock that was not synchronised and
/// that nothing is known about since.
fn uploaded(dump: &Coredump) -> String {
    let at = moment(&dump.sidecar.uploaded_at);
    match (&dump.corrected_at, dump.sidecar.clock.as_deref()) {
        (Some(corrected), _) => moment(corrected),
        (None, Some("unsynced")) => format!("~{at}"),
        (None, _) => at,
    }
}

/// The same without seconds, for a table, and without the year if it is `year`.
fn uploaded_in_short(dump: &Coredump, year: Option<i32>) -> String {
    let at = uploaded(dump);
    let (mark, at) = match at.strip_prefix('~') {
        Some(at) => ("~", at),
        None => ("", at.as_str()),
    };
    let at = at.get(..16).unwrap_or(at);
    let this_year = year.map(|year| format!("{year:04}-"));
    let short = this_year.and_then(|year| at.strip_prefix(year.as_str()));
    format!("{mark}{}", short.unwrap_or(at))
}

fn show(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let path = format!("/api/coredumps/{}", segment(id));
    let doing = format!("show coredump {id}");
    let report = client.get(format!("{path}/report")).doing(&doing).ask()?;
    if report.status == StatusCode::OK {
        if json {
            return print_json(&report);
        }
        let dump: Coredump = client.get(path).doing(doing).send()?.read()?;
        let heading = folded(&escaped(&heading(&dump)), WIDTH, 2);
        print(&format!("{heading}\n\n"))?;
        print(&in_words(&report)?)?;
        return match failure(&dump) {
            Some(why) => say(&format!("this report is an earlier one: {why}")),
            None => Ok(()),
        };
    }
    // No report yet, or no such dump: the sidecar tells.
    let answer = client.get(path).doing(doing).advice(SEE_LIST).send()?;
    if json {
        return print_json(&answer);
    }
    let dump: Coredump = answer.read()?;
    facts(&dump)?;
    match failure(&dump) {
        Some(why) => say(&format!(
            "there is no report: {why}; `espgate coredumps redecode {id}` tries again"
        )),
        None => say("there is no report yet; the dump is being decoded"),
    }
}

/// Why a dump could not be decoded, if it was given up.
fn failure(dump: &Coredump) -> Option<String> {
    let why = known(&dump.sidecar.decoding.failure);
    (dump.sidecar.decode == DecodeState::Failed).then(|| format!("decoding failed: {why}"))
}

/// What the report does not tell: whose dump it is, and when it came how.
fn heading(dump: &Coredump) -> String {
    let sidecar = &dump.sidecar;
    let mut firmware = format!(
        "{} {}",
        known(&sidecar.model_code),
        known(&sidecar.firmware_version)
    );
    if firmware.trim().is_empty() {
        firmware = String::from("unknown firmware");
    }
    // A sidecar that was made anew from its dump can only guess the way.
    let way = match sidecar.identity.as_str() {
        REBUILT => String::new(),
        _ => format!(" by {}", sidecar.source),
    };
    format!(
        "Coredump {} of {} ({}), {} UTC{way}",
        sidecar.id,
        sidecar.device_key,
        firmware.trim(),
        uploaded(dump),
    )
}

/// The report as text, escaped; in colours on a terminal.
fn in_words(report: &Answer) -> Result<String, Failure> {
    let report: Report = report.read()?;
    Ok(decode::text::render(&report, coloured()))
}

fn facts(dump: &Coredump) -> Result<(), Failure> {
    let sidecar = &dump.sidecar;
    print_facts(&[
        ("id", sidecar.id.clone()),
        ("device", sidecar.device_key.clone()),
        ("model", known(&sidecar.model_code)),
        ("chip", known(&sidecar.chip)),
        ("version", known(&sidecar.firmware_version)),
        ("uploaded", uploaded(dump)),
        ("clock", known(&sidecar.clock)),
        ("source", sidecar.source.to_string()),
        ("file", dump.filename.clone()),
        ("size", sidecar.size.to_string()),
        ("format", known(&sidecar.format)),
        ("verdict", sidecar.verdict.clone()),
        ("problems", sidecar.problems.join(", ")),
        ("panic", known(&sidecar.panic_reason)),
        ("task", known(&sidecar.task)),
        ("app ELF", known(&sidecar.app_elf_sha256)),
        ("fingerprint", known(&sidecar.fingerprint)),
        ("decode", sidecar.decode.to_string()),
        ("failure", known(&sidecar.decoding.failure)),
    ])
}

fn export(client: &Client, id: &str, output: Option<PathBuf>) -> Result<(), Failure> {
    let call = client
        .get(format!("/api/coredumps/{}/export", segment(id)))
        .doing(format!("export coredump {id}"))
        .advice(SEE_LIST)
        .patient();
    let output = output.unwrap_or_else(|| PathBuf::from(format!("coredump-{}.zip", plain(id))));
    if output.as_os_str() == "-" {
        call.stream(&mut io::stdout().lock(), None)?;
        return Ok(());
    }
    super::files::write_new(&output, |file: &mut File| {
        call.stream(file, Some("receiving"))
    })
    .context("cannot export the coredump")?;
    say(&format!("{} is written", output.display()))
}

/// An id as a part of a file's name.
fn plain(id: &str) -> String {
    id.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn redecode(client: &Client, id: Option<&str>, json: bool) -> Result<(), Failure> {
    let call = match id {
        Some(id) => client
            .post(format!("/api/coredumps/{}/redecode", segment(id)))
            .doing(format!("decode coredump {id} again"))
            .advice(SEE_LIST),
        None => client
            .post("/api/coredumps/redecode")
            .doing("decode the coredumps again"),
    };
    let answer = call.patient().send()?;
    if json {
        return print_json(&answer);
    }
    if let Some(id) = id {
        return say(&format!(
            "coredump {id} is decoded again; `espgate coredumps show {id}` shows it"
        ));
    }
    let Queued { queued } = answer.read()?;
    let are = match watch(client, queued)? {
        true => "were decoded again",
        false => "are being decoded again; `espgate coredumps list` shows how far it is",
    };
    say(&match queued {
        0 => String::from("no coredumps are stored"),
        queued => format!("{queued} coredumps {are}"),
    })
}

/// Shows somebody at a terminal how many are done, until all are or it does not
/// go on; whether all were. The daemon works the same if nobody watches.
fn watch(client: &Client, queued: u64) -> Result<bool, Failure> {
    let mut stage = Stage::new();
    let mut looks = 0;
    let mut before = None;
    while stage.is_visible() && looks < MAX_LOOKS {
        let call = client.get("/api/status").doing("show the status");
        let status: Status = call.send()?.read()?;
        let left = status.counts.not_decoded_yet;
        if left == 0 {
            return Ok(true);
        }
        let done = queued.saturating_sub(left);
        stage.show(format!("decoding {done} of {queued}"));
        looks = if before == Some(left) { looks + 1 } else { 0 };
        before = Some(left);
        std::thread::sleep(PULSE);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::coredumps::sample;

    #[test]
    fn a_time_that_may_be_off_is_marked_until_the_right_one_is_known() {
        let mut dump = sample();
        dump.sidecar.uploaded_at = String::from("1970-01-01T00:01:00.000000Z");
        dump.sidecar.clock = Some(String::from("unsynced"));
        assert_eq!(uploaded(&dump), "~1970-01-01 00:01:00");
        assert_eq!(uploaded_in_short(&dump, Some(2026)), "~1970-01-01 00:01");
        dump.corrected_at = Some(String::from("2026-02-02T02:41:00.000000Z"));
        assert_eq!(uploaded_in_short(&dump, Some(2026)), "02-02 02:41");
        assert_eq!(uploaded_in_short(&dump, Some(2027)), "2026-02-02 02:41");
        assert_eq!(uploaded_in_short(&dump, None), "2026-02-02 02:41");
        dump.sidecar.clock = Some(String::from("synced"));
        assert_eq!(uploaded(&dump), "2026-02-02 02:41:00");
    }
}
