//! Writes what a package carries beside the binary, from the sources that the
//! program itself uses: espgate(1) from the command line's definition,
//! espgate.toml(5) and espgate.toml from the default configuration, and
//! completions for bash, zsh and fish.
//!
//!     cargo run --example manual -- FOLDER
#![allow(clippy::print_stderr)]

#[path = "manual/command_page.rs"]
mod command_page;
#[path = "manual/roff.rs"]
mod roff;
#[path = "manual/settings_page.rs"]
mod settings_page;

use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap_complete::{Shell, generate_to};
use espgate::cli;
use espgate::config::DEFAULT_TEXT;

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("usage: manual FOLDER");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: cannot write to {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let command = cli::command();
    let put = |name: &str, text: &str| File::create(folder.join(name))?.write_all(text.as_bytes());
    put("espgate.1", &command_page::page(&command))?;
    put("espgate.toml.5", &settings_page::page(DEFAULT_TEXT))?;
    put("espgate.toml", DEFAULT_TEXT)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut cli::command(), "espgate", folder)?;
    }
    Ok(())
}
