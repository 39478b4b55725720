//! kill -9 during uploads: what was acknowledged is there afterwards, whole.

use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use serde_json::{Value, json};

use crate::daemon::{Start, connect};
use crate::test_gateway::{TestGateway, dump};

const ROUNDS: usize = 6;
const CLIENTS: u8 = 4;

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let mut site =
        TestGateway::with("[coredumps]\nkeep_first_of_crash = 100\nkeep_per_device = 10000\n");
    let mut acknowledged: Vec<(String, Vec<u8>)> = Vec::new();
    for round in 0..ROUNDS {
        let ca = fs::read(site.daemon.data().join("tls/ca.pem")).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (ca, stop) = (ca.clone(), Arc::clone(&stop));
                let (address, token) = (site.daemon.address, site.device.clone());
                std::thread::spawn(move || {
                    let mut got = Vec::new();
                    for n in 0..250u8 {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let mut body = dump(n);
                        body.extend([u8::try_from(round).unwrap(), client]);
                        match try_post(address, &ca, &token, &body) {
                            Some(name) => got.push((name, body)),
                            None => break,
                        }
                    }
                    got
                })
            })
            .collect();
        // some uploads are done, some are under way
        site.daemon.wait_for_event("CoredumpStored", "k1");
        std::thread::sleep(std::time::Duration::from_millis(20 + 40 * round as u64));
        let folder = Arc::clone(&site.daemon.folder);
        let (device, pipeline) = (site.device.clone(), site.pipeline.clone());
        site.daemon.kill();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            acknowledged.extend(client.join().unwrap());
        }
        let config = "[coredumps]\nkeep_first_of_crash = 100\nkeep_per_device = 10000\n";
        site = TestGateway {
            daemon: Start::on(folder, config).start(),
            device,
            pipeline,
        };
    }
    site.daemon.control("GET /api/coredumps", b"");
    let folder = site.daemon.data().join("coredumps/k1");
    let mut whole = 0;
    for (name, body) in &acknowledged {
        let kept = fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let sidecar = fs::read(folder.join(name).with_extension("json")).unwrap();
        let sidecar: Value = serde_json::from_slice(&sidecar).unwrap();
        assert_eq!(sidecar["size"], kept.len());
        // the same payload may have come before, with other bytes behind it
        assert_eq!(kept[..kept.len() - 2], body[..body.len() - 2], "{name}");
        whole += 1;
    }
    let kept = Arc::clone(&site.daemon.folder);
    site.daemon.stop();
    let hidden = fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with('.'))
        .count();
    drop(kept);
    assert_eq!(hidden, 0, "unfinished files are removed at the start");
    println!(
        "{ROUNDS} kills: {whole} of {} acknowledged dumps whole",
        acknowledged.len()
    );
    assert!(acknowledged.len() >= ROUNDS);
}

#[test]
fn what_many_boards_at_once_were_told_survives_kill_9() {
    const BOARDS: usize = 12;
    let config = "[coredumps]\nkeep_per_device = 10000\n";
    let mut site = TestGateway::with(config);
    let token = |n| {
        let board = json!({ "device_key": format!("board{n}"), "model": "lamp" });
        let made = site.daemon.manage("POST /api/devices", &board);
        made["token"].as_str().unwrap().to_owned()
    };
    let tokens: Vec<String> = (0..BOARDS).map(token).collect();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let ca = fs::read(site.daemon.data().join("tls/ca.pem")).unwrap();
        let (tell, told) = mpsc::channel();
        let clients: Vec<_> = (0..BOARDS)
            .map(|board| {
                let (ca, token, tell) = (ca.clone(), tokens[board].clone(), tell.clone());
                let address = site.daemon.address;
                std::thread::spawn(move || {
                    for n in 0.. {
                        // no coredump, and no two alike: each is stored
                        let body = format!("{board} {round} {n} ").repeat(500).into_bytes();
                        let Some(name) = try_post(address, &ca, &token, &body) else {
                            return;
                        };
                        let _ = tell.send((board, name, body));
                    }
                })
            })
            .collect();
        drop(tell);
        // every round ends at another place
        acknowledged.extend(told.iter().take(BOARDS + 5 * round));
        let folder = Arc::clone(&site.daemon.folder);
        let (device, pipeline) = (site.device.clone(), site.pipeline.clone());
        site.daemon.kill();
        for client in clients {
            client.join().unwrap();
        }
        acknowledged.extend(told);
        site = TestGateway {
            daemon: Start::on(folder, config).start(),
            device,
            pipeline,
        };
    }
    let listed = site.daemon.control("GET /api/coredumps?limit=1000", b"");
    assert_eq!(listed.status, 200);
    for (board, name, body) in &acknowledged {
        let path = site
            .daemon
            .data()
            .join(format!("coredumps/board{board}/{name}"));
        assert!(fs::read(&path).unwrap() == *body, "{}", path.display());
    }
    for board in 0..BOARDS {
        let folder = site.daemon.data().join(format!("coredumps/board{board}"));
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "dmp") {
                let sidecar = fs::read(path.with_extension("json")).unwrap();
                let sidecar: Value = serde_json::from_slice(&sidecar).unwrap();
                assert_eq!(sidecar["size"], fs::metadata(&path).unwrap().len());
                assert_eq!(sidecar["identity"], "token", "{}", path.display());
            }
        }
    }
    assert!(acknowledged.len() >= ROUNDS * BOARDS);
}

fn try_post(address: std::net::SocketAddr, ca: &[u8], token: &str, body: &[u8]) -> Option<String> {
    let mut stream = std::panic::catch_unwind(|| connect(address, ca)).ok()?;
    let head = format!(
        "POST /api/iot/coredump?chip=esp32&firmware_version=1 HTTP/1.1\r\nHost: x\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    stream.flush().ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    if !text.starts_with("HTTP/1.1 201") {
        return None;
    }
    let json: Value = serde_json::from_str(text.split("\r\n\r\n").nth(1)?).ok()?;
    Some(json["filename"].as_str()?.to_owned())
}
