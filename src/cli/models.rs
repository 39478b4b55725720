//! `espgate models`: manages product lines.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use http::header::{IF_MATCH, IF_NONE_MATCH};

use super::args::{Global, Json};
use super::client::{Client, Reply, segment};
use super::failure::{Failure, Outcome};
use super::output::{known, print_json, print_line, print_table};
use super::table::Table;
use crate::api::OpenEnum;
use crate::api::models::{Change, List};
use crate::store::registry;

const SEE_LIST: &str = "see `espgate models list`";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List all models
    List(Json),
    /// Register a model
    Add {
        /// Model code: 1 to 50 of a-z, 0-9 and _
        code: String,
        /// When to activate uploaded firmware
        #[arg(long, value_enum, default_value = "on-upload")]
        activate: Activate,
        #[command(flatten)]
        json: Json,
    },
    /// Change when uploaded firmware is activated
    Set {
        /// Model code
        code: String,
        /// When to activate uploaded firmware
        #[arg(long, value_enum)]
        activate: Activate,
        #[command(flatten)]
        json: Json,
    },
    /// Stop serving new firmware to the devices of a model
    Hold {
        /// Model code
        code: String,
        #[command(flatten)]
        json: Json,
    },
    /// Resume serving the active firmware
    Unhold {
        /// Model code
        code: String,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Activate {
    /// Immediately
    OnUpload,
    /// By a rollout that the upload starts; a model's first build immediately
    Rollout,
    /// Only by `espgate firmware activate`
    Manual,
}

impl Activate {
    /// Nothing else changes.
    fn change(self) -> Change {
        let activate = match self {
            Self::OnUpload => registry::Activate::OnUpload,
            Self::Rollout => registry::Activate::Rollout,
            Self::Manual => registry::Activate::Manual,
        };
        Change {
            activate: Some(activate),
            held: None,
        }
    }
}

/// Nothing else changes.
fn held(held: bool) -> Change {
    Change {
        activate: None,
        held: Some(held),
    }
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let client = Client::connect(global)?;
    match command {
        Command::List(json) => list(&client, json)?,
        Command::Add {
            code,
            activate,
            json,
        } => {
            let answer = client
                .put(format!("/api/models/{}", segment(&code)))
                .header(IF_NONE_MATCH, "*")
                .json(&activate.change())
                .doing(format!("add model {code}"))
                .advice("use another code, or `espgate models set`")
                .send()?;
            done(&answer, json, &format!("added model {code}"))?;
        }
        Command::Set {
            code,
            activate,
            json,
        } => {
            let answer = change(&client, &code, activate.change())?;
            done(&answer, json, &format!("changed model {code}"))?;
        }
        Command::Hold { code, json } => {
            let answer = change(&client, &code, held(true))?;
            done(
                &answer,
                json,
                &format!("held model {code}: its devices get no new firmware"),
            )?;
        }
        Command::Unhold { code, json } => {
            let answer = change(&client, &code, held(false))?;
            done(&answer, json, &format!("resumed model {code}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn change(client: &Client, code: &str, change: Change) -> Result<Reply, Failure> {
    client
        .put(format!("/api/models/{}", segment(code)))
        .header(IF_MATCH, "*")
        .json(&change)
        .doing(format!("change model {code}"))
        .advice(SEE_LIST)
        .send()
}

fn done(answer: &Reply, json: Json, line: &str) -> Result<(), Failure> {
    match json.json {
        true => print_json(answer),
        false => print_line(line),
    }
}

fn list(client: &Client, json: Json) -> Result<(), Failure> {
    let answer = client.get("/api/models").doing("list models").send()?;
    if json.json {
        return print_json(&answer);
    }
    let models = answer.read::<List>()?.models;
    let mut table = Table::new(&["CODE", "ACTIVE", "STATE", "ACTIVATE", "DEVICES"], &[0]);
    for model in &models {
        let uploads = match &model.activate {
            OpenEnum::Known(registry::Activate::OnUpload) => String::from("on upload"),
            OpenEnum::Known(registry::Activate::Rollout) => String::from("rollout"),
            OpenEnum::Known(registry::Activate::Manual) => String::from("manual"),
            OpenEnum::Unknown(word) => word.clone(),
        };
        table.row([
            model.code.clone(),
            known(&model.active),
            model.state.clone(),
            uploads,
            model.devices.to_string(),
        ]);
    }
    print_table(
        &table,
        models.is_empty(),
        "no models; add one with `espgate models add CODE`",
    )
}
