//! Whose code a frame is: the application's or the system's below it.

use super::super::report::Frame;

/// Whether a frame is of ESP-IDF, its libraries, the toolchain or the ROM.
///
/// Goes by the path, so it is a matter of presentation only.
pub fn is_system(frame: &Frame) -> bool {
    let Some(file) = frame.file.as_deref().filter(|_| !frame.rom) else {
        return true;
    };
    let file = file.replace('\\', "/");
    if SYSTEM_FOLDERS.iter().any(|folder| file.contains(folder)) {
        return true;
    }
    // a project may have components of its own beside ESP-IDF's
    let component = file
        .split_once("/components/")
        .and_then(|(_, behind)| behind.split('/').next());
    component.is_some_and(|name| COMPONENTS.contains(&name))
}

const SYSTEM_FOLDERS: [&str; 10] = [
    "/esp-idf/",
    "/IDF/",
    "/managed_components/espressif__",
    "/xtensa-esp",
    "/riscv32-esp",
    "/newlib/libc/",
    "/libgcc/",
    "/libstdc++",
    "/rustc/",
    "/.cargo/",
];

#[rustfmt::skip]
const COMPONENTS: [&str; 44] = [
    "app_trace", "bootloader_support", "bt", "console", "cxx", "driver", "efuse",
    "esp-tls", "esp_app_format", "esp_common", "esp_driver_gpio", "esp_driver_uart",
    "esp_eth", "esp_event", "esp_gdbstub", "esp_http_client", "esp_http_server",
    "esp_https_ota", "esp_hw_support", "esp_libc", "esp_mm", "esp_netif", "esp_phy",
    "esp_pm", "esp_ringbuf", "esp_rom", "esp_system", "esp_timer", "esp_wifi",
    "espcoredump", "freertos", "hal", "heap", "log", "lwip", "mbedtls", "newlib",
    "nvs_flash", "pthread", "riscv", "soc", "spi_flash", "vfs", "xtensa",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_s_own_code_is_told_from_the_system_s() {
        let system = |file: &str| {
            is_system(&Frame {
                file: Some(file.to_owned()),
                ..Frame::default()
            })
        };
        for file in [
            "/builds/espressif/esp-idf/components/newlib/abort.c",
            "/IDF/components/freertos/app_startup.c",
            "/opt/idf-5.1/components/esp_timer/src/esp_timer.c",
            "C:\\esp\\esp-idf\\components\\log\\log.c",
        ] {
            assert!(system(file), "{file}");
        }
        for file in [
            "/home/a/blinky/main/app.c",
            "/home/a/blinky/components/pump/pump.c",
        ] {
            assert!(!system(file), "{file}");
        }
        assert!(is_system(&Frame::default()), "nothing is known of it");
    }
}
