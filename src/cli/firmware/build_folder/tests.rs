use super::*;
use tempfile::{TempDir, tempdir};

fn folder(files: &[&str]) -> TempDir {
    let folder = tempdir().unwrap();
    for name in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let is_elf = path.extension().is_none_or(|kind| kind == "elf");
        let content: &[u8] = if is_elf { b"\x7fELF" } else { b"x" };
        File::create(&path).unwrap().write_all(content).unwrap();
    }
    folder
}

/// What is found, as paths below the folder.
fn found(folder: &TempDir, below: &str) -> Result<Vec<String>, String> {
    let build = find(&folder.path().join(below)).map_err(|error| format!("{error:#}"))?;
    let root = folder.path().canonicalize().unwrap();
    let names = [Some(build.bin), Some(build.elf), build.map, build.sdkconfig];
    let names = names.into_iter().flatten().map(|path| {
        let path = path.canonicalize().unwrap();
        path.strip_prefix(&root).unwrap().display().to_string()
    });
    Ok(names.collect())
}

#[test]
fn platformio_and_esphome_are_found_by_environment() {
    let env = ".pio/build/esp32dev";
    let project = folder(&[
        ".pio/build/esp32dev/firmware.bin",
        ".pio/build/esp32dev/firmware.elf",
        ".pio/build/esp32dev/bootloader.bin",
        "sdkconfig.esp32dev",
    ]);
    let expected = [
        ".pio/build/esp32dev/firmware.bin",
        ".pio/build/esp32dev/firmware.elf",
        "sdkconfig.esp32dev",
    ];
    for below in ["", env, ".pio"] {
        assert_eq!(found(&project, below).unwrap(), expected, "{below}");
    }
    let esphome = folder(&[
        ".pioenvs/porch/firmware.bin",
        ".pioenvs/porch/firmware.elf",
        ".pioenvs/porch/firmware.map",
        ".pioenvs/porch/firmware.factory.bin",
    ]);
    assert_eq!(found(&esphome, "").unwrap().len(), 3);
    let two = folder(&[
        ".pio/build/a/firmware.bin",
        ".pio/build/a/firmware.elf",
        ".pio/build/b/firmware.bin",
        ".pio/build/b/firmware.elf",
    ]);
    assert!(found(&two, "").unwrap_err().contains("more than one build"));
    assert_eq!(
        found(&two, ".pio/build/b").unwrap()[0],
        ".pio/build/b/firmware.bin"
    );
    let no_elf = folder(&[".pio/build/a/firmware.bin"]);
    assert!(
        found(&no_elf, "")
            .unwrap_err()
            .contains("firmware.elf not found")
    );
}

#[test]
fn arduino_is_found_by_its_sketch() {
    let board = "build/esp32.esp32.esp32s3";
    let files = [
        "fan.ino.bin",
        "fan.ino.elf",
        "fan.ino.map",
        "fan.ino.merged.bin",
        "fan.ino.bootloader.bin",
        "sdkconfig",
    ]
    .map(|name| format!("{board}/{name}"));
    let sketch = folder(&files.each_ref().map(String::as_str));
    let expected = ["fan.ino.bin", "fan.ino.elf", "fan.ino.map", "sdkconfig"];
    for below in ["", board] {
        let expected = expected.map(|name| format!("{board}/{name}"));
        assert_eq!(found(&sketch, below).unwrap(), expected);
    }
}

#[test]
fn rust_is_found_by_its_saved_image() {
    let release = "target/riscv32imc-esp-espidf/release";
    let elf = format!("{release}/fan");
    let project = folder(&[&elf, &format!("{release}/fan.d"), "Cargo.toml"]);
    let error = found(&project, "").unwrap_err();
    assert!(error.contains("espflash save-image"), "{error}");
    File::create(project.path().join(&elf).with_extension("bin")).unwrap();
    let expected = [format!("{elf}.bin"), elf.clone()];
    assert_eq!(found(&project, "").unwrap(), expected);
    assert_eq!(found(&project, release).unwrap(), expected);
}

#[test]
fn an_empty_folder_has_no_build() {
    assert!(
        found(&folder(&["x.txt"]), "")
            .unwrap_err()
            .contains("no build")
    );
}
