//! What starts a rollout, what refuses to, and what a dry run says.

use serde_json::json;

use crate::firmware_files::Build;
use crate::rollouts::{Site, build};
use crate::test_gateway::TestGateway;

#[test]
fn a_start_is_refused_with_its_reason() {
    let site = Site::new();
    let other_chip = Build {
        chip_id: 5,
        ..build("3.0", 3)
    };
    let no_way_back = Build {
        secure_version: 1,
        ..build("4.0", 4)
    };
    let builds = [other_chip, no_way_back, build("1.0", 5), build("6.0", 6)];
    for build in builds {
        let answer = site.gateway.upload(&build.zip());
        assert_eq!(answer.status, 200, "{}", answer.error());
    }
    let model = "PUT /api/models/lamp";
    site.manage("PUT /api/models/lamp/blocked/6.0", &json!({}));
    site.manage("PUT /api/models/empty", &json!({}));
    let builds = site.get("/api/builds?model=lamp");
    let id = |name: &str| {
        let builds = builds["builds"].as_array().unwrap();
        let found = builds.iter().find(|build| build["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {builds:?}"))["build_id"].clone()
    };
    let active = site.get("/api/models/lamp")["active_build_id"].clone();
    // what is wrong with 2.0 for this model, one at a time
    for (body, status, part) in [
        (json!({}), 400, "Missing model or build"),
        (json!({ "model": "none", "build": "2.0" }), 404, "none"),
        (json!({ "model": "lamp", "build": "9.9" }), 404, "9.9"),
        (
            json!({ "model": "lamp", "build": active }),
            409,
            "active already",
        ),
        (
            json!({ "model": "lamp", "build": id("1.0") }),
            409,
            "same version",
        ),
        (json!({ "model": "lamp", "build": "6.0" }), 409, "blocked"),
        (json!({ "model": "lamp", "build": "3.0" }), 409, "is for"),
        (
            json!({ "model": "lamp", "build": "4.0" }),
            409,
            "secure_version",
        ),
        (
            json!({ "model": "lamp", "build": "2.0", "canary": "k9" }),
            409,
            "k9",
        ),
        (
            json!({ "model": "lamp", "build": "2.0", "canary": "K 9" }),
            400,
            "canary",
        ),
        (
            json!({ "model": "lamp", "build": "2.0", "soak": "long" }),
            400,
            "soak",
        ),
        (
            json!({ "model": "lamp", "build": "2.0", "waves": "50%,10%" }),
            400,
            "waves",
        ),
        (
            json!({ "model": "lamp", "build": "2.0", "window": "1-2" }),
            400,
            "window",
        ),
        (
            json!({ "model": "lamp", "build": "2.0", "parallel": 0 }),
            400,
            "parallel",
        ),
        (
            json!({ "model": "lamp", "build": "2.0", "on_stop": "wait" }),
            400,
            "on_stop",
        ),
        (
            json!({ "model": "lamp", "build": "2.0", "wave": 1 }),
            400,
            "wave",
        ),
    ] {
        for dry_run in [true, false] {
            let mut body = body.clone();
            body["dry_run"] = json!(dry_run);
            let answer = site.post("/api/rollouts", &body);
            assert_eq!(answer.status, status, "{body}: {}", answer.error());
            assert!(answer.error().contains(part), "{body}: {}", answer.error());
        }
    }
    site.manage(model, &json!({ "held": true }));
    let wanted = json!({ "model": "lamp", "build": "2.0" });
    let held = site.post("/api/rollouts", &wanted);
    assert_eq!((held.status, held.error().contains("held")), (409, true));
    site.manage(model, &json!({ "held": false }));
    // a model that has never had an active build
    site.manage("PUT /api/models/empty", &json!({ "activate": "manual" }));
    let of_empty = Build {
        version: "7.0",
        ..Build::of("empty")
    };
    let head = "POST /api/pipeline/models/empty/firmware";
    assert_eq!(site.gateway.ci(head, &of_empty.zip()).status, 200);
    let wanted = json!({ "model": "empty", "build": "7.0" });
    let no_base = site.post("/api/rollouts", &wanted);
    assert_eq!(no_base.status, 409, "{}", no_base.error());
    assert_eq!(site.get("/api/rollouts")["rollouts"], json!([]));
}

#[test]
fn a_dry_run_says_who_would_get_it_and_starts_nothing() {
    let site = Site::new();
    let plan = site.start(&json!({ "dry_run": true, "waves": "75%,100%", "soak": "3h" }));
    assert_eq!(plan["dry_run"], true);
    assert_eq!(plan["base_name"], "1.0");
    assert_eq!(plan["settings"]["soak"], "3h");
    let members = plan["members"].as_array().unwrap();
    let canaries: Vec<&str> = members
        .iter()
        .filter(|member| member["canary"] == true)
        .map(|member| member["device"].as_str().unwrap())
        .collect();
    assert_eq!(canaries, ["k1", "k2"]);
    let waves = plan["waves"].as_array().unwrap();
    let waves: Vec<u64> = waves
        .iter()
        .map(|wave| wave["members"].as_u64().unwrap())
        .collect();
    assert_eq!(waves, [2, 3, 4]);
    assert_eq!(site.get("/api/rollouts")["rollouts"], json!([]));
    assert_eq!(site.offered(1), "1.0");
}

#[test]
fn an_upload_starts_a_rollout_until_one_was_stopped() {
    let site = Site::new();
    let rollout = json!({ "activate": "rollout" });
    site.manage("PUT /api/models/lamp", &rollout);
    let upload = |version: &'static str, seed: u8| {
        let answer = site.gateway.upload(&build(version, seed).zip());
        assert_eq!(answer.status, 200, "{}", answer.error());
        let answer = answer.json();
        assert_eq!(answer["active"], false, "{answer}");
        answer["warnings"].to_string()
    };
    let rollouts = || site.get("/api/rollouts")["rollouts"].clone();
    // a version that devices would not fetch
    let same = upload("1.0", 9);
    assert!(same.contains("same version"), "{same}");
    assert_eq!(rollouts(), json!([]));
    let first = upload("3.0", 3);
    assert!(first.contains("rollout r1 started"), "{first}");
    let running = rollouts();
    assert_eq!(running[0]["target_name"], "3.0");
    assert!(
        running[0]["started_by"].to_string().contains("ci"),
        "{running}"
    );
    let meanwhile = upload("4.0", 4);
    assert!(meanwhile.contains("running"), "{meanwhile}");
    site.post("/api/rollouts/r1/stop", &json!({ "why": "no good" }));
    let after = upload("5.0", 5);
    assert!(after.contains("r1") && after.contains("stopped"), "{after}");
    assert_eq!(rollouts().as_array().unwrap().len(), 1);
    // a person starts one: from then on they start by themselves again
    let body = json!({ "model": "lamp", "build": "5.0" });
    assert_eq!(site.post("/api/rollouts", &body).json()["id"], "r2");
    assert_eq!(site.command("r2", "cancel").status, 200);
    let again = upload("6.0", 6);
    assert!(again.contains("rollout r3 started"), "{again}");
}

#[test]
fn the_first_build_of_a_model_becomes_active_at_once() {
    let site = TestGateway::new();
    let rollout = json!({ "activate": "rollout" });
    site.daemon.manage("PUT /api/models/lamp", &rollout);
    for _ in 0..2 {
        let uploaded = site.upload(&build("1.0", 1).zip()).json();
        assert_eq!(uploaded["active"], true, "{uploaded}");
    }
    // nothing to update
    let uploaded = site.upload(&build("2.0", 2).zip()).json();
    assert_eq!(uploaded["active"], false, "{uploaded}");
}
