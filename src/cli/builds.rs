//! `espgate builds`: who runs what, and how it does.

use std::process::ExitCode;

use clap::Subcommand;

use super::args::{Global, Json};
use super::client::{Client, segment};
use super::failure::{Failure, Outcome};
use super::output::{known, moment, print, print_facts, print_json, print_line, print_table};
use super::table::{Table, WIDTH, folded};
use crate::api::builds::{Build, List};
use crate::printable::escaped;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List builds: devices that run them, hours, crashes
    List {
        /// Only of this model
        #[arg(long, value_name = "CODE")]
        model: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Show a build
    Show {
        /// At least 8 digits of the build id, or a version that only one build has
        build: String,
        #[command(flatten)]
        json: Json,
    },
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let client = Client::connect(global)?;
    match command {
        Command::List { model, json } => list(&client, model.as_deref(), json)?,
        Command::Show { build, json } => show(&client, &build, json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(client: &Client, model: Option<&str>, json: Json) -> Result<(), Failure> {
    let path = match model {
        Some(model) => format!("/api/builds?model={}", segment(model)),
        None => String::from("/api/builds"),
    };
    let answer = client.get(path).doing("list builds").send()?;
    if json.json {
        return print_json(&answer);
    }
    let builds = answer.read::<List>()?.builds;
    let mut table = Table::new(
        &[
            "BUILD",
            "MODEL",
            "VERSION",
            "DEVICES",
            "HOURS",
            "CRASHES",
            "NEW",
            "CRASH-FREE",
            "STATE",
        ],
        &[0],
    );
    for build in &builds {
        table.row([
            short(&build.build_id).to_owned(),
            build.model.clone(),
            build.name.clone(),
            devices_in_short(build),
            hours(build.device_hours),
            build.crashes.to_string(),
            build.groups.new.len().to_string(),
            percent(build),
            state(build).to_owned(),
        ]);
    }
    print_table(
        &table,
        builds.is_empty(),
        "no builds; upload firmware with `espgate firmware add FILE --model CODE`",
    )
}

fn show(client: &Client, name: &str, json: Json) -> Result<(), Failure> {
    let id = id_of(client, name)?;
    let answer = client
        .get(format!("/api/builds/{}", segment(&id)))
        .doing(format!("show build {name}"))
        .advice("see `espgate builds list`")
        .send()?;
    if json.json {
        return print_json(&answer);
    }
    let build: Build = answer.read()?;
    let heading = format!(
        "Build {} of {}: {}",
        short(&build.build_id),
        build.model,
        build.name
    );
    print(&format!("{}\n\n", folded(&escaped(&heading), WIDTH, 2)))?;
    print_facts(&facts(&build))?;
    if !build.groups.new.is_empty() {
        print_line("")?;
        let mut table = Table::new(&["CRASH", "NEW IN THIS BUILD"], &[0]);
        for group in &build.groups.new {
            table.row([&group.id, &group.signature]);
        }
        print_table(&table, false, "")?;
    }
    Ok(())
}

/// The id of the build that a version names, if only one has it; else what was given.
fn id_of(client: &Client, name: &str) -> Result<String, Failure> {
    let builds = client.get("/api/builds").doing("list builds").send()?;
    let builds = builds.read::<List>()?.builds;
    let mut named = builds
        .iter()
        .filter(|build| build.name == name || build.version == name);
    match (named.next(), named.next()) {
        (Some(build), None) => Ok(build.build_id.clone()),
        (Some(_), Some(_)) => {
            let named = builds
                .iter()
                .filter(|build| build.name == name || build.version == name);
            let ids: Vec<String> = named
                .map(|build| format!("{} ({})", short(&build.build_id), build.model))
                .collect();
            Err(Failure::Usage(format!(
                "several builds are called {name}: give one of {}",
                ids.join(", ")
            )))
        }
        (None, _) => Ok(name.to_owned()),
    }
}

fn facts(build: &Build) -> Vec<(&'static str, String)> {
    let uploaded = match &build.uploaded_by {
        Some(by) => format!("{} UTC by {by}", moment(&build.uploaded_at)),
        None => format!("{} UTC", moment(&build.uploaded_at)),
    };
    let blocked = build.blocked.as_ref().map(|block| {
        let why = block.why.as_deref().unwrap_or("no reason given");
        match (&block.by, &block.at) {
            (Some(by), Some(at)) => format!("{why} ({by}, {} UTC)", moment(at)),
            _ => why.to_owned(),
        }
    });
    let devices = &build.devices;
    let running = match devices.exact + devices.likely {
        0 => String::from("none known"),
        _ => format!("{} exact, {} likely", devices.exact, devices.likely),
    };
    let crashes = match (build.crashes, build.gateway_induced) {
        (0, _) => String::from("none"),
        (all, 0) => all.to_string(),
        (all, gateway) => format!("{all}, of these {gateway} caused by the gateway"),
    };
    let crash_free = build.crash_free.map(|_| {
        format!(
            "{} of {} devices, {} device-hours",
            percent(build),
            build.crash_free_devices,
            hours(build.device_hours)
        )
    });
    vec![
        ("Id", build.build_id.clone()),
        ("State", state(build).to_owned()),
        ("Blocked", known(&blocked)),
        ("Rollouts", build.rollouts.join(", ")),
        ("Uploaded", uploaded),
        ("Warnings", build.warnings.join("; ")),
        ("Devices", running),
        ("Device-hours", hours(build.device_hours)),
        ("Crashes", crashes),
        ("Dumps", build.dumps.to_string()),
        (
            "Groups",
            format!(
                "{} new, {} known",
                build.groups.new.len(),
                build.groups.known
            ),
        ),
        (
            "Crash-free",
            crash_free
                .unwrap_or_else(|| String::from("unknown: no device is known to have run it")),
        ),
    ]
}

fn state(build: &Build) -> &'static str {
    match (build.active, build.blocked.is_some()) {
        (true, true) => "active, blocked",
        (true, false) => "active",
        (false, true) => "blocked",
        (false, false) => "",
    }
}

/// `3` exact ones, or `3+2?` with two likely ones.
fn devices_in_short(build: &Build) -> String {
    match (build.devices.exact, build.devices.likely) {
        (exact, 0) => exact.to_string(),
        (exact, likely) => format!("{exact}+{likely}?"),
    }
}

fn hours(hours: f64) -> String {
    match hours < 10.0 {
        true => format!("{hours:.1}"),
        false => format!("{hours:.0}"),
    }
}

fn percent(build: &Build) -> String {
    let share = build.crash_free.map(|share| share * 100.0);
    // a single crash among very many is not 100 %
    share.map_or_else(String::new, |share| format!("{} %", share.floor()))
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_never_rounded_up() {
        for (share, expected) in [
            (None, ""),
            (Some(1.0), "100 %"),
            (Some(0.9999), "99 %"),
            (Some(0.0), "0 %"),
        ] {
            let build = Build {
                crash_free: share,
                ..Build::default()
            };
            assert_eq!(percent(&build), expected);
        }
    }
}
