//! `espgate coredumps`: list, show, export, delete, decode again.

mod show;

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::args::{Global, Json};
use super::client::{Client, segment};
use super::failure::{Failure, Outcome};
use super::output::{known, print_json, print_line, print_table};
use super::progress::StatusLine;
use super::table::Table;
use crate::api::coredumps::{List, Queued};
use crate::api::status::Status;

const SEE_LIST: &str = "see `espgate coredumps list`";
/// Dumps that are listed unless told otherwise.
const DEFAULT_LIMIT: u16 = 100;
/// How often progress is updated on a terminal.
const PULSE: Duration = Duration::from_millis(300);
/// Updates without progress before waiting ends: a minute.
const MAX_LOOKS: u32 = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List coredumps, newest first
    List(ListArgs),
    /// Show the decoded report of a coredump
    Show {
        /// Coredump id
        id: String,
        #[command(flatten)]
        json: Json,
    },
    /// Export a coredump as a ZIP for developers
    ///
    /// The ZIP contains the dump as received and as ELF, the report, the console
    /// log, the firmware's ELF if available, and instructions for GDB.
    Export {
        /// Coredump id
        id: String,
        /// File to write [default: coredump-<ID>.zip]; `-` is standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Delete a coredump and its report
    Delete {
        /// Coredump id
        id: String,
    },
    /// Decode a coredump again, or all of them
    Redecode {
        /// Coredump id
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// All stored coredumps
        #[arg(long, conflicts_with = "id")]
        all: bool,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only of this device
    #[arg(long, value_name = "KEY")]
    device: Option<String>,
    /// Only of this model
    #[arg(long, value_name = "CODE")]
    model: Option<String>,
    /// Only of this crash group
    #[arg(long, value_name = "ID")]
    crash: Option<String>,
    /// Only since this time, such as 2026-02-11T14:30:00Z
    #[arg(long, value_name = "TIME", value_parser = moment_in_time)]
    since: Option<String>,
    /// Show at most N
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Continue an earlier list (printed at its end)
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
        Command::Show { id, json } => show::run(&client, &id, json.json)?,
        Command::Export { id, output } => export(&client, &id, output)?,
        Command::Delete { id } => {
            client
                .delete(format!("/api/coredumps/{}", segment(&id)))
                .doing(format!("delete coredump {id}"))
                .advice(SEE_LIST)
                .send()?;
            print_line(&format!("deleted coredump {id}"))?;
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
    let answer = client.get(path).doing("list coredumps").slow().send()?;
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
        .then(|| crate::clock::wall().year());
    for dump in &list.coredumps {
        let sidecar = &dump.sidecar;
        table.row([
            sidecar.id.clone(),
            show::uploaded_in_short(dump, year),
            sidecar.device_key.clone(),
            known(&sidecar.firmware_version),
            sidecar.verdict.clone(),
            sidecar.decode.to_string(),
            known(&sidecar.place.as_ref().or(sidecar.panic_reason.as_ref())),
        ]);
    }
    let nothing = match args.filter().next().is_some() || args.cursor.is_some() {
        true => "no matching coredumps",
        false => "no coredumps",
    };
    print_table(&table, list.coredumps.is_empty(), nothing)?;
    match list.next_cursor {
        None => Ok(()),
        Some(cursor) => print_line(&format!("more: {}", args.command_for(&cursor))),
    }
}

impl ListArgs {
    /// What restricts the list, as the API and the flags name it.
    fn filter(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let given = [
            ("device", &self.device),
            ("model", &self.model),
            ("crash", &self.crash),
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
pub(super) fn moment_in_time(text: &str) -> Result<String, &'static str> {
    match crate::clock::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("not a time such as 2026-02-11T14:30:00Z"),
    }
}

fn export(client: &Client, id: &str, output: Option<PathBuf>) -> Result<(), Failure> {
    let call = client
        .get(format!("/api/coredumps/{}/export", segment(id)))
        .doing(format!("export coredump {id}"))
        .advice(SEE_LIST)
        .slow();
    let output = output.unwrap_or_else(|| PathBuf::from(format!("coredump-{}.zip", plain(id))));
    if output.as_os_str() == "-" {
        call.stream(&mut io::stdout().lock(), None)?;
        return Ok(());
    }
    super::files::write_new(&output, |file: &mut File| {
        call.stream(file, Some("downloading"))
    })
    .with_context(|| format!("cannot export coredump {id}"))?;
    print_line(&format!("wrote {}", output.display()))
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
    let answer = call.slow().send()?;
    if json {
        return print_json(&answer);
    }
    if let Some(id) = id {
        return print_line(&format!(
            "decoding coredump {id} again; see `espgate coredumps show {id}`"
        ));
    }
    let Queued { queued } = answer.read()?;
    let is_done = watch(client, queued)?;
    print_line(&match queued {
        0 => String::from("no coredumps"),
        _ if is_done => format!("decoded {queued} coredumps again"),
        _ => format!("decoding {queued} coredumps again; see `espgate coredumps list`"),
    })
}

/// Shows progress on a terminal until all are decoded or a minute passes without
/// progress; true if all are decoded. The daemon decodes them in any case.
fn watch(client: &Client, queued: u64) -> Result<bool, Failure> {
    let mut stage = StatusLine::new();
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
