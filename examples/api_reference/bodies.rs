//! An example of every body.

use espgate::api::{
    builds as build_bodies, coredumps, crashes, devices, firmware, models, ports, rollouts, status,
    tls, tokens,
};
use espgate::signature::{Explanation, FrameVerdict, Signature, Verdict};
use espgate::store::coredumps::Source;
use espgate::store::crashes::State;
use espgate::store::firmware::Kind;
use espgate::store::last_shutdown::ShutdownCause;
use espgate::store::registry::activity::Certainty;
use espgate::store::registry::{Activate, Role};

const AT: &str = "2026-02-11T14:30:00.123456Z";
const ID: &str = "7b262063f782";
const FILE: &str = "coredump_20260211T143000_123456Z.dmp";
const HASH: &str = "fdfecbe9e45bbf4a1d4194dd8667d1885ada4c2c8f4c9893ffecd67c0e39b896";
const BUILD: &str = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4";
const OLDER_BUILD: &str = "2c624232cdd221771294dfbb310aca000a0df6ac8b66b696d90ef06fdefb64a3";
const GROUP: &str = "c7k2fq";
const SIGNATURE: &str = "abort | mqtt_start | app_main";
const TOKEN: &str = "eg1_7k2m9qxa_................................";

fn text(text: &str) -> String {
    text.to_owned()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub(crate) fn stored() -> coredumps::Stored {
    coredumps::Stored {
        status: text("ok"),
        filename: text(FILE),
        coredump_id: text(ID),
        kept: None,
    }
}

/// A sidecar is read from JSON: that is what it is.
pub(crate) fn coredump() -> Option<coredumps::Coredump> {
    let sidecar = format!(
        r#"{{
            "schema": 1, "id": "{ID}", "chip": "esp32s3", "firmware_version": "1.2.3",
            "device_key": "kitchen3", "model_code": "thermostat", "uploaded_at": "{AT}",
            "size": 9396, "sha256": "{HASH}", "source": "https", "serial_port": null,
            "identity": "token", "format": "raw/elf", "header_version": "1.2",
            "verdict": "valid", "problems": [], "app_elf_sha256": "fdfecbe9e",
            "panic_reason": "abort() was called at PC 0x400d66b9 on core 0", "task": "main",
            "decode": "done", "fingerprint": "3d77115de28b98bc", "fingerprint_algorithm": 2,
            "sightings": [{{"at": "{AT}", "source": "uart"}}],
            "gateway_id": "0d2f7c1e-8a54-4f0b-9c0e-2f1f5d7a6b3c",
            "boot_id": "1c6f3f0e8f3b4f8a9d9c2b5e7a1d4c60", "monotonic_us": 81234567,
            "sequence": 118, "clock": "synced", "filename": "{FILE}"
        }}"#
    );
    serde_json::from_str(&sidecar).ok()
}

pub(crate) fn coredumps() -> coredumps::List {
    coredumps::List {
        coredumps: coredump().into_iter().collect(),
        next_cursor: some("118"),
    }
}

pub(crate) fn crashes() -> crashes::List {
    crashes::List {
        crashes: vec![crashes::Crash {
            id: text(GROUP),
            signature: text(SIGNATURE),
            class: some("abort"),
            model: some("thermostat"),
            state: State::Open.into(),
            devices: 3,
            occurrences: 17,
            builds: 2,
            first_seen: text(AT),
            last_seen: text(AT),
            dumps: 9,
        }],
        next_cursor: None,
    }
}

pub(crate) fn crash() -> crashes::Detail {
    crashes::Detail {
        id: text(GROUP),
        signature: text(SIGNATURE),
        class: some("abort"),
        model: some("thermostat"),
        state: State::Resolved.into(),
        occurrences: 17,
        first_seen: text(AT),
        last_seen: text(AT),
        dumps: 9,
        builds: vec![crashes::BuildCount {
            build_id: some(BUILD),
            version: some("1.2.3"),
            app_elf_sha256: some("fdfecbe9e"),
            occurrences: 17,
            devices: 3,
            first_seen: text(AT),
            last_seen: text(AT),
        }],
        devices: vec![crashes::DeviceCount {
            device_key: text("kitchen3"),
            occurrences: 12,
            first_seen: text(AT),
            last_seen: text(AT),
        }],
        coredumps: vec![crashes::Dump {
            id: text(ID),
            device_key: text("kitchen3"),
            firmware_version: some("1.2.3"),
            uploaded_at: text(AT),
            verdict: text("valid"),
        }],
        decided_by: some("uid 1000"),
        decided_at: some(AT),
        resolved_builds: vec![text(BUILD)],
        note: some("ticket 123"),
        rollouts: vec![text("r6")],
        ..crashes::Detail::default()
    }
}

pub(crate) fn build() -> build_bodies::Build {
    build_bodies::Build {
        build_id: text(BUILD),
        model: text("thermostat"),
        name: text("1.2.3"),
        version: text("1.2.3"),
        uploaded_at: text(AT),
        uploaded_by: some("token ci"),
        active: true,
        devices: build_bodies::Devices {
            exact: 5,
            likely: 2,
        },
        device_hours: 412.5,
        dumps: 4,
        crashes: 9,
        gateway_induced: 1,
        groups: build_bodies::Groups {
            new: vec![build_bodies::Group {
                id: text(GROUP),
                signature: text(SIGNATURE),
            }],
            known: 1,
        },
        crash_free: Some(0.75),
        crash_free_devices: 8,
        rollouts: vec![text("r6")],
        ..build_bodies::Build::default()
    }
}

pub(crate) fn builds() -> build_bodies::List {
    build_bodies::List {
        builds: vec![build()],
        next_cursor: None,
    }
}

pub(crate) fn block_reason() -> build_bodies::Reason {
    build_bodies::Reason {
        why: some("boots twice"),
    }
}

pub(crate) fn crash_change() -> crashes::Change {
    crashes::Change {
        state: some("resolved"),
        in_build: some("next"),
        ..crashes::Change::default()
    }
}

pub(crate) fn crash_merge() -> crashes::Merge {
    crashes::Merge {
        into: text("c81d0a"),
    }
}

pub(crate) fn crash_split() -> crashes::Split {
    crashes::Split { coredump: text(ID) }
}

pub(crate) fn recompute() -> crashes::Recompute {
    crashes::Recompute { dry_run: true }
}

pub(crate) fn recomputed() -> crashes::Recomputed {
    crashes::Recomputed {
        dry_run: true,
        reports: 12,
        fingerprints: 4,
        merged: vec![crashes::Merged {
            id: text("c81d0a"),
            into: text(GROUP),
        }],
        ..crashes::Recomputed::default()
    }
}

pub(crate) fn explained() -> crashes::Explained {
    let frame = |function, verdict, rule| FrameVerdict {
        function: some(function),
        verdict,
        rule: some(rule),
        ..FrameVerdict::default()
    };
    crashes::Explained {
        coredump_id: text(ID),
        crash: some(GROUP),
        signature: Some(Signature {
            algorithm: text("s1"),
            lists: 1,
            id: text("s1-0123456789abcdef"),
            text: text(SIGNATURE),
            class: text("abort"),
            frames: vec![text("mqtt_start"), text("app_main")],
            task: some("main"),
            ..Signature::default()
        }),
        class: text("abort"),
        explanation: Explanation {
            task: some("main"),
            task_rule: text("the crashed task"),
            frames: vec![frame(
                "esp_system_abort",
                Verdict::Cut,
                "throw: esp_system_abort",
            )],
        },
        reason: None,
    }
}

pub(crate) fn queued(queued: u64) -> coredumps::Queued {
    coredumps::Queued { queued }
}

pub(crate) fn offered() -> firmware::Offered {
    firmware::Offered {
        firmware_version: some("1.2.3"),
        build_id: some(BUILD),
        poll_after_s: 3600,
    }
}

pub(crate) fn manifest() -> firmware::Manifest {
    firmware::Manifest {
        name: text("thermostat"),
        version: text("1.2.3"),
        builds: vec![firmware::ManifestBuild {
            chip_family: text("ESP32-S3"),
            ota: firmware::ManifestOta {
                path: text("/api/iot/firmware"),
                md5: text("9e107d9d372bb6826bd81d3542a419d6"),
                summary: text("1.2.3 of thermostat"),
            },
        }],
    }
}

pub(crate) fn version_of_model() -> firmware::Version {
    firmware::Version {
        code: text("thermostat"),
        firmware_version: some("1.2.3"),
    }
}

pub(crate) fn uploaded() -> firmware::Uploaded {
    firmware::Uploaded {
        id: 1,
        code: text("thermostat"),
        firmware_version: text("1.2.3"),
        active: true,
        warnings: vec![text(
            "the .elf is not the one that this .bin was built from",
        )],
    }
}

pub(crate) fn firmware() -> firmware::List {
    let build = firmware::Build {
        schema: 1,
        name: text("1.2.3"),
        version: text("1.2.3"),
        kind: Kind::Zip.into(),
        size: 2_101_337,
        sha256: text(HASH),
        bin_size: 1_310_720,
        bin_sha256: text(BUILD),
        app_elf_sha256: some(HASH),
        elf_sha256: some(HASH),
        chip: some("esp32s3"),
        project: some("thermostat"),
        idf_version: some("v5.5.1"),
        git_commit: some("c0ffee"),
        built_at: some("Feb 11 2026 14:12:55"),
        uploaded_at: text(AT),
        sequence: 7,
        build_id: text(BUILD),
        active: true,
        ..firmware::Build::default()
    };
    firmware::List {
        firmware: vec![build],
        next_cursor: None,
    }
}

pub(crate) fn named() -> firmware::Named {
    firmware::Named {
        version: text("1.2.3"),
    }
}

pub(crate) fn activated() -> firmware::Activated {
    firmware::Activated {
        id: 1,
        code: text("thermostat"),
        firmware_version: text("1.2.3"),
        name: text("1.2.3"),
        build_id: text(BUILD),
        active: true,
    }
}

pub(crate) fn rolled_back() -> firmware::Activated {
    firmware::Activated {
        firmware_version: text("1.2.2"),
        name: text("1.2.2"),
        build_id: text(OLDER_BUILD),
        ..activated()
    }
}

pub(crate) fn blocked() -> firmware::Blocked {
    firmware::Blocked {
        code: text("thermostat"),
        name: text("1.2.2"),
        build_id: text(OLDER_BUILD),
        blocked: true,
        active: false,
        still_active: None,
    }
}

pub(crate) fn deleted() -> firmware::Deleted {
    firmware::Deleted {
        deleted: vec![text("1.2.3"), text("1.2.2")],
    }
}

pub(crate) fn model() -> models::Model {
    models::Model {
        code: text("thermostat"),
        id: 1,
        activate: Activate::OnUpload.into(),
        held: false,
        held_why: None,
        active: some("1.2.3"),
        active_build_id: some(BUILD),
        state: text("served"),
        previous: vec![text("1.2.2")],
        blocked: vec![text("1.2.1")],
        created_at: text(AT),
        devices: 12,
    }
}

pub(crate) fn models() -> models::List {
    models::List {
        models: vec![model()],
        next_cursor: None,
    }
}

pub(crate) fn model_change() -> models::Change {
    models::Change {
        activate: Some(Activate::Manual),
        held: Some(false),
    }
}

pub(crate) fn device() -> devices::Device {
    devices::Device {
        device_key: text("kitchen3"),
        model: some("thermostat"),
        name: some("Kitchen, left"),
        mac: some("aabbcc001122"),
        usb_serial: some("A6008isP"),
        pin: some("1.2.2"),
        pin_build_id: some(OLDER_BUILD),
        registered: true,
        fleet_token: None,
        tokens: vec![devices::Token {
            id: text("7k2m9qxa"),
            created_at: text(AT),
            first_used_at: some(AT),
        }],
        created_at: text(AT),
        last_seen: some(AT),
        running: Some(devices::Running {
            build_id: some(BUILD),
            version: some("1.2.3"),
            app_elf_sha256: some("fdfecbe9e"),
            at: text(AT),
            from: text("banner"),
            certainty: Some(Certainty::Exact.into()),
        }),
        builds: vec![devices::BuildSeen {
            build_id: some(BUILD),
            version: some("1.2.3"),
            app_elf_sha256: some("fdfecbe9e"),
            first: text(AT),
            last: text(AT),
            certainty: Some(Certainty::Exact.into()),
            evidence: text("banner"),
            seconds: 86_400,
            has_since: some(AT),
            delivered_at: some(AT),
            crashed_at: None,
        }],
        boots_today: 2,
        boot_count: Some(17),
        usual_interval_s: Some(3600),
        state: None,
        retired_at: None,
        retired_heard_at: None,
        gets: Some(devices::Gets {
            build_id: some(OLDER_BUILD),
            name: some("1.2.2"),
            why: vec![text("pinned to 1.2.2")],
        }),
        last_crash: Some(devices::LastCrash {
            at: text(AT),
            crash: text("c7k2fq"),
        }),
        hw: some("rev-b"),
    }
}

pub(crate) fn devices() -> devices::List {
    devices::List {
        devices: vec![devices::Device {
            gets: None,
            ..device()
        }],
        next_cursor: None,
    }
}

pub(crate) fn device_change() -> devices::Change {
    devices::Change {
        name: Some(some("Kitchen, right")),
        usb_serial: Some(None),
        ..devices::Change::default()
    }
}

pub(crate) fn new_device() -> devices::NewDevice {
    devices::NewDevice {
        device_key: text("kitchen3"),
        about: devices::Change {
            model: Some("thermostat".parse().ok()),
            name: Some(some("Kitchen, left")),
            mac: Some(some("AA:BB:CC:00:11:22")),
            ..devices::Change::default()
        },
    }
}

pub(crate) fn import() -> devices::Import {
    devices::Import {
        csv: text("key,model,name\nkitchen3,thermostat,\"Kitchen, left\"\n"),
        tokens: vec![devices::ImportedToken {
            device_key: text("kitchen3"),
            id: text("7k2m9qxa"),
            sha256: text(HASH),
        }],
        dry_run: false,
    }
}

pub(crate) fn imported() -> devices::Imported {
    devices::Imported {
        added: vec![text("kitchen3")],
        changed: Vec::new(),
        unchanged: 11,
        dry_run: false,
    }
}

pub(crate) fn pin() -> devices::Pin {
    devices::Pin {
        version: text("1.2.2"),
    }
}

pub(crate) fn minted() -> devices::Minted {
    devices::Minted {
        device_key: text("kitchen3"),
        model: some("thermostat"),
        token: text(TOKEN),
    }
}

pub(crate) fn revoked() -> devices::Revoked {
    devices::Revoked {
        device_key: text("kitchen3"),
        revoked: vec![text("7k2m9qxa")],
    }
}

pub(crate) fn tokens() -> tokens::List {
    let token = tokens::Token {
        name: text("ci"),
        id: text("p4w8znat"),
        role: Role::Pipeline.into(),
        model: some("thermostat"),
        created_at: text(AT),
        expires_at: None,
    };
    tokens::List {
        tokens: vec![token],
        next_cursor: None,
    }
}

pub(crate) fn new_token() -> tokens::NewToken {
    tokens::NewToken {
        name: text("ci"),
        role: Role::Pipeline,
        model: "thermostat".parse().ok(),
        expires: some("365d"),
    }
}

pub(crate) fn made() -> tokens::Made {
    tokens::Made {
        name: text("ci"),
        role: Role::Pipeline.into(),
        model: some("thermostat"),
        expires_at: some("2027-02-11T14:30:00.123456Z"),
        token: text(TOKEN),
    }
}

fn port() -> ports::PortStatus {
    let resets = [(text("POWERON_RESET"), 2), (text("SW_CPU_RESET"), 1)];
    ports::PortStatus {
        name: text("ttyUSB0"),
        path: "/dev/ttyUSB0".into(),
        place: text("1-1.4"),
        adapter: some("CP210x"),
        usb: Some(ports::Usb {
            vid: 0x10c4,
            pid: 0xea60,
            serial: some("A6008isP"),
            product: some("CP2102N USB to UART Bridge Controller"),
            driver: some("cp210x"),
            place: text("1-1.4"),
        }),
        state: ports::State::Listening.into(),
        why: Some(ports::Why::Claimed.into()),
        baud: 115_200,
        device_key: some("kitchen3"),
        model_code: some("thermostat"),
        mac: some("aabbcc001122"),
        chip: some("esp32s3"),
        project: some("thermostat"),
        firmware_version: some("1.2.3"),
        app_elf_sha256: some("fdfecbe9e"),
        bytes: 183_402,
        resets: resets.into_iter().collect(),
        dumps: 1,
        panics: 1,
        stored: 1,
        last_line: some("I (1234) main: on"),
        last_data_at: some(AT),
        last_crash: Some(ports::LastCrash {
            at: text(AT),
            coredump_id: text(ID),
            filename: text(FILE),
            verdict: text("valid"),
            kept: true,
        }),
        ..ports::PortStatus::default()
    }
}

pub(crate) fn ports() -> ports::List {
    ports::List {
        ports: vec![port()],
        next_cursor: None,
    }
}

pub(crate) fn read() -> ports::Read {
    ports::Read {
        coredump_id: some(ID),
        filename: some(FILE),
        device_key: some("kitchen3"),
        verdict: some("valid"),
        kept: Some(true),
    }
}

pub(crate) fn reading() -> ports::Reading {
    ports::Reading {
        stage: some("reading the coredump"),
        done: 4096,
        total: Some(9396),
    }
}

pub(crate) fn release() -> ports::Release {
    ports::Release {
        for_seconds: Some(600),
        until_claimed: false,
    }
}

pub(crate) fn tls() -> tls::Shown {
    let ca = tls::Certificate {
        subject: text("CN=espgate site CA 4da9412d"),
        issuer: text("CN=espgate site CA 4da9412d"),
        names: Vec::new(),
        not_before: text("2026-02-11T00:00:00.000000Z"),
        not_after: text("2051-02-11T00:00:00.000000Z"),
        fingerprint_sha256: text(HASH),
    };
    tls::Shown {
        source: tls::Source::SiteCa.into(),
        server: tls::Certificate {
            subject: text("CN=espgate.internal"),
            names: vec![text("espgate.internal"), text("192.168.1.20")],
            ..ca.clone()
        },
        ca: Some(ca),
        flight_bytes: Some(1180),
        fits_4096: Some(true),
        valid_now: Some(true),
    }
}

pub(crate) fn installed() -> tls::Installed {
    tls::Installed {
        warnings: vec![text(
            "espgate.internal missing: firmware that checks for that name will refuse the certificate",
        )],
    }
}

pub(crate) fn status() -> status::Status {
    status::Status {
        version: text("0.1.0"),
        gateway_id: text("0d2f7c1e-8a54-4f0b-9c0e-2f1f5d7a6b3c"),
        started_at: text(AT),
        uptime_s: Some(93_784),
        data_dir: "/var/lib/espgate".into(),
        listeners: vec![text("[::]:8443")],
        clock: text("synced"),
        last_intake: Some(status::LastIntake {
            at: text(AT),
            device_key: text("kitchen3"),
            source: Source::Https.into(),
        }),
        received_since_start: 3,
        counts: status::Counts {
            coredumps: 118,
            not_decoded_yet: 0,
            devices: 12,
            models: 2,
            tokens: 3,
        },
        disk: status::Disk {
            coredump_bytes: 1_108_728,
            free_bytes: Some(21_474_836_480),
            total_bytes: Some(31_138_512_896),
        },
        ports: Vec::new(),
        rollouts: vec![text("r7 of thermostat 1.2.4: canary")],
        index_ready: true,
        degraded: Vec::new(),
        last_bad_end: Some(status::UncleanShutdown {
            found_at: text(AT),
            started_at: text("2026-01-30T08:00:00.000000Z"),
            how: ShutdownCause::WithMachine.into(),
        }),
    }
}

pub(crate) fn version() -> status::Version {
    status::Version {
        name: text("espgate"),
        version: text("0.1.0"),
    }
}

pub(crate) fn health() -> status::Health {
    status::Health { status: text("ok") }
}

pub(crate) fn ready() -> status::Readiness {
    status::Readiness {
        ready: true,
        reasons: Vec::new(),
    }
}

pub(crate) fn rollout_start() -> rollouts::Start {
    rollouts::Start {
        model: text("thermostat"),
        build: text("1.2.4"),
        canary: Some(rollouts::Canary::Text(text("kitchen3,office1"))),
        waves: some("10%,50%,100%"),
        canary_soak: some("24h"),
        gate: Some(true),
        dry_run: true,
        ..rollouts::Start::default()
    }
}

pub(crate) fn rollout_command() -> rollouts::Command {
    rollouts::Command {
        why: some("the relay clicks"),
    }
}

fn rollout_summary() -> rollouts::Summary {
    rollouts::Summary {
        id: text("r7"),
        model: text("thermostat"),
        target: text(BUILD),
        target_name: text("1.2.4"),
        base: text(OLDER_BUILD),
        base_name: text("1.2.3"),
        state: text("canary"),
        summary: text("Canaries: 1 of 2 run 1.2.4; 23h left of the soak."),
        started_at: text(AT),
        started_by: text("uid 1000"),
        devices: 24,
        released: 2,
        true_rate_up_to: 100.0,
        ..rollouts::Summary::default()
    }
}

pub(crate) fn rollout_list() -> rollouts::List {
    rollouts::List {
        rollouts: vec![rollout_summary()],
        next_cursor: None,
    }
}

pub(crate) fn rollout() -> rollouts::Rollout {
    rollouts::Rollout {
        summary: rollout_summary(),
        settings: rollouts::Settings {
            canary_soak: text("24h"),
            soak: text("2h"),
            watch: text("7d"),
            return_within: text("30m"),
            parallel: 2,
            window: some("01:00-05:00"),
            gate: false,
            confirmed: false,
            on_stop: text("back"),
        },
        waves: vec![rollouts::Wave {
            share: 8.3,
            released_at: some(AT),
            over_at: None,
            members: 2,
        }],
        members: vec![rollouts::Member {
            device: text("kitchen3"),
            state: text("running"),
            evidence: text("said so"),
            at: text(AT),
            wave: 1,
            canary: true,
            votes: true,
            ..rollouts::Member::default()
        }],
        log: vec![rollouts::LogEntry {
            at: text(AT),
            by: text("uid 1000"),
            what: text("started: 1.2.4 of thermostat to 24 devices, base 1.2.3"),
            device: None,
        }],
    }
}

pub(crate) fn rollout_started() -> rollouts::Started {
    rollouts::Started {
        warnings: vec![text("no ELF is stored for this build")],
        dry_run: true,
        rollout: rollout(),
    }
}
