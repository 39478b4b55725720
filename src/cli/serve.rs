//! `espgate serve`: the daemon in the foreground.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use super::args::Global;
use crate::daemon::{self, Greeting};

/// Runs until it is stopped.
pub(super) fn run(global: &Global) -> ExitCode {
    daemon::run(&global.options(), |greeting| {
        if io::stdout().is_terminal() {
            let _ = io::stdout().write_all(welcome(greeting).as_bytes());
        }
    })
}

/// Addresses and first commands, for a terminal.
fn welcome(greeting: &Greeting) -> String {
    let mut text = String::from("\nespgate is running.\n");
    for address in &greeting.addresses {
        let _ = match address.ip().is_unspecified() {
            true => writeln!(
                text,
                "  Devices and CI:  https://localhost:{}, and this machine's other names",
                address.port()
            ),
            false => writeln!(text, "  Devices and CI:  https://{address}"),
        };
    }
    if let Some(ca) = &greeting.ca {
        let _ = writeln!(text, "  CA for firmware: {}", ca.display());
    }
    let data_dir = greeting.data_dir.display();
    let _ = write!(
        text,
        "\nTry in another terminal:\n\
         \x20 export ESPGATE_DATA_DIR={data_dir}\n\
         \x20 espgate status\n\
         \x20 espgate models add demo\n\
         \x20 espgate devices add kitchen3 --model demo\n\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_names_address_ca_and_three_commands() {
        let text = welcome(&Greeting {
            addresses: vec!["[::]:8443".parse().unwrap()],
            data_dir: "/data".into(),
            ca: Some("/data/tls/ca.pem".into()),
            control_socket: "/data/run/control.sock".into(),
        });
        assert!(text.contains("https://localhost:8443,") && text.contains("/data/tls/ca.pem"));
        assert_eq!(text.matches("\n  espgate ").count(), 3);
    }
}
