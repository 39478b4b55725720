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

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

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
    fs::write(folder.join("espgate.1"), command_page::page(&command))?;
    fs::write(
        folder.join("espgate.toml.5"),
        settings_page::page(DEFAULT_TEXT),
    )?;
    fs::write(folder.join("espgate.toml"), DEFAULT_TEXT)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut cli::command(), "espgate", folder)?;
    }
    Ok(())
}
