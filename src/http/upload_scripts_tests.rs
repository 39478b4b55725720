//! The scripts as text, and `upload.sh` run with a curl that only records its arguments.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::*;
use crate::bundle::{self, BundleLimits, fixture};
use crate::device::ModelCode;

const URL: &str = "https://espgate.internal:8443";
const CA: &str = "-----BEGIN CERTIFICATE-----\nMIIB+/==\n-----END CERTIFICATE-----\n";

#[test]
fn scripts_carry_address_and_ca_and_begin_as_they_must() {
    for script in [Script::Shell, Script::PowerShell] {
        let text = script.render("https://[::1]:8443/", Some(CA)).unwrap();
        assert!(text.contains("'https://[::1]:8443'"));
        assert!(text.contains("\nMIIB+/==\n-----END CERTIFICATE-----\n"));
        assert!(!text.contains("@URL@") && !text.contains("@CA@"));
    }
    let shell = Script::Shell.render(URL, None).unwrap();
    assert!(shell.starts_with("#!/bin/sh\n"));
    let power_shell = Script::PowerShell.render(URL, None).unwrap();
    assert!(power_shell.contains("Compress-Archive"));
}

#[test]
fn what_a_shell_would_read_is_not_put_in() {
    for url in [
        "",
        "https://",
        "https:///x",
        "http://gate",
        "https://a'b",
        "https://a$(id)",
        "https://a`id`",
        "https://a b",
        "https://a\nb",
        "https://a\"",
        "https://ä",
        "https://a@b",
        &format!("https://{}", "a".repeat(301)),
    ] {
        assert_eq!(Script::Shell.render(url, None), Err(Unsafe::Url), "{url}");
    }
    for ca in [
        "",
        "MIIB",
        "-----BEGIN CERTIFICATE-----\nESPGATE_CA\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n'@\n-----END CERTIFICATE-----",
    ] {
        let outcome = Script::PowerShell.render(URL, Some(ca));
        assert_eq!(outcome, Err(Unsafe::Ca), "{ca}");
    }
}

/// A project folder, a curl of our own, and what that curl saw.
struct Build {
    root: tempfile::TempDir,
    project: PathBuf,
}

impl Build {
    fn new(project_name: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let project = root.path().join("my project");
        fixture::build_folder(&project, project_name, "1.2.3");
        let script = Script::Shell.render(URL, Some(CA)).unwrap();
        put(&root.path().join("upload.sh"), &script);
        let site = Self { root, project };
        site.answer("{\"id\":1,\"warnings\":[]}");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn answer(&self, text: &str) {
        put(&self.path("answer"), text);
    }

    fn run(&self, shell: &str, arguments: &[&str], status: &str) -> Output {
        let path = std::env::var("PATH").unwrap();
        let fake_bin = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/fake-bin");
        Command::new(shell)
            .arg(self.path("upload.sh"))
            .args(arguments)
            .current_dir(&self.project)
            .env("PATH", format!("{fake_bin}:{path}"))
            .env("GIT_DIR", "/dev/null")
            .env_remove("ESPGATE_URL")
            .env("ESPGATE_TOKEN", "eg1_abcdefgh_secret")
            .env("TMPDIR", self.root.path())
            .env("SEEN", self.root.path())
            .env("STATUS", status)
            .output()
            .unwrap()
    }

    fn seen(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

fn put(path: &Path, text: &str) {
    File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

/// The shells that are here; none without `zip`, which the script needs.
fn shells() -> Vec<&'static str> {
    let here = |name: &&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
    };
    if !here(&"zip") {
        eprintln!("upload.sh is not run: zip is not installed");
        return Vec::new();
    }
    ["sh", "dash", "bash"].into_iter().filter(here).collect()
}

#[test]
fn a_build_folder_becomes_a_bundle_that_is_taken() {
    for shell in shells() {
        let site = Build::new("lamp-two");
        let outcome = site.run(shell, &[], "200");
        let messages = String::from_utf8(outcome.stderr).unwrap();
        assert!(outcome.status.success(), "{shell}: {messages}");
        assert_eq!(outcome.stdout, b"{\"id\":1,\"warnings\":[]}\n");

        let url = "https://espgate.internal:8443/api/pipeline/models/lamp_two/firmware\n";
        assert_eq!(site.seen("seen-url"), url);
        let settings = site.seen("seen-settings");
        assert!(settings.contains("\"Authorization: Bearer eg1_abcdefgh_secret\"\n"));
        assert_eq!(site.seen("seen-ca"), CA);
        assert!(!site.seen("seen-arguments").contains("secret"));

        let model: ModelCode = "lamp_two".parse().unwrap();
        let zip = File::open(site.path("seen-zip")).unwrap();
        let bundle =
            bundle::check(zip, &model, &BundleLimits::for_bundles_of(1 << 20), None).unwrap();
        assert_eq!(bundle.warnings, []);
        let manifest = bundle.manifest.unwrap();
        assert_eq!(manifest.firmware_version, "1.2.3");
        assert_eq!(manifest.idf_version, "v5.5.1");
        assert_eq!(manifest.git_commit, "unknown");
        let left = fs::read_dir(site.root.path()).unwrap();
        let left = left.filter(|e| {
            e.as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .contains("espgate.")
        });
        assert_eq!(left.count(), 0, "temporary files are gone");
    }
}

#[test]
fn model_and_image_may_be_given_and_need_no_description() {
    for shell in shells() {
        let site = Build::new("lamp");
        fs::remove_file(site.project.join("build/project_description.json")).unwrap();
        let outcome = site.run(shell, &["Other-Lamp", "build/lamp.bin"], "200");
        let messages = String::from_utf8(outcome.stderr).unwrap();
        assert!(outcome.status.success(), "{shell}: {messages}");
        assert!(site.seen("seen-url").ends_with("/other_lamp/firmware\n"));
        let model: ModelCode = "other_lamp".parse().unwrap();
        let zip = File::open(site.path("seen-zip")).unwrap();
        let bundle =
            bundle::check(zip, &model, &BundleLimits::for_bundles_of(1 << 20), None).unwrap();
        let manifest = bundle.manifest.unwrap();
        assert_eq!(manifest.firmware_version, "1.2.3");
        assert_eq!(manifest.idf_version, "v5.5.1");
    }
}

#[test]
fn builds_of_platformio_and_arduino_are_found_and_packed_as_partial() {
    for shell in shells() {
        for (folder, stem, sdkconfig) in [
            (
                ".pio/build/esp32dev",
                "firmware",
                Some("sdkconfig.esp32dev"),
            ),
            (".pioenvs/porch", "firmware", None),
            ("build/esp32.esp32.esp32", "fan.ino", None),
        ] {
            let site = Build::new("lamp");
            let place = site.project.join(folder);
            fs::create_dir_all(&place).unwrap();
            for kind in ["bin", "elf"] {
                let from = site.project.join(format!("build/lamp.{kind}"));
                fs::copy(from, place.join(format!("{stem}.{kind}"))).unwrap();
            }
            for gone in ["build/project_description.json", "sdkconfig"] {
                fs::remove_file(site.project.join(gone)).unwrap();
            }
            if let Some(name) = sdkconfig {
                put(&site.project.join(name), "CONFIG_ESP_COREDUMP_ENABLE=y\n");
            }
            let outcome = site.run(shell, &[], "200");
            assert!(!outcome.status.success(), "{shell}: a model is needed");
            let outcome = site.run(shell, &["lamp"], "200");
            let messages = String::from_utf8(outcome.stderr).unwrap();
            assert!(outcome.status.success(), "{shell} {folder}: {messages}");
            let model: ModelCode = "lamp".parse().unwrap();
            let zip = File::open(site.path("seen-zip")).unwrap();
            let limits = BundleLimits::for_bundles_of(1 << 20);
            let bundle = bundle::check(zip, &model, &limits, None).unwrap();
            assert!(bundle.manifest.unwrap().partial);
            assert_eq!(bundle.warnings, []);
        }
    }
}

#[test]
fn a_refusal_is_shown_and_fails() {
    for shell in shells() {
        let site = Build::new("lamp");
        site.answer("{\"error\":\"Invalid firmware: empty version string\"}");
        let outcome = site.run(shell, &[], "400");
        assert_eq!(outcome.status.code(), Some(1), "{shell}");
        let answer = String::from_utf8(outcome.stdout).unwrap();
        assert!(answer.contains("empty version string"));
        let messages = String::from_utf8(outcome.stderr).unwrap();
        assert!(messages.ends_with("upload: refused with HTTP status 400\n"));
    }
}

#[test]
fn warnings_are_shown_a_line_each() {
    for shell in shells() {
        let site = Build::new("lamp");
        site.answer(r#"{"id":1,"warnings":["say \"no\", or","image checksum wrong"],"x":["y"]}"#);
        let outcome = site.run(shell, &[], "200");
        let messages = String::from_utf8(outcome.stderr).unwrap();
        let expected = "warning: say \"no\", or\nwarning: image checksum wrong\n";
        assert!(messages.ends_with(expected), "{shell}: {messages}");
    }
}

#[test]
fn what_is_missing_is_said_before_anything_is_sent() {
    for shell in shells() {
        for (gone, message) in [
            (
                "build/project_description.json",
                "run this in the project's folder",
            ),
            ("build/lamp.bin", "build/lamp.bin not found"),
            ("build/lamp.elf", "build/lamp.elf not found"),
            ("build/lamp.map", "build/lamp.map not found"),
            ("sdkconfig", "sdkconfig not found"),
        ] {
            let site = Build::new("lamp");
            fs::remove_file(site.project.join(gone)).unwrap();
            let outcome = site.run(shell, &[], "200");
            assert_eq!(outcome.status.code(), Some(1), "{shell}: {gone}");
            let messages = String::from_utf8(outcome.stderr).unwrap();
            assert!(messages.contains(message), "{shell}: {messages}");
            assert!(!site.path("seen-url").exists());
        }
    }
}
