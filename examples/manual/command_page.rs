//! espgate(1), from the command line's definition: one page for all commands,
//! since a technician looks in one place.

use clap::{Arg, ArgAction, Command};

use super::roff::Roff;

pub(crate) fn page(command: &Command) -> String {
    let mut command = command.clone().disable_help_subcommand(true);
    command.build();
    let mut roff = Roff::page("espgate", 1);
    roff.section("NAME");
    roff.lines(&format!("espgate - {}", about(&command)));
    roff.section("SYNOPSIS");
    roff.lines("espgate [OPTIONS] COMMAND [ARGUMENTS]");
    roff.section("DESCRIPTION");
    let description = command.get_long_about().or(command.get_about());
    roff.lines(&description.map(ToString::to_string).unwrap_or_default());
    roff.section("OPTIONS");
    for argument in command.get_arguments() {
        explain(&mut roff, argument);
    }
    roff.section("COMMANDS");
    for subcommand in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        describe(&mut roff, "espgate", subcommand);
    }
    if let Some(text) = command.get_after_long_help().or(command.get_after_help()) {
        roff.section("NOTES");
        roff.verbatim(&text.to_string());
    }
    for (title, text) in CLOSING {
        roff.section(title);
        roff.verbatim(text.trim_end());
    }
    roff.finish()
}

/// One command, or all commands of a group.
fn describe(roff: &mut Roff, path: &str, command: &Command) {
    let path = format!("{path} {}", command.get_name());
    if command.has_subcommands() {
        for subcommand in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            describe(roff, &path, subcommand);
        }
        if command.is_subcommand_required_set() {
            return;
        }
    }
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && !arg.is_hide_set())
        .filter(|arg| !is_generated(arg))
        .collect();
    let mut usage = path;
    for argument in &own {
        let text = if argument.is_positional() || argument.is_required_set() {
            argument.to_string()
        } else {
            format!("[{argument}]")
        };
        usage.push(' ');
        usage.push_str(&text);
    }
    roff.subsection(&usage);
    let text = command.get_long_about().or(command.get_about());
    roff.lines(&text.map(ToString::to_string).unwrap_or_default());
    for argument in own {
        explain(roff, argument);
    }
}

fn explain(roff: &mut Roff, argument: &Arg) {
    let silent = argument.is_positional() && argument.get_help().is_none();
    if argument.is_hide_set() || silent {
        return;
    }
    let mut term = argument.to_string();
    if let (Some(short), Some(_)) = (argument.get_short(), argument.get_long()) {
        term = format!("-{short}, {term}");
    }
    let mut text = argument
        .get_long_help()
        .or(argument.get_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    if let Some(variable) = argument.get_env() {
        let name = variable.display();
        text = format!("{}. Environment: {name}.", text.trim_end_matches('.'));
    }
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        let values = defaults.join(" ");
        text = format!("{}. Default: {values}.", text.trim_end_matches('.'));
    }
    roff.terms(&[term], &text);
}

/// Whether clap adds it everywhere by itself.
fn is_generated(argument: &Arg) -> bool {
    matches!(
        argument.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    )
}

fn about(command: &Command) -> String {
    command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// What the command line's definition does not know.
const CLOSING: &[(&str, &str)] = &[
    (
        "EXIT STATUS",
        "0  done
1  failed
2  wrong usage
3  the daemon cannot be reached
78 (serve) the configuration cannot be run with
",
    ),
    (
        "FILES",
        "/etc/espgate/espgate.toml     settings, espgate.toml(5)
/var/lib/espgate              dumps, firmware, registers, certificates
/run/espgate/control.sock     the daemon's control socket (group espgate)
/etc/systemd/system/espgate.service.d/*.conf
                              what a site changes: systemctl edit espgate
",
    ),
    (
        "SERIAL PORTS OF THE BOARD ITSELF",
        "USB serial adapters may be opened as they are. A UART on the Raspberry Pi's
pins needs its kernel number allowed once: systemctl edit espgate, with

    [Service]
    DeviceAllow=char-204 rw

(204 for /dev/ttyAMA0, 4 for /dev/ttyS0), then systemctl restart espgate.
",
    ),
    (
        "SEE ALSO",
        "espgate.toml(5), journalctl(1), systemctl(1)

journalctl -u espgate -x      what happened, and what to do about it
journalctl -u espgate DEVICE_KEY=KEY
",
    ),
];
