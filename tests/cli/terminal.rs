//! Commands on a pseudo terminal of 24 lines and 80 columns.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::daemon;

const PULSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
const SIZE: Winsize = Winsize {
    ws_row: 24,
    ws_col: 80,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// What the binary writes to a terminal.
pub(crate) fn on_terminal(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = daemon::binary();
    command.args(arguments).envs(environment.iter().copied());
    show(&mut command).0
}

/// What a command writes to a terminal, and its exit status.
pub(crate) fn show(command: &mut Command) -> (String, i32) {
    run(command, None)
}

/// The same, for a command that asks and is answered with `typed`.
pub(crate) fn answered(command: &mut Command, typed: &str) -> (String, i32) {
    run(command, Some(typed))
}

fn run(command: &mut Command, typed: Option<&str>) -> (String, i32) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    tcsetwinsize(&terminal, SIZE).unwrap();
    if !command.get_envs().any(|(name, _)| name == "TERM") {
        command.env("TERM", "xterm");
    }
    let mut child = command
        .stdin(match typed {
            Some(_) => Stdio::from(terminal.try_clone().unwrap()),
            None => Stdio::null(),
        })
        .stderr(terminal.try_clone().unwrap())
        .stdout(terminal)
        .spawn()
        .unwrap();
    // The command holds the terminal open as long as it is kept.
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut master = File::from(master);
    if let Some(typed) = typed {
        master.write_all(typed.as_bytes()).unwrap();
    }
    let mut text = Vec::new();
    let mut block = [0; 4096];
    loop {
        // Asked first: what an ended one wrote is there to be read.
        let ended = child.try_wait().unwrap().is_some();
        let mut look = [PollFd::new(&master, PollFlags::IN)];
        poll(&mut look, Some(&PULSE)).unwrap();
        let [look] = look;
        if look.revents().contains(PollFlags::IN) {
            match master.read(&mut block) {
                Ok(count) => text.extend(&block[..count]),
                Err(_) => break,
            }
        } else if ended {
            break;
        }
    }
    let status = child.wait().unwrap().code().unwrap();
    (String::from_utf8(text).unwrap(), status)
}
