//! Writes docs/api.md: every route of the HTTP API with what it takes and
//! answers, from the types that the program itself uses.
//!
//!     cargo run --example api_reference -- docs/api.md
#![allow(clippy::print_stderr)]

#[path = "api_reference/bodies.rs"]
mod bodies;
#[path = "api_reference/entry.rs"]
mod entry;
#[path = "api_reference/page.rs"]
mod page;
#[path = "api_reference/source.rs"]
mod source;
#[path = "api_reference/topics.rs"]
mod topics;

use std::env;
use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = env::args_os().nth(1) else {
        eprintln!("usage: api_reference FILE");
        return ExitCode::from(2);
    };
    let written = File::create(&path).and_then(|mut file| file.write_all(page::page().as_bytes()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("api_reference: cannot write {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
