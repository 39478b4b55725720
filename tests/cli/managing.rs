//! Models, devices, tokens, firmware, status, certificates.

use super::*;

#[test]
fn models_devices_and_tokens_are_managed_from_end_to_end() {
    let daemon = Start::new("").start();
    done(&daemon, &["models", "add", "lamp"]);
    refused(&ask(&daemon, &["models", "add", "lamp"]), 1);
    refused(&ask(&daemon, &["models", "hold", "nope"]), 1);
    done(&daemon, &["models", "set", "lamp", "--activate", "manual"]);
    done(&daemon, &["models", "hold", "lamp"]);
    let models = json(&daemon, &["models", "list", "--json"]);
    assert_eq!(models["models"][0]["activate"], "manual");
    assert_eq!(models["models"][0]["held"], true);
    assert!(models["next_cursor"].is_null());

    let arguments = [
        "devices",
        "add",
        "Kitchen3",
        "--model",
        "lamp",
        "--mac",
        "AA:BB:CC:00:11:22",
    ];
    let added = json(&daemon, &[&arguments[..], &["--json"]].concat());
    assert_eq!(added["device_key"], "kitchen3");
    assert_eq!(added["model"], "lamp");
    let token = added["token"].as_str().unwrap();
    assert!(token.starts_with("eg1_"), "{token}");
    let other = ["devices", "add", "k2", "--model", "nope"];
    refused(&ask(&daemon, &other), 1);
    done(&daemon, &["devices", "set", "kitchen3", "--name", "Küche"]);
    refused(
        &ask(&daemon, &["devices", "set", "kitchen4", "--name", "x"]),
        1,
    );
    refused(&ask(&daemon, &["devices", "pin", "kitchen3", "1.0"]), 1);

    // the token opens the device's door, until it is revoked
    let head = format!("GET /api/iot/firmware-version\r\nAuthorization: Bearer {token}");
    assert_eq!(daemon.request(&head, b"").status, 200);
    let second = done(&daemon, &["devices", "token", "kitchen3"]);
    assert!(second.trim().starts_with("eg1_") && second.trim() != token);
    done(&daemon, &["devices", "revoke", "kitchen3"]);
    assert_eq!(daemon.request(&head, b"").status, 401);

    let ci = json(
        &daemon,
        &[
            "tokens",
            "add",
            "ci",
            "--role",
            "pipeline",
            "--expires",
            "365d",
            "--json",
        ],
    );
    assert_eq!(ci["role"], "pipeline");
    let list = done(&daemon, &["tokens", "list", "--json"]);
    let secret = ci["token"].as_str().unwrap().rsplit('_').next().unwrap();
    assert!(!list.contains(secret) && !list.contains("sha256"), "{list}");
    done(&daemon, &["tokens", "revoke", "ci"]);
    refused(&ask(&daemon, &["tokens", "revoke", "ci"]), 1);
    done(&daemon, &["devices", "remove", "kitchen3"]);

    let journal = daemon.journal();
    assert!(
        !journal.contains(secret) && !journal.contains(token),
        "{journal}"
    );
    for event in ["ModelChanged", "DeviceChanged", "TokenMade", "TokenEnded"] {
        let uid = nix::unistd::getuid();
        daemon.wait_for_event(event, &format!("uid {uid}"));
    }
}

#[test]
fn firmware_is_added_from_build_folders() {
    let daemon = Start::new("").start();
    done(&daemon, &["models", "add", "lamp"]);
    let list = || {
        let list = json(&daemon, &["firmware", "list", "lamp", "--json"]);
        let newest = &list["firmware"][0];
        (newest["version"].clone(), newest["kind"].clone())
    };
    let project = daemon.folder.path().join("project");
    firmware::build_folder(&project, "lamp", "1.0");
    let name = project.to_str().unwrap();
    done(&daemon, &["firmware", "add", name, "--model", "lamp"]);
    assert_eq!(list(), ("1.0".into(), "zip".into()));

    let sketch = daemon.folder.path().join("sketch");
    fs::create_dir(&sketch).unwrap();
    let build = firmware::Build::of("lamp");
    let mut bin = build.bin();
    bin[48..80].fill(0);
    bin[48..64].copy_from_slice(b"esp-idf: v4.4.7 ");
    daemon::write(&sketch.join("fan.ino.bin"), &bin);
    daemon::write(&sketch.join("fan.ino.elf"), &build.elf());
    let name = sketch.to_str().unwrap();
    let add = ["firmware", "add", name, "--model", "lamp"];
    let line = refused(&ask(&daemon, &add), 1);
    assert!(
        line.contains("esp-idf: v4.4.7") && line.contains("--version"),
        "{line}"
    );
    done(&daemon, &[&add[..], &["--version", "2.0"]].concat());
    assert_eq!(list(), ("2.0".into(), "zip".into()));
}

#[test]
fn firmware_is_added_activated_rolled_back_and_exported() {
    let daemon = Start::new("").start();
    done(&daemon, &["models", "add", "lamp"]);
    let file = daemon.folder.path().join("bundle.zip");
    let mut bundles = Vec::new();
    for (seed, version) in [(1, "1.0"), (2, "2.0")] {
        let build = firmware::Build {
            version,
            seed,
            ..firmware::Build::of("lamp")
        };
        bundles.push(build.zip());
        daemon::write(&file, bundles.last().unwrap());
        let name = file.to_str().unwrap();
        let added = json(
            &daemon,
            &["firmware", "add", name, "--model", "lamp", "--json"],
        );
        assert_eq!(added["firmware_version"], version);
        assert_eq!(added["active"], true);
    }
    let folder = daemon.folder.path().to_str().unwrap();
    let folder = ["firmware", "add", folder, "--model", "lamp"];
    let folder = refused(&ask(&daemon, &folder), 1);
    assert!(folder.contains("no build"), "{folder}");
    let back = json(&daemon, &["firmware", "rollback", "lamp", "--json"]);
    assert_eq!(back["firmware_version"], "1.0");
    done(&daemon, &["firmware", "block", "lamp", "2.0"]);
    refused(&ask(&daemon, &["firmware", "activate", "lamp", "2.0"]), 1);
    done(&daemon, &["firmware", "unblock", "lamp", "2.0"]);
    refused(&ask(&daemon, &["firmware", "delete", "lamp", "1.0"]), 1);
    let table = done(&daemon, &["firmware", "list", "lamp"]);
    assert!(table.contains("1.0") && table.contains("active"), "{table}");
    let out = daemon.folder.path().join("out.zip");
    done(
        &daemon,
        &[
            "firmware",
            "export",
            "lamp",
            "1.0",
            "-o",
            out.to_str().unwrap(),
        ],
    );
    assert!(fs::read(&out).unwrap() == bundles[0]);
    done(&daemon, &["firmware", "delete", "lamp", "2.0"]);
    let all = ["firmware", "delete", "lamp", "--all"];
    done(&daemon, &all);
    let left = json(&daemon, &["firmware", "list", "lamp", "--json"]);
    assert_eq!(left["firmware"], serde_json::json!([]));
    done(&daemon, &all);
}

#[test]
fn status_is_one_screen() {
    let daemon = Start::new("").start();
    let text = done(&daemon, &["status"]);
    assert!(text.lines().count() <= 24, "{text}");
    assert!(text.contains(&daemon.address.to_string()), "{text}");
    let value = json(&daemon, &["status", "--json"]);
    assert_eq!(value["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_ca_is_printed_without_a_daemon() {
    let daemon = Start::new("").start();
    let ca = fs::read_to_string(daemon.data().join("tls/ca.pem")).unwrap();
    let folder = std::sync::Arc::clone(&daemon.folder);
    let asked = json(&daemon, &["tls", "show", "--json"]);
    daemon.kill();
    let data = folder.path().join("data");
    let offline = |arguments: &[&str]| {
        let mut all = vec!["--data-dir", data.to_str().unwrap()];
        all.extend_from_slice(arguments);
        let output = espgate(&all);
        assert_eq!(status(&output), 0, "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(offline(&["tls", "ca"]), ca);
    let read: Value = serde_json::from_str(&offline(&["tls", "show", "--json"])).unwrap();
    for name in ["subject", "issuer", "names", "fingerprint_sha256"] {
        assert_eq!(read["server"][name], asked["server"][name], "{name}");
    }
}

/// Lines that `count` devices have in a file.
fn table(count: usize) -> String {
    let rows = (0..count).map(|n| {
        format!(
            "k{n},lamp,\"Room {n}, left\",{n:012x},S{n},rev{}\r\n",
            n % 3
        )
    });
    let heading = "key,model,name,mac,usb_serial,hw\r\n";
    heading.to_owned() + &rows.collect::<String>()
}

#[test]
fn a_thousand_devices_move_to_another_gateway_in_one_file() {
    let daemon = Start::new("").start();
    done(&daemon, &["models", "add", "lamp"]);
    let folder = daemon.folder.path();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (list, tokens) = (file("devices.csv"), file("tokens.csv"));
    daemon::write(Path::new(&list), table(1000).as_bytes());
    let import = ["devices", "import", &list, "--tokens-to", &tokens];
    let said = done(&daemon, &import);
    assert!(
        said.starts_with("1000 added, 0 changed, 0 unchanged\n"),
        "{said}"
    );
    let mode = fs::metadata(&tokens).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = fs::read_to_string(&tokens).unwrap();
    let rows: Vec<_> = written
        .lines()
        .map(|line| line.split_once(',').unwrap())
        .collect();
    assert_eq!(rows.len(), 1001);
    assert_eq!(rows[0], ("key", "token"));
    for (key, token) in [rows[1], rows[1000]] {
        let head = format!("GET /api/iot/firmware-version\r\nAuthorization: Bearer {token}");
        assert_eq!(daemon.request(&head, b"").status, 200, "{key}");
    }
    // once more: nothing to do, and no file
    fs::remove_file(&tokens).unwrap();
    let said = done(&daemon, &import);
    assert!(
        said.starts_with("0 added, 0 changed, 1000 unchanged\n"),
        "{said}"
    );
    assert!(!Path::new(&tokens).exists());

    let exported = done(&daemon, &["devices", "export"]);
    let other = Start::new("").start();
    done(&other, &["models", "add", "lamp"]);
    daemon::write(Path::new(&list), exported.as_bytes());
    done(&other, &["devices", "import", &list]);
    assert_eq!(done(&other, &["devices", "export"]), exported);
}

#[test]
fn a_file_with_faults_changes_nothing_and_leaves_no_tokens() {
    let daemon = Start::new("").start();
    done(&daemon, &["models", "add", "lamp"]);
    let folder = daemon.folder.path();
    let list = folder.join("devices.csv");
    let tokens = folder.join("tokens.csv");
    let import = |text: &[u8]| {
        let _ = fs::remove_file(&list);
        daemon::write(&list, text);
        let (list, tokens) = (list.to_str().unwrap(), tokens.to_str().unwrap());
        ask(&daemon, &["devices", "import", list, "--tokens-to", tokens])
    };
    let output = import(b"key;model;mac\r\nk1;lamp;12\r\nk2;pump;\r\n");
    assert_eq!(status(&output), 1);
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].contains("line 2, mac: "), "{said}");
    let output = import(b"key;model\r\nk1;lamp\r\nk2;pump\r\nk3;\r\n");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 3, "{said}");
    let output = import(b"key;name\r\nk1;K\xFCche\r\n");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("line 2: not UTF-8"), "{said}");
    assert!(!tokens.exists());
    // a file that is there is nobody's to replace
    daemon::write(&tokens, b"old");
    let line = refused(&import(b"key,model\nk1,lamp\n"), 1);
    assert!(line.contains("already exists"), "{line}");
    assert_eq!(fs::read(&tokens).unwrap(), b"old");
    assert_eq!(
        json(&daemon, &["devices", "list", "--json"])["devices"],
        serde_json::json!([])
    );
}

#[test]
fn a_retired_device_is_out_of_the_lists_until_it_is_heard() {
    let daemon = Start::new("").start();
    done(&daemon, &["models", "add", "lamp"]);
    let add = ["devices", "add", "k1", "--model", "lamp"];
    let token = done(&daemon, &add);
    let listed = |more: &[&str]| {
        let all = [&["devices", "list", "--json"][..], more].concat();
        let list = json(&daemon, &all);
        list["devices"].as_array().unwrap().clone()
    };
    done(&daemon, &["devices", "set", "k1", "--retired"]);
    assert_eq!(listed(&[]), Vec::<Value>::new());
    assert_eq!(listed(&["--retired"])[0]["state"], "retired");
    assert_eq!(
        json(&daemon, &["models", "list", "--json"])["models"][0]["devices"],
        0
    );
    // it is not gone: its dump is stored, and people are told
    let head = format!(
        "POST /api/iot/coredump?chip=esp32&firmware_version=1\r\nAuthorization: Bearer {}",
        token.trim()
    );
    for body in [&b"one"[..], b"two"] {
        assert_eq!(daemon.request(&head, body).status, 201);
    }
    daemon.wait_for_event("RetiredDeviceHeard", "k1");
    let times = daemon
        .journal()
        .matches("retired device k1 was heard")
        .count();
    assert_eq!(times, 1);
    assert!(listed(&[])[0]["retired_heard_at"].is_string());
    let shown = done(&daemon, &["devices", "list"]);
    assert!(shown.contains("retired, heard "), "{shown}");
    done(&daemon, &["devices", "set", "k1", "--no-retired"]);
    assert_eq!(listed(&[])[0]["retired_at"], Value::Null);
    assert_eq!(listed(&["--retired"]), Vec::<Value>::new());
}
