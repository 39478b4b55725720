//! `espgate devices list`: what each board runs, and whether it is well.

use std::io::{self, IsTerminal as _};

use clap::Args;

use crate::api::devices::{Device, List};
use crate::cli::args::Json;
use crate::cli::client::{Client, segment};
use crate::cli::failure::Failure;
use crate::cli::output::{known, moment, print_json, print_table};
use crate::cli::table::Table;
use crate::fleet::device_filter::time_span;

#[derive(Args, Debug)]
pub(in crate::cli) struct ListArgs {
    /// Only of this model
    #[arg(long, value_name = "CODE")]
    model: Option<String>,
    /// Only those that run this build: a version, or 8 digits of its id
    #[arg(long, value_name = "BUILD")]
    build: Option<String>,
    /// Only silent ones (with --looping: and looping ones)
    #[arg(long)]
    silent: bool,
    /// Only looping ones
    #[arg(long)]
    looping: bool,
    /// Only those without a token of their own
    #[arg(long)]
    no_token: bool,
    /// Only unregistered ones
    #[arg(long)]
    unregistered: bool,
    /// Only those not heard for this time, such as 7d, 12h or 30m, or never
    #[arg(long, value_name = "TIME", value_parser = span)]
    unseen_for: Option<String>,
    /// Only retired ones [default: of these only those that were heard since]
    #[arg(long)]
    retired: bool,
    #[command(flatten)]
    pub(in crate::cli) json: Json,
}

fn span(text: &str) -> Result<String, &'static str> {
    let is_span = time_span(text).is_some();
    is_span
        .then(|| text.to_owned())
        .ok_or("give a number with d, h, m or s, such as 7d")
}

impl ListArgs {
    fn path(&self) -> String {
        let yes = |is: bool| is.then_some("true");
        let asked = [
            ("model", self.model.as_deref()),
            ("build", self.build.as_deref()),
            ("silent", yes(self.silent)),
            ("looping", yes(self.looping)),
            ("no-token", yes(self.no_token)),
            ("unregistered", yes(self.unregistered)),
            ("unseen-for", self.unseen_for.as_deref()),
            ("retired", yes(self.retired)),
        ];
        let asked = asked
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let query: Vec<String> = asked
            .map(|(name, value)| format!("{name}={}", segment(value)))
            .collect();
        match query.is_empty() {
            true => String::from("/api/devices"),
            false => format!("/api/devices?{}", query.join("&")),
        }
    }
}

pub(super) fn run(client: &Client, args: &ListArgs) -> Result<(), Failure> {
    let path = args.path();
    let is_filtered = path.contains('?');
    let answer = client.get(path).doing("list devices").send()?;
    if args.json.json {
        return print_json(&answer);
    }
    let devices = answer.read::<List>()?.devices;
    let mut table = Table::new(
        &[
            "KEY",
            "MODEL",
            "NAME",
            "RUNS",
            "SEEN (UTC)",
            "BOOTS",
            "LAST CRASH",
            "STATE",
        ],
        &[0],
    );
    // what a program reads is whole; a person knows what year it is
    let year = io::stdout()
        .is_terminal()
        .then(|| crate::clock::wall().year());
    for device in &devices {
        table.row([
            device.device_key.clone(),
            known(&device.model),
            known(&device.name),
            runs(device),
            last_contact(device, year),
            device.boots_today.to_string(),
            last_crash(device),
            state(device),
        ]);
    }
    let nothing = match is_filtered {
        true => "no such devices",
        false => "no devices; register one with `espgate devices add KEY --model CODE`",
    };
    print_table(&table, devices.is_empty(), nothing)
}

/// The version, else digits of the build or of its ELF, and how sure that is.
pub(super) fn runs(device: &Device) -> String {
    let Some(running) = &device.running else {
        return String::new();
    };
    let short = |id: &String| id.get(..8).unwrap_or(id).to_owned();
    let build = running.version.clone();
    let build = build.or_else(|| running.build_id.as_ref().map(short));
    let build = build.or_else(|| Some(format!("ELF {}", short(running.app_elf_sha256.as_ref()?))));
    // what release 0.1 noted
    let certainty = running.certainty.as_ref();
    let certainty = certainty.map_or_else(|| String::from("likely"), ToString::to_string);
    format!("{} {certainty}", build.unwrap_or_default())
}

/// When it was heard, without seconds; without the year if it is `year`.
fn last_contact(device: &Device, year: Option<i32>) -> String {
    let at = moment(&known(&device.last_seen));
    let at = at.get(..16).unwrap_or(&at);
    let this_year = year.map(|year| format!("{year:04}-"));
    let short = this_year.and_then(|year| at.strip_prefix(year.as_str()));
    short.unwrap_or(at).to_owned()
}

/// The group of the last crash and its day.
fn last_crash(device: &Device) -> String {
    let crash = device.last_crash.as_ref();
    crash.map_or_else(String::new, |crash| {
        let day = crash.at.get(5..10).unwrap_or(&crash.at);
        format!("{} {day}", crash.crash)
    })
}

fn state(device: &Device) -> String {
    let pinned = device.pin.as_ref().map(|pin| format!("pinned {pin}"));
    let missing = match (device.registered, device.tokens.is_empty()) {
        (false, _) => Some("unregistered"),
        (true, true) => Some("no token"),
        (true, false) => None,
    };
    let heard = device.retired_heard_at.as_deref();
    let heard = heard.map(|at| format!("heard {}", at.get(5..10).unwrap_or(at)));
    let words = [
        device.state.clone(),
        heard,
        missing.map(str::to_owned),
        pinned,
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::devices::{LastCrash, Running};
    use crate::store::registry::activity::Certainty;

    #[test]
    fn a_device_is_one_line_of_what_matters() {
        let device = Device {
            running: Some(Running {
                version: None,
                build_id: Some("ab".repeat(32)),
                certainty: Some(Certainty::Exact.into()),
                ..Running::default()
            }),
            last_crash: Some(LastCrash {
                at: String::from("2026-02-11T14:30:00Z"),
                crash: String::from("c7k2fq"),
            }),
            last_seen: Some(String::from("2026-02-11T14:30:00Z")),
            state: Some(String::from("silent")),
            pin: Some(String::from("1.2")),
            ..Device::default()
        };
        assert_eq!(runs(&device), "abababab exact");
        assert_eq!(last_contact(&device, Some(2026)), "02-11 14:30");
        assert_eq!(last_contact(&device, Some(2027)), "2026-02-11 14:30");
        assert_eq!(last_crash(&device), "c7k2fq 02-11");
        assert_eq!(state(&device), "silent, unregistered, pinned 1.2");
    }
}
