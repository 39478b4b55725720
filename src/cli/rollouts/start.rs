//! `espgate rollouts start`: says what will happen, asks, and starts.

use clap::{Args, ValueEnum};

use crate::api::rollouts::{Canary, Rollout, Start, Started};
use crate::cli::args::Json;
use crate::cli::client::{Client, Reply};
use crate::cli::confirm::{agreed, can_ask};
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_facts, print_json, print_line, print_table};
use crate::cli::table::{Table, WIDTH, folded};
use crate::config;
use crate::printable::escaped;

/// Canaries that are named on the screen.
const NAMED: usize = 10;

#[derive(Args, Debug)]
pub(in crate::cli) struct StartArgs {
    /// Model code
    model: String,
    /// Version, or digits of the build id
    build: String,
    /// How many canaries, or the keys of devices
    #[arg(long, value_name = "N|KEY,KEY")]
    canary: Option<String>,
    /// Rising shares of the devices, such as 10%,50%,100%
    #[arg(long, value_name = "SHARES", value_parser = checked(config::shares))]
    waves: Option<String>,
    /// How long canaries have to run the build
    #[arg(long, value_name = "TIME", value_parser = checked(config::duration))]
    canary_soak: Option<String>,
    /// How long other devices have to run it
    #[arg(long, value_name = "TIME", value_parser = checked(config::duration))]
    soak: Option<String>,
    /// How long the rules hold after the last wave
    #[arg(long, value_name = "TIME", value_parser = checked(config::duration))]
    watch: Option<String>,
    /// How soon a device has to be heard after it got the build
    #[arg(long, value_name = "TIME", value_parser = checked(config::duration))]
    return_within: Option<String>,
    /// Downloads at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    parallel: Option<u32>,
    /// When downloads may begin, such as 01:00-05:00, the gateway's local time
    #[arg(long, value_name = "FROM-TO", value_parser = checked(config::window))]
    window: Option<String>,
    /// Each wave after the canaries waits for `espgate rollouts release`
    #[arg(long)]
    gate: bool,
    /// Waves need devices that were heard again after their soak
    #[arg(long)]
    confirmed: bool,
    /// Whether devices that got a build which was stopped go back
    #[arg(long, value_enum)]
    on_stop: Option<OnStop>,
    /// Allow a build that the active one cannot replace again (`secure_version`)
    #[arg(long)]
    no_way_back: bool,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    json: Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnStop {
    /// They get the base again
    Back,
    /// They are offered nothing
    Stay,
}

/// A text that the daemon will understand, too.
fn checked<T>(
    parse: fn(&str) -> Result<T, String>,
) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static
where
    T: 'static,
{
    move |text| parse(text).map(|_| text.to_owned())
}

impl StartArgs {
    fn body(&self, dry_run: bool) -> Start {
        Start {
            model: self.model.clone(),
            build: self.build.clone(),
            canary: self.canary.clone().map(Canary::Text),
            waves: self.waves.clone(),
            canary_soak: self.canary_soak.clone(),
            soak: self.soak.clone(),
            watch: self.watch.clone(),
            return_within: self.return_within.clone(),
            parallel: self.parallel,
            window: self.window.clone(),
            gate: self.gate.then_some(true),
            confirmed: self.confirmed.then_some(true),
            on_stop: self.on_stop.map(|on_stop| {
                String::from(match on_stop {
                    OnStop::Back => "back",
                    OnStop::Stay => "stay",
                })
            }),
            no_way_back: self.no_way_back,
            dry_run,
        }
    }
}

pub(super) fn run(client: &Client, args: StartArgs) -> Result<(), Failure> {
    let json = args.json.json;
    if args.dry_run || !args.yes {
        let answer = post(client, &args, true)?;
        if args.dry_run && json {
            return print_json(&answer);
        }
        let planned: Started = answer.read()?;
        if args.dry_run || (!json && can_ask()) {
            print_plan(&planned)?;
        }
        if args.dry_run {
            return Ok(());
        }
        let (model, build) = (&args.model, &planned.rollout.summary.target_name);
        let devices = planned.rollout.members.len();
        agreed(
            false,
            &format!("Starting gives {build} to {devices} devices of {model} in waves"),
        )?;
    }
    let answer = post(client, &args, false)?;
    if json {
        return print_json(&answer);
    }
    let started: Started = answer.read()?;
    let summary = &started.rollout.summary;
    if args.yes {
        print_warnings(&started)?;
    }
    print_line(&format!(
        "started {} of {} {}; see `espgate rollouts show --watch`",
        summary.id, summary.model, summary.target_name
    ))
}

fn post(client: &Client, args: &StartArgs, dry_run: bool) -> Result<Reply, Failure> {
    client
        .post("/api/rollouts")
        .json(&args.body(dry_run))
        .doing(format!("start a rollout of {} {}", args.model, args.build))
        .advice(format!(
            "see `espgate rollouts list`, `espgate firmware list {0}` and `espgate devices list \
             --model {0}`",
            args.model
        ))
        .send()
}

fn print_plan(planned: &Started) -> Result<(), Failure> {
    let rollout = &planned.rollout;
    let summary = &rollout.summary;
    let heading = format!(
        "Rollout of {} {} (build {}) to {}",
        summary.model,
        summary.target_name,
        short(&summary.target),
        counted(rollout.members.len(), "device"),
    );
    print(&format!("{}\n\n", folded(&escaped(&heading), WIDTH, 2)))?;
    print_facts(&facts(rollout))?;
    print_line("")?;
    let mut table = Table::new(&["WAVE", "SHARE", "DEVICES", "IN ALL", "SOAK"], &[]);
    let mut before = 0;
    for (at, wave) in rollout.waves.iter().enumerate() {
        let (name, soak) = match at {
            0 => (String::from("canaries"), &rollout.settings.canary_soak),
            _ => ((at + 1).to_string(), &rollout.settings.soak),
        };
        let more = wave.members.saturating_sub(before);
        before = wave.members;
        table.row([
            name,
            share(wave.share),
            more.to_string(),
            before.to_string(),
            soak.clone(),
        ]);
    }
    print_table(&table, false, "")?;
    print_line("")?;
    print_warnings(planned)
}

fn print_warnings(started: &Started) -> Result<(), Failure> {
    for warning in &started.warnings {
        let line = format!("warning: {warning}");
        print(&format!("{}\n", folded(&escaped(&line), WIDTH, 2)))?;
    }
    Ok(())
}

fn facts(rollout: &Rollout) -> Vec<(&'static str, String)> {
    let (summary, settings) = (&rollout.summary, &rollout.settings);
    let base = &summary.base_name;
    let canaries = rollout.members.iter().filter(|member| member.canary);
    let canaries: Vec<&str> = canaries.map(|member| member.device.as_str()).collect();
    let mut named = canaries.get(..NAMED).unwrap_or(&canaries).join(", ");
    if canaries.len() > NAMED {
        named.push_str(&format!(" and {} more", canaries.len() - NAMED));
    }
    let downloads = match &settings.window {
        Some(window) => format!("{} at once, begun within {window}", settings.parallel),
        None => format!("{} at once, at any time", settings.parallel),
    };
    let next = match (settings.gate, settings.confirmed) {
        (true, _) => "by `espgate rollouts release`, once the wave before it is soaked",
        (false, true) => "once the wave before it is soaked and was heard again",
        (false, false) => "once the wave before it is soaked",
    };
    let stop = match settings.on_stop.as_str() {
        "stay" => String::from("the build is blocked; devices that got it keep it"),
        _ => format!("the build is blocked; devices that got it go back to {base}"),
    };
    vec![
        ("Base", format!("{base} (build {})", short(&summary.base))),
        ("Canaries", named),
        ("No part", no_part(rollout)),
        ("Next wave", String::from(next)),
        ("Downloads", downloads),
        ("After a stop", stop),
        (
            "At the end",
            format!(
                "watched for {}, then {} is active",
                settings.watch, summary.target_name
            ),
        ),
    ]
}

/// Devices that get nothing from it.
fn no_part(rollout: &Rollout) -> String {
    let states = [
        ("pinned", "pinned"),
        ("has-it", "run it already"),
        ("incompatible", "cannot run it"),
        ("retired", "retired"),
    ];
    let counts = states.iter().filter_map(|(state, words)| {
        let members = rollout.members.iter();
        let count = members.filter(|member| member.state == *state).count();
        (count > 0).then(|| format!("{count} {words}"))
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// `4 %`; tenths only where they matter.
pub(super) fn share(share: f64) -> String {
    match share < 10.0 && share.fract() > 0.05 {
        true => format!("{share:.1} %"),
        false => format!("{share:.0} %"),
    }
}

pub(super) fn counted(count: usize, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
