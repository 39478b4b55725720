//! `espgate firmware list`: the builds of a model, or of all.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::firmware::{Build, List};
use crate::api::models;
use crate::cli::args::Json;
use crate::cli::client::{Client, Reply, segment};
use crate::cli::failure::Failure;
use crate::cli::output::{bytes, day, known, print, print_json, print_table};
use crate::cli::table::{Table, WIDTH, folded};
use crate::printable::escaped;

pub(super) fn builds(client: &Client, model: &str) -> Result<Reply, Failure> {
    client
        .get(format!("/api/models/{}/firmware", segment(model)))
        .doing(format!("list the firmware of {model}"))
        .advice("see `espgate models list`")
        .slow()
        .send()
}

/// The codes of all models.
fn models(client: &Client) -> Result<Vec<String>, Failure> {
    let answer = client.get("/api/models").doing("list models").send()?;
    let models = answer.read::<models::List>()?.models;
    Ok(models.into_iter().map(|model| model.code).collect())
}

pub(super) fn run(client: &Client, model: Option<String>, json: Json) -> Result<(), Failure> {
    if json.json {
        return match model {
            Some(model) => print_json(&builds(client, &model)?),
            None => print_all(client),
        };
    }
    let models = match model {
        Some(model) => vec![model],
        None => models(client)?,
    };
    let mut table = Table::new(
        &[
            "MODEL", "VERSION", "STATE", "SIZE", "CHIP", "UPLOADED", "WARNINGS",
        ],
        &[0, 1],
    );
    let mut count = 0;
    let mut warnings = Vec::new();
    for model in &models {
        for build in builds(client, model)?.read::<List>()?.firmware {
            count += 1;
            table.row(row(model, &build));
            let name = &build.name;
            let told = build.warnings.iter();
            warnings.extend(told.map(|warning| format!("{model} {name}: {warning}")));
        }
    }
    print_table(
        &table,
        count == 0,
        "no firmware; upload some with `espgate firmware add FILE --model CODE`",
    )?;
    warnings
        .iter()
        .try_for_each(|warning| print(&format!("{}\n", folded(&escaped(warning), WIDTH, 2))))
}

/// The lists of all models in one, each build as it came with its model's code.
fn print_all(client: &Client) -> Result<(), Failure> {
    let mut all = Bodies::default();
    for model in models(client)? {
        for mut build in builds(client, &model)?.read::<Bodies>()?.firmware {
            build.insert(String::from("model"), model.as_str().into());
            all.firmware.push(build);
        }
    }
    print(&format!("{}\n", serde_json::to_string(&all)?))
}

/// A list of builds, of which nothing is looked at.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Bodies {
    firmware: Vec<Map<String, Value>>,
    next_cursor: Option<String>,
}

/// A line of the table.
fn row(model: &str, build: &Build) -> [String; 7] {
    let state = match (build.active, build.blocked) {
        (true, true) => "active, blocked",
        (true, false) => "active",
        (false, true) => "blocked",
        (false, false) => "",
    };
    let warnings = match build.warnings.len() {
        0 => String::new(),
        count => count.to_string(),
    };
    [
        model.to_owned(),
        build.name.clone(),
        state.to_owned(),
        bytes(build.size),
        known(&build.chip),
        day(&build.uploaded_at).to_owned(),
        warnings,
    ]
}
