//! `espgate crashes`: which bug hurts most, and what was decided about it.

mod explain;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use http::StatusCode;

use super::args::{Global, Json};
use super::client::{Client, Reply, segment};
use super::coredumps::moment_in_time;
use super::failure::{Failure, Outcome};
use super::output::{known, moment, print_json, print_line, print_table};
use super::table::Table;
use crate::api::crashes::{Change, Detail, List, Merge, Moved, Recompute, Recomputed, Split};

const SEE_LIST: &str = "see `espgate crashes list`";
/// Groups that are listed unless told otherwise.
const DEFAULT_LIMIT: u16 = 100;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List crash groups: one line for each bug, across devices and builds
    ///
    /// Regressed and new ones first, then by number of devices; resolved and ignored
    /// ones last.
    List(ListArgs),
    /// Show a crash group: builds, devices, stored dumps
    Show {
        /// Crash id, such as c7k2fq
        id: String,
        #[command(flatten)]
        json: Json,
    },
    /// Mark a crash as resolved
    ///
    /// Builds that are stored now may still have it. A crash in a build that is
    /// uploaded later opens the group again, as `regressed`.
    Resolve {
        /// Crash id
        id: String,
        /// Build with the fix, or `next` for the next upload
        #[arg(long = "in", value_name = "BUILD", default_value = "next")]
        in_build: String,
        #[command(flatten)]
        json: Json,
    },
    /// Ignore a crash: it is counted, and last in the list
    Ignore {
        /// Crash id
        id: String,
        /// Until so many more (100x), so many days later (10d), or a crash in this build
        /// [default: for good]
        #[arg(long, value_name = "100x|10d|BUILD")]
        until: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Open a resolved or ignored crash again
    Reopen {
        /// Crash id
        id: String,
        #[command(flatten)]
        json: Json,
    },
    /// Write a note to a crash; an empty text removes it
    Note {
        /// Crash id
        id: String,
        /// The note
        text: String,
        #[command(flatten)]
        json: Json,
    },
    /// Merge a crash into another one: they are the same bug
    Merge {
        /// Crash id
        id: String,
        /// Crash that it becomes a part of
        into: String,
        #[command(flatten)]
        json: Json,
    },
    /// Show how the signature of a dump comes about: each frame, and what decided
    Explain {
        /// Coredump id
        dump: String,
        #[command(flatten)]
        json: Json,
    },
    /// Make the signatures of all stored reports anew
    ///
    /// The daemon does so by itself after an upgrade or a change of `[crashes]`.
    Recompute {
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Split the dumps that are like DUMP from a crash: they are another bug
    Split {
        /// Crash id
        id: String,
        /// Coredump id
        dump: String,
        #[command(flatten)]
        json: Json,
    },
}

/// States to list.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Open,
    Regressed,
    Resolved,
    Ignored,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Regressed => "regressed",
            Self::Resolved => "resolved",
            Self::Ignored => "ignored",
        }
    }
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only of this model
    #[arg(long, value_name = "CODE")]
    model: Option<String>,
    /// Only in these states, separated by commas
    #[arg(long, value_name = "STATES", value_enum, value_delimiter = ',')]
    state: Vec<State>,
    /// Only if seen since this time, such as 2026-02-11T14:30:00Z
    #[arg(long, value_name = "TIME", value_parser = moment_in_time)]
    since: Option<String>,
    /// Only if seen in this build: a version, or 8 digits of its id
    #[arg(long, value_name = "BUILD")]
    build: Option<String>,
    /// Only if seen on this device
    #[arg(long, value_name = "KEY")]
    device: Option<String>,
    /// Show at most N
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    pub(super) json: Json,
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let client = Client::connect(global)?;
    match command {
        Command::List(args) => list(&client, &args)?,
        Command::Show { id, json } => show::run(&client, &id, json.json)?,
        Command::Resolve { id, in_build, json } => {
            let change = Change {
                state: Some(String::from("resolved")),
                in_build: Some(in_build),
                ..Change::default()
            };
            let since = match change.in_build.as_deref() {
                Some("next") | None => String::from("a build that is uploaded from now on"),
                Some(build) => format!("build {build} or a later one"),
            };
            let reply = put(&client, &id, &change, "resolve")?;
            done(&reply, json, |group| {
                let id = &group.id;
                format!("crash {id} is resolved; it opens again if it is seen in {since}")
            })?;
        }
        Command::Ignore { id, until, json } => {
            let change = Change {
                state: Some(String::from("ignored")),
                until,
                ..Change::default()
            };
            let reply = put(&client, &id, &change, "ignore")?;
            done(&reply, json, |group| match &group.until {
                Some(until) => format!(
                    "crash {} is ignored until {}",
                    group.id,
                    show::in_short(until)
                ),
                None => format!("crash {} is ignored", group.id),
            })?;
        }
        Command::Reopen { id, json } => {
            let change = Change {
                state: Some(String::from("open")),
                ..Change::default()
            };
            let reply = put(&client, &id, &change, "reopen")?;
            done(&reply, json, |group| format!("crash {} is open", group.id))?;
        }
        Command::Note { id, text, json } => {
            let change = Change {
                note: Some(text),
                ..Change::default()
            };
            let reply = put(&client, &id, &change, "write a note to")?;
            done(&reply, json, |group| {
                format!("wrote the note of crash {}", group.id)
            })?;
        }
        Command::Merge { id, into, json } => {
            let reply = client
                .post(format!("/api/crashes/{}/merge", segment(&id)))
                .json(&Merge { into })
                .doing(format!("merge crash {id}"))
                .advice(SEE_LIST)
                .send()?;
            done(&reply, json, |group| {
                format!("crash {id} is a part of {} now", group.id)
            })?;
        }
        Command::Explain { dump, json } => explain::run(&client, &dump, json.json)?,
        Command::Recompute { dry_run, json } => recompute(&client, dry_run, json.json)?,
        Command::Split { id, dump, json } => {
            let reply = client
                .post(format!("/api/crashes/{}/split", segment(&id)))
                .json(&Split { coredump: dump })
                .doing(format!("split crash {id}"))
                .advice(SEE_LIST)
                .send()?;
            done(&reply, json, |group| {
                format!("crash {} was split from {id}", group.id)
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn put(client: &Client, id: &str, change: &Change, doing: &str) -> Result<Reply, Failure> {
    client
        .put(format!("/api/crashes/{}", segment(id)))
        .json(change)
        .doing(format!("{doing} crash {id}"))
        .advice(SEE_LIST)
        .send()
}

fn done(reply: &Reply, json: Json, words: impl FnOnce(&Detail) -> String) -> Result<(), Failure> {
    match json.json {
        true => print_json(reply),
        false => print_line(&words(&reply.read()?)),
    }
}

/// The group with this id, or the one that it was merged into.
fn group(client: &Client, id: &str) -> Result<Reply, Failure> {
    let ask = |id: &str| {
        let call = client.get(format!("/api/crashes/{}", segment(id)));
        call.doing(format!("show crash {id}")).advice(SEE_LIST)
    };
    let reply = ask(id).ask()?;
    match reply.status {
        StatusCode::MOVED_PERMANENTLY => {
            let Moved { redirect, .. } = reply.read()?;
            ask(&redirect).send()
        }
        StatusCode::OK => Ok(reply),
        _ => ask(id).send(),
    }
}

fn list(client: &Client, args: &ListArgs) -> Result<(), Failure> {
    let mut path = format!("/api/crashes?limit={}", args.limit);
    let states: Vec<&str> = args.state.iter().map(|state| state.as_str()).collect();
    let states = Some(states.join(",")).filter(|states| !states.is_empty());
    let filters = [
        ("model", &args.model),
        ("state", &states),
        ("since", &args.since),
        ("build", &args.build),
        ("device", &args.device),
    ];
    let mut is_filtered = false;
    for (name, value) in filters {
        if let Some(value) = value {
            is_filtered = true;
            path.push_str(&format!("&{name}={}", segment(value)));
        }
    }
    let answer = client.get(path).doing("list crashes").slow().send()?;
    if args.json.json {
        return print_json(&answer);
    }
    let list: List = answer.read()?;
    let heading = [
        "ID",
        "STATE",
        "DEVICES",
        "COUNT",
        "BUILDS",
        "LAST SEEN (UTC)",
        "CRASH",
    ];
    let mut table = Table::new(&heading, &[0]).with_last_below();
    for crash in &list.crashes {
        table.row([
            crash.id.clone(),
            crash.state.to_string(),
            crash.devices.to_string(),
            crash.occurrences.to_string(),
            crash.builds.to_string(),
            moment(&crash.last_seen)
                .get(..16)
                .unwrap_or_default()
                .to_owned(),
            match &crash.model {
                Some(model) if args.model.is_none() => format!("{model}: {}", crash.signature),
                _ => known(&Some(&crash.signature)),
            },
        ]);
    }
    let nothing = match is_filtered {
        true => "no matching crashes",
        false => "no crashes",
    };
    print_table(&table, list.crashes.is_empty(), nothing)?;
    match list.next_cursor {
        Some(_) => print_line(&format!("more than {}: use filters or --limit", args.limit)),
        None => Ok(()),
    }
}

fn recompute(client: &Client, dry_run: bool, json: bool) -> Result<(), Failure> {
    let call = client
        .post("/api/crashes/recompute")
        .json(&Recompute { dry_run });
    let answer = call.doing("make signatures anew").slow().send()?;
    if json {
        return print_json(&answer);
    }
    let changes: Recomputed = answer.read()?;
    for group in &changes.split {
        print_line(&format!("{} split from {}", group.id, group.from))?;
    }
    for group in &changes.merged {
        print_line(&format!("{} merged into {}", group.id, group.into))?;
    }
    for group in &changes.renamed {
        print_line(&format!("{}: {} -> {}", group.id, group.before, group.now))?;
    }
    let verb = if dry_run { "would change" } else { "changed" };
    print_line(&format!(
        "{} reports {verb}: {} crash groups split, {} merged, {} renamed",
        changes.reports,
        changes.split.len(),
        changes.merged.len(),
        changes.renamed.len()
    ))
}
