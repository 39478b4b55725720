//! Clients that take connections and give nothing: boards get in all the same.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::daemon::{self, Daemon, exchange};
use crate::test_gateway::{TestGateway, dump};

/// A connection from another address of the loopback network.
fn from(address: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::from(address), 0)).into())?;
    socket.connect(&to.into())?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// What a hostile client does with its connection.
#[derive(Clone, Copy)]
enum Kind {
    SilentTcp,
    HalfHandshake,
    KeepAlive,
    SlowHead,
    SlowBody,
    SlowReader,
}

/// Opens one and leaves it as it is; whatever it holds.
fn hold(kind: Kind, address: [u8; 4], gateway: &Daemon) -> Option<Box<dyn Read>> {
    let mut tcp = from(address, gateway.address).ok()?;
    match kind {
        Kind::SilentTcp => return Some(Box::new(tcp)),
        Kind::HalfHandshake => {
            // the beginning of a ClientHello
            tcp.write_all(b"\x16\x03\x01\x02\x00\x01\x00").ok()?;
            return Some(Box::new(tcp));
        }
        _ => {}
    }
    let mut tls = daemon::over(tcp, &gateway.ca());
    let request: &[u8] = match kind {
        Kind::SlowHead => b"GET /healthz HT",
        Kind::SlowBody => {
            b"POST /api/iot/coredump?chip=esp32&firmware_version=1 HTTP/1.1\r\nHost: x\r\n\
              Content-Length: 60000\r\n\r\nabc"
        }
        _ => b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    tls.write_all(request).ok()?;
    tls.flush().ok()?;
    if let Kind::KeepAlive = kind {
        tls.read_exact(&mut [0; 15]).ok()?;
    }
    Some(Box::new(tls))
}

#[test]
fn boards_get_in_however_many_connections_others_hold() {
    let kinds = [
        Kind::SilentTcp,
        Kind::HalfHandshake,
        Kind::KeepAlive,
        Kind::SlowHead,
        Kind::SlowBody,
        Kind::SlowReader,
    ];
    let site = Arc::new(TestGateway::with("[http]\nmax_connections = 24\n"));
    let stop = Arc::new(AtomicBool::new(false));
    let hostile: Vec<_> = (0..kinds.len() * 2)
        .map(|n| {
            let (site, stop) = (Arc::clone(&site), Arc::clone(&stop));
            let address = [127, 0, 2, u8::try_from(n).unwrap() + 1];
            let kind = kinds[n % kinds.len()];
            thread::spawn(move || {
                let mut held = std::collections::VecDeque::new();
                while !stop.load(Ordering::Relaxed) {
                    held.push_back(hold(kind, address, &site.daemon));
                    if held.len() > 8 {
                        held.pop_front();
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            })
        })
        .collect();
    site.daemon.wait_for_event("ConnectionsShort", "127.0.2.");
    for salt in 0..20 {
        let tcp = from([127, 0, 3, salt + 1], site.daemon.address).unwrap();
        let mut tls = daemon::over(tcp, &site.daemon.ca());
        let head = format!(
            "POST /api/iot/coredump?chip=esp32&firmware_version=1\r\nAuthorization: Bearer {}",
            site.device
        );
        let answer = exchange(&mut tls, &head, &dump(salt));
        assert_eq!(answer.status, 201, "{salt}");
    }
    // looked at every 10 s
    let named = (0..600).any(|_| {
        thread::sleep(Duration::from_millis(50));
        let status = site.daemon.control("GET /api/status", b"").json();
        status["degraded"].to_string().contains("127.0.2.")
    });
    stop.store(true, Ordering::Relaxed);
    for thread in hostile {
        thread.join().unwrap();
    }
    assert!(named, "the status names who holds the connections");
}

#[test]
fn uploads_that_hardly_move_make_room_for_others_and_are_kept() {
    let site = TestGateway::new();
    let head = format!(
        "POST /api/iot/coredump?chip=esp32&firmware_version=1 HTTP/1.1\r\nHost: x\r\n\
         Authorization: Bearer {}\r\nContent-Length: 9000\r\n\r\n",
        site.device
    );
    // as many as one device may have, each a little at a time
    let mut slow: Vec<_> = (0..4)
        .map(|n| {
            let mut stream = site.daemon.connect();
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&dump(100 + n)[..200]).unwrap();
            stream.flush().unwrap();
            stream
        })
        .collect();
    site.daemon.control("GET /api/status", b"");
    assert_eq!(site.post(&dump(1)).status, 201);
    site.daemon.wait_for("ended after 200 of 9000 bytes");
    let mut answered = 0;
    for stream in &mut slow {
        let _ = stream
            .sock
            .set_read_timeout(Some(Duration::from_millis(100)));
        let mut first = [0; 12];
        answered += usize::from(stream.read_exact(&mut first).is_ok() && &first == b"HTTP/1.1 408");
    }
    assert!((1..4).contains(&answered), "{answered} made room");
    let listed = site.daemon.control("GET /api/coredumps", b"").json();
    assert_eq!(listed["coredumps"].as_array().unwrap().len(), answered + 1);
}
