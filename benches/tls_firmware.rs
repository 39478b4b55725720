//! Firmware over TLS next to nginx, in one run: throughput, and processor time
//! of the servers (not of the client) per GiB. By hand:
//!
//! ```text
//! apt-get install nginx-light
//! cargo bench --bench tls_firmware [-- SECONDS_PER_CASE]
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use espgate::config::Tls as Settings;
use espgate::http::server::{Limits, Server, from_memory};
use espgate::http::tls::Tls;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

const IMAGE: usize = 2 * 1024 * 1024;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// A server under test: its processes, and its ports for full and small records.
struct Subject {
    name: &'static str,
    child: Child,
    full: SocketAddr,
    small: SocketAddr,
}

struct Figures {
    bytes_per_second: f64,
    cpu_per_gib: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|argument| argument == "serve") {
        return serve(Path::new(&arguments[2]));
    }
    let seconds = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(3);
    let folder = tempfile::tempdir().unwrap();
    let image: Vec<u8> = (0..IMAGE).map(|n| ((n * 31) >> 3) as u8).collect();
    #[expect(clippy::disallowed_methods, reason = "scratch files of a bench")]
    fs::write(folder.path().join("firmware"), image).unwrap();

    let own = start_own(folder.path());
    let nginx = start_nginx(folder.path());
    println!(
        "| records | connections | nginx MiB/s | espgate MiB/s | throughput ratio | nginx CPU s/GiB | espgate CPU s/GiB | CPU ratio |"
    );
    println!("|--|--|--|--|--|--|--|--|");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (small, records) in [(false, "16384"), (true, "4096")] {
        for connections in [1, 16, 64] {
            // alternating halves, so that drift of the machine hits both alike
            let half = Duration::from_secs(seconds) / 2;
            let mut sums = [(0.0, 0.0, 0.0); 2];
            for round in 0..4 {
                let which = [0, 1, 1, 0][round];
                let subject = [&nginx, &own][which];
                let (bytes, elapsed, cpu) =
                    runtime.block_on(load(subject, folder.path(), small, connections, half));
                sums[which].0 += bytes;
                sums[which].1 += elapsed;
                sums[which].2 += cpu;
            }
            let [nginx, own] = sums.map(|(bytes, elapsed, cpu)| Figures {
                bytes_per_second: bytes / elapsed,
                cpu_per_gib: cpu / (bytes / GIB),
            });
            println!(
                "| {records} | {connections} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
                nginx.bytes_per_second / 1048576.0,
                own.bytes_per_second / 1048576.0,
                own.bytes_per_second / nginx.bytes_per_second,
                nginx.cpu_per_gib,
                own.cpu_per_gib,
                own.cpu_per_gib / nginx.cpu_per_gib,
            );
        }
    }
    for mut subject in [own, nginx] {
        stop(&mut subject);
    }
}

/// The server under test, as a process of its own; ends with its standard input.
fn serve(folder: &Path) {
    let image = Bytes::from(fs::read(folder.join("firmware")).unwrap());
    let router = Router::new().route(
        "/firmware",
        get(move || {
            let image = image.clone();
            async move { from_memory(image, |_| {}) }
        })
        .post(|body: Bytes| async move { body.len().to_string() }),
    );
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let tls = Arc::new(Tls::open(&folder.join("tls"), Settings::default()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        std::io::stdout().flush().unwrap();
        let server = Server::new(router, Limits::default());
        let stop = CancellationToken::new();
        let watched = stop.clone();
        std::thread::spawn(move || {
            let _ = std::io::stdin().lines().next();
            watched.cancel();
        });
        server.https(listener, tls, stop).await;
    });
}

fn start_own(folder: &Path) -> Subject {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim().parse().unwrap();
    // one port for both: the record size goes by the client's hello
    Subject {
        name: "espgate",
        child,
        full: address,
        small: address,
    }
}

fn start_nginx(folder: &Path) -> Subject {
    let free = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let (full, small) = (free(), free());
    let path = folder.display();
    let server = |address: SocketAddr, buffer: &str| {
        format!(
            "server {{ listen {address} ssl; ssl_certificate {path}/tls/server.pem; ssl_certificate_key {path}/tls/server.key; \
             ssl_buffer_size {buffer}; root {path}; }}\n"
        )
    };
    let config = format!(
        "daemon off; master_process on; worker_processes 2; pid {path}/nginx.pid; error_log {path}/nginx.log; user root;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000; ssl_protocols TLSv1.2 TLSv1.3;\n\
         client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;\n\
         {}{} }}\n",
        server(full, "16k"),
        server(small, "4k")
    );
    let file = folder.join("nginx.conf");
    #[expect(clippy::disallowed_methods, reason = "scratch files of a bench")]
    fs::write(&file, config).unwrap();
    let child = Command::new("nginx")
        .arg("-c")
        .arg(&file)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot start nginx (apt-get install nginx-light): {error}")
        });
    let begun = Instant::now();
    while std::net::TcpStream::connect(small).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "nginx does not start"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Subject {
        name: "nginx",
        child,
        full,
        small,
    }
}

fn stop(subject: &mut Subject) {
    if subject.name == "nginx" {
        // its workers end with their master only if it is asked politely
        let pid = nix::unistd::Pid::from_raw(subject.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    } else {
        drop(subject.child.stdin.take());
    }
    subject.child.wait().unwrap();
}

/// Bytes that came, seconds that passed, processor seconds of the server.
async fn load(
    subject: &Subject,
    folder: &Path,
    small: bool,
    connections: usize,
    time: Duration,
) -> (f64, f64, f64) {
    let mut roots = RootCertStore::empty();
    let ca = fs::read(folder.join("tls/ca.pem")).unwrap();
    roots
        .add(CertificateDer::from_pem_slice(&ca).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    if !small {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    let connector = TlsConnector::from(Arc::new(config));
    let address = if small { subject.small } else { subject.full };
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = "espgate.internal".try_into().unwrap();
        streams.push(connector.connect(name, stream).await.unwrap());
    }
    let total = Arc::new(AtomicU64::new(0));
    let before = cpu_seconds(subject);
    let begun = Instant::now();
    let clients: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            let total = Arc::clone(&total);
            tokio::spawn(async move {
                let mut buffer = vec![0; 128 * 1024];
                while begun.elapsed() < time {
                    stream
                        .write_all(b"GET /firmware HTTP/1.1\r\nHost: espgate.internal\r\n\r\n")
                        .await
                        .unwrap();
                    stream.flush().await.unwrap();
                    let mut got = stream.read(&mut buffer).await.unwrap();
                    let head = buffer[..got]
                        .windows(4)
                        .position(|w| w == b"\r\n\r\n")
                        .unwrap()
                        + 4;
                    assert!(buffer.starts_with(b"HTTP/1.1 200"));
                    got -= head;
                    while got < IMAGE {
                        let more = stream.read(&mut buffer).await.unwrap();
                        assert_ne!(more, 0);
                        got += more;
                    }
                    assert_eq!(got, IMAGE);
                    total.fetch_add(got as u64, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    (
        total.load(Ordering::Relaxed) as f64,
        begun.elapsed().as_secs_f64(),
        cpu_seconds(subject) - before,
    )
}

/// Processor time of a server's processes so far.
fn cpu_seconds(subject: &Subject) -> f64 {
    let main = subject.child.id();
    let children =
        fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap_or_default();
    let ticks: f64 = children
        .split_ascii_whitespace()
        .map(str::to_owned)
        .chain([main.to_string()])
        .map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let (_, fields) = stat.rsplit_once(')').unwrap();
            let field = |n: usize| -> f64 {
                fields
                    .split_ascii_whitespace()
                    .nth(n)
                    .unwrap()
                    .parse()
                    .unwrap()
            };
            field(11) + field(12)
        })
        .sum();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .unwrap()
        .unwrap();
    ticks / per_second as f64
}
