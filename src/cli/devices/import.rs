//! `espgate devices import` and `export`: all devices as a table.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use http::StatusCode;

use crate::api::devices::{Import, Imported, ImportedToken, List};
use crate::api::errors::ErrorBody;
use crate::cli::args::Json;
use crate::cli::client::{Client, Reply, refusal};
use crate::cli::failure::Failure;
use crate::cli::files::write_new;
use crate::cli::output::{print_json, print_line};
use crate::fleet::device_csv::{MAX_BYTES, text_of, write, write_table};
use crate::printable::escaped;
use crate::store::registry::tokens::generate;

#[derive(Args, Debug)]
pub(in crate::cli) struct ImportArgs {
    /// CSV file with a heading: key, and any of model, name, mac, usb_serial, hw
    file: PathBuf,
    /// Create a token for each new device, and write them to this new file
    #[arg(long, value_name = "FILE")]
    tokens_to: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) json: Json,
}

pub(super) fn import(client: &Client, args: &ImportArgs) -> Result<(), Failure> {
    let csv = read(&args.file)?;
    let reply = match &args.tokens_to {
        None => send(client, &args.file, &request(&csv, Vec::new(), false))?,
        Some(path) => with_tokens(client, args, &csv, path)?,
    };
    if args.json.json {
        return print_json(&reply);
    }
    let done: Imported = reply.read()?;
    let added = done.added.len();
    print_line(&format!(
        "{added} added, {} changed, {} unchanged",
        done.changed.len(),
        done.unchanged
    ))?;
    match (&args.tokens_to, added) {
        (Some(path), 0) => print_line(&format!("no new devices: {} not written", path.display())),
        (Some(path), _) => print_line(&format!("wrote {added} tokens to {}", path.display())),
        (None, 0) => Ok(()),
        (None, _) => print_line(
            "The new devices have no tokens: use a fleet token, or `espgate devices token KEY`.",
        ),
    }
}

/// The tokens are on the disk before the daemon takes their digests: none of a device that
/// is registered is ever lost.
fn with_tokens(
    client: &Client,
    args: &ImportArgs,
    csv: &str,
    path: &Path,
) -> Result<Reply, Failure> {
    let planned = send(client, &args.file, &request(csv, Vec::new(), true))?;
    let planned: Imported = planned.read()?;
    if planned.added.is_empty() {
        return send(client, &args.file, &request(csv, Vec::new(), false));
    }
    let tokens: Vec<(String, ImportedToken)> = planned
        .added
        .into_iter()
        .map(|device_key| {
            let (text, credential) = generate("").context("cannot create a token")?;
            let (id, sha256) = (credential.id, credential.sha256);
            let token = ImportedToken {
                device_key,
                id,
                sha256,
            };
            Ok((text, token))
        })
        .collect::<anyhow::Result<_>>()?;
    write_new(path, |file| {
        let rows = tokens
            .iter()
            .map(|(text, token)| [token.device_key.as_str(), text.as_str()]);
        Ok(write_table(file, ["key", "token"], rows)?)
    })?;
    let tokens = tokens.into_iter().map(|(_, token)| token).collect();
    let reply = ask(client, &args.file, &request(csv, tokens, false));
    match reply {
        Ok(reply) if reply.status.is_client_error() => {
            // nothing was changed: they are tokens of nobody
            let cannot = || format!("remove {}: its tokens are not valid", path.display());
            fs::remove_file(path).with_context(cannot)?;
            done(&args.file, reply)
        }
        Ok(reply) if reply.status.is_success() => Ok(reply),
        Ok(reply) => done(&args.file, reply).map_err(|failure| in_doubt(failure, path)),
        Err(failure) => Err(in_doubt(failure, path)),
    }
}

/// Nobody knows whether the devices were registered.
fn in_doubt(failure: Failure, path: &Path) -> Failure {
    let advice = format!(
        "keep {} until `espgate devices list` shows whether the new devices are there: their \
         tokens are in it",
        path.display()
    );
    match failure {
        Failure::Failed(error) => Failure::of(format_args!("{error:#}; {advice}")),
        Failure::Unreachable(message) => Failure::Unreachable(format!("{message}; {advice}")),
        usage @ Failure::Usage(_) => usage,
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let cannot = || format!("cannot import devices: cannot read {}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(cannot)?;
    let limit = MAX_BYTES as u64 + 1;
    file.take(limit)
        .read_to_end(&mut bytes)
        .with_context(cannot)?;
    match text_of(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(faults) => Err(refused(path, &faults.to_string())),
    }
}

fn request(csv: &str, tokens: Vec<ImportedToken>, dry_run: bool) -> Import {
    Import {
        csv: csv.to_owned(),
        tokens,
        dry_run,
    }
}

/// Sends, and gives whatever is answered.
fn ask(client: &Client, file: &Path, import: &Import) -> Result<Reply, Failure> {
    let call = client.post("/api/import/devices").json(import);
    call.doing(doing(file)).slow().ask()
}

fn send(client: &Client, file: &Path, import: &Import) -> Result<Reply, Failure> {
    done(file, ask(client, file, import)?)
}

fn done(file: &Path, reply: Reply) -> Result<Reply, Failure> {
    match reply.status {
        StatusCode::BAD_REQUEST => {
            let said: ErrorBody = reply.read()?;
            Err(refused(file, &said.error))
        }
        status if status.is_success() => Ok(reply),
        _ => Err(refusal(&doing(file), "import the file again", &reply)),
    }
}

fn doing(file: &Path) -> String {
    format!("import {}", file.display())
}

/// Shows what is wrong, a line each.
fn refused(file: &Path, faults: &str) -> Failure {
    let name = file.display().to_string();
    for fault in faults.lines() {
        let _ = writeln!(io::stderr(), "{}: {}", escaped(&name), escaped(fault));
    }
    Failure::Failed(anyhow!("cannot import {name}: nothing was changed"))
}

pub(super) fn export(client: &Client) -> Result<(), Failure> {
    let answer = client.get("/api/devices").doing("export devices").send()?;
    let devices = answer.read::<List>()?.devices;
    let registered = devices
        .iter()
        .filter(|device| device.registered && device.retired_at.is_none());
    Ok(write(io::stdout().lock(), registered)?)
}
