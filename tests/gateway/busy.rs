//! Many devices at once, and some that take a place and do nothing with it.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Barrier;

use serde_json::json;

use crate::daemon::{connect, exchange};
use crate::dumps::xtensa;
use crate::stalled_disk::until;
use crate::test_gateway::TestGateway;

const MIB: usize = 1024 * 1024;

/// A whole dump of nearly 1 MiB, the largest that is taken.
fn large_dump(salt: u8) -> Vec<u8> {
    let mut spec = xtensa();
    spec.segments.push((0x3ffc_0000, vec![salt; MIB - 16_384]));
    spec.image(0x0102, false)
}

#[test]
fn sixty_four_uploads_of_a_mebibyte_at_once_are_all_kept() {
    let site = TestGateway::with("[coredumps]\nkeep_first_of_crash = 1000\n");
    let ca = std::fs::read(site.daemon.data().join("tls/ca.pem")).unwrap();
    let together = Barrier::new(64);
    std::thread::scope(|scope| {
        for salt in 0..64 {
            let (site, ca, together) = (&site, &ca, &together);
            scope.spawn(move || {
                let body = large_dump(salt);
                let mut stream = connect(site.daemon.address, ca);
                together.wait();
                let head = format!(
                    "POST /api/iot/coredump?chip=esp32&firmware_version=1\r\n\
                     Authorization: Bearer {}",
                    site.device
                );
                let answer = exchange(&mut stream, &head, &body);
                assert_eq!(answer.status, 201, "{answer:?}");
                let name = answer.json()["filename"].as_str().unwrap().to_owned();
                let kept = site.daemon.data().join("coredumps/k1").join(name);
                assert!(std::fs::read(kept).unwrap() == body, "dump {salt}");
            });
        }
    });
    let listed = site.daemon.control("GET /api/coredumps", b"").json();
    assert_eq!(listed["coredumps"].as_array().unwrap().len(), 64);
}

#[test]
fn uploads_that_a_device_never_ends_do_not_keep_others_waiting() {
    let site = TestGateway::new();
    let other = site.daemon.manage(
        "POST /api/devices",
        &json!({ "device_key": "k2", "model": "lamp" }),
    );
    // more than there are slots for all devices together
    let stalled: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = site.daemon.connect();
            let head = format!(
                "POST /api/iot/coredump?chip=esp32&firmware_version=1 HTTP/1.1\r\nHost: x\r\n\
                 Authorization: Bearer {}\r\nContent-Length: 1000\r\n\r\nsome",
                site.device
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.flush().unwrap();
            stream
        })
        .collect();
    let silent: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(site.daemon.address).unwrap())
        .collect();
    let head = format!(
        "POST /api/iot/coredump?chip=esp32&firmware_version=1\r\nAuthorization: Bearer {}",
        other["token"].as_str().unwrap()
    );
    let answer = site.daemon.request(&head, &large_dump(1));
    assert_eq!(answer.status, 201, "{answer:?}");
    let ready = site.daemon.request("GET /readyz", b"");
    assert_eq!(ready.status, 200, "{ready:?}");
    drop((stalled, silent));
}

#[test]
fn a_gateway_whose_memory_for_uploads_is_used_up_is_not_ready_until_some_is_free() {
    // as much as there is
    let site = TestGateway::with("[coredumps]\nmax_upload_bytes = 67108864\n");
    let ready = || site.daemon.request("GET /readyz", b"");
    let head = format!(
        "POST /api/iot/coredump?chip=esp32&firmware_version=1 HTTP/1.1\r\nHost: x\r\n\
         Authorization: Bearer {}\r\nContent-Length: 67108864\r\n\r\nsome",
        site.device
    );
    let mut stream = site.daemon.connect();
    stream.write_all(head.as_bytes()).unwrap();
    stream.flush().unwrap();
    until("not ready", || ready().status == 503);
    let said = ready().json();
    assert_eq!(said["ready"], false);
    assert_eq!(said["reasons"].as_array().map(Vec::len), Some(1), "{said}");
    drop(stream);
    until("ready again", || ready().status == 200);
}

#[test]
fn a_whole_site_that_uploads_at_once_is_answered_and_kept() {
    const BOARDS: usize = 100;
    let site = TestGateway::new();
    let token = |n| {
        let board = json!({ "device_key": format!("board{n}"), "model": "lamp" });
        let made = site.daemon.manage("POST /api/devices", &board);
        made["token"].as_str().unwrap().to_owned()
    };
    let tokens: Vec<String> = (0..BOARDS).map(token).collect();
    let ca = std::fs::read(site.daemon.data().join("tls/ca.pem")).unwrap();
    let together = Barrier::new(BOARDS);
    std::thread::scope(|scope| {
        for (n, token) in tokens.iter().enumerate() {
            let (site, ca, together) = (&site, &ca, &together);
            scope.spawn(move || {
                let body = format!("dump of board {n} ").repeat(1000).into_bytes();
                let mut stream = connect(site.daemon.address, ca);
                together.wait();
                let head = format!(
                    "POST /api/iot/coredump?chip=esp32&firmware_version=1\r\n\
                     Authorization: Bearer {token}"
                );
                // the second one is held already: counted, not written
                for is_kept in [true, false] {
                    let answer = exchange(&mut stream, &head, &body);
                    assert_eq!(answer.status, 201, "{answer:?}");
                    let answer = answer.json();
                    assert_eq!(answer.get("kept").is_none(), is_kept, "{answer}");
                    let folder = site.daemon.data().join(format!("coredumps/board{n}"));
                    let kept = folder.join(answer["filename"].as_str().unwrap());
                    assert!(std::fs::read(kept).unwrap() == body, "board {n}");
                }
            });
        }
    });
    let listed = site.daemon.control("GET /api/coredumps?limit=1000", b"");
    let listed = listed.json()["coredumps"].as_array().unwrap().clone();
    assert_eq!(listed.len(), BOARDS);
}
