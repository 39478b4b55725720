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
    // A read waits for one byte; with 0 an empty port would look closed.
    for (index, value) in [(libc::VMIN, 1), (libc::VTIME, 0)] {
        if let Some(character) = settings.c_cc.get_mut(index) {
            *character = value;
        }
    }
    // SAFETY: the kernel reads one structure that it filled before.
    unsafe { raw::set_settings(tty.as_raw_fd(), &raw const settings) }.map(drop)
}
