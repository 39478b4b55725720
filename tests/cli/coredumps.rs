//! `espgate coredumps`.

use super::*;

#[test]
fn what_devices_send_is_listed_shown_exported_and_deleted() {
    let daemon = Start::new(OPEN).start();
    done(&daemon, &["models", "add", "lamp"]);
    done(
        &daemon,
        &["devices", "add", "k1", "--model", "lamp", "--no-token"],
    );
    let dump = dumps::xtensa().image(0x0102, false);
    let id = post_dump(&daemon, "k1", "1.0%1b[31m", &dump);
    for number in 0..3 {
        post_dump(
            &daemon,
            "k1",
            "1.0",
            format!("not a dump {number}").as_bytes(),
        );
    }

    let table = done(&daemon, &["coredumps", "list"]);
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(table.contains(&id) && !table.contains('\u{1b}'), "{table}");
    let sidecar = json(&daemon, &["coredumps", "list", "--json"]);
    let panic = sidecar["coredumps"][3]["panic_reason"].as_str().unwrap();
    assert!(table.contains(panic), "not cut for a program: {table}");
    let filtered = ["coredumps", "list", "--device", "k1", "--limit", "1"];
    let hint = done(&daemon, &filtered);
    let hint = hint.lines().last().unwrap();
    let again = " espgate coredumps list --device k1 --limit 1 --cursor ";
    assert!(hint.contains(again), "{hint}");
    let wrong = ask(&daemon, &["coredumps", "list", "--since", "yesterday"]);
    refused(&wrong, 2);
    let page = json(&daemon, &["coredumps", "list", "--limit", "2", "--json"]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = json(
        &daemon,
        &["coredumps", "list", "--cursor", cursor, "--json"],
    );
    assert_eq!(rest["coredumps"].as_array().unwrap().len(), 2);

    daemon.wait_for_event("CoredumpDecoded", &id);
    let shown = done(&daemon, &["coredumps", "show", &id]);
    let heading = format!("Coredump {id} of k1 (lamp 1.0");
    assert!(shown.starts_with(&heading), "{shown}");
    assert!(
        shown.contains("esp32") && !shown.contains('\u{1b}'),
        "{shown}"
    );
    refused(&ask(&daemon, &["coredumps", "show", "0123456789ab"]), 1);

    let archive = daemon.folder.path().join("x.zip");
    let name = archive.to_str().unwrap();
    done(&daemon, &["coredumps", "export", &id, "-o", name]);
    let mut zip = zip::ZipArchive::new(fs::File::open(&archive).unwrap()).unwrap();
    let mut core = Vec::new();
    let top = format!("coredump-{id}/");
    assert!(zip.file_names().all(|name| name.unwrap().starts_with(&top)));
    zip.by_name(&format!("{top}core.elf"))
        .unwrap()
        .read_to_end(&mut core)
        .unwrap();
    assert!(core == dumps::xtensa().elf());
    let mut readme = String::new();
    zip.by_name(&format!("{top}README.txt"))
        .unwrap()
        .read_to_string(&mut readme)
        .unwrap();
    assert!(
        readme.contains("xtensa-esp32-elf-gdb") && !readme.contains('\u{1b}'),
        "{readme}"
    );
    refused(&ask(&daemon, &["coredumps", "export", &id, "-o", name]), 1);

    done(&daemon, &["coredumps", "delete", &id]);
    refused(&ask(&daemon, &["coredumps", "delete", &id]), 1);
    let left = json(&daemon, &["coredumps", "list", "--json"]);
    assert_eq!(left["coredumps"].as_array().unwrap().len(), 3);
}

#[test]
fn redecoding_all_is_watched_on_a_terminal_until_it_is_done() {
    let daemon = Start::new(OPEN).start();
    done(&daemon, &["models", "add", "lamp"]);
    done(
        &daemon,
        &["devices", "add", "k1", "--model", "lamp", "--no-token"],
    );
    let data = daemon.data();
    let all = ["coredumps", "redecode", "--all"];
    done(&daemon, &all);
    post_dump(&daemon, "k1", "1.0", &dumps::xtensa().image(0x0102, false));
    post_dump(&daemon, "k1", "1.0", b"not a dump");
    let said = done(&daemon, &all);
    assert!(said.contains(" 2 coredumps "), "{said}");
    let on_terminal = [&["--data-dir", data.to_str().unwrap()][..], &all].concat();
    let said = terminal::on_terminal(&on_terminal, &[]);
    assert!(said.contains(" 2 coredumps "), "{said}");
    let status = json(&daemon, &["status", "--json"]);
    assert_eq!(status["counts"]["not_decoded_yet"], 0);
}
