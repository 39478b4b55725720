//! `espgate rollouts`: a build goes out in waves.

mod bar;
mod show;
mod start;
mod watch;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::args::{Global, Json};
use super::client::{Client, Reply, segment};
use super::confirm::{agreed, typed};
use super::failure::{Failure, Outcome};
use super::output::{moment, print, print_json, print_table};
use super::table::{Table, WIDTH, folded};
use crate::api::rollouts::{Command as Body, List, Rollout, Summary};
use crate::printable::escaped;

const SEE_LIST: &str = "see `espgate rollouts list`";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start giving a build to the devices of a model, a few at first
    ///
    /// What is not given is as `[rollouts]` of the configuration says. Durations are
    /// written 90s, 30m, 24h or 7d.
    Start(Box<start::StartArgs>),
    /// List rollouts, newest first
    List(Json),
    /// Show a rollout: what happened, waves, devices, decisions
    Show(ShowArgs),
    /// Offer the build to no more devices; those that have it keep it
    Pause(OneArgs),
    /// Go on after a pause; failures so far are accepted
    Resume(AskedArgs),
    /// Release the next wave now
    Release(AskedArgs),
    /// Stop for good: the build is blocked, and its devices go back
    Stop {
        /// Id, such as r7 [default: the one that runs]
        id: Option<String>,
        /// Why, for `espgate rollouts show` and the block of the build
        #[arg(long, value_name = "TEXT")]
        why: String,
        #[command(flatten)]
        json: Json,
    },
    /// Release all waves at once; `pause` takes it back for devices that have not begun
    Finish(AskedArgs),
    /// End a rollout of which no device was told yet
    Cancel(OneArgs),
}

#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// Id, such as r7 [default: the newest]
    id: Option<String>,
    /// Show all devices and the whole log
    #[arg(long)]
    all: bool,
    /// Show it again as it changes, until it ends
    #[arg(long, conflicts_with = "json")]
    pub(super) watch: bool,
    #[command(flatten)]
    pub(super) json: Json,
}

#[derive(Args, Debug)]
pub(super) struct OneArgs {
    /// Id, such as r7 [default: the one that runs]
    id: Option<String>,
    #[command(flatten)]
    json: Json,
}

#[derive(Args, Debug)]
pub(super) struct AskedArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let client = Client::connect(global)?;
    match command {
        Command::Start(args) => start::run(&client, *args)?,
        Command::List(json) => list(&client, json)?,
        Command::Show(args) => show(&client, &args)?,
        Command::Pause(args) => {
            let id = of(&client, args.id.as_deref())?;
            tell(&client, &id, "pause", None, args.json)?;
        }
        Command::Cancel(args) => {
            let id = of(&client, args.id.as_deref())?;
            tell(&client, &id, "cancel", None, args.json)?;
        }
        Command::Stop { id, why, json } => {
            let id = of(&client, id.as_deref())?;
            tell(&client, &id, "stop", Some(why), json)?;
        }
        Command::Resume(args) => {
            let rollout = asked_of(&client, &args)?;
            agreed(args.yes, &on_resume(&rollout))?;
            tell(&client, &rollout.summary.id, "resume", None, args.one.json)?;
        }
        Command::Release(args) => {
            let rollout = asked_of(&client, &args)?;
            agreed(args.yes, &on_release(&rollout))?;
            tell(&client, &rollout.summary.id, "release", None, args.one.json)?;
        }
        Command::Finish(args) => {
            let rollout = asked_of(&client, &args)?;
            let summary = &rollout.summary;
            let what = on_finish(summary);
            typed(args.yes, &what, "model", &summary.model)?;
            tell(&client, &summary.id, "finish", None, args.one.json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn all(client: &Client) -> Result<Vec<Summary>, Failure> {
    let answer = client.get("/api/rollouts").doing("list rollouts").send()?;
    Ok(answer.read::<List>()?.rollouts)
}

/// The id that was given, or that of the one that runs.
fn of(client: &Client, id: Option<&str>) -> Result<String, Failure> {
    match id {
        Some(id) => Ok(id.to_owned()),
        None => the_running_one(&all(client)?).map_err(Failure::of),
    }
}

/// The id of the only rollout that people can do something with.
fn the_running_one(rollouts: &[Summary]) -> Result<String, String> {
    let running = rollouts
        .iter()
        .filter(|one| one.ended_at.is_none() && one.state != "stopped");
    let running: Vec<&Summary> = running.collect();
    match running.as_slice() {
        [] => Err(format!("no rollout is running; {SEE_LIST}")),
        [one] => Ok(one.id.clone()),
        several => {
            let named = several.iter().map(|one| {
                let (id, model, build) = (&one.id, &one.model, &one.target_name);
                format!("{id} ({model} {build}, {})", one.state)
            });
            let named: Vec<String> = named.collect();
            Err(format!(
                "several rollouts are running: give one of {}",
                named.join(", ")
            ))
        }
    }
}

fn fetch(client: &Client, id: &str) -> Result<Reply, Failure> {
    client
        .get(format!("/api/rollouts/{}", segment(id)))
        .doing(format!("show rollout {id}"))
        .advice(SEE_LIST)
        .send()
}

/// The rollout that is about to be changed.
fn asked_of(client: &Client, args: &AskedArgs) -> Result<Rollout, Failure> {
    fetch(client, &of(client, args.one.id.as_deref())?)?.read()
}

fn on_resume(rollout: &Rollout) -> String {
    let Summary {
        id, target_name, ..
    } = &rollout.summary;
    let why = rollout.summary.why.as_deref().unwrap_or("no reason given");
    let failed = match rollout.summary.failed {
        0 => String::new(),
        1 => String::from(" 1 failed device no longer holds it up."),
        failed => format!(" {failed} failed devices no longer hold it up."),
    };
    format!("Rollout {id} is paused ({why}).{failed} Resuming offers {target_name} to more devices")
}

fn on_release(rollout: &Rollout) -> String {
    let summary = &rollout.summary;
    let next = rollout
        .waves
        .iter()
        .position(|wave| wave.released_at.is_none());
    let more = next.and_then(|next| {
        let wave = rollout.waves.get(next)?;
        Some((next + 1, wave.members.saturating_sub(summary.released)))
    });
    let (id, build, model) = (&summary.id, &summary.target_name, &summary.model);
    match more {
        Some((wave, 1)) => format!("Wave {wave} of {id}: 1 more device of {model} gets {build}"),
        Some((wave, more)) => {
            format!("Wave {wave} of {id}: {more} more devices of {model} get {build}")
        }
        None => format!("All waves of {id} are released"),
    }
}

fn on_finish(summary: &Summary) -> String {
    let rest = summary.devices.saturating_sub(summary.released);
    format!(
        "All waves of {} at once: {rest} more devices of {} get {}",
        summary.id, summary.model, summary.target_name
    )
}

fn tell(
    client: &Client,
    id: &str,
    what: &str,
    why: Option<String>,
    json: Json,
) -> Result<(), Failure> {
    let answer = client
        .post(format!("/api/rollouts/{}/{what}", segment(id)))
        .json(&Body { why })
        .doing(format!("{what} rollout {id}"))
        .advice(format!("see `espgate rollouts show {id}`"))
        .send()?;
    match json.json {
        true => print_json(&answer),
        false => say(&answer.read::<Rollout>()?.summary),
    }
}

/// How a rollout is, in its own words.
fn say(summary: &Summary) -> Result<(), Failure> {
    let text = format!("{} of {}: {}", summary.id, summary.model, summary.summary);
    print(&format!("{}\n", folded(&escaped(&text), WIDTH, 2)))
}

fn show(client: &Client, args: &ShowArgs) -> Result<(), Failure> {
    let newest = |rollouts: Vec<Summary>| rollouts.into_iter().next().map(|newest| newest.id);
    let id = match &args.id {
        Some(id) => id.clone(),
        None => newest(all(client)?).ok_or_else(|| {
            Failure::of("no rollouts; start one with `espgate rollouts start MODEL BUILD`")
        })?,
    };
    if args.watch {
        return watch::run(client, &id, args.all);
    }
    let answer = fetch(client, &id)?;
    match args.json.json {
        true => print_json(&answer),
        false => print(&show::screen(&answer.read()?, args.all)),
    }
}

fn list(client: &Client, json: Json) -> Result<(), Failure> {
    let answer = client.get("/api/rollouts").doing("list rollouts").send()?;
    if json.json {
        return print_json(&answer);
    }
    let rollouts = answer.read::<List>()?.rollouts;
    let mut table = Table::new(
        &[
            "ID", "MODEL", "BUILD", "BASE", "STATE", "RELEASED", "GOOD", "FAILED", "STARTED",
        ],
        &[0],
    );
    for one in &rollouts {
        table.row([
            one.id.clone(),
            one.model.clone(),
            one.target_name.clone(),
            one.base_name.clone(),
            one.state.clone(),
            format!("{} of {}", one.released, one.devices),
            (one.confirmed + one.presumed).to_string(),
            one.failed.to_string(),
            moment(&one.started_at),
        ]);
    }
    print_table(
        &table,
        rollouts.is_empty(),
        "no rollouts; start one with `espgate rollouts start MODEL BUILD`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_runs_need_not_be_named_unless_there_are_several() {
        let one = |id: &str, state: &str, ended: bool| Summary {
            id: id.to_owned(),
            model: String::from("lamp"),
            target_name: String::from("2.0"),
            state: state.to_owned(),
            ended_at: ended.then(|| String::from("t")),
            ..Summary::default()
        };
        let mut rollouts = vec![
            one("r3", "stopped", false),
            one("r2", "done", true),
            one("r1", "cancelled", true),
        ];
        assert!(the_running_one(&rollouts).is_err());
        rollouts.push(one("r4", "paused", false));
        assert_eq!(the_running_one(&rollouts), Ok(String::from("r4")));
        rollouts.push(one("r5", "canary", false));
        assert_eq!(
            the_running_one(&rollouts).unwrap_err(),
            "several rollouts are running: give one of r4 (lamp 2.0, paused), r5 (lamp 2.0, canary)"
        );
    }
}
