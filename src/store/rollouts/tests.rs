//! Files that are no rollouts of this release.

use serde_json::json;

use super::*;

fn of(id: &str, model: &str) -> Value {
    let build = |digit: &str| json!({ "build_id": digit.repeat(64), "name": digit });
    json!({
        "schema": SCHEMA, "id": id, "model": model, "target": build("2"), "base": build("1"),
        "target_version": "2", "has_symbols": true, "started_at": "", "started_by": "anna",
        "spec": {
            "waves": [100.0], "canary_soak": 1, "soak": 1, "watch": 1, "return_within": 1,
            "parallel": 1, "gate": false, "confirmed": false, "on_stop": "back",
        },
        "phase": "canary", "phase_s": 0, "clock_s": 0, "members": [], "waves": [], "log": [],
    })
}

/// The models that have a rollout, and the names of the files afterwards.
fn found(files: &[(&str, Value)]) -> (tempfile::TempDir, Rollouts, Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let rollouts = folder.path().join("rollouts");
    fs::create_dir(&rollouts).unwrap();
    for (name, content) in files {
        let name = format!("{name}.json");
        let bytes = serde_json::to_vec(content).unwrap();
        replace(&rollouts, &name, &bytes, FILE_MODE).unwrap();
    }
    let store = Rollouts::new(&rollouts);
    let latest = store.all_latest();
    let models = latest.iter().map(|one| one.model.to_string()).collect();
    let entries = fs::read_dir(&rollouts).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    (folder, store, models, names)
}

#[test]
fn a_file_with_the_id_of_another_is_set_aside_and_nothing_is_written_by_it() {
    let files = [
        ("r1", of("r1", "lamp")),
        ("r2", of("../../evil", "pump")),
        ("r3", of("r1", "fan")),
    ];
    let (folder, store, models, names) = found(&files);
    assert_eq!(models, ["lamp"]);
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(&String::from("r1.json")), "{names:?}");
    assert!(!names.contains(&String::from("r2.json")), "{names:?}");
    assert!(!names.contains(&String::from("r3.json")), "{names:?}");
    store.flush().unwrap();
    let mut above = fs::read_dir(folder.path()).unwrap();
    let is_ours = above.all(|entry| entry.unwrap().file_name() == "rollouts");
    assert!(is_ours);
}

#[test]
fn a_file_of_a_newer_release_stays_and_is_not_read() {
    let mut newer = of("r2", "lamp");
    newer["schema"] = json!(SCHEMA + 1);
    let (_folder, store, models, names) = found(&[("r1", of("r1", "pump")), ("r2", newer)]);
    assert_eq!(
        (models.len(), names),
        (1, vec!["r1.json".into(), "r2.json".into()])
    );
    assert!(store.live(&"lamp".parse().unwrap()).is_none());
    assert!(store.get("r2").is_err(), "and says why");
    assert_eq!(store.all().len(), 1);
}

#[test]
fn numbers_that_were_never_given_do_no_harm() {
    let rollout = |id| serde_json::from_value::<Rollout>(of(id, "lamp")).unwrap();
    let begin = |store: &Rollouts| {
        let begun = store.begin(rollout("r0"), |_| Ok::<_, ()>(()));
        begun.map(|begun| begun.unwrap().id.clone())
    };
    let huge = "r18446744073709551615";
    let (_folder, store, models, _) = found(&[(huge, of(huge, "lamp"))]);
    assert!(models.is_empty());
    assert_eq!(begin(&store).unwrap(), "r1");
    let last = "r999999999";
    let (_folder, store, models, _) = found(&[(last, of(last, "lamp"))]);
    assert_eq!(models, ["lamp"]);
    begin(&store).unwrap_err();
}
