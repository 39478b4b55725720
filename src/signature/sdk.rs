//! Whose code a file is: the application's, or that of the SDK, the toolchain and the
//! language's library.
//!
//! People build in `/opt/esp/idf`, in PlatformIO's `framework-espidf`, anywhere; where
//! the ELF tells its SDK's folder, that decides, and what lies elsewhere is code that
//! this maker chose, such as a project's own components and `managed_components`.

use std::borrow::Cow;

use super::glob::matches;
use super::lists::IDF_COMPONENTS;

/// Whether `file` is of the SDK, the toolchain or the language's library. `root` is what
/// stands before `/components/` in the SDK's files, if that is known.
pub fn is_sdk(file: &str, root: Option<&str>) -> bool {
    rule(file, root).is_some()
}

/// The SDK's folder, if `file` is of a component that every application has.
pub fn root_in(file: &str) -> Option<String> {
    let file = plain(file);
    let (root, _) = ["esp_system", "freertos"]
        .iter()
        .find_map(|name| file.split_once(&format!("/components/{name}/")))?;
    Some(root.to_owned())
}

/// Which rule says that `file` is not the application's; `None` if it is.
pub(super) fn rule(file: &str, root: Option<&str>) -> Option<&'static str> {
    let file = plain(file);
    if file.contains("/managed_components/") || file.starts_with("/IDF_PROJECT/") {
        return None;
    }
    if root.is_some_and(|root| is_below(&file, root)) {
        return Some("SDK folder");
    }
    if let Some((_, rule)) = FOLDERS.iter().find(|(folder, _)| matches(folder, &file)) {
        return Some(rule);
    }
    // reproducible builds give every component a name in place of its folder
    if let Some(rest) = file.strip_prefix("/COMPONENT_") {
        let (name, _) = rest.split_once("_DIR/")?;
        return is_component(&name.to_ascii_lowercase()).then_some("SDK component");
    }
    if root.is_none() {
        let (_, behind) = file.split_once("/components/")?;
        return is_component(behind.split('/').next()?).then_some("SDK component");
    }
    None
}

fn is_below(file: &str, root: &str) -> bool {
    file.strip_prefix(&*plain(root))
        .is_some_and(|rest| rest.starts_with("/components/"))
}

fn is_component(name: &str) -> bool {
    IDF_COMPONENTS.iter().any(|known| matches(known, name))
}

/// `file` with slashes, and without steps up.
fn plain(file: &str) -> Cow<'_, str> {
    if !file.contains('\\') && !file.contains("/.") {
        return Cow::Borrowed(file);
    }
    let file = file.replace('\\', "/");
    let mut parts: Vec<&str> = Vec::new();
    for part in file.split('/') {
        match part {
            "." if !parts.is_empty() => {}
            ".." if parts
                .last()
                .is_some_and(|last| !last.is_empty() && *last != "..") =>
            {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    Cow::Owned(parts.join("/"))
}

#[rustfmt::skip]
const FOLDERS: &[(&str, &str)] = &[
    ("/IDF/*", "SDK folder"),
    ("*/esp-idf/components/*", "SDK folder"),
    ("*/framework-espidf*", "SDK folder"),
    ("*/framework-arduino*", "SDK folder"),
    ("*/packages/framework-*", "SDK folder"),
    ("*/cores/esp32/*", "Arduino core"),
    ("*/packages/esp32/*", "Arduino core"),
    ("/TOOLCHAIN/*", "toolchain"),
    ("*/crosstool-NG/*", "toolchain"),
    ("*/.espressif/tools/*", "toolchain"),
    ("*/xtensa-esp*-elf/*", "toolchain"),
    ("*/riscv32-esp*-elf/*", "toolchain"),
    ("*/toolchain-xtensa*", "toolchain"),
    ("*/toolchain-riscv32*", "toolchain"),
    ("*/newlib/libc/*", "toolchain"),
    ("*/libgcc/*", "toolchain"),
    ("*/libstdc++-v3/*", "toolchain"),
    ("*/include/c++/*", "toolchain"),
    ("*/rustc/*/library/*", "Rust library"),
    ("*/rustlib/src/rust/library/*", "Rust library"),
    // other crates are the application: code that this maker chose
    ("*/.cargo/registry/src/*/esp-*", "Espressif's crate"),
    ("*/.cargo/registry/src/*/xtensa-lx*", "Espressif's crate"),
    ("*/.cargo/git/checkouts/esp-*", "Espressif's crate"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_s_own_code_is_told_from_the_sdk_s() {
        for file in [
            "/builds/espressif/esp-idf/components/newlib/abort.c",
            "/IDF/components/freertos/app_startup.c",
            "/opt/idf-5.1/components/esp_timer/src/esp_timer.c",
            "/opt/esp/idf/components/esp_driver_gpio/src/gpio.c",
            "C:\\esp\\v5.2\\components\\log\\log.c",
            "/COMPONENT_FREERTOS_DIR/FreeRTOS-Kernel/tasks.c",
            "/COMPONENT_ESP-TLS_DIR/esp_tls.c",
            "/home/a/.platformio/packages/framework-espidf/components/log/log.c",
            "/home/a/.platformio/packages/framework-arduinoespressif32/cores/esp32/main.cpp",
            "/home/a/.arduino15/packages/esp32/hardware/esp32/3.0.1/libraries/WiFi/src/WiFi.cpp",
            "/builds/idf/crosstool-NG/.build/xtensa-esp32-elf/src/newlib/newlib/libc/string/memcpy.c",
            "/home/a/tools/xtensa-esp32s3-elf/include/c++/8.4.0/functional",
            "/home/a/.espressif/tools/riscv32-esp-elf/esp-13.2.0/riscv32-esp-elf/include/c++/13.2.0/bits/invoke.h",
            "/rustc/9fc6b43126469e3858e2fe86cafb4f0fd5068869/library/core/src/panicking.rs",
            "/home/a/.rustup/toolchains/esp/lib/rustlib/src/rust/library/core/src/result.rs",
            "/home/a/.cargo/registry/src/index.crates.io-6f17d22bba15001f/esp-hal-1.0.0/src/gpio.rs",
            "/home/a/.cargo/git/checkouts/esp-wifi-0f1e2d/c0ffee/src/lib.rs",
        ] {
            assert!(is_sdk(file, None), "{file}");
        }
        for file in [
            "/home/a/blinky/main/app.c",
            "/home/a/blinky/components/pump/pump.c",
            "/home/a/blinky/managed_components/espressif__mdns/mdns.c",
            "/home/a/esp-idf/examples/get-started/blink/main/blink.c",
            "/home/a/xtensa-esp32-demo/main/app.c",
            "/IDF_PROJECT/main/app.c",
            "/COMPONENT_MAIN_DIR/app.c",
            "/COMPONENT_ESPRESSIF__MDNS_DIR/mdns.c",
            "src/main.rs",
            "/home/a/.cargo/registry/src/index.crates.io-6f17d22bba15001f/heapless-0.8.0/src/vec.rs",
            "/config/.esphome/build/porch/src/main.cpp",
            "",
        ] {
            assert!(!is_sdk(file, None), "{file}");
        }
    }

    #[test]
    fn where_the_sdk_s_folder_is_known_it_decides() {
        let root = Some("/opt/esp/idf");
        for (file, expected) in [
            ("/opt/esp/idf/components/json/cJSON/cJSON.c", true),
            ("/opt/esp/idf/components/no_such_thing_yet/x.c", true),
            ("/opt/esp/idf/examples/blink/main/blink.c", false),
            ("/home/a/blinky/components/json/json.c", false),
            ("/home/a/x/../../../opt/esp/idf/components/log/log.c", true),
            ("/opt/esp/idf-mine/components/log/log.c", false),
        ] {
            assert_eq!(is_sdk(file, root), expected, "{file}");
        }
        let found = root_in("C:\\esp\\v5.2\\components\\esp_system\\panic.c");
        assert_eq!(found.as_deref(), Some("C:/esp/v5.2"));
        assert_eq!(root_in("/COMPONENT_ESP_SYSTEM_DIR/panic.c"), None);
    }
}
