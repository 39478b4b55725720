//! A serial port as the rest of the crate sees it: bytes, two modem lines, a
//! baud rate. [`SerialLink`] is the real one; unit tests use a scripted one.

use std::future::Future;
use std::io;

mod ioctl;
#[cfg(test)]
pub(crate) mod scripted;
mod tty;

pub use tty::SerialLink;

/// The two modem lines that a board's reset circuit hangs on.
///
/// `true` is *asserted*, which pulls the wire low: on the usual two-transistor
/// circuit RTS alone holds the chip in reset, DTR alone holds IO0 low, and
/// both together (or neither) do nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ModemLines {
    pub dtr: bool,
    pub rts: bool,
}

impl ModemLines {
    /// Both asserted, as the kernel leaves them after opening.
    pub const ON: Self = Self {
        dtr: true,
        rts: true,
    };
    /// Both released.
    pub const OFF: Self = Self {
        dtr: false,
        rts: false,
    };
}

/// Why a port does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Another program holds the port; it is left to it.
    #[error("port is in use by another program")]
    Busy,
    /// Unplugged, or the other side of the pseudo terminal was closed.
    #[error("port disconnected")]
    Gone,
    /// Opening a USB port at 1200 baud sends many boards into their bootloader.
    #[error("{0} baud not allowed: 0 hangs up, 1200 sends many boards into their bootloader")]
    Baud(u32),
    #[error("cannot {action} the port")]
    Io {
        action: &'static str,
        source: io::Error,
    },
}

/// A serial port.
pub trait Link: Send {
    /// Waits for bytes and takes up to `buffer.len()` of them, at least one.
    ///
    /// Dropping the future loses nothing.
    fn read(&mut self, buffer: &mut [u8]) -> impl Future<Output = Result<usize, LinkError>> + Send;

    /// Writes all of `bytes`.
    ///
    /// Waits without a limit if the port takes none: callers set one. If the
    /// future is dropped, a part of `bytes` may be sent.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Sets both modem lines in one step, so that no state in between reaches
    /// the board. `false` if the port has none (a pseudo terminal).
    fn set_lines(&mut self, lines: ModemLines) -> Result<bool, LinkError>;

    /// Changes the speed of both directions, at once.
    fn set_baud(&mut self, baud: u32) -> Result<(), LinkError>;

    /// Drops received bytes that were not read, and bytes not sent yet.
    fn discard(&mut self) -> Result<(), LinkError>;

    /// Waits up to a few seconds for a port that disconnected to come back at the
    /// same place, and opens it again with the same settings.
    ///
    /// A chip's own USB unit disconnects when the chip is reset.
    fn reopen(&mut self) -> impl Future<Output = Result<(), LinkError>> + Send {
        std::future::ready(Err(LinkError::Gone))
    }
}

impl<L: Link> Link for &mut L {
    fn read(&mut self, buffer: &mut [u8]) -> impl Future<Output = Result<usize, LinkError>> + Send {
        (**self).read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), LinkError>> + Send {
        (**self).write(bytes)
    }

    fn set_lines(&mut self, lines: ModemLines) -> Result<bool, LinkError> {
        (**self).set_lines(lines)
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), LinkError> {
        (**self).set_baud(baud)
    }

    fn discard(&mut self) -> Result<(), LinkError> {
        (**self).discard()
    }

    fn reopen(&mut self) -> impl Future<Output = Result<(), LinkError>> + Send {
        (**self).reopen()
    }
}
