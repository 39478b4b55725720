//! `espgate models`: product lines.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use http::header::{IF_MATCH, IF_NONE_MATCH};
use serde_json::{Value, json};

use super::answer::{items, print_json, print_table, say, text};
use super::args::{Global, Json};
use super::client::{Answer, Client, segment};
use super::failure::{Failure, Outcome};
use super::table::Table;

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
    fn as_str(self) -> &'static str {
        match self {
            Self::OnUpload => "on-upload",
            Self::Manual => "manual",
        }
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
                .json(&json!({ "activate": activate.as_str() }))
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
            let body = json!({ "activate": activate.as_str() });
            let answer = change(&client, &code, &body)?;
            done(&answer, json, &format!("model {code} is changed"))?;
        }
        Command::Hold { code, json } => {
            let answer = change(&client, &code, &json!({ "held": true }))?;
            done(
                &answer,
                json,
                &format!("model {code} is held: its devices get nothing new"),
            )?;
        }
        Command::Unhold { code, json } => {
            let answer = change(&client, &code, &json!({ "held": false }))?;
            done(&answer, json, &format!("model {code} is served again"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn change(client: &Client, code: &str, body: &Value) -> Result<Answer, Failure> {
    client
        .put(format!("/api/models/{}", segment(code)))
        .header(IF_MATCH, "*")
        .json(body)
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
    let value = answer.value()?;
    let models = items(&value, "models");
    let mut table = Table::new(
        &["CODE", "ACTIVE", "STATE", "UPLOADS ACTIVE", "DEVICES"],
        &[0],
    );
    for model in models {
        let uploads = match text(model, "activate").as_str() {
            "manual" => "by hand",
            _ => "at once",
        };
        table.row([
            text(model, "code"),
            text(model, "active"),
            text(model, "state"),
            uploads.to_owned(),
            text(model, "devices"),
        ]);
    }
    print_table(
        &table,
        models.is_empty(),
        "no models; `espgate models add CODE` adds one",
    )
}
