//! What is shown where no daemon runs.

use super::*;

#[test]
fn wrong_usage() {
    let folder = folder();
    let mut screens = Screens::of(folder.path());
    for arguments in [
        &["nonsense"][..],
        &["ports", "relase"],
        &["coredumps"],
        &["models", "add"],
        &["models", "set", "x", "--activate", "sometimes"],
        &["devices", "add", "k1"],
        &["tokens", "add", "n", "--role", "king"],
        &["tokens", "add", "n", "--role", "fleet"],
        &["tokens", "add", "n", "--role", "viewer", "--model", "NO"],
        &["coredumps", "list", "--limit", "0"],
        &["coredumps", "list", "--since", "yesterday"],
        &["coredumps", "redecode"],
        &["firmware", "delete", "m", "1.0", "--all"],
        &["ports", "release", "p", "--for", "1y"],
        &["status", "--nonsense"],
    ] {
        screens.show(arguments);
    }
    screens.are("wrong-usage");
}

#[test]
fn no_daemon() {
    let folder = folder();
    let mut screens = Screens::of(folder.path());
    screens
        .show(&["status"])
        .show(&["--socket", "/nowhere", "models", "list"])
        .show(&["backup", "gateway.backup"])
        .show(&["tls", "ca"])
        .show(&["tls", "show"])
        .are("no-daemon");
}

#[test]
fn config() {
    let folder = folder();
    let write = |name: &str, text: &str| daemon::write(&folder.path().join(name), text.as_bytes());
    write("good.toml", "[http]\nmax_connections = 3\n");
    write(
        "bad.toml",
        "[http]\nlisten = [\"nowhere\"]\n\n[firmware]\nkeep_versions = 0\nkeep = 1\n",
    );
    write("broken.toml", "[http\n");
    write(
        "keys.toml",
        "[tls]\ncert = \"/dev/null\"\nkey = \"/nowhere/key.pem\"\n",
    );
    let mut screens = Screens::of(folder.path());
    for name in [
        "good.toml",
        "bad.toml",
        "broken.toml",
        "keys.toml",
        "absent.toml",
        "/tmp",
    ] {
        screens.show(&["config", "check", name]);
    }
    screens
        .show(&["config", "check", "bad.toml", "--json"])
        .show(&["--config", "good.toml", "config", "show"])
        .show(&["--config", "bad.toml", "config", "show"])
        .show(&["--config", "bad.toml", "serve"])
        .are("config");
}

#[test]
fn a_port_in_use() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!("[http]\nlisten = [\"{address}\"]\n[serial]\ndiscover = \"off\"\n");
    daemon::write(&folder.path().join("espgate.toml"), text.as_bytes());
    Screens::of(folder.path())
        .show(&["--config", "espgate.toml", "serve"])
        .are("port-in-use");
}

#[test]
fn decode() {
    let folder = folder();
    let write = |name: &str, bytes: &[u8]| daemon::write(&folder.path().join(name), bytes);
    let dump = dumps::xtensa().image(0x0102, false);
    write("core.bin", &dump);
    write("cut.bin", &dump[..dump.len() / 2]);
    write("notes.txt", b"no dump at all");
    let mut screens = Screens::of(folder.path());
    for arguments in [
        &["core.bin"][..],
        &["cut.bin"],
        &["notes.txt"],
        &["core.bin", "--elf", "notes.txt"],
        &["absent.bin"],
        &["."],
    ] {
        screens.show(&[&["decode"], arguments].concat());
    }
    screens.are("decode");
}
