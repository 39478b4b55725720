//! `espgate tokens`: for CI, people and whole fleets.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use time::OffsetDateTime;

use super::args::{Global, Json, model_code};
use super::client::{Client, segment};
use super::failure::{Failure, Outcome};
use super::output::{day, known, print, print_json, print_line, print_table};
use super::table::Table;
use crate::api::tokens::{List, Made, NewToken, Token};
use crate::clock::parse;
use crate::store::registry;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a token and print it (shown only once)
    Add {
        /// Token name: 1 to 64 of A-Z, a-z, 0-9 and ._@-
        name: String,
        /// What the token allows
        #[arg(long, value_enum)]
        role: Role,
        /// Only for this model; required for a fleet token
        #[arg(long, value_name = "CODE", required_if_eq("role", "fleet"))]
        model: Option<String>,
        /// Lifetime such as 365d or 12h, or an end time [default: never expires]
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// List all tokens except those of devices
    List(Json),
    /// Revoke a token
    Revoke {
        /// Token name
        name: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Role {
    /// Upload firmware
    Pipeline,
    /// View and change
    Technician,
    /// View
    Viewer,
    /// Act for devices of a model that have no token of their own
    Fleet,
}

impl From<Role> for registry::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Pipeline => Self::Pipeline,
            Role::Technician => Self::Technician,
            Role::Viewer => Self::Viewer,
            Role::Fleet => Self::Fleet,
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
            let wanted = NewToken {
                name: name.clone(),
                role: role.into(),
                model: model.as_deref().map(model_code).transpose()?,
                expires,
            };
            let answer = client
                .post("/api/tokens")
                .json(&wanted)
                .doing(format!("create token {name}"))
                .advice("see `espgate tokens list` and `espgate models list`")
                .send()?;
            match json.json {
                true => print_json(&answer)?,
                false => print_once(&answer.read::<Made>()?.token, &name)?,
            }
        }
        Command::List(json) => list(&client, json)?,
        Command::Revoke { name } => {
            client
                .delete(format!("/api/tokens/{}", segment(&name)))
                .doing(format!("revoke token {name}"))
                .advice("see `espgate tokens list`")
                .send()?;
            print_line(&format!("revoked token {name}"))?;
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
        "Token of {whose}. Save it now: it is not shown again."
    );
    Ok(())
}

fn list(client: &Client, json: Json) -> Result<(), Failure> {
    let answer = client.get("/api/tokens").doing("list tokens").send()?;
    if json.json {
        return print_json(&answer);
    }
    let tokens = answer.read::<List>()?.tokens;
    let mut table = Table::new(&["NAME", "ROLE", "MODEL", "ID", "CREATED", "EXPIRES"], &[0]);
    for token in &tokens {
        table.row([
            token.name.clone(),
            token.role.to_string(),
            known(&token.model),
            token.id.clone(),
            day(&token.created_at).to_owned(),
            match token.expires_at.as_deref().map(day) {
                None => String::from("never"),
                Some(day) if is_over(token, crate::clock::plausible()) => {
                    format!("{day} (expired)")
                }
                Some(day) => day.to_owned(),
            },
        ]);
    }
    print_table(
        &table,
        tokens.is_empty(),
        "no tokens; create one with `espgate tokens add NAME --role ROLE`",
    )
}

/// Whether a token has expired.
fn is_over(token: &Token, now: OffsetDateTime) -> bool {
    let expires = token.expires_at.as_deref().and_then(parse);
    expires.is_some_and(|expires| expires <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_over_from_its_last_moment_on() {
        let token = Token {
            expires_at: Some(String::from("2026-06-01T00:00:00Z")),
            ..Token::default()
        };
        let over = |now: &str| is_over(&token, parse(now).unwrap());
        assert!(!over("2026-05-31T23:59:59Z"));
        assert!(over("2026-06-01T00:00:00Z"));
        assert!(!is_over(&Token::default(), crate::clock::plausible()));
    }
}
