//! What the kernel knows of a TCP connection: how much the peer acknowledged, and
//! who ended it.

use std::mem::size_of;
use std::os::fd::RawFd;

use nix::libc;

/// State of a connection's socket at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TcpState {
    /// Bytes that the peer acknowledged, encryption included.
    pub(super) acknowledged: u64,
    /// Bytes that it did not, whether or not they were sent.
    pub(super) queued: u64,
    pub(super) phase: Phase,
    /// An error that nobody has read yet, such as a reset.
    pub(super) has_error: bool,
}

/// Who ended the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Open,
    /// We sent our end; the peer did not.
    EndedByUs,
    /// The peer sent its end, or a reset, or both sides ended.
    PeerLeft,
}

impl TcpState {
    /// Asks the kernel; `None` if this is no TCP socket.
    pub(super) fn of(socket: RawFd) -> Option<Self> {
        let mut info = [0; INFO_BYTES];
        let length = option(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)?;
        // kernels before 4.2 do not tell
        if length < ACKNOWLEDGED + size_of::<u64>() {
            return None;
        }
        let acknowledged = info.get(ACKNOWLEDGED..)?.first_chunk()?;
        let mut error = [0; size_of::<libc::c_int>()];
        option(socket, libc::SOL_SOCKET, libc::SO_ERROR, &mut error)?;
        // of an ended connection our end is in the queue, too
        let (phase, ends) = match *info.first()? {
            ESTABLISHED => (Phase::Open, 0),
            FIN_WAIT_1 => (Phase::EndedByUs, 1),
            FIN_WAIT_2 => (Phase::EndedByUs, 0),
            CLOSING | LAST_ACK => (Phase::PeerLeft, 1),
            _ => (Phase::PeerLeft, 0),
        };
        Some(Self {
            acknowledged: u64::from_ne_bytes(*acknowledged),
            queued: queued(socket)?.saturating_sub(ends),
            phase,
            has_error: error != [0; size_of::<libc::c_int>()],
        })
    }
}

/// An option's value; how many bytes it has.
#[expect(
    unsafe_code,
    reason = "TCP_INFO tells what was acknowledged; no crate in use reads it"
)]
fn option(socket: RawFd, level: i32, name: i32, value: &mut [u8]) -> Option<usize> {
    let mut length = libc::socklen_t::try_from(value.len()).ok()?;
    // SAFETY: the kernel writes at most `length` bytes, and says how many; a descriptor that
    // is no socket is an error.
    let code = unsafe {
        libc::getsockopt(
            socket,
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (code == 0).then(|| usize::try_from(length).ok())?
}

/// When the socket is closed, what it has not sent yet is dropped, and the peer gets a
/// reset.
#[expect(
    unsafe_code,
    reason = "the stream is inside of hyper; its descriptor is what is left to set it by"
)]
pub(super) fn reset_at_close(socket: RawFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let Ok(length) = libc::socklen_t::try_from(size_of::<libc::linger>()) else {
        return;
    };
    // SAFETY: the kernel reads one `linger`; a descriptor that is no socket is an error.
    unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            length,
        );
    }
}

/// What is in the send queue.
#[expect(
    unsafe_code,
    reason = "SIOCOUTQ counts bytes where TCP_INFO counts packets; no crate in use asks it"
)]
fn queued(socket: RawFd) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one int; a descriptor that has no queue is an error.
    let code = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut bytes) };
    (code == 0).then(|| u64::try_from(bytes).ok())?
}

/// `struct tcp_info` of linux/tcp.h: its first byte is the state; it grows at its end.
const INFO_BYTES: usize = 256;
/// `tcpi_bytes_acked`
const ACKNOWLEDGED: usize = 120;
// include/net/tcp_states.h
const ESTABLISHED: u8 = 1;
const FIN_WAIT_1: u8 = 4;
const FIN_WAIT_2: u8 = 5;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;
    use std::time::Duration;

    use socket2::SockRef;

    use super::*;

    /// A server's socket and its client, which takes little before it reads.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
        let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let client = client.unwrap();
        client.set_recv_buffer_size(4096).unwrap();
        client
            .connect(&listener.local_addr().unwrap().into())
            .unwrap();
        (listener.accept().unwrap().0, client.into())
    }

    fn state(socket: &TcpStream) -> TcpState {
        TcpState::of(socket.as_raw_fd()).unwrap()
    }

    /// Waits for what the kernel does by itself.
    fn wait_until(socket: &TcpStream, holds: impl Fn(TcpState) -> bool) -> TcpState {
        loop {
            let now = state(socket);
            if holds(now) {
                return now;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_the_peer_takes_is_acknowledged_and_what_it_does_not_take_is_queued() {
        let (mut server, mut client) = pair();
        let before = state(&server);
        server.write_all(&[1; 1000]).unwrap();
        let small = wait_until(&server, |now| now.queued == 0);
        assert_eq!(small.acknowledged - before.acknowledged, 1000);
        assert_eq!(small.phase, Phase::Open);
        server.write_all(&[2; 100_000]).unwrap();
        let mut taken = [0; 1000];
        client.read_exact(&mut taken).unwrap();
        drop(client);
        let left = wait_until(&server, |now| now.phase == Phase::PeerLeft);
        assert!(left.has_error && left.queued > 0, "{left:?}");
        assert!(left.acknowledged - before.acknowledged < 101_000);
    }

    #[test]
    fn an_orderly_end_is_no_error_and_leaves_nothing_queued() {
        let (mut server, mut client) = pair();
        server.write_all(&[1; 1000]).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        let ended = wait_until(&server, |now| now.queued == 0);
        assert_eq!(ended.phase, Phase::EndedByUs);
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 1000);
        drop(client);
        let left = wait_until(&server, |now| now.phase == Phase::PeerLeft);
        assert!(!left.has_error && left.queued == 0, "{left:?}");
    }
}
