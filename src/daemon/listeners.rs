//! Listeners: HTTPS and control socket.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::journal::Event;
use crate::store::publish::{FILE_MODE, replace};
use crate::systemd;

/// Connections that wait in the kernel while we are busy.
const BACKLOG: i32 = 1024;
/// Mode of the control socket: its group may use it.
const SOCKET_MODE: u32 = 0o660;

/// An HTTPS socket that is in use.
#[derive(Clone, Debug)]
pub(super) struct Listening {
    /// As configured; the port may be 0, for any.
    wanted: SocketAddr,
    pub(super) address: SocketAddr,
    /// Ends its accept loop.
    pub(super) until: CancellationToken,
}

impl Listening {
    /// What its task is called.
    pub(super) fn name(&self) -> String {
        format!("https://{}", self.address)
    }
}

/// A new socket, with the configured address.
pub(super) type Opened = (SocketAddr, TcpListener);

/// Takes a new socket into use; `stop` ends it with all others.
///
/// # Errors
/// The kernel's.
pub(super) fn fresh(
    (wanted, socket): Opened,
    stop: &CancellationToken,
) -> io::Result<(Listening, Option<TcpListener>)> {
    let listening = Listening {
        wanted,
        address: socket.local_addr()?,
        until: stop.child_token(),
    };
    Ok((listening, Some(socket)))
}

/// Listens on `wanted`: those of `present` that are among them stay as they
/// are, the others are opened. Nothing is closed.
///
/// # Errors
/// The address that cannot be used, and why.
pub(super) fn change(
    present: &[Listening],
    wanted: &[SocketAddr],
    stop: &CancellationToken,
) -> io::Result<Vec<(Listening, Option<TcpListener>)>> {
    let mut left = present.to_vec();
    let kept: Vec<Option<Listening>> = wanted
        .iter()
        .map(|address| {
            let same = |old: &Listening| [old.wanted, old.address].contains(address);
            let at = left.iter().position(same)?;
            Some(Listening {
                wanted: *address,
                ..left.swap_remove(at)
            })
        })
        .collect();
    let each = wanted.iter().zip(kept);
    each.map(|(address, kept)| match kept {
        Some(kept) => Ok((kept, None)),
        None => match bind_named(*address) {
            Ok(socket) => fresh((*address, socket), stop),
            Err(error) => Err(in_the_way(error, *address, &left)),
        },
    })
    .collect()
}

/// Two sockets of one port may conflict, and the one in use is not closed before
/// the other is open.
fn in_the_way(error: io::Error, address: SocketAddr, going: &[Listening]) -> io::Error {
    let port = going.iter().find(|old| old.wanted.port() == address.port());
    match port {
        Some(old) if error.kind() == io::ErrorKind::AddrInUse => io::Error::new(
            error.kind(),
            format!(
                "{error}: still listening on {}; restart the daemon to change it",
                old.wanted
            ),
        ),
        _ => error,
    }
}

/// The HTTPS sockets: systemd's, else those of the configuration.
///
/// # Errors
/// The address that cannot be used, and why.
pub(super) fn https(configured: &[SocketAddr]) -> io::Result<(Vec<Opened>, bool)> {
    let passed = systemd::passed_sockets();
    if passed.is_empty() {
        let bound = configured
            .iter()
            .map(|address| Ok((*address, bind_named(*address)?)));
        return Ok((bound.collect::<io::Result<_>>()?, false));
    }
    let mut listeners = Vec::new();
    for socket in passed {
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        listeners.push((socket.local_addr()?, socket));
    }
    let mut passed: Vec<u16> = ports(listeners.iter().map(|(address, _)| *address));
    let mut wanted: Vec<u16> = ports(configured.iter().copied());
    passed.sort_unstable();
    wanted.sort_unstable();
    if passed != wanted {
        Event::ListenerDiffers.entry().say(format_args!(
            "listening on port {passed:?} from systemd instead of {wanted:?} from \
             http.listen: change espgate.socket"
        ));
    }
    Ok((listeners, true))
}

fn ports(addresses: impl Iterator<Item = SocketAddr>) -> Vec<u16> {
    addresses.map(|address| address.port()).collect()
}

fn bind_named(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // "[::]" takes IPv4 as well, whatever the system's default is.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Writes down where HTTPS listens, an address a line, for tests and scripts
/// that asked for any free port.
///
/// # Errors
/// As [`replace`].
pub(super) fn note_addresses(run: &Path, addresses: &[SocketAddr]) -> crate::store::Result<()> {
    let text: String = addresses
        .iter()
        .map(|address| format!("{address}\n"))
        .collect();
    replace(run, "https-address", text.as_bytes(), FILE_MODE)
}

/// The control socket in `$RUNTIME_DIRECTORY`, else in `run`.
///
/// # Errors
/// What the filesystem says.
pub(super) fn control(run: &Path) -> io::Result<(UnixListener, PathBuf)> {
    let folder = match std::env::var_os("RUNTIME_DIRECTORY") {
        Some(folder) => PathBuf::from(folder),
        None => run.to_owned(),
    };
    let path = folder.join("control.sock");
    // We hold the data directory's lock: this socket is left over from an earlier run.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok((listener, path))
}
