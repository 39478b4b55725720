//! A device's connection. Every request may fail: the daemon is killed under it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::daemon::over;

/// What a device waits for an answer, or for the next bytes of one.
const PATIENCE: Duration = Duration::from_secs(20);

/// The head of an answer, and how much of its body is still to be read.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) length: usize,
}

/// A TLS connection of a device.
pub(crate) struct Link(StreamOwned<ClientConnection, TcpStream>);

impl Link {
    /// Connects; `receives` is the size of its receive buffer, if it is a small one.
    pub(crate) fn open(to: SocketAddr, ca: &[u8], receives: Option<usize>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Some(bytes) = receives {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect(&to.into())?;
        let stream = over(socket.into(), ca);
        stream.sock.set_read_timeout(Some(PATIENCE))?;
        stream.sock.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Sends a request and reads the head of the answer. `head` is `METHOD PATH` and more
    /// header lines.
    pub(crate) fn ask(&mut self, head: &str, body: &[u8]) -> io::Result<Head> {
        let (line, more) = head.split_once("\r\n").unwrap_or((head, ""));
        let mut request = format!("{line} HTTP/1.1\r\nHost: espgate.internal\r\n");
        if !more.is_empty() {
            request.push_str(&format!("{more}\r\n"));
        }
        if line.starts_with("POST") {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        self.0.write_all(request.as_bytes())?;
        self.0.write_all(body)?;
        self.0.flush()?;
        self.head(line.starts_with("HEAD"))
    }

    fn head(&mut self, is_head: bool) -> io::Result<Head> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).map_err(io::Error::other)?;
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok());
        let header = |name: &str| {
            let mut headers = lines.clone().filter_map(|line| line.split_once(':'));
            let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().to_owned())
        };
        let status = status.ok_or_else(|| io::Error::other("no status"))?;
        let length = header("content-length").and_then(|length| length.parse().ok());
        Ok(Head {
            status,
            etag: header("etag").map(|etag| etag.trim_matches('"').to_owned()),
            length: match is_head || status == 304 {
                true => 0,
                false => length.unwrap_or(0),
            },
        })
    }

    /// The next bytes of a body.
    pub(crate) fn read(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Request and answer as a whole.
    pub(crate) fn exchange(&mut self, head: &str, body: &[u8]) -> io::Result<(Head, Vec<u8>)> {
        let head = self.ask(head, body)?;
        let body = self.read(head.length)?;
        Ok((head, body))
    }
}
