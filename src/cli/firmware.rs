//! `espgate firmware`: uploading, activating, deleting.

mod build_folder;
mod list;

use std::io::Seek as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use super::args::{Global, Json};
use super::client::{Client, segment};
use super::confirm::agreed;
use super::failure::{Failure, Outcome};
use super::files::write_new;
use super::output::{print_json, print_line};
use crate::api::builds::Reason;
use crate::api::firmware::{Activated, Blocked, Build, Deleted, List, Named, Uploaded};
use crate::store::firmware::Kind;
use crate::store::publish::{SECRET_MODE, Temporary};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List stored versions, newest first
    List {
        /// Only of this model
        model: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Upload a bundle (ZIP), a bare .bin, or the result of a build folder
    Add {
        /// ZIP, .bin, or project or build folder (ESP-IDF, PlatformIO, ESPHome, Arduino, Rust)
        #[arg(value_name = "FILE|DIR")]
        file: PathBuf,
        /// Model code
        #[arg(long, value_name = "CODE")]
        model: String,
        /// Version, for an image that has none of its own
        #[arg(long, value_name = "V")]
        version: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Serve this version from now on
    Activate {
        /// Model code
        model: String,
        /// Version, or digits of the build id
        version: String,
        #[command(flatten)]
        json: Json,
    },
    /// Serve the previously active version again
    Rollback {
        /// Model code
        model: String,
        #[command(flatten)]
        json: Json,
    },
    /// Block a version: no device gets it
    Block {
        /// Model code
        model: String,
        /// Version, or digits of the build id
        version: String,
        /// Why, for `espgate builds show`
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Unblock a version; asks if a rollout blocked it
    Unblock {
        /// Model code
        model: String,
        /// Version, or digits of the build id
        version: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Delete a version that is neither active nor pinned, or all versions
    Delete {
        /// Model code
        model: String,
        /// Version, or digits of the build id
        #[arg(required_unless_present = "all")]
        version: Option<String>,
        /// Delete every version, the active one too: devices get no firmware then
        #[arg(long, conflicts_with = "version")]
        all: bool,
    },
    /// Download the bundle as it was uploaded, or with `-o FILE.bin` its image
    Export {
        /// Model code
        model: String,
        /// Version, or digits of the build id
        version: String,
        /// File to write [default: firmware-<MODEL>-<VERSION>.zip]; `-` is standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let client = Client::connect(global)?;
    match command {
        Command::List { model, json } => list::run(&client, model, json)?,
        Command::Add {
            file,
            model,
            version,
            json,
        } => add(&client, &file, &model, version.as_deref(), json)?,
        Command::Activate {
            model,
            version,
            json,
        } => {
            let named = Named { version };
            let version = &named.version;
            let answer = client
                .put(format!("/api/models/{}/active", segment(&model)))
                .json(&named)
                .doing(format!("activate {version} of {model}"))
                .advice(see(&model))
                .send()?;
            match json.json {
                true => print_json(&answer)?,
                false => print_line(&format!("activated {version} of {model}"))?,
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
                    let name = answer.read::<Activated>()?.name;
                    print_line(&format!("rolled {model} back to {name}"))?;
                }
            }
        }
        Command::Block {
            model,
            version,
            why,
        } => {
            let call = client.put(of(&model, "blocked", &version));
            let call = call.json(&Reason { why });
            let answer = call
                .doing(format!("block {version} of {model}"))
                .advice(see(&model))
                .send()?;
            let blocked: Blocked = answer.read()?;
            print_line(&format!(
                "blocked {} of {model}: no device gets it",
                blocked.name
            ))?;
            if let Some(active) = blocked.still_active {
                print_line(&format!(
                    "still served: {active}, the active build of the same version"
                ))?;
            }
            if blocked.active {
                print_line(&format!(
                    "it was active: {model} serves no firmware until you activate another version \
                     (`espgate firmware activate {model} VERSION`)"
                ))?;
            }
        }
        Command::Unblock {
            model,
            version,
            yes,
        } => {
            if let Some(why) = stopped_by_rollout(&client, &model, &version)? {
                agreed(yes, &format!("{version} of {model} is blocked ({why})"))?;
            }
            let call = client.delete(of(&model, "blocked", &version));
            call.doing(format!("unblock {version} of {model}"))
                .advice(see(&model))
                .send()?;
            print_line(&format!("unblocked {version} of {model}"))?;
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

/// Why a rollout blocked a build: nobody did who might know better.
fn stopped_by_rollout(
    client: &Client,
    model: &str,
    version: &str,
) -> Result<Option<String>, Failure> {
    let path = format!("/api/builds?model={}", segment(model));
    let answer = client
        .get(path)
        .doing(format!("unblock {version} of {model}"));
    let builds = answer.advice("see `espgate models list`").send()?;
    let builds = builds.read::<crate::api::builds::List>()?.builds;
    let is_meant = |build: &crate::api::builds::Build| {
        build.name == version
            || build.version == version
            || (version.len() >= 8 && build.build_id.starts_with(version))
    };
    let mut reasons = builds.into_iter().filter(is_meant).filter_map(|build| {
        let why = build.blocked?.why?;
        let stopped = |id: &String| why.starts_with(&format!("rollout {id} stopped"));
        build.rollouts.iter().any(stopped).then_some(why)
    });
    Ok(reasons.next())
}

fn delete(client: &Client, model: &str, version: Option<&str>) -> Result<(), Failure> {
    let Some(version) = version else {
        let call = client.delete(format!("/api/models/{}/firmware", segment(model)));
        let answer = call
            .doing(format!("delete all firmware of {model}"))
            .advice("see `espgate devices list`, and `espgate devices unpin KEY`")
            .slow()
            .send()?;
        return print_line(&match answer.read::<Deleted>()?.deleted.len() {
            0 => format!("{model} has no firmware"),
            1 => format!("deleted 1 version of {model}"),
            count => format!("deleted {count} versions of {model}"),
        });
    };
    client
        .delete(of(model, "firmware", version))
        .doing(format!("delete {version} of {model}"))
        .advice(format!(
            "activate another version or unpin its devices first; {}",
            see(model)
        ))
        .send()?;
    print_line(&format!("deleted {version} of {model}"))
}

fn of(model: &str, what: &str, version: &str) -> String {
    format!("/api/models/{}/{what}/{}", segment(model), segment(version))
}

fn see(model: &str) -> String {
    format!("see `espgate firmware list {model}`")
}

fn add(
    client: &Client,
    file: &Path,
    model: &str,
    version: Option<&str>,
    json: Json,
) -> Result<(), Failure> {
    let query = match version {
        Some(version) => format!("?version={}", segment(version)),
        None => String::new(),
    };
    let path = format!("/api/pipeline/models/{}/firmware{query}", segment(model));
    let call = client
        .post(path)
        .doing(format!("add {} to model {model}", file.display()))
        .advice("see `espgate models list`")
        .slow();
    let answer = match file.is_dir() {
        false => call.file(file)?.send()?,
        true => {
            let found = build_folder::find(file)
                .with_context(|| format!("cannot add {} to model {model}", file.display()))?;
            let mut bundle = Temporary::new(&std::env::temp_dir(), SECRET_MODE)?;
            found.pack(model, version, bundle.file())?;
            bundle.file().rewind()?;
            let answer = call
                .opened_file(bundle.file().try_clone()?, &found.bin)?
                .send()?;
            if !json.json {
                print_line(&format!(
                    "{} and {}",
                    found.bin.display(),
                    found.elf.display()
                ))?;
            }
            answer
        }
    };
    if json.json {
        return print_json(&answer);
    }
    let uploaded: Uploaded = answer.read()?;
    let state = match uploaded.active {
        true => "active",
        false => "not active",
    };
    print_line(&format!(
        "stored {} of {model}, {state}",
        uploaded.firmware_version
    ))?;
    for warning in &uploaded.warnings {
        print_line(&format!("warning: {warning}"))?;
    }
    Ok(())
}

/// Whether the image alone is to be written, which flash tools take.
fn is_image(output: Option<&Path>) -> bool {
    let ending = output.and_then(Path::extension);
    ending.is_some_and(|ending| ending == "bin")
}

fn export(
    client: &Client,
    model: &str,
    version: &str,
    output: Option<PathBuf>,
) -> Result<(), Failure> {
    let list: List = list::builds(client, model)?.read()?;
    // By its name or its id, as the daemon looks for it.
    let is_meant = |build: &&Build| build.name == version || build.build_id.starts_with(version);
    let ending = match list.firmware.iter().find(is_meant) {
        Some(build) if build.kind == Kind::Bin => "bin",
        _ if is_image(output.as_deref()) => "bin",
        _ => "zip",
    };
    let call = client
        .get(format!("{}.{ending}", of(model, "firmware", version)))
        .doing(format!("export {version} of {model}"))
        .advice(see(model))
        .slow();
    let output = output.unwrap_or_else(|| {
        let name = format!("firmware-{model}-{version}.{ending}");
        PathBuf::from(name.replace('/', "_"))
    });
    if output.as_os_str() == "-" {
        call.stream(&mut std::io::stdout().lock(), None)?;
        return Ok(());
    }
    write_new(&output, |file| call.stream(file, Some("downloading")))?;
    print_line(&format!("wrote {}", output.display()))
}
