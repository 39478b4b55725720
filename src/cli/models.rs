//! `espgate models`: product lines.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use http::header::{IF_MATCH, IF_NONE_MATCH};

use super::args::{Global, Json};
use super::client::{Answer, Client, segment};
use super::failure::{Failure, Outcome};
use super::output::{known, print_json, print_table, say};
use super::table::Table;
use crate::api::OpenEnum;
use crate::api::models::{Change, List};
use crate::store::registry;

const SEE_LIST: &str = "see `espgate models list`";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// All models
    List(Json),
    /// Register a model
    Add {
        /// 1 to 50 of a-z, 0-9 and _
        code: String,
        /// When an uploaded version becomes active
        #[arg(long, value_enum, default_value = "on-upload")]
        activate: Activate,
        #[command(flatten)]
        json: Json,
    },
    /// Change when an uploaded version becomes active
    Set {
        code: String,
        #[arg(long, value_enum)]
        activate: Activate,
        #[command(flatten)]
        json: Json,
    },
    /// Serve nothing new to the devices of a model
    Hold {
        code: String,
        #[command(flatten)]
        json: Json,
    },
    /// Serve what is active again
    Unhold {
        code: String,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Activate {
    /// At once
    OnUpload,
    /// By `espgate firmware activate`
    Manual,
}

impl Activate {
    /// Nothing else changes.
    fn change(self) -> Change {
        let activate = match self {
            Self::OnUpload => registry::Activate::OnUpload,
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
            done(&answer, json, &format!("model {code} is added"))?;
        }
        Command::Set {
            code,
            activate,
            json,
        } => {
            let answer = change(&client, &code, activate.change())?;
            done(&answer, json, &format!("model {code} is changed"))?;
        }
        Command::Hold { code, json } => {
            let answer = change(&client, &code, held(true))?;
            done(
                &answer,
                json,
                &format!("model {code} is held: its devices get nothing new"),
            )?;
        }
        Command::Unhold { code, json } => {
            let answer = change(&client, &code, held(false))?;
            done(&answer, json, &format!("model {code} is served again"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn change(client: &Client, code: &str, change: Change) -> Result<Answer, Failure> {
    client
        .put(format!("/api/models/{}", segment(code)))
        .header(IF_MATCH, "*")
        .json(&change)
        .doing(format!("change model {code}"))
        .advice(SEE_LIST)
        .send()
}

fn done(answer: &Answer, json: Json, line: &str) -> Result<(), Failure> {
    match json.json {
        true => print_json(answer),
        false => say(line),
    }
}

fn list(client: &Client, json: Json) -> Result<(), Failure> {
    let answer = client.get("/api/models").doing("list models").send()?;
    if json.json {
        return print_json(&answer);
    }
    let models = answer.read::<List>()?.models;
    let mut table = Table::new(
        &["CODE", "ACTIVE", "STATE", "UPLOADS ACTIVE", "DEVICES"],
        &[0],
    );
    for model in &models {
        let uploads = match &model.activate {
            OpenEnum::Known(registry::Activate::OnUpload) => String::from("at once"),
            OpenEnum::Known(registry::Activate::Manual) => String::from("by hand"),
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
        "no models; `espgate models add CODE` adds one",
    )
}
