//! The bodies of the API, as programs at sites read them: every field, its
//! place and its kind. They may grow; nothing in them may go or change.

use std::path::Path;

use serde_json::{Value, json};

use crate::daemon::{Answer, Start, write};
use crate::firmware_files::Build;
use crate::test_gateway::{TestGateway, dump, token};

/// The answers, as a daemon of the first release gave them: a line each.
const GOLDEN: &str = include_str!("../data/api_bodies.jsonl");

/// What was asked, and what was answered.
struct Recorder<'a> {
    site: &'a TestGateway,
    answers: Vec<Value>,
}

impl Recorder<'_> {
    /// Asks over the control socket.
    fn ask(&mut self, head: &str, body: &Value) -> Value {
        let line = format!("{head}\r\nContent-Type: application/json");
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let answer = self.site.daemon.control(&line, body.as_bytes());
        self.keep(head, &answer)
    }

    fn get(&mut self, path: &str) -> Value {
        self.ask(&format!("GET {path}"), &Value::Null)
    }

    fn keep(&mut self, head: &str, answer: &Answer) -> Value {
        let body = answer.json();
        let mut shown = body.clone();
        blank("", &mut shown);
        let id = body["id"].as_str().unwrap_or("\0");
        self.answers.push(json!({
            "request": head.replace(id, "{id}"),
            "status": answer.status,
            "body": shown,
        }));
        body
    }
}

/// Takes out what is another at every run.
fn blank(name: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => fields
            .iter_mut()
            .for_each(|(name, value)| blank(name, value)),
        // whatever the machine is called, and however full its disk is
        Value::Array(items) if matches!(name, "names" | "degraded") => items.clear(),
        Value::Array(items) => items.iter_mut().for_each(|value| blank(name, value)),
        Value::Number(_) => *value = json!(0),
        Value::String(text) => {
            let is_hex = text.len() >= 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
            let kind = match text.as_str() {
                _ if espgate::clock::parse(text).is_some() => "(time)",
                _ if is_hex => "(hex)",
                text if uuid::Uuid::parse_str(text).is_ok() => "(uuid)",
                text if text.starts_with("eg1_") => "(token)",
                text if text.starts_with("coredump_") => "(file)",
                text if text.starts_with('/') => "(path)",
                text if text.starts_with("127.0.0.1:") => "(address)",
                env!("CARGO_PKG_VERSION") => "(version)",
                _ if matches!(name, "id" | "revoked") => "(id)",
                _ if matches!(name, "subject" | "issuer") => "(name)",
                _ if name == "message" => "(sentence)",
                text if text.starts_with("pts-") => "(port)",
                "listening" | "seen" => "(state)",
                "synced" | "unsynced" => "(clock)",
                _ => return,
            };
            *value = kind.into();
        }
        Value::Bool(_) | Value::Null => {}
    }
}

/// The bodies of the usual requests.
fn recorded() -> Vec<Value> {
    let pair = nix::pty::openpty(None, None).unwrap();
    let port = nix::unistd::ttyname(&pair.slave).unwrap();
    let port = port.display().to_string();
    let config = format!("[[serial.port]]\npath = \"{port}\"\nbaud = 115200\n");
    let site = TestGateway::on(Start::new(&config).start());
    let viewer = token(&site.daemon, "v", "viewer", None);
    let mut recorder = Recorder {
        site: &site,
        answers: Vec::new(),
    };
    let none = Value::Null;

    recorder.ask("PUT /api/models/pump", &json!({ "activate": "manual" }));
    let about = json!({ "device_key": "k2", "model": "lamp", "name": "Kitchen",
        "mac": "AA:BB:CC:00:11:22", "usb_serial": "S1" });
    recorder.ask("POST /api/devices", &about);
    recorder.ask("POST /api/devices/k2/token", &none);
    recorder.ask("PUT /api/devices/k3", &json!({ "model": "lamp" }));
    let wanted = json!({ "name": "fleet", "role": "fleet", "model": "lamp", "expires": "2300-01-01T00:00:00Z" });
    recorder.ask("POST /api/tokens", &wanted);

    for version in ["1.0", "2.0"] {
        let build = Build {
            version,
            ..Build::of("lamp")
        };
        let answer = site.upload(&build.zip());
        recorder.keep("POST /api/pipeline/models/lamp/firmware", &answer);
    }
    recorder.ask("PUT /api/devices/k2/pin", &json!({ "version": "1.0" }));
    recorder.ask("PUT /api/models/lamp/active", &json!({ "version": "1.0" }));
    recorder.ask("POST /api/models/lamp/rollback", &none);
    recorder.ask("PUT /api/models/lamp/blocked/1.0", &none);
    recorder.get("/api/models/lamp/firmware");
    recorder.get("/api/models");
    recorder.get("/api/models/lamp");
    let answer = site.ci("GET /api/pipeline/models/lamp/firmware-version", b"");
    recorder.keep("GET /api/pipeline/models/lamp/firmware-version", &answer);
    let answer = site.device("GET /api/iot/firmware-version", b"");
    recorder.keep("GET /api/iot/firmware-version", &answer);

    let posted = site.post(&dump(1));
    recorder.keep("POST /api/iot/coredump", &posted);
    recorder.keep("POST /api/iot/coredump", &site.post(&dump(1)));
    let id = posted.json()["coredump_id"].as_str().unwrap().to_owned();
    site.daemon.wait_for_event("CoredumpDecoded", &id);
    recorder.get("/api/coredumps?limit=1");
    recorder.get(&format!("/api/coredumps/{id}"));
    let head = format!("POST /api/coredumps/{id}/redecode");
    let answer = site.daemon.control(&head, b"");
    recorder.keep("POST /api/coredumps/{id}/redecode", &answer);
    recorder.ask("POST /api/coredumps/redecode", &none);

    site.device("GET /api/iot/firmware", b"");
    recorder.get("/api/devices");
    recorder.get("/api/devices/k2");
    recorder.ask("DELETE /api/devices/k2/pin", &none);
    recorder.ask("DELETE /api/devices/k2/tokens", &none);
    recorder.get("/api/tokens");
    recorder.ask("DELETE /api/models/pump/firmware", &none);

    recorder.get("/api/ports");
    recorder.get("/api/tls");
    recorder.ask("POST /api/tls/renew", &none);
    recorder.get("/healthz");
    recorder.get("/readyz");
    recorder.get("/api/version");
    recorder.get("/api/status");

    recorder.get("/api/coredumps?limit=0");
    recorder.get("/api/nowhere");
    recorder.ask("PUT /api/status", &none);
    recorder.ask("PUT /api/models/lamp/active", &json!({ "version": "1.0" }));
    let answer = site.daemon.request("GET /api/status", b"");
    recorder.keep("GET /api/status (without a token)", &answer);
    let head = format!("GET /api/tokens\r\nAuthorization: Bearer {viewer}");
    let answer = site.daemon.request(&head, b"");
    recorder.keep("GET /api/tokens (with a viewer's token)", &answer);
    recorder.answers
}

/// What of `expected` is not so in `found`; fields may have been added.
fn missing(place: &str, expected: &Value, found: &Value) -> Vec<String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let fields = expected.iter().flat_map(|(name, value)| {
                let place = format!("{place}/{name}");
                match found.get(name) {
                    Some(found) => missing(&place, value, found),
                    None => vec![format!("{place} is gone")],
                }
            });
            fields.collect()
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            let items = expected.iter().zip(found);
            items
                .flat_map(|(expected, found)| missing(place, expected, found))
                .collect()
        }
        _ if expected == found => Vec::new(),
        _ => vec![format!("{place} was {expected}, is {found}")],
    }
}

#[test]
fn bodies_may_grow_and_nothing_in_them_goes_or_changes() {
    let found = recorded();
    let lines: Vec<String> = found.iter().map(|answer| format!("{answer}\n")).collect();
    // for who adds a request
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("api_bodies.jsonl");
    write(&kept, lines.concat().as_bytes());
    let golden = GOLDEN.lines().map(serde_json::from_str::<Value>);
    let golden: Vec<Value> = golden.collect::<Result<_, _>>().unwrap();
    assert_eq!(golden.len(), found.len(), "see {}", kept.display());
    for (expected, found) in golden.iter().zip(&found) {
        let request = expected["request"].as_str().unwrap();
        let missing = missing(request, expected, found);
        assert_eq!(missing, Vec::<String>::new(), "see {}", kept.display());
    }
}
