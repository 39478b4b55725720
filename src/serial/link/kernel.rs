//! The calls on terminals that Linux has and no crate in use offers safely.
#![expect(
    unsafe_code,
    reason = "DTR and RTS in one call, free baud rates, TIOCEXCL; a descriptor to wait for"
)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::libc;
use nix::sys::termios::{
    BaudRate, ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg, cfsetspeed, tcgetattr,
    tcsetattr,
};
use tokio::io::unix::AsyncFd;

use super::Lines;

mod raw {
    use nix::libc;

    nix::ioctl_none_bad!(exclusive, libc::TIOCEXCL);
    nix::ioctl_none_bad!(shared, libc::TIOCNXCL);
    nix::ioctl_read_bad!(modem_lines, libc::TIOCMGET, libc::c_int);
    nix::ioctl_write_ptr_bad!(set_modem_lines, libc::TIOCMSET, libc::c_int);
    nix::ioctl_read_bad!(settings, libc::TCGETS2, libc::termios2);
    nix::ioctl_write_ptr_bad!(set_settings, libc::TCSETS2, libc::termios2);
}

/// A locked terminal; the lock ends with it.
#[derive(Debug)]
pub(super) struct Locked(Flock<File>);

impl Locked {
    pub(super) fn file(&self) -> &File {
        &self.0
    }
}

impl AsRawFd for Locked {
    fn as_raw_fd(&self) -> RawFd {
        self.file().as_raw_fd()
    }
}

/// Makes `tty` something that a task can wait for.
pub(super) fn watch(tty: Flock<File>) -> io::Result<AsyncFd<Locked>> {
    // SAFETY: `Locked` owns one open descriptor and never exchanges it.
    Ok(unsafe { AsyncFd::register(Locked(tty)) }?)
}

/// Makes further opens of the terminal fail (for all but root), or allows them.
pub(super) fn set_exclusive(tty: &File, exclusive: bool) -> Result<(), Errno> {
    let fd = tty.as_raw_fd();
    // SAFETY: both calls take no argument; `tty` keeps the descriptor open.
    unsafe {
        if exclusive {
            raw::exclusive(fd)
        } else {
            raw::shared(fd)
        }
    }
    .map(drop)
}

/// Sets DTR and RTS in one call and leaves the other modem bits alone.
pub(super) fn set_lines(tty: &File, lines: Lines) -> Result<(), Errno> {
    let fd = tty.as_raw_fd();
    let mut bits: libc::c_int = 0;
    // SAFETY: the kernel writes one int to a valid one.
    unsafe { raw::modem_lines(fd, &raw mut bits) }?;
    for (asserted, bit) in [(lines.dtr, libc::TIOCM_DTR), (lines.rts, libc::TIOCM_RTS)] {
        bits = if asserted { bits | bit } else { bits & !bit };
    }
    // SAFETY: the kernel reads one int.
    unsafe { raw::set_modem_lines(fd, &raw const bits) }.map(drop)
}

/// Eight data bits, no flow control, no translation, no hang-up on close, at
/// any `baud` the driver can do.
pub(super) fn set_raw(tty: &File, baud: u32) -> Result<(), Errno> {
    match set_raw_freely(tty, baud) {
        // emulators of Linux do not all have this call
        Err(Errno::ENOSYS) => set_raw_by_name(tty, baud),
        other => other,
    }
}

/// The same for the speeds that POSIX and Linux have names for; `EINVAL` for
/// others.
fn set_raw_by_name(tty: &File, baud: u32) -> Result<(), Errno> {
    let (_, speed) = SPEEDS
        .into_iter()
        .find(|(number, _)| *number == baud)
        .ok_or(Errno::EINVAL)?;
    let mut settings = tcgetattr(tty)?;
    settings.input_flags = InputFlags::empty();
    settings.output_flags = OutputFlags::empty();
    settings.local_flags = LocalFlags::empty();
    for (index, value) in WAIT_FOR_ONE_BYTE {
        if let Some(character) = settings.control_chars.get_mut(index) {
            *character = value;
        }
    }
    settings.control_flags = ControlFlags::CS8 | ControlFlags::CREAD | ControlFlags::CLOCAL;
    cfsetspeed(&mut settings, speed)?;
    tcsetattr(tty, SetArg::TCSANOW, &settings)
}

/// With 0 an empty port would look closed.
const WAIT_FOR_ONE_BYTE: [(usize, u8); 2] = [(libc::VMIN, 1), (libc::VTIME, 0)];

const SPEEDS: [(u32, BaudRate); 11] = [
    (9600, BaudRate::B9600),
    (19_200, BaudRate::B19200),
    (38_400, BaudRate::B38400),
    (57_600, BaudRate::B57600),
    (115_200, BaudRate::B115200),
    (230_400, BaudRate::B230400),
    (460_800, BaudRate::B460800),
    (921_600, BaudRate::B921600),
    (1_000_000, BaudRate::B1000000),
    (1_500_000, BaudRate::B1500000),
    (2_000_000, BaudRate::B2000000),
];

fn set_raw_freely(tty: &File, baud: u32) -> Result<(), Errno> {
    let mut settings = MaybeUninit::<libc::termios2>::uninit();
    // SAFETY: on success the kernel has filled the whole structure.
    let mut settings = unsafe {
        raw::settings(tty.as_raw_fd(), settings.as_mut_ptr())?;
        settings.assume_init()
    };
    settings.c_iflag = 0;
    settings.c_oflag = 0;
    settings.c_lflag = 0;
    // Without HUPCL the lines stay as they are when the port is closed.
    settings.c_cflag = libc::CS8 | libc::CREAD | libc::CLOCAL | libc::BOTHER;
    settings.c_ispeed = baud;
    settings.c_ospeed = baud;
    for (index, value) in WAIT_FOR_ONE_BYTE {
        if let Some(character) = settings.c_cc.get_mut(index) {
            *character = value;
        }
    }
    // SAFETY: the kernel reads one structure that it filled before.
    unsafe { raw::set_settings(tty.as_raw_fd(), &raw const settings) }.map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn both_ways_to_set_a_terminal_raw_do_the_same() {
        let pairs = [(); 3].map(|()| nix::pty::openpty(None, None).unwrap());
        let [free, named, other] = pairs.each_ref().map(|pair| {
            let side: OwnedFd = pair.slave.try_clone().unwrap();
            File::from(side)
        });
        for baud in [115_200, 921_600] {
            // where only one of the two works, there is nothing to compare
            if set_raw_freely(&free, baud) == Err(Errno::ENOSYS) {
                set_raw_by_name(&free, baud).unwrap();
            }
            set_raw_by_name(&named, baud).unwrap();
            let [free, named] = [&free, &named].map(|side| tcgetattr(side).unwrap());
            assert_eq!(free.input_flags, named.input_flags);
            assert_eq!(free.local_flags, named.local_flags);
            assert_eq!(free.output_flags, named.output_flags);
            let shape = ControlFlags::CSIZE | ControlFlags::CREAD | ControlFlags::HUPCL;
            assert_eq!(free.control_flags & shape, named.control_flags & shape);
            for index in [libc::VMIN, libc::VTIME] {
                assert_eq!(free.control_chars[index], named.control_chars[index]);
            }
        }
        // speeds without a name: as the platform can
        for baud in [74_880, 1_234_567] {
            assert_eq!(set_raw_by_name(&other, baud), Err(Errno::EINVAL));
            let expected = match set_raw_freely(&other, baud) {
                Err(Errno::ENOSYS) => Err(Errno::EINVAL),
                _ => Ok(()),
            };
            assert_eq!(set_raw(&other, baud), expected);
        }
    }
}
