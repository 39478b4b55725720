//! `espgate tokens`: for CI, people and whole fleets.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::answer::{items, moment, print, print_json, print_table, say, text};
use super::args::{Global, Json};
use super::client::{Client, segment};
use super::failure::{Failure, Outcome};
use super::table::Table;
use crate::clock::parse;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token and print it, once
    Add {
        /// What it is called: 1 to 64 of A-Z, a-z, 0-9 and ._@-
        name: String,
        #[arg(long, value_enum)]
        role: Role,
        /// The only model it is for; a fleet token needs one
        #[arg(long, value_name = "CODE", required_if_eq("role", "fleet"))]
        model: Option<String>,
        /// How long it lasts, such as 365d or 12h, or until when; default: for ever
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// All tokens but those of devices
    List(Json),
    /// End a token
    Revoke { name: String },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Role {
    /// Uploads firmware
    Pipeline,
    /// Sees and changes
    Technician,
    /// Sees
    Viewer,
    /// Speaks for devices of a model that have no token of their own
    Fleet,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Technician => "technician",
            Self::Viewer => "viewer",
            Self::Fleet => "fleet",
        }
    }
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let client = Client::connect(global)?;
    match command {
        Command::Add {
            name,
            role,
            model,
            expires,
            json,
        } => {
            let answer = client
                .post("/api/tokens")
                .json(&json!({
                    "name": name,
                    "role": role.as_str(),
                    "model": model,
                    "expires": expires,
                }))
                .doing(format!("make token {name}"))
                .advice("see `espgate tokens list` and `espgate models list`")
                .send()?;
            match json.json {
                true => print_json(&answer)?,
                false => print_once(&text(&answer.value()?, "token"), &name)?,
            }
        }
        Command::List(json) => list(&client, json)?,
        Command::Revoke { name } => {
            client
                .delete(format!("/api/tokens/{}", segment(&name)))
                .doing(format!("revoke token {name}"))
                .advice("see `espgate tokens list`")
                .send()?;
            say(&format!("token {name} is revoked"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a token alone on stdout, so that a script can take it, and what
/// matters about it on stderr.
pub(super) fn print_once(token: &str, whose: &str) -> Result<(), Failure> {
    print(&format!("{token}\n"))?;
    let _ = writeln!(
        io::stderr(),
        "This is the token of {whose}. It is not shown again: keep it now."
    );
    Ok(())
}

fn list(client: &Client, json: Json) -> Result<(), Failure> {
    let answer = client.get("/api/tokens").doing("list tokens").send()?;
    if json.json {
        return print_json(&answer);
    }
    let value = answer.value()?;
    let tokens = items(&value, "tokens");
    let mut table = Table::new(&["NAME", "ROLE", "MODEL", "ID", "MADE", "EXPIRES"], &[0]);
    for token in tokens {
        let day = |place: &str| {
            let at = moment(token, place);
            at.get(..10).unwrap_or(&at).to_owned()
        };
        table.row([
            text(token, "name"),
            text(token, "role"),
            text(token, "model"),
            text(token, "id"),
            day("created_at"),
            match day("expires_at").as_str() {
                "" => String::from("never"),
                day if is_over(token, OffsetDateTime::now_utc()) => format!("{day} (expired)"),
                day => day.to_owned(),
            },
        ]);
    }
    print_table(
        &table,
        tokens.is_empty(),
        "no tokens; `espgate tokens add NAME --role ROLE` makes one",
    )
}

/// Whether a token has expired.
fn is_over(token: &Value, now: OffsetDateTime) -> bool {
    parse(&text(token, "expires_at")).is_some_and(|expires| expires <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_over_from_its_last_moment_on() {
        let token = json!({ "expires_at": "2026-06-01T00:00:00Z" });
        let over = |now: &str| is_over(&token, parse(now).unwrap());
        assert!(!over("2026-05-31T23:59:59Z"));
        assert!(over("2026-06-01T00:00:00Z"));
        assert!(!is_over(
            &json!({ "expires_at": null }),
            OffsetDateTime::now_utc()
        ));
    }
}
