//! The calls on terminals that `serialport` and `tokio-serial` lack.
#![expect(
    unsafe_code,
    reason = "DTR and RTS in one ioctl, a stream's descriptor, a port from a descriptor"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::termios::{
    ControlFlags, InputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr,
};
use serialport::TTYPort;
use tokio_serial::SerialStream;

use super::ModemLines;

mod raw {
    use nix::libc;

    nix::ioctl_read_bad!(modem_lines, libc::TIOCMGET, libc::c_int);
    nix::ioctl_write_ptr_bad!(set_modem_lines, libc::TIOCMSET, libc::c_int);
}

/// The descriptor of `stream`, which itself only offers its number.
pub(super) fn descriptor(stream: &SerialStream) -> BorrowedFd<'_> {
    // SAFETY: the stream keeps the descriptor open for as long as it is borrowed.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}

/// Sets DTR and RTS in one call and leaves the other modem bits alone.
///
/// `serialport` sets one line per call. The state in between resets the board.
pub(super) fn set_lines(tty: BorrowedFd<'_>, lines: ModemLines) -> Result<(), Errno> {
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

/// Changes two settings that `serialport` leaves as they are or sets itself.
///
/// HUPCL drops the modem lines when the port is closed, which resets the board.
/// IGNPAR drops bytes with framing errors, which are what a console at a wrong
/// speed consists of.
pub(super) fn clear_hupcl_and_ignpar(tty: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut settings = tcgetattr(tty)?;
    settings.control_flags.remove(ControlFlags::HUPCL);
    settings.input_flags.remove(InputFlags::IGNPAR);
    tcsetattr(tty, SetArg::TCSANOW, &settings)
}

/// Makes a stream of a terminal that `serialport` cannot open itself: it needs
/// `TCGETS2`, which emulators of Linux do not all have.
///
/// Only the speeds that Linux has constants for; `EINVAL` for others.
pub(super) fn adopt(tty: File, baud: u32) -> io::Result<SerialStream> {
    let mut settings = tcgetattr(&tty)?;
    cfmakeraw(&mut settings);
    settings.control_flags |= ControlFlags::CREAD | ControlFlags::CLOCAL;
    settings
        .control_flags
        .remove(ControlFlags::CRTSCTS | ControlFlags::CSTOPB);
    tcsetattr(&tty, SetArg::TCSANOW, &settings)?;
    set_standard_speed(tty.as_fd(), baud)?;
    // SAFETY: the descriptor is open and nobody else's.
    let port = unsafe { TTYPort::from_raw_fd(tty.into_raw_fd()) };
    if !port.exclusive() {
        return Err(Errno::EBUSY.into());
    }
    Ok(SerialStream::try_from(port)?)
}

/// Sets one of the speeds that Linux has constants for; `EINVAL` for others.
pub(super) fn set_standard_speed(tty: BorrowedFd<'_>, baud: u32) -> Result<(), Errno> {
    let mut settings = libc::termios::from(tcgetattr(tty)?);
    // SAFETY: the structure is whole. glibc takes the speed itself for its constant.
    Errno::result(unsafe { libc::cfsetspeed(&raw mut settings, baud) })?;
    tcsetattr(tty, SetArg::TCSANOW, &Termios::from(settings))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    mod raw {
        use nix::libc;

        nix::ioctl_none_bad!(exclusive, libc::TIOCEXCL);
        nix::ioctl_none_bad!(shared, libc::TIOCNXCL);
        nix::ioctl_read_bad!(is_exclusive, libc::TIOCGEXCL, libc::c_int);
    }

    /// What other programs do to a port.
    pub(in super::super) fn set_exclusive(tty: &File, exclusive: bool) {
        let fd = tty.as_raw_fd();
        // SAFETY: both calls take no argument.
        let set = unsafe {
            match exclusive {
                true => raw::exclusive(fd),
                false => raw::shared(fd),
            }
        };
        set.unwrap();
    }

    /// `expected` where emulators cannot tell.
    pub(in super::super) fn is_exclusive(tty: &File, expected: bool) -> bool {
        let mut exclusive = 0;
        // SAFETY: the kernel writes one int to a valid one.
        let told = unsafe { raw::is_exclusive(tty.as_raw_fd(), &raw mut exclusive) };
        told.map_or(expected, |_| exclusive != 0)
    }

    #[tokio::test]
    async fn an_adopted_terminal_is_set_up_and_locked_as_serialport_does_it() {
        let pairs = [(); 2].map(|()| nix::pty::openpty(None, None).unwrap());
        let [adopted, opened] = pairs.each_ref().map(|pair| {
            let path = nix::unistd::ttyname(&pair.slave).unwrap();
            let file = File::options().read(true).write(true).open(&path);
            (path, file.unwrap())
        });
        let another = File::open(&adopted.0).unwrap();
        for baud in [115_200, 921_600] {
            let ours = adopt(adopted.1.try_clone().unwrap(), baud).unwrap();
            assert!(is_exclusive(&adopted.1, true));
            let second = adopt(another.try_clone().unwrap(), baud);
            assert!(second.is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY)));
            // where there is no TCGETS2, there is nothing to compare with
            let Ok(theirs) =
                SerialStream::open(&tokio_serial::new(opened.0.to_str().unwrap(), baud))
            else {
                continue;
            };
            let [ours, theirs] = [&ours, &theirs].map(|stream| {
                clear_hupcl_and_ignpar(descriptor(stream)).unwrap();
                let settings = tcgetattr(descriptor(stream)).unwrap();
                assert_eq!(tokio_serial::SerialPort::baud_rate(stream).unwrap(), baud);
                settings
            });
            assert_eq!(ours.input_flags, theirs.input_flags);
            assert_eq!(ours.output_flags, theirs.output_flags);
            assert_eq!(ours.local_flags, theirs.local_flags);
            let speed = ControlFlags::CBAUD | ControlFlags::CIBAUD;
            assert_eq!(ours.control_flags - speed, theirs.control_flags - speed);
            assert_eq!(ours.control_chars, theirs.control_chars);
        }
        let other = adopt(adopted.1.try_clone().unwrap(), 74_880);
        assert!(other.is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL)));
    }
}
