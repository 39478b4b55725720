//! `espgate devices`: boards.

mod import;
mod list;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::header::{IF_MATCH, IF_NONE_MATCH};

use super::args::{Global, Json, model_code};
use super::client::{Call, Client, Reply, segment};
use super::failure::{Failure, Outcome};
use super::output::{print_json, print_line};
use crate::api::devices::{Change, Minted, NewDevice, Pin};

const SEE_LIST: &str = "see `espgate devices list`";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List devices, including unregistered ones seen on USB
    ///
    /// RUNS is `exact` if the device named its image, `likely` if it follows from a
    /// version or from what it did. STATE: `looping` boots again and again; `silent` was
    /// not heard for three usual intervals, and a day at least; `quiet` was not heard
    /// often enough yet to know how often is usual.
    List(list::ListArgs),
    /// Show a device: what it runs, what it gets if it asks now, and why
    Show {
        /// Device key
        key: String,
        #[command(flatten)]
        json: Json,
    },
    /// Register a device and print its token (shown only once)
    Add {
        /// Device key: 1 to 64 letters and digits
        key: String,
        /// Model of the device
        #[arg(long, value_name = "CODE")]
        model: String,
        #[command(flatten)]
        about: About,
        /// Create no token: the device uses a fleet token, or the gateway is open
        #[arg(long)]
        no_token: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Change a device; an empty value removes the setting
    Set {
        /// Device key
        key: String,
        /// Model of the device
        #[arg(long, value_name = "CODE")]
        model: Option<String>,
        #[command(flatten)]
        about: About,
        /// It is out of service: neither listed nor counted until it is heard again
        #[arg(long, conflicts_with = "no_retired")]
        retired: bool,
        /// It is in service again
        #[arg(long)]
        no_retired: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Register and change the devices of a CSV file: all of them, or none
    ///
    /// Columns may be in any order, separated by commas, semicolons or tabs. An empty cell
    /// leaves the value as it is, and devices that are not in the file stay as they are, so
    /// a file can be imported again. A new device needs a model.
    Import(import::ImportArgs),
    /// Print all devices in service as CSV, for `import` on this or another gateway
    Export,
    /// Serve a device this version instead of its model's active one
    Pin {
        /// Device key
        key: String,
        /// Version, or digits of the build id
        version: String,
        #[command(flatten)]
        json: Json,
    },
    /// Serve a device its model's active version again
    Unpin {
        /// Device key
        key: String,
        #[command(flatten)]
        json: Json,
    },
    /// Create a new token and print it; the old one ends when it is first used
    Token {
        /// Device key
        key: String,
        #[command(flatten)]
        json: Json,
    },
    /// Revoke all tokens of a device
    Revoke {
        /// Device key
        key: String,
        #[command(flatten)]
        json: Json,
    },
    /// Remove a device and its tokens; its coredumps are kept
    Remove {
        /// Device key
        key: String,
    },
}

/// Properties of a device.
#[derive(Args, Clone, Debug)]
pub(super) struct About {
    /// Display name
    #[arg(long)]
    name: Option<String>,
    /// MAC address; identifies the device on USB
    #[arg(long, value_name = "AA:BB:..")]
    mac: Option<String>,
    /// Serial number of its USB adapter
    #[arg(long, value_name = "SERIAL")]
    usb_serial: Option<String>,
}

impl About {
    /// An empty value removes the property.
    fn change(self, model: Option<String>) -> Result<Change, Failure> {
        let given = |text: Option<String>| text.map(|text| Some(text).filter(|t| !t.is_empty()));
        let model = given(model).map(|model| model.as_deref().map(model_code).transpose());
        Ok(Change {
            model: model.transpose()?,
            name: given(self.name),
            mac: given(self.mac),
            usb_serial: given(self.usb_serial),
            ..Change::default()
        })
    }
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let client = Client::connect(global)?;
    let path = |key: &str| format!("/api/devices/{}", segment(key));
    match command {
        Command::List(args) => list::run(&client, &args)?,
        Command::Show { key, json } => show::run(&client, &key, json)?,
        Command::Import(args) => import::import(&client, &args)?,
        Command::Export => import::export(&client)?,
        Command::Add {
            key,
            model,
            about,
            no_token,
            json,
        } => add(&client, &key, about.change(Some(model))?, no_token, json)?,
        Command::Set {
            key,
            model,
            about,
            retired,
            no_retired,
            json,
        } => {
            let change = Change {
                retired: (retired || no_retired).then_some(retired),
                ..about.change(model)?
            };
            if change == Change::default() {
                let message = "nothing to change: give --model, --name, --mac, --usb-serial, \
                               --retired or --no-retired";
                return Err(Failure::Usage(String::from(message)));
            }
            let call = client.put(path(&key)).header(IF_MATCH, "*");
            let call = call.json(&change);
            done(call, "change", &key, json, &format!("changed device {key}"))?;
        }
        Command::Pin { key, version, json } => {
            let call = client.put(path(&key) + "/pin");
            let pin = Pin { version };
            let line = format!("pinned device {key} to {}", pin.version);
            done(call.json(&pin), "pin", &key, json, &line)?;
        }
        Command::Unpin { key, json } => {
            let call = client.delete(path(&key) + "/pin");
            done(call, "unpin", &key, json, &format!("unpinned device {key}"))?;
        }
        Command::Token { key, json } => {
            let answer = describe(
                client.post(path(&key) + "/token"),
                "create a token for",
                &key,
            );
            print_token(&answer.send()?, json)?;
        }
        Command::Revoke { key, json } => {
            let call = client.delete(path(&key) + "/tokens");
            done(
                call,
                "revoke the tokens of",
                &key,
                json,
                &format!("revoked all tokens of device {key}"),
            )?;
        }
        Command::Remove { key } => {
            let call = client.delete(path(&key));
            done(
                call,
                "remove",
                &key,
                Json::default(),
                &format!("removed device {key}; its coredumps are kept"),
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn describe<'a>(call: Call<'a>, verb: &str, key: &str) -> Call<'a> {
    call.doing(format!("{verb} device {key}")).advice(SEE_LIST)
}

fn done(call: Call<'_>, verb: &str, key: &str, json: Json, line: &str) -> Result<(), Failure> {
    let answer = describe(call, verb, key).send()?;
    match json.json {
        true => print_json(&answer),
        false => print_line(line),
    }
}

fn add(
    client: &Client,
    key: &str,
    about: Change,
    no_token: bool,
    json: Json,
) -> Result<(), Failure> {
    let call = if no_token {
        let path = format!("/api/devices/{}", segment(key));
        client.put(path).header(IF_NONE_MATCH, "*").json(&about)
    } else {
        let device_key = key.to_owned();
        client
            .post("/api/devices")
            .json(&NewDevice { device_key, about })
    };
    let answer = call
        .doing(format!("add device {key}"))
        .advice("see `espgate models list` and `espgate devices list`")
        .send()?;
    match (no_token, json.json) {
        (false, _) => print_token(&answer, json),
        (true, true) => print_json(&answer),
        (true, false) => print_line(&format!("registered device {key}")),
    }
}

/// Prints a token: alone on stdout, so that it can be taken by a script.
fn print_token(answer: &Reply, json: Json) -> Result<(), Failure> {
    if json.json {
        return print_json(answer);
    }
    let made: Minted = answer.read()?;
    super::tokens::print_once(&made.token, &format!("device {}", made.device_key))
}
