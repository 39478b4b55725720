//! What is printed is stored.

use std::time::Duration;

use espgate::coredump::Verdict;
use espgate::store::coredumps::Source;
use tokio::time::timeout;

use super::Site;
use super::board::{PROMPT, boot, dump, panic};
use super::dumps::{DumpSpec, risc_v, xtensa};

#[tokio::test]
async fn a_printed_dump_is_stored_with_its_banner_and_its_log() {
    let site = Site::listening("").await;
    let spec = xtensa();
    let noise = "I (200) wifi: ssid=Hut psk=hunter2\r\n";
    site.board
        .print(format!(
            "{}{noise}{}{}",
            boot(&spec, "1.2.3"),
            panic(&spec),
            dump(&spec, 0x0102)
        ))
        .await;
    site.stored(1).await;
    let dumps = site.dumps();
    assert_eq!(
        (dumps.len(), dumps[0].verdict, dumps[0].source().known()),
        (1, Verdict::Valid, Some(Source::Uart))
    );
    assert_eq!(dumps[0].firmware_version(), Some("1.2.3"));
    assert_eq!(dumps[0].model_code(), Some("demo"));
    let log = site.beside("log");
    for line in [
        "psk=***",
        "abort() was called at PC 0x400d66b9",
        "Coredump checksum='",
        "Rebooting...",
    ] {
        assert!(log.contains(line), "{line} in\n{log}");
    }
    let sidecar: serde_json::Value = serde_json::from_str(&site.beside("json")).unwrap();
    assert_eq!(
        (&sidecar["identity"], &sidecar["problems"]),
        (&"place".into(), &serde_json::json!([]))
    );
    let status = site.shown().await.status();
    assert_eq!(
        (status.resets["RTC_SW_CPU_RST"], status.dumps, status.panics),
        (1, 1, 0)
    );
    site.stop().await;
}

#[tokio::test]
async fn a_configured_port_names_device_and_model() {
    let site = Site::listening("device_key = \"bench7\"\nmodel = \"pump\"").await;
    site.board.print(dump(&risc_v(), 0x0104)).await;
    site.stored(1).await;
    assert_eq!(
        site.store.coredumps.devices().unwrap()[0].as_str(),
        "bench7"
    );
    let sidecar: serde_json::Value = serde_json::from_str(&site.beside("json")).unwrap();
    assert_eq!(
        (&sidecar["identity"], &sidecar["model_code"]),
        (&"configured".into(), &"pump".into())
    );
    site.stop().await;
}

#[tokio::test]
async fn enter_is_pressed_unless_the_configuration_forbids_it() {
    let site = Site::listening("").await;
    site.board.print(PROMPT).await;
    assert_eq!(
        timeout(Duration::from_secs(60), site.board.hear())
            .await
            .unwrap(),
        b'\n'
    );
    site.stop().await;

    let mut site = Site::listening("press_enter = false").await;
    site.board
        .print(format!("{PROMPT}I (9) main: on\r\n"))
        .await;
    let line = |status: &espgate::serial::status::PortStatus| {
        status.last_line.as_deref() == Some("I (9) main: on")
    };
    site.until(line).await;
    site.board.unplug();
    site.stop().await;
}

#[tokio::test]
async fn a_crash_loop_is_counted_and_its_first_three_dumps_are_kept() {
    let site = Site::listening("").await;
    for round in 0..8u8 {
        let mut spec = xtensa();
        spec.segments[0].1[0] = round;
        site.board
            .print(format!(
                "{}{}{}",
                boot(&spec, "1.2.3"),
                panic(&spec),
                dump(&spec, 0x0102)
            ))
            .await;
        site.stored(u64::from(round) + 1).await;
    }
    assert_eq!(site.dumps().len(), 3);
    let status = site.shown().await.status();
    assert_eq!(status.dumps, 8);
    assert!(!status.last_crash.unwrap().kept);
    site.stop().await;
}

#[tokio::test]
async fn a_panic_without_a_dump_is_a_record_of_its_own() {
    let site = Site::listening("").await;
    let spec = xtensa();
    site.board
        .print(format!(
            "{}{}Rebooting...\r\n{}",
            boot(&spec, "1.2.3"),
            panic(&spec),
            boot(&spec, "1.2.3")
        ))
        .await;
    site.stored(1).await;
    assert_eq!(site.dumps()[0].verdict, Verdict::PanicOnly);
    assert!(site.beside("dmp").starts_with("abort() was called"));
    site.stop().await;
}

#[tokio::test]
async fn a_crash_waits_until_the_disk_takes_it() {
    let site = Site::listening("device_key = \"bench7\"").await;
    // a file where the board's folder should be
    let folder = site.store.coredumps.root().join("bench7");
    drop(std::fs::File::create(&folder).unwrap());
    site.board.print(dump(&xtensa(), 0x0102)).await;
    let failed = "result=\"failed\"} 2";
    let tried = async {
        while !site.metrics.text().contains(failed) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), tried).await.unwrap();
    std::fs::remove_file(&folder).unwrap();
    site.stored(1).await;
    assert_eq!(site.shown().await.status().dropped, 0);
    site.stop().await;
}

#[tokio::test]
async fn stopping_stores_what_is_half_captured() {
    let mut site = Site::listening("").await;
    site.board
        .print(&dump(&xtensa(), 0x0102).as_bytes()[..900])
        .await;
    site.until(|status| status.bytes == 900).await;
    site.stop.cancel();
    timeout(Duration::from_secs(60), &mut site.running)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(site.dumps()[0].verdict, Verdict::Truncated);
}

#[tokio::test]
async fn a_dump_that_does_not_say_why_has_the_reason_that_was_printed() {
    let site = Site::listening("").await;
    let spec = xtensa();
    site.board
        .print(format!(
            "{}{}{}",
            boot(&spec, "1.2.3"),
            panic(&spec),
            dump(&spec, 0x0003)
        ))
        .await;
    site.stored(1).await;
    let sidecar = site.sidecar();
    assert_eq!(sidecar["format"], "raw/binary");
    assert_eq!(
        sidecar["panic_reason"],
        "abort() was called at PC 0x400d66b9 on core 0"
    );
    site.stop().await;
}

#[tokio::test]
async fn a_dump_of_another_build_than_the_banner_said_has_the_version_of_its_own() {
    let site = Site::listening("").await;
    let other = DumpSpec {
        app_elf_sha256: "ffffffff0",
        ..xtensa()
    };
    site.board
        .print(boot(&other, "9.9.9") + &dump(&xtensa(), 0x0102))
        .await;
    site.stored(1).await;
    let sidecar = site.sidecar();
    assert_eq!(
        (&sidecar["firmware_version"], &sidecar["app_elf_sha256"]),
        (&"1.2.2".into(), &"1b43c5e74".into())
    );
    site.stop().await;
}

#[tokio::test]
async fn a_rule_that_hides_more_reaches_a_port_that_is_open() {
    let site = Site::listening("").await;
    let text = format!("[serial]\nmask = [\"mypin\"]\n{}", site.config);
    let config = espgate::config::parse(&text).unwrap().config;
    let limit = config.coredumps.max_upload_bytes;
    site.ports.reconfigure(config.serial, limit);
    let mut hidden = false;
    for round in 0.. {
        // the port's task takes the rule when it comes to it
        let count = site.shown().await.log().0.len();
        site.board.print(format!("mypin: 22{round}\r\n")).await;
        while site.shown().await.log().0.len() == count {
            tokio::task::yield_now().await;
        }
        hidden = site.shown().await.log().0[count] == "mypin: ***";
        if hidden || round == 100 {
            break;
        }
    }
    assert!(hidden);
    site.stop().await;
}

#[tokio::test]
async fn a_board_that_never_comes_to_an_application_is_in_a_boot_loop() {
    let site = Site::listening("").await;
    let spec = xtensa();
    let fails = "ets Jul 29 2019 12:21:46\r\n\r\n\
        rst:0x3 (SW_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n\
        E (99) boot: Failed to verify partition table\r\n\
        E (104) boot: load partition table error!\r\n";
    site.board.print(boot(&spec, "1.2.3")).await;
    site.board.print(fails.repeat(8)).await;
    site.until(|status| {
        let note = status.note.as_deref().unwrap_or_default();
        note.starts_with("boot loop") && note.contains("invalid partition table")
    })
    .await;
    let version = site.shown().await.status().firmware_version;
    assert_eq!(version.as_deref(), Some("1.2.3"), "of the last application");
    site.board.print(boot(&spec, "1.2.4")).await;
    site.until(|status| status.note.is_none()).await;
    site.stop().await;
}
