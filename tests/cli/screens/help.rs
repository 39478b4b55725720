//! The help of every command.

use super::*;

#[test]
fn help() {
    let folder = folder();
    let mut screens = Screens::of(folder.path());
    screens.show(&["--help"]).are("help");
    let command = espgate::cli::command();
    let mut count = 0;
    for command in visible(&command) {
        let name = command.get_name();
        screens.show(&[name, "--help"]);
        for inner in visible(command) {
            screens.show(&[name, inner.get_name(), "--help"]);
            count += 1;
        }
        for line in screens.shown.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
        screens.are(&format!("help-{name}"));
    }
    assert!(count > 35, "{count}");
}

fn visible(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    let inner = command.get_subcommands();
    inner.filter(|command| !command.is_hide_set() && command.get_name() != "help")
}
