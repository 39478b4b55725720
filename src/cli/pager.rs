//! Long output through a pager, on a terminal, as git and systemctl do it.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{SigSet, Signal};

use super::failure::Failure;
use super::table::{WIDTH, width};

/// What is printed while a command collects; `None` if it goes out at once.
static COLLECTED: Mutex<Option<String>> = Mutex::new(None);
/// Exit status of a shell that has no such program.
const NO_SUCH_PROGRAM: i32 = 127;

/// Collects what is printed from here on, if it goes to a terminal.
pub(super) fn begin(unwanted: bool) {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if !unwanted && !is_dumb && io::stdout().is_terminal() {
        *lock() = Some(String::new());
    }
}

/// Collects text that is printed; false if nothing is being collected.
pub(super) fn takes(text: &str) -> bool {
    match lock().as_mut() {
        Some(collected) => {
            collected.push_str(text);
            true
        }
        None => false,
    }
}

/// Shows what was collected, in the pager if it is longer than the screen.
///
/// # Errors
/// What writing says.
pub(super) fn end() -> Result<(), Failure> {
    let Some(text) = lock().take() else {
        return Ok(());
    };
    if !fits(&text) && paged(&text) {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Whether the text and the next prompt fit on the screen.
fn fits(text: &str) -> bool {
    let screen = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let (rows, columns) = screen.map_or((0, 0), |size| (size.ws_row, size.ws_col));
    let columns = if columns == 0 { WIDTH } else { columns.into() };
    let rows = if rows == 0 { 24 } else { rows.into() };
    lines(text, columns) < rows
}

/// Lines of the screen that `text` takes.
fn lines(text: &str, columns: usize) -> usize {
    let lines = text.lines();
    lines.map(|line| width(line).div_ceil(columns).max(1)).sum()
}

/// Runs the pager; false if there is none.
fn paged(text: &str) -> bool {
    let Some(mut pager) = pager() else {
        return false;
    };
    let Ok(mut child) = pager.stdin(Stdio::piped()).spawn() else {
        return false;
    };
    // Ctrl-C is the pager's to understand; it must not be left alone by it.
    let _ = SigSet::from(Signal::SIGINT).thread_block();
    if let Some(mut input) = child.stdin.take() {
        // It may be left before the end.
        let _ = input.write_all(text.as_bytes());
    }
    child
        .wait()
        .is_ok_and(|status| status.code() != Some(NO_SUCH_PROGRAM))
}

/// The user's pager, `less` by default; `None` if it is turned off.
fn pager() -> Option<Command> {
    let wish = |name: &str| std::env::var(name).ok();
    // A user who may run only espgate as root must not get a root shell from the pager.
    let is_lent = wish("SUDO_UID").is_some() || wish("PKEXEC_UID").is_some();
    let wish = wish("ESPGATE_PAGER").or_else(|| wish("PAGER"));
    let program = match wish {
        Some(wish) if !is_lent => wish,
        _ => String::from("less"),
    };
    if matches!(program.trim(), "" | "cat") {
        return None;
    }
    let mut command = Command::new("sh");
    command.args(["-c", &program]);
    if is_lent {
        command.env("LESSSECURE", "1").env_remove("LESSOPEN");
    }
    if is_lent || std::env::var_os("LESS").is_none() {
        // Ends if all is seen, shows colours, leaves the text on the screen.
        command.env("LESS", "FRX");
    }
    Some(command)
}

fn lock() -> std::sync::MutexGuard<'static, Option<String>> {
    COLLECTED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_takes_several_of_the_screen() {
        for (text, taken) in [
            ("", 0),
            ("a\n", 1),
            ("a\n\nb\n", 3),
            ("12345\n", 2),
            ("1234", 1),
        ] {
            assert_eq!(lines(text, 4), taken, "{text:?}");
        }
    }
}
