//! `espgate firmware`: bundles in, out, active, away.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::answer::{bytes, items, moment, print, print_json, print_table, say, text};
use super::args::{Global, Json};
use super::client::{Client, segment};
use super::failure::{Failure, Outcome};
use super::files::write_new;
use super::table::{Table, WIDTH, folded};
use crate::printable::escaped;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The stored versions, newest first
    List {
        /// Of this model only
        model: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Upload a bundle (ZIP) or a bare .bin
    Add {
        file: PathBuf,
        #[arg(long, value_name = "CODE")]
        model: String,
        #[command(flatten)]
        json: Json,
    },
    /// Serve this version from now on
    Activate {
        model: String,
        version: String,
        #[command(flatten)]
        json: Json,
    },
    /// Serve the version that was active before
    Rollback {
        model: String,
        #[command(flatten)]
        json: Json,
    },
    /// Never serve this version
    Block { model: String, version: String },
    /// Allow a blocked version again
    Unblock { model: String, version: String },
    /// Remove a version that is neither active nor pinned, or all there are
    Delete {
        model: String,
        #[arg(required_unless_present = "all")]
        version: Option<String>,
        /// Every version, the active one too: devices get nothing then
        #[arg(long, conflicts_with = "version")]
        all: bool,
    },
    /// Fetch the bundle as it was uploaded
    Export {
        model: String,
        version: String,
        /// Where to write it; default firmware-<MODEL>-<VERSION>.zip, `-` is standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let client = Client::connect(global)?;
    match command {
        Command::List { model, json } => list(&client, model, json)?,
        Command::Add { file, model, json } => add(&client, file, &model, json)?,
        Command::Activate {
            model,
            version,
            json,
        } => {
            let answer = client
                .put(format!("/api/models/{}/active", segment(&model)))
                .json(&json!({ "version": version }))
                .doing(format!("activate {version} of {model}"))
                .advice(see(&model))
                .send()?;
            match json.json {
                true => print_json(&answer)?,
                false => say(&format!("{version} of {model} is active"))?,
            }
        }
        Command::Rollback { model, json } => {
            let answer = client
                .post(format!("/api/models/{}/rollback", segment(&model)))
                .doing(format!("roll {model} back"))
                .advice(see(&model))
                .send()?;
            match json.json {
                true => print_json(&answer)?,
                false => {
                    let name = text(&answer.value()?, "name");
                    say(&format!("{name} of {model} is active again"))?;
                }
            }
        }
        Command::Block { model, version } => {
            let call = client.put(of(&model, "blocked", &version));
            let answer = call
                .doing(format!("block {version} of {model}"))
                .advice(see(&model))
                .send()?;
            say(&format!(
                "{version} of {model} is blocked: no device gets it"
            ))?;
            if answer.value()?.get("active") == Some(&Value::Bool(true)) {
                say(&format!(
                    "it is the active one: {model} serves nothing now, until another is activated \
                     (`espgate firmware activate {model} VERSION`)"
                ))?;
            }
        }
        Command::Unblock { model, version } => {
            let call = client.delete(of(&model, "blocked", &version));
            call.doing(format!("unblock {version} of {model}"))
                .advice(see(&model))
                .send()?;
            say(&format!("{version} of {model} is not blocked any more"))?;
        }
        Command::Delete { model, version, .. } => delete(&client, &model, version.as_deref())?,
        Command::Export {
            model,
            version,
            output,
        } => export(&client, &model, &version, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn delete(client: &Client, model: &str, version: Option<&str>) -> Result<(), Failure> {
    let Some(version) = version else {
        let call = client.delete(format!("/api/models/{}/firmware", segment(model)));
        let answer = call
            .doing(format!("delete all firmware of {model}"))
            .advice("see `espgate devices list`, and `espgate devices unpin KEY`")
            .patient()
            .send()?;
        let deleted = items(&answer.value()?, "deleted").len();
        return say(&match deleted {
            0 => format!("{model} has no firmware"),
            1 => format!("1 version of {model} is deleted"),
            count => format!("{count} versions of {model} are deleted"),
        });
    };
    client
        .delete(of(model, "firmware", version))
        .doing(format!("delete {version} of {model}"))
        .advice(format!("activate or pin another one first; {}", see(model)))
        .send()?;
    say(&format!("{version} of {model} is deleted"))
}

fn of(model: &str, what: &str, version: &str) -> String {
    format!("/api/models/{}/{what}/{}", segment(model), segment(version))
}

fn see(model: &str) -> String {
    format!("see `espgate firmware list {model}`")
}

fn add(client: &Client, file: PathBuf, model: &str, json: Json) -> Result<(), Failure> {
    let answer = client
        .post(format!("/api/pipeline/models/{}/firmware", segment(model)))
        .doing(format!("add {} to model {model}", file.display()))
        .advice("see `espgate models list` for the models there are")
        .patient()
        .file(&file)?
        .send()?;
    if json.json {
        return print_json(&answer);
    }
    let value = answer.value()?;
    let state = match value.get("active") {
        Some(Value::Bool(true)) => "is stored and active",
        _ => "is stored, not active",
    };
    say(&format!(
        "{} of {model} {state}",
        text(&value, "firmware_version")
    ))?;
    for warning in items(&value, "warnings").iter().filter_map(Value::as_str) {
        say(&format!("warning: {warning}"))?;
    }
    Ok(())
}

fn builds(client: &Client, model: &str) -> Result<super::client::Answer, Failure> {
    client
        .get(format!("/api/models/{}/firmware", segment(model)))
        .doing(format!("list the firmware of {model}"))
        .advice("see `espgate models list`")
        .patient()
        .send()
}

fn list(client: &Client, model: Option<String>, json: Json) -> Result<(), Failure> {
    if let (Some(model), true) = (&model, json.json) {
        return print_json(&builds(client, model)?);
    }
    let models = match model {
        Some(model) => vec![model],
        None => {
            let all = client
                .get("/api/models")
                .doing("list models")
                .send()?
                .value()?;
            items(&all, "models")
                .iter()
                .map(|model| text(model, "code"))
                .collect()
        }
    };
    let mut table = Table::new(
        &[
            "MODEL", "VERSION", "STATE", "SIZE", "CHIP", "UPLOADED", "WARNINGS",
        ],
        &[0, 1],
    );
    let mut all = Vec::new();
    let mut warnings = Vec::new();
    for model in &models {
        let value = builds(client, model)?.value()?;
        for build in items(&value, "firmware") {
            let (row, told) = row(model, build);
            table.row(row);
            warnings.extend(told);
            let mut build = build.as_object().cloned().unwrap_or_default();
            build.insert(String::from("model"), model.as_str().into());
            all.push(build);
        }
    }
    if json.json {
        let list = json!({ "firmware": all, "next_cursor": null });
        return print(&format!("{list}\n"));
    }
    print_table(
        &table,
        all.is_empty(),
        "no firmware; `espgate firmware add FILE --model CODE` uploads some",
    )?;
    warnings
        .iter()
        .try_for_each(|warning| print(&format!("{}\n", folded(&escaped(warning), WIDTH, 2))))
}

/// A line of the table, and the warnings below it.
fn row(model: &str, build: &Value) -> ([String; 7], Vec<String>) {
    let is = |what: &str| build.get(what) == Some(&Value::Bool(true));
    let state = match (is("active"), is("blocked")) {
        (true, true) => "active, blocked: nothing is served",
        (true, _) => "active",
        (_, true) => "blocked",
        _ => "",
    };
    let name = text(build, "name");
    let warnings = items(build, "warnings").iter().filter_map(Value::as_str);
    let warnings: Vec<String> = warnings
        .map(|warning| format!("{model} {name}: {warning}"))
        .collect();
    let uploaded = moment(build, "uploaded_at");
    let count = match warnings.len() {
        0 => String::new(),
        count => count.to_string(),
    };
    let row = [
        model.to_owned(),
        name,
        state.to_owned(),
        bytes(build.get("size").and_then(Value::as_u64).unwrap_or(0)),
        text(build, "chip"),
        uploaded.get(..10).unwrap_or(&uploaded).to_owned(),
        count,
    ];
    (row, warnings)
}

fn export(
    client: &Client,
    model: &str,
    version: &str,
    output: Option<PathBuf>,
) -> Result<(), Failure> {
    let list = builds(client, model)?.value()?;
    let build = items(&list, "firmware")
        .iter()
        .find(|build| text(build, "name") == version);
    let ending = match build.map(|build| text(build, "kind")).as_deref() {
        Some("bin") => "bin",
        _ => "zip",
    };
    let call = client
        .get(format!("{}.{ending}", of(model, "firmware", version)))
        .doing(format!("export {version} of {model}"))
        .advice(see(model))
        .patient();
    let output = output.unwrap_or_else(|| {
        let name = format!("firmware-{model}-{version}.{ending}");
        PathBuf::from(name.replace('/', "_"))
    });
    if output.as_os_str() == "-" {
        call.stream(&mut std::io::stdout().lock(), None)?;
        return Ok(());
    }
    write_new(&output, |file| call.stream(file, Some("receiving")))?;
    say(&format!("{} is written", output.display()))
}
