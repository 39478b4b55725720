//! Rollouts over HTTP: what starts one, what people do with it, and what else is refused
//! meanwhile.

use serde_json::{Value, json};

use crate::builds;
use crate::daemon::{Answer, Start};
use crate::dumps::crash_of_app;
use crate::firmware_files::Build;
use crate::reload::{reload, until};
use crate::test_gateway::{TestGateway, salted};

/// Devices `k1` to `k4` of model `lamp`, which runs 1.0 and has 2.0.
pub(crate) struct Site {
    pub(crate) gateway: TestGateway,
    tokens: Vec<String>,
}

pub(crate) fn build(version: &'static str, seed: u8) -> Build<'static> {
    Build {
        version,
        seed,
        ..Build::of("lamp")
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::of(TestGateway::new())
    }

    pub(crate) fn of(gateway: TestGateway) -> Self {
        let mut tokens = vec![gateway.device.clone()];
        for key in ["k2", "k3", "k4"] {
            let body = json!({ "device_key": key, "model": "lamp" });
            let made = gateway.daemon.manage("POST /api/devices", &body);
            tokens.push(made["token"].as_str().unwrap().to_owned());
        }
        assert_eq!(gateway.upload(&build("1.0", 1).zip()).status, 200);
        let manual = json!({ "activate": "manual" });
        gateway.daemon.manage("PUT /api/models/lamp", &manual);
        assert_eq!(gateway.upload(&build("2.0", 2).zip()).status, 200);
        Self { gateway, tokens }
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        let head = format!("POST {path}\r\nContent-Type: application/json");
        let body = body.to_string();
        self.gateway.daemon.control(&head, body.as_bytes())
    }

    /// Starts a rollout of 2.0 with k1 and k2 as canaries, and more.
    pub(crate) fn start(&self, more: &Value) -> Value {
        let mut body = json!({ "model": "lamp", "build": "2.0", "canary": "k1,k2" });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = self.post("/api/rollouts", &body);
        assert_eq!(answer.status, 200, "{}", answer.error());
        answer.json()
    }

    pub(crate) fn command(&self, id: &str, command: &str) -> Answer {
        self.post(&format!("/api/rollouts/{id}/{command}"), &json!({}))
    }

    pub(crate) fn show(&self, id: &str) -> Value {
        self.get(&format!("/api/rollouts/{id}"))
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.gateway.daemon.control(&format!("GET {path}"), b"");
        assert_eq!(answer.status, 200, "{path}: {}", answer.error());
        answer.json()
    }

    pub(crate) fn state(&self, id: &str) -> String {
        self.show(id)["state"].as_str().unwrap().to_owned()
    }

    /// A request of device `k<number>`.
    pub(crate) fn device(&self, number: usize, path: &str) -> Answer {
        let token = &self.tokens[number - 1];
        let head = format!("GET /api/iot/{path}\r\nAuthorization: Bearer {token}");
        self.gateway.daemon.request(&head, b"")
    }

    /// What `k<number>` is offered.
    pub(crate) fn offered(&self, number: usize) -> String {
        let answer = self.device(number, "firmware-version").json();
        answer["firmware_version"].as_str().unwrap().to_owned()
    }

    pub(crate) fn manage(&self, head: &str, body: &Value) -> u16 {
        let head = format!("{head}\r\nContent-Type: application/json");
        let body = body.to_string();
        self.gateway.daemon.control(&head, body.as_bytes()).status
    }
}

#[test]
fn only_released_devices_get_the_build_and_nothing_else_changes_meanwhile() {
    let site = Site::new();
    let id = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (site.offered(1), site.offered(3)),
        ("2.0".into(), "1.0".into())
    );
    // by its name neither, nor by another of its names
    assert_eq!(site.device(3, "firmware?version=2.0").status, 404);
    assert_eq!(site.device(3, "firmware?version=1.0").status, 200);
    assert_eq!(site.device(1, "firmware?version=2.0").status, 200);
    let wanted = json!({ "model": "lamp", "build": "2.0" });
    let again = site.post("/api/rollouts", &wanted);
    assert_eq!((again.status, again.error().contains(&id)), (409, true));
    for (head, body) in [
        ("PUT /api/models/lamp/active", json!({ "version": "2.0" })),
        ("PUT /api/models/lamp/active", json!({ "version": "1.0" })),
        ("POST /api/models/lamp/rollback", json!({})),
        ("DELETE /api/models/lamp/firmware/2.0", json!({})),
        ("DELETE /api/models/lamp/firmware/1.0", json!({})),
        ("DELETE /api/models/lamp/firmware", json!({})),
    ] {
        assert_eq!(site.manage(head, &body), 409, "{head} {body}");
    }
    site.manage("PUT /api/models/lamp", &json!({ "activate": "on-upload" }));
    let uploaded = site.gateway.upload(&build("3.0", 3).zip()).json();
    assert_eq!(uploaded["active"], false);
    let warnings = uploaded["warnings"].to_string();
    assert!(warnings.contains("rollout"), "{warnings}");
    assert_eq!(site.get("/api/models/lamp")["active"], "1.0");
    let status = site.get("/api/status")["rollouts"].to_string();
    assert!(status.contains(&id), "{status}");
    let builds = site.get("/api/builds?model=lamp");
    let of = |name: &str| {
        let builds = builds["builds"].as_array().unwrap();
        let build = builds.iter().find(|build| build["name"] == name);
        build.unwrap()["rollouts"].clone()
    };
    assert_eq!((of("2.0"), of("1.0")), (json!([id]), json!([])));
}

#[test]
fn people_pause_resume_release_and_finish() {
    let site = Site::new();
    let id = site.start(&json!({ "waves": "75%,100%", "parallel": 4 }))["id"].clone();
    let id = id.as_str().unwrap();
    let refused = |command: &str| {
        let answer = site.command(id, command);
        assert_eq!(answer.status, 409, "{command}: {}", answer.error());
    };
    let done = |command: &str| {
        let answer = site.command(id, command);
        assert_eq!(answer.status, 200, "{command}: {}", answer.error());
        answer.json()
    };
    refused("resume");
    assert_eq!(done("pause")["state"], "paused");
    refused("pause");
    refused("release");
    refused("finish");
    // it was not told of 2.0 before
    assert_eq!(site.offered(1), "1.0");
    assert_eq!(done("resume")["state"], "canary");
    assert_eq!(site.offered(1), "2.0");
    refused("cancel");
    assert_eq!(done("release")["released"], 3);
    assert_eq!(
        (site.offered(3), site.offered(4)),
        ("2.0".into(), "1.0".into())
    );
    assert_eq!(done("finish")["released"], 4);
    refused("finish");
    refused("release");
    assert_eq!(site.offered(4), "2.0");
    // who has not begun waits again
    assert_eq!(done("pause")["released"], 3);
    let show = site.show(id);
    let log = show["log"].to_string();
    for what in ["started", "paused", "resumed", "finish"] {
        assert!(log.contains(what), "{what}: {log}");
    }
    assert_eq!(site.command("r99", "pause").status, 404);
    assert_eq!(site.command(id, "no-such-command").status, 404);
    assert_eq!(site.command(id, "stop").status, 400);
}

#[test]
fn one_that_nobody_was_told_of_can_be_cancelled_and_started_again() {
    let site = Site::new();
    let first = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    assert_eq!(site.command(&first, "cancel").json()["state"], "cancelled");
    for command in ["pause", "resume", "release", "finish", "cancel"] {
        assert_eq!(site.command(&first, command).status, 409, "{command}");
    }
    assert_eq!(site.offered(1), "1.0");
    let second = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let list = site.get("/api/rollouts");
    let ids = [&list["rollouts"][0]["id"], &list["rollouts"][1]["id"]];
    assert_eq!(ids, [&json!(second), &json!(first)]);
}

#[test]
fn a_stop_blocks_the_build_and_sends_devices_back() {
    let site = Site::new();
    let id = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    assert_eq!(site.device(1, "firmware").status, 200);
    let path = format!("/api/rollouts/{id}/stop");
    let stopped = site.post(&path, &json!({ "why": "the relay clicks" }));
    assert_eq!(stopped.json()["state"], "stopped");
    let sentence = stopped.json()["summary"].to_string();
    assert!(sentence.contains("the relay clicks"), "{sentence}");
    assert_eq!(
        (site.offered(1), site.offered(2)),
        ("1.0".into(), "1.0".into())
    );
    assert_eq!(site.device(1, "firmware?version=2.0").status, 404);
    assert_eq!(site.get("/api/models/lamp")["blocked"], json!(["2.0"]));
    let builds = site.get("/api/builds?model=lamp").to_string();
    assert!(builds.contains("the relay clicks"), "{builds}");
    for command in ["pause", "resume", "release", "finish", "cancel"] {
        assert_eq!(site.command(&id, command).status, 409, "{command}");
    }
    // the bytes of an upload do not undo it
    let uploaded = site.gateway.upload(&build("2.0", 7).zip()).json();
    assert_eq!(uploaded["active"], false);
}

#[test]
fn a_new_crash_of_a_canary_stops_it_and_is_named() {
    let site = TestGateway::new();
    let get = |path: &str| site.daemon.control(&format!("GET {path}"), b"").json();
    builds::base_and_target(&site);
    let body = json!({ "model": "lamp", "build": "1.1.0", "canary": "k1" });
    site.daemon.manage("POST /api/rollouts", &body);
    assert_eq!(site.device("GET /api/iot/firmware", b"").status, 200);
    let member = || get("/api/rollouts/r1")["members"][0].clone();
    until("all of it is delivered", || {
        member()["state"] == "downloaded"
    });
    let crash = salted(crash_of_app(builds::hash("1.1.0")), 1).image(0x0102, true);
    let head = "POST /api/iot/coredump?chip=esp32c3&firmware_version=1.1.0";
    assert_eq!(site.device(head, &crash).status, 201);
    until("it is stopped", || {
        get("/api/rollouts/r1")["state"] == "stopped"
    });
    let group = get("/api/crashes")["crashes"][0]["id"].clone();
    let group = group.as_str().unwrap();
    let rollout = get("/api/rollouts/r1");
    assert!(
        rollout["summary"].to_string().contains(group),
        "{rollout:#}"
    );
    assert_eq!(
        (&member()["state"], &member()["crash"]),
        (&json!("crashed"), &json!(group))
    );
    assert_eq!(
        get(&format!("/api/crashes/{group}"))["rollouts"],
        json!(["r1"])
    );
    let event = site.daemon.wait_for_event("RolloutStopped", group);
    assert!(event.to_string().contains("\"r1\""), "{event}");
    let event = site.daemon.wait_for_event("CrashNew", group);
    assert!(event.to_string().contains("\"r1\""), "{event}");
    assert_eq!(get("/api/models/lamp")["blocked"], json!(["1.1.0"]));
    let offered = site.device("GET /api/iot/firmware-version", b"").json();
    assert_eq!(offered["firmware_version"], "1.0.0");
}

#[test]
fn a_hold_pauses_and_a_block_stops() {
    let site = Site::new();
    let id = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    site.manage("PUT /api/models/lamp", &json!({ "held": true }));
    assert_eq!(site.state(&id), "paused");
    site.manage("PUT /api/models/lamp", &json!({ "held": false }));
    // serving again is not going on
    assert_eq!(site.state(&id), "paused");
    let why = json!({ "why": "smells" });
    assert_eq!(site.manage("PUT /api/models/lamp/blocked/2.0", &why), 200);
    assert_eq!(site.state(&id), "stopped");
    assert!(site.show(&id)["why"].to_string().contains("smells"));
}

#[test]
fn a_restart_changes_nothing_and_a_restore_makes_everything_wait() {
    let site = Site::new();
    let id = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    assert_eq!(site.offered(1), "2.0");
    let Site { gateway, tokens } = site;
    let folder = gateway.daemon.folder.clone();
    gateway.daemon.stop();
    let gateway = TestGateway {
        daemon: Start::on(folder.clone(), "").start(),
        device: gateway.device,
        pipeline: gateway.pipeline,
    };
    let site = Site { gateway, tokens };
    assert_eq!(site.state(&id), "canary");
    assert_eq!(
        (site.offered(1), site.offered(3)),
        ("2.0".into(), "1.0".into())
    );
    let Site { gateway, tokens } = site;
    gateway.daemon.stop();
    // as `espgate restore` leaves it
    let note = json!({
        "schema": 1, "from": "x", "made_at": "2026-02-11T14:30:00Z", "restored_at": "t"
    });
    let note = note.to_string();
    let path = folder.path().join("data/state/restored.json");
    crate::daemon::write(&path, note.as_bytes());
    let gateway = TestGateway {
        daemon: Start::on(folder, "").start(),
        device: gateway.device,
        pipeline: gateway.pipeline,
    };
    let site = Site { gateway, tokens };
    assert_eq!(site.state(&id), "paused");
    assert_eq!(
        site.show(&id)["why"],
        "restored from a backup of 2026-02-11 14:30 UTC"
    );
    let model = site.get("/api/models/lamp");
    assert_eq!(model["held"], true);
    assert!(
        model["held_why"].to_string().contains("2026-02-11"),
        "{model}"
    );
    assert_eq!(site.device(1, "firmware").status, 404);
    site.manage("PUT /api/models/lamp", &json!({ "held": false }));
    assert_eq!(site.command(&id, "resume").status, 200);
    assert_eq!(site.offered(1), "2.0");
    let model = site.get("/api/models/lamp");
    assert_eq!(model["held_why"], Value::Null);
}

#[test]
fn how_rollouts_go_out_counts_after_a_reload() {
    let site = Site::new();
    let plan = || {
        let body = json!({ "model": "lamp", "build": "2.0", "dry_run": true });
        site.post("/api/rollouts", &body).json()
    };
    let before = plan();
    let text = r#"
        [serial]
        discover = "off"
        [http]
        listen = ["127.0.0.1:0"]
        [rollouts]
        canary = 1
        waves = "50%,100%"
        canary_soak = "7s"
        soak = "8s"
        watch = "9s"
        return_within = "10s"
        parallel = 3
        window = "00:00-24:00"
        gate = true
        confirmed = true
        on_stop = "stay"
    "#;
    reload(&site.gateway.daemon, text);
    let expected = json!({
        "canary_soak": "7s", "soak": "8s", "watch": "9s", "return_within": "10s",
        "parallel": 3, "window": "00:00-24:00", "gate": true, "confirmed": true,
        "on_stop": "stay",
    });
    until("the settings", || plan()["settings"] == expected);
    let after = plan();
    let waves = |plan: &Value| {
        let waves = plan["waves"].as_array().unwrap();
        let members = waves.iter().map(|wave| wave["members"].as_u64().unwrap());
        members.collect::<Vec<_>>()
    };
    assert_eq!((waves(&before), waves(&after)), (vec![2, 4], vec![1, 2, 4]));
    let differs = |name: &str| before["settings"][name] != after["settings"][name];
    for name in expected.as_object().unwrap().keys() {
        assert!(differs(name), "{name}");
    }
}

#[test]
fn the_limit_of_all_downloads_counts_after_a_reload() {
    let site = Site::new();
    site.start(&json!({}));
    assert_eq!(site.offered(1), "2.0");
    let text = |most: u32| {
        format!(
            "[serial]\ndiscover = \"off\"\n[http]\nlisten = [\"127.0.0.1:0\"]\n\
             [rollouts]\nmax_downloads = {most}\n"
        )
    };
    let daemon = &site.gateway.daemon;
    reload(daemon, &text(1));
    daemon.wait_for_event("ConfigurationReloaded", "rollouts.max_downloads");
    assert_eq!(site.offered(2), "1.0");
    reload(daemon, &text(2));
    until("there is room for another", || site.offered(2) == "2.0");
}
