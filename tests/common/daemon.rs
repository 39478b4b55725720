//! The real binary on a data directory of its own, and clients for it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// The binary, with nothing of the shell that runs the tests: none of its
/// variables, and a folder where there is nothing and nothing can be put.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_espgate"));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/proc");
    command
}

/// A running daemon; dropped, it is killed.
pub struct Daemon {
    pub folder: Arc<TempDir>,
    pub address: SocketAddr,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Events of those that ran on its data before.
    earlier_events: usize,
}

/// How to start a daemon.
pub struct Start {
    folder: Arc<TempDir>,
    config: String,
    environment: Vec<(String, String)>,
}

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// `HTTP/1.1`
    pub version: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

impl Start {
    pub fn new(config: &str) -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), config)
    }

    /// On the folder of a daemon that ended.
    pub fn on(folder: Arc<TempDir>, config: &str) -> Self {
        Self {
            folder,
            config: config.to_owned(),
            environment: Vec::new(),
        }
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn command(&self) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_espgate")))
    }

    /// The command with a copy of the binary.
    pub fn command_of(&self, program: &Path) -> Command {
        let config = self.folder.path().join("espgate.toml");
        let text = format!("[serial]\ndiscover = \"off\"\n{}", self.config);
        let text = match text.contains("[http]") {
            true => text.replace("[http]\n", "[http]\nlisten = [\"127.0.0.1:0\"]\n"),
            false => format!("{text}\n[http]\nlisten = [\"127.0.0.1:0\"]\n"),
        };
        write(&config, text.as_bytes());
        let mut command = Command::new(program);
        command
            .arg("serve")
            .env_clear()
            .current_dir(self.folder.path())
            .env("ESPGATE_CONFIG", &config)
            .env("ESPGATE_DATA_DIR", self.folder.path().join("data"))
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts it and waits until it says that it is ready.
    pub fn start(self) -> Daemon {
        let earlier_events = event_lines(&self.folder.path().join("data")).len();
        let mut child = self.command().spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            let mut line = String::new();
            while errors.read_line(&mut line).is_ok_and(|count| count > 0) {
                if line.contains(" is ready on ") {
                    let _ = ready.send(());
                }
                kept.lock().unwrap().push(std::mem::take(&mut line));
            }
        });
        if is_ready.recv_timeout(PATIENCE).is_err() {
            let _ = child.kill();
            panic!("not ready: {:?}", lines.lock().unwrap());
        }
        let text = fs::read_to_string(self.folder.path().join("data/run/https-address")).unwrap();
        Daemon {
            address: text.lines().next().unwrap().parse().unwrap(),
            folder: self.folder,
            child,
            lines,
            earlier_events,
        }
    }
}

impl Daemon {
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub fn journal(&self) -> String {
        self.lines.lock().unwrap().concat()
    }

    /// Waits until the journal has `text`.
    pub fn wait_for(&self, text: &str) {
        let until = std::time::Instant::now() + PATIENCE;
        while !self.journal().contains(text) {
            assert!(
                std::time::Instant::now() < until,
                "no {text:?} in {}",
                self.journal()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The events of this name since the start, as they are in the events file.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let lines = event_lines(&self.data());
        let mut events: Vec<Value> = lines
            .iter()
            .skip(self.earlier_events)
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        events.retain(|event| event["event"] == name);
        events
    }

    /// Waits for an event of this name that has `part` in one of its fields.
    pub fn wait_for_event(&self, name: &str, part: &str) -> Value {
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            let events = self.events(name);
            if let Some(event) = events.iter().find(|event| event.to_string().contains(part)) {
                return event.clone();
            }
            let waited = std::time::Instant::now() > until;
            assert!(!waited, "no {name} with {part:?} in {}", self.journal());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args([format!("-{name}"), self.pid().to_string()])
            .status()
            .unwrap();
        assert!(done.success());
    }

    /// SIGTERM; the exit status.
    pub fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }

    /// SIGKILL, and wait.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A TLS connection that trusts the site's CA.
    pub fn connect(&self) -> StreamOwned<ClientConnection, TcpStream> {
        connect(self.address, &self.ca())
    }

    /// The site's CA, as PEM.
    pub fn ca(&self) -> Vec<u8> {
        fs::read(self.data().join("tls/ca.pem")).unwrap()
    }

    /// A request over TLS. `head` is `METHOD PATH` and more header lines.
    pub fn request(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect();
        exchange(&mut stream, head, body)
    }

    /// A request over the control socket.
    pub fn control(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = UnixStream::connect(self.data().join("run/control.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        exchange(&mut stream, head, body)
    }

    /// A JSON request over the control socket that has to succeed.
    pub fn manage(&self, head: &str, body: &Value) -> Value {
        let answer = self.control(
            &format!("{head}\r\nContent-Type: application/json"),
            body.to_string().as_bytes(),
        );
        assert!(
            (200..300).contains(&answer.status),
            "{head}: {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole lines of the events files, oldest first.
pub fn event_lines(data: &Path) -> Vec<String> {
    let files = fs::read_dir(data.join("events")).into_iter().flatten();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let text: String = files
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

pub fn connect(address: SocketAddr, ca: &[u8]) -> StreamOwned<ClientConnection, TcpStream> {
    over(TcpStream::connect(address).unwrap(), ca)
}

/// TLS over a connection; the handshake begins with the first byte that is read or written.
pub fn over(stream: TcpStream, ca: &[u8]) -> StreamOwned<ClientConnection, TcpStream> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("espgate.internal").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, stream)
}

/// Sends a request and reads the whole answer; the connection stays open. The first line of
/// `head` may end with ` HTTP/1.0`.
pub fn exchange(stream: &mut (impl Read + Write), head: &str, body: &[u8]) -> Answer {
    let (line, more) = head.split_once("\r\n").unwrap_or((head, ""));
    let version = if line.ends_with(" HTTP/1.0") {
        ""
    } else {
        " HTTP/1.1"
    };
    let mut request = format!("{line}{version}\r\nHost: espgate.internal\r\n");
    if !more.is_empty() {
        request.push_str(more);
        request.push_str("\r\n");
    }
    if !line.starts_with("GET") && !line.starts_with("HEAD") {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    stream.write_all(&bytes).unwrap();
    stream.flush().unwrap();
    read_answer(stream, line.starts_with("HEAD"))
}

pub fn read_answer(stream: &mut impl Read, is_head: bool) -> Answer {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut byte).unwrap_or(0);
        assert!(
            count == 1,
            "closed after {:?}",
            String::from_utf8_lossy(&head)
        );
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let (version, rest) = lines.next().unwrap().split_once(' ').unwrap();
    let status = rest.split(' ').next().unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_owned(), value.trim().to_owned())
        })
        .collect();
    let mut answer = Answer {
        version: version.to_owned(),
        status,
        headers,
        body: Vec::new(),
    };
    let length: usize = answer
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    if is_head || status == 304 {
        return answer;
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = read_chunks(stream);
    } else {
        answer.body = vec![0; length];
        stream.read_exact(&mut answer.body).unwrap();
    }
    answer
}

fn read_chunks(stream: &mut impl Read) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).unwrap();
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return body;
        }
    }
}

#[allow(clippy::disallowed_methods)]
pub fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}
