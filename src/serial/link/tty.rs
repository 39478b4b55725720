//! The real [`Link`]: a port opened, configured, locked and read by
//! `serialport` and `tokio-serial`, with what they lack (`ioctl`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use nix::sys::termios::tcgetattr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;
use tokio_serial::{ClearBuffer, ErrorKind, SerialPort as _, SerialStream};

use super::ioctl;
use super::{Link, LinkError, ModemLines};

/// An open serial port that nobody else uses at the same time.
///
/// Exclusive twice over: an advisory lock (what flashing tools look at) and
/// `TIOCEXCL` (what stops everybody else but root). Closing it leaves the modem
/// lines as they are.
#[derive(Debug)]
pub struct SerialLink {
    path: PathBuf,
    baud: u32,
    lines: ModemLines,
    /// `None` only while a port that went away is waited for: the kernel
    /// gives its name to nothing else, nor to itself, while it is open.
    stream: Option<SerialStream>,
}

impl SerialLink {
    /// Opens the port at `path` and sets `lines` in one step.
    ///
    /// The kernel asserts both lines at opening, whatever is asked for here.
    /// Must be called within a tokio runtime. [`LinkError::Busy`] if the open
    /// or the lock fails because of another program, [`LinkError::Gone`] if
    /// there is no such port.
    pub fn open(path: &Path, baud: u32, lines: ModemLines) -> Result<Self, LinkError> {
        refuse_touch(baud)?;
        let unlocked = try_lock(path)?;
        let settings = tokio_serial::new(path.to_string_lossy(), baud);
        let stream = match SerialStream::open(&settings) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::NoDevice => return Err(LinkError::Busy),
            // The library's error has lost its errno. Our own descriptor fails
            // with it, or works where the library does not (no TCGETS2).
            Err(_) => ioctl::adopt(unlocked, baud).map_err(|error| failed("configure", error))?,
        };
        ioctl::clear_hupcl_and_ignpar(ioctl::descriptor(&stream))
            .map_err(|errno| failed("configure", errno.into()))?;
        let mut link = Self {
            path: path.to_owned(),
            baud,
            lines,
            stream: Some(stream),
        };
        link.set_lines(lines)?;
        Ok(link)
    }

    fn stream(&mut self) -> Result<&mut SerialStream, LinkError> {
        self.stream.as_mut().ok_or(LinkError::Gone)
    }

    /// Closes the port without waiting for anything.
    fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            // Closing waits up to 30 s for bytes that a stuck adapter never sends.
            let _ = stream.clear(ClearBuffer::Output);
        }
    }
}

/// Opens the port and finds out whether another program has locked it.
///
/// `serialport` alone sets `TIOCEXCL` before it looks at the lock and clears it
/// when that fails, which (as root) takes it from the program that has the port;
/// and its errors do not tell a port that is gone from others.
fn try_lock(path: &Path) -> Result<File, LinkError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| failed("open", error))?;
    let locked =
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => LinkError::Busy,
            other => failed("lock", other.into()),
        })?;
    locked
        .unlock()
        .map_err(|(_, errno)| failed("unlock", errno.into()))
}

impl Link for SerialLink {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LinkError> {
        match self.stream()?.read(buffer).await {
            // A terminal reads 0 bytes only after it was hung up.
            Ok(0) => Err(LinkError::Gone),
            Ok(count) => Ok(count),
            Err(error) => Err(failed("read", error)),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        // Never flushed: that blocks the thread until the adapter has sent all.
        let written = self.stream()?.write_all(bytes).await;
        written.map_err(|error| failed("write", error))
    }

    fn set_lines(&mut self, lines: ModemLines) -> Result<bool, LinkError> {
        match ioctl::set_lines(ioctl::descriptor(self.stream()?), lines) {
            Ok(()) => Ok(true),
            // Pseudo terminals, and drivers without modem lines.
            Err(Errno::ENOTTY | Errno::EINVAL) => Ok(false),
            Err(errno) => Err(failed("set the lines of", errno.into())),
        }
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), LinkError> {
        refuse_touch(baud)?;
        let stream = self.stream()?;
        if stream.set_baud_rate(baud).is_err() {
            // Fails with an errno, or works without TCGETS2.
            ioctl::set_standard_speed(ioctl::descriptor(stream), baud)
                .map_err(|errno| failed("set the speed of", errno.into()))?;
        }
        self.baud = baud;
        Ok(())
    }

    fn discard(&mut self) -> Result<(), LinkError> {
        let stream = self.stream()?;
        stream
            .clear(ClearBuffer::All)
            .map_err(|error| match tcgetattr(ioctl::descriptor(stream)) {
                Ok(_) => failed("clear", error.into()),
                Err(errno) => failed("clear", errno.into()),
            })
    }

    async fn reopen(&mut self) -> Result<(), LinkError> {
        self.close();
        for _ in 0..REOPEN_ATTEMPTS {
            sleep(REOPEN_PAUSE).await;
            match Self::open(&self.path, self.baud, self.lines) {
                Ok(reopened) => {
                    *self = reopened;
                    return Ok(());
                }
                // udev may not be done with it yet.
                Err(LinkError::Gone | LinkError::Busy | LinkError::Io { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(LinkError::Gone)
    }
}

impl Drop for SerialLink {
    fn drop(&mut self) {
        self.close();
    }
}

fn refuse_touch(baud: u32) -> Result<(), LinkError> {
    match baud {
        0 | 1200 => Err(LinkError::Baud(baud)),
        _ => Ok(()),
    }
}

fn failed(action: &'static str, source: io::Error) -> LinkError {
    match source.raw_os_error() {
        Some(libc::EBUSY) => LinkError::Busy,
        Some(libc::EIO | libc::ENXIO | libc::ENODEV | libc::ENOENT) => LinkError::Gone,
        _ => LinkError::Io { action, source },
    }
}

/// Three seconds together.
const REOPEN_ATTEMPTS: u32 = 30;
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
