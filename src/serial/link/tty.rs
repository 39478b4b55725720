//! The real [`Link`]: a terminal of Linux, opened so that the board behind it
//! is disturbed as little as the kernel allows.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use nix::sys::termios::{FlushArg, tcflush};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::kernel::{self, Locked};
use super::{Lines, Link, LinkError};

/// An open serial port that nobody else uses at the same time.
///
/// Exclusive twice over: an advisory lock (what flashing tools look at) and
/// `TIOCEXCL` (what stops everybody else but root). Closing it leaves the modem
/// lines as they are.
#[derive(Debug)]
pub struct SerialLink {
    path: PathBuf,
    baud: u32,
    lines: Lines,
    /// `None` only while a port that went away is waited for: the kernel
    /// gives its name to nothing else, nor to itself, while it is open.
    tty: Option<AsyncFd<Locked>>,
}

impl SerialLink {
    /// Opens the port at `path` and sets `lines` in one step.
    ///
    /// The kernel asserts both lines at opening, whatever is asked for here.
    /// Must be called within a tokio runtime. [`LinkError::Busy`] if the open
    /// or the lock fails because of somebody else, [`LinkError::Gone`] if
    /// there is no such port.
    pub fn open(path: &Path, baud: u32, lines: Lines) -> Result<Self, LinkError> {
        refuse_touch(baud)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
            .open(path)
            .map_err(|error| failed("open", error))?;
        // The lock goes first: TIOCEXCL on a port that somebody else uses
        // would outlive this attempt.
        let file =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(
                |(_, errno)| match errno {
                    Errno::EWOULDBLOCK => LinkError::Busy,
                    other => failed("lock", other.into()),
                },
            )?;
        kernel::set_exclusive(&file, true).map_err(|errno| failed("claim", errno.into()))?;
        kernel::set_raw(&file, baud).map_err(|errno| failed("configure", errno.into()))?;
        let tty = kernel::watch(file).map_err(|error| failed("watch", error))?;
        let mut link = Self {
            path: path.to_owned(),
            baud,
            lines,
            tty: Some(tty),
        };
        link.set_lines(lines)?;
        Ok(link)
    }

    fn tty(&self) -> Result<&AsyncFd<Locked>, LinkError> {
        self.tty.as_ref().ok_or(LinkError::Gone)
    }

    fn file(&self) -> Result<&File, LinkError> {
        self.tty().map(|tty| tty.get_ref().file())
    }

    /// Closes the port without waiting for anything.
    fn close(&mut self) {
        if let Some(tty) = self.tty.take() {
            let file = tty.get_ref().file();
            // Closing waits up to 30 s for bytes that a stuck adapter never sends.
            let _ = tcflush(file, FlushArg::TCOFLUSH);
            // The flag outlives us if root has the port open as well.
            let _ = kernel::set_exclusive(file, false);
        }
    }
}

impl Link for SerialLink {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LinkError> {
        loop {
            let mut ready = self
                .tty()?
                .readable()
                .await
                .map_err(|e| failed("read", e))?;
            match ready.try_io(|tty| tty.get_ref().file().read(buffer)) {
                // A terminal reads 0 bytes only after it was hung up, and for
                // ever then.
                Ok(Ok(0)) => return Err(LinkError::Gone),
                Ok(Ok(count)) => return Ok(count),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(failed("read", error)),
                Err(_not_ready) => {}
            }
        }
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), LinkError> {
        while !bytes.is_empty() {
            let mut ready = self
                .tty()?
                .writable()
                .await
                .map_err(|e| failed("write", e))?;
            match ready.try_io(|tty| tty.get_ref().file().write(bytes)) {
                Ok(Ok(0)) => return Err(LinkError::Gone),
                Ok(Ok(count)) => bytes = bytes.get(count..).unwrap_or_default(),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(failed("write", error)),
                Err(_not_ready) => {}
            }
        }
        Ok(())
    }

    fn set_lines(&mut self, lines: Lines) -> Result<bool, LinkError> {
        match kernel::set_lines(self.file()?, lines) {
            Ok(()) => Ok(true),
            // Pseudo terminals, and drivers without modem lines.
            Err(Errno::ENOTTY | Errno::EINVAL) => Ok(false),
            Err(errno) => Err(failed("set the lines of", errno.into())),
        }
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), LinkError> {
        refuse_touch(baud)?;
        kernel::set_raw(self.file()?, baud).map_err(|e| failed("set the speed of", e.into()))?;
        self.baud = baud;
        Ok(())
    }

    fn discard(&mut self) -> Result<(), LinkError> {
        tcflush(self.file()?, FlushArg::TCIOFLUSH).map_err(|e| failed("flush", e.into()))
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
mod tests {
    use std::os::fd::OwnedFd;

    use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
    use nix::sys::termios::tcgetattr;

    use super::*;

    /// The other side of a pseudo terminal, and the path of ours.
    fn pair() -> (PtyMaster, PathBuf) {
        let master = posix_openpt(nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname_r(&master).unwrap().into();
        (master, path)
    }

    #[tokio::test]
    async fn bytes_pass_untranslated_both_ways() {
        let (mut master, path) = pair();
        let mut link = SerialLink::open(&path, 115_200, Lines::ON).unwrap();
        let all: Vec<u8> = (0..=255).collect();
        link.write(&all).await.unwrap();
        let mut there = [0; 256];
        master.read_exact(&mut there).unwrap();
        assert_eq!(there.to_vec(), all);
        master.write_all(&all).unwrap();
        let mut back = Vec::new();
        while back.len() < all.len() {
            let mut buffer = [0; 64];
            let count = link.read(&mut buffer).await.unwrap();
            back.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(back, all);
    }

    #[tokio::test]
    async fn a_pseudo_terminal_has_no_modem_lines_and_works() {
        let (_master, path) = pair();
        let mut link = SerialLink::open(&path, 115_200, Lines::OFF).unwrap();
        assert!(!link.set_lines(Lines::ON).unwrap());
        link.set_baud(921_600).unwrap();
    }

    #[tokio::test]
    async fn a_second_open_is_busy_and_closing_ends_that() {
        let (_master, path) = pair();
        let first = SerialLink::open(&path, 115_200, Lines::ON).unwrap();
        let second = SerialLink::open(&path, 115_200, Lines::ON);
        assert!(matches!(second, Err(LinkError::Busy)), "{second:?}");
        drop(first);
        SerialLink::open(&path, 115_200, Lines::ON).unwrap();
    }

    #[tokio::test]
    async fn a_port_whose_other_side_closed_is_gone() {
        let (master, path) = pair();
        let mut link = SerialLink::open(&path, 115_200, Lines::ON).unwrap();
        drop(OwnedFd::from(master));
        let read = link.read(&mut [0; 16]).await;
        assert!(matches!(read, Err(LinkError::Gone)), "{read:?}");
        let write = link.write(b"x").await;
        assert!(matches!(write, Err(LinkError::Gone)), "{write:?}");
        drop(link);
        let reopened = SerialLink::open(&path, 115_200, Lines::ON);
        assert!(matches!(reopened, Err(LinkError::Gone)), "{reopened:?}");
    }

    #[tokio::test]
    async fn the_port_is_never_opened_or_set_to_1200_baud() {
        let (_master, path) = pair();
        let open = SerialLink::open(&path, 1200, Lines::ON);
        assert!(matches!(open, Err(LinkError::Baud(1200))), "{open:?}");
        let mut link = SerialLink::open(&path, 115_200, Lines::ON).unwrap();
        assert!(matches!(link.set_baud(1200), Err(LinkError::Baud(1200))));
    }

    #[tokio::test]
    async fn closing_does_not_hang_up() {
        use nix::sys::termios::ControlFlags;
        let (_master, path) = pair();
        let link = SerialLink::open(&path, 115_200, Lines::ON).unwrap();
        let flags = tcgetattr(link.file().unwrap()).unwrap().control_flags;
        assert!(!flags.contains(ControlFlags::HUPCL), "{flags:?}");
        assert!(flags.contains(ControlFlags::CLOCAL), "{flags:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_that_comes_back_under_its_name_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("port");
        let (first, path) = pair();
        std::os::unix::fs::symlink(&path, &name).unwrap();
        let mut link = SerialLink::open(&name, 115_200, Lines::ON).unwrap();
        drop(first);
        std::fs::remove_file(&name).unwrap();
        let (mut second, path) = pair();
        let (reopened, ()) = tokio::join!(link.reopen(), async {
            sleep(REOPEN_PAUSE * 3).await;
            std::os::unix::fs::symlink(&path, &name).unwrap();
        });
        reopened.unwrap();
        link.write(b"x").await.unwrap();
        let mut there = [0];
        second.read_exact(&mut there).unwrap();
        assert_eq!(there, *b"x");
        std::fs::remove_file(&name).unwrap();
        assert!(matches!(link.reopen().await, Err(LinkError::Gone)));
        assert!(matches!(link.discard(), Err(LinkError::Gone)));
    }
}
