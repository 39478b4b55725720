//! The sockets that requests come in by.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::journal::Event;
use crate::store::publish::{FILE_MODE, replace};
use crate::systemd;

/// Connections that wait in the kernel while we are busy.
const BACKLOG: i32 = 1024;
/// Mode of the control socket: its group may use it.
const SOCKET_MODE: u32 = 0o660;

/// The HTTPS sockets: systemd's, else those of the configuration.
///
/// # Errors
/// The address that cannot be had, and why.
pub(super) fn https(configured: &[SocketAddr]) -> io::Result<(Vec<TcpListener>, bool)> {
    let passed = systemd::passed_sockets();
    if passed.is_empty() {
        return Ok((bind_all(configured)?, false));
    }
    let mut listeners = Vec::new();
    for socket in passed {
        socket.set_nonblocking(true)?;
        listeners.push(TcpListener::from_std(socket)?);
    }
    let mut passed: Vec<u16> = ports(listeners.iter().filter_map(|l| l.local_addr().ok()));
    let mut wanted: Vec<u16> = ports(configured.iter().copied());
    passed.sort_unstable();
    wanted.sort_unstable();
    if passed != wanted {
        Event::ListenerDiffers.entry().say(format_args!(
            "systemd passed sockets on port {passed:?}, the configuration says {wanted:?}: \
             systemd's are used; change espgate.socket to change them"
        ));
    }
    Ok((listeners, true))
}

fn ports(addresses: impl Iterator<Item = SocketAddr>) -> Vec<u16> {
    addresses.map(|address| address.port()).collect()
}

/// Listens on all of `addresses`.
///
/// # Errors
/// The address that cannot be had, and why.
pub(super) fn bind_all(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    addresses
        .iter()
        .map(|address| {
            bind(*address).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
            })
        })
        .collect()
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
    // We hold the data directory's lock: whoever made this socket is gone.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok((listener, path))
}
