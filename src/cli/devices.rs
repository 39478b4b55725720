//! `espgate devices`: boards.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::header::{IF_MATCH, IF_NONE_MATCH};
use serde_json::{Map, Value, json};

use super::answer::{items, moment, print_json, print_table, say, text};
use super::args::{Global, Json};
use super::client::{Answer, Call, Client, segment};
use super::failure::{Failure, Outcome};
use super::table::Table;

const SEE_LIST: &str = "see `espgate devices list`";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// All devices, those only seen on USB among them
    List(Json),
    /// Register a device and print its token, once
    Add {
        /// 1 to 64 letters and digits
        key: String,
        #[arg(long, value_name = "CODE")]
        model: String,
        #[command(flatten)]
        about: About,
        /// Make no token: the device uses its fleet's, or the gateway is open
        #[arg(long)]
        no_token: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Change what is known of a device; an empty value removes it
    Set {
        key: String,
        #[arg(long, value_name = "CODE")]
        model: Option<String>,
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        json: Json,
    },
    /// Give a device this version, whatever its model's active one is
    Pin {
        key: String,
        version: String,
        #[command(flatten)]
        json: Json,
    },
    /// Give a device its model's active version again
    Unpin {
        key: String,
        #[command(flatten)]
        json: Json,
    },
    /// Print one more token, once; the older one ends when it is first used
    Token {
        key: String,
        #[command(flatten)]
        json: Json,
    },
    /// End all tokens of a device
    Revoke {
        key: String,
        #[command(flatten)]
        json: Json,
    },
    /// Forget a device and its tokens; its dumps stay
    Remove { key: String },
}

/// What is told of a device.
#[derive(Args, Clone, Debug)]
pub(super) struct About {
    /// A name for people
    #[arg(long)]
    name: Option<String>,
    /// MAC address, by which it is known on USB
    #[arg(long, value_name = "AA:BB:..")]
    mac: Option<String>,
    /// Serial number of its USB adapter
    #[arg(long, value_name = "SERIAL")]
    usb_serial: Option<String>,
}

impl About {
    fn body(&self, model: Option<&str>) -> Map<String, Value> {
        let given = [
            ("model", model),
            ("name", self.name.as_deref()),
            ("mac", self.mac.as_deref()),
            ("usb_serial", self.usb_serial.as_deref()),
        ];
        let given = given.into_iter().filter_map(|(name, value)| {
            let value = match value? {
                "" => Value::Null,
                text => text.into(),
            };
            Some((name.to_owned(), value))
        });
        given.collect()
    }
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let client = Client::connect(global)?;
    let path = |key: &str| format!("/api/devices/{}", segment(key));
    match command {
        Command::List(json) => list(&client, json)?,
        Command::Add {
            key,
            model,
            about,
            no_token,
            json,
        } => add(&client, &key, &model, &about, no_token, json)?,
        Command::Set {
            key,
            model,
            about,
            json,
        } => {
            let body = about.body(model.as_deref());
            if body.is_empty() {
                let message = "nothing to set: give --model, --name, --mac or --usb-serial";
                return Err(Failure::Usage(String::from(message)));
            }
            let call = client.put(path(&key)).header(IF_MATCH, "*");
            let call = call.json(&Value::Object(body));
            done(call, "change", &key, json, "is changed")?;
        }
        Command::Pin { key, version, json } => {
            let call = client.put(path(&key) + "/pin");
            let call = call.json(&json!({ "version": version }));
            done(call, "pin", &key, json, &format!("is pinned to {version}"))?;
        }
        Command::Unpin { key, json } => {
            let call = client.delete(path(&key) + "/pin");
            done(call, "unpin", &key, json, "follows its model again")?;
        }
        Command::Token { key, json } => {
            let answer = describe(client.post(path(&key) + "/token"), "make a token for", &key);
            print_token(&answer.send()?, json)?;
        }
        Command::Revoke { key, json } => {
            let call = client.delete(path(&key) + "/tokens");
            done(
                call,
                "revoke the tokens of",
                &key,
                json,
                "has no token any more",
            )?;
        }
        Command::Remove { key } => {
            let call = client.delete(path(&key));
            done(
                call,
                "remove",
                &key,
                Json::default(),
                "is removed; its dumps are kept",
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
        false => say(&format!("device {key} {line}")),
    }
}

fn add(
    client: &Client,
    key: &str,
    model: &str,
    about: &About,
    no_token: bool,
    json: Json,
) -> Result<(), Failure> {
    let mut body = about.body(Some(model));
    let call = if no_token {
        let path = format!("/api/devices/{}", segment(key));
        client.put(path).header(IF_NONE_MATCH, "*")
    } else {
        body.insert(String::from("device_key"), key.into());
        client.post("/api/devices")
    };
    let answer = call
        .json(&Value::Object(body))
        .doing(format!("add device {key}"))
        .advice("see `espgate models list` and `espgate devices list`")
        .send()?;
    match (no_token, json.json) {
        (false, _) => print_token(&answer, json),
        (true, true) => print_json(&answer),
        (true, false) => say(&format!("device {key} is registered")),
    }
}

/// Prints a token: alone on stdout, so that it can be taken by a script.
fn print_token(answer: &Answer, json: Json) -> Result<(), Failure> {
    if json.json {
        return print_json(answer);
    }
    let value = answer.value()?;
    super::tokens::print_once(
        &text(&value, "token"),
        &format!("device {}", text(&value, "device_key")),
    )
}

fn list(client: &Client, json: Json) -> Result<(), Failure> {
    let answer = client.get("/api/devices").doing("list devices").send()?;
    if json.json {
        return print_json(&answer);
    }
    let value = answer.value()?;
    let devices = items(&value, "devices");
    let mut table = Table::new(
        &[
            "KEY",
            "MODEL",
            "NAME",
            "RUNS",
            "PIN",
            "TOKENS",
            "LAST SEEN (UTC)",
        ],
        &[0],
    );
    for device in devices {
        let tokens = match device.get("registered") {
            Some(Value::Bool(true)) => items(device, "tokens").len().to_string(),
            _ => String::from("unregistered"),
        };
        let seen = moment(device, "last_seen");
        table.row([
            text(device, "device_key"),
            text(device, "model"),
            text(device, "name"),
            text(device, "running/version"),
            text(device, "pin"),
            tokens,
            seen.get(..16).unwrap_or(&seen).to_owned(),
        ]);
    }
    print_table(
        &table,
        devices.is_empty(),
        "no devices; `espgate devices add KEY --model CODE` registers one",
    )
}
