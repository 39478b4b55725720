//! Crashes of applications that were compiled for both architectures, with the folders
//! of real builds: dumps of them, decoded, have one text, wherever they were built.
//!
//! A chain names the functions from the innermost. Where each was when it called the next
//! is looked up in the machine code; a function that the compiler expanded in its caller
//! has no frame in the dump.

use espgate::decode::cfi::CallFrames;
use espgate::decode::report::Report;
use espgate::decode::{AppElf, Options, decode};
use espgate::device::Architecture;

use crate::assembled::{App, windows};
use crate::dumps::{self, DumpSpec, TaskSpec};

const APPS: [(&str, &[u8]); 4] = [
    (
        "riscv-opt",
        include_bytes!("../data/signatures/apps/riscv-opt.elf"),
    ),
    (
        "riscv-reproducible",
        include_bytes!("../data/signatures/apps/riscv-reproducible.elf"),
    ),
    (
        "xtensa-home",
        include_bytes!("../data/signatures/apps/xtensa-home.elf"),
    ),
    (
        "xtensa-framework",
        include_bytes!("../data/signatures/apps/xtensa-framework.elf"),
    ),
];

/// A crash to be made.
#[derive(Default)]
struct Crash {
    words: &'static str,
    /// EXCCAUSE and mcause.
    cause: (u32, u32),
    /// Of the crashed task.
    chain: &'static [&'static str],
    /// Of the task that the crashed interrupt handler broke into.
    interrupted: &'static [&'static str],
    /// Of another task, called `uplink`.
    other: &'static [&'static str],
    expected: &'static str,
}

const ABORT: &[&str] = &["stop_panic_abort", "esp_system_abort", "abort"];
const BASE: &[&str] = &["app_main", "main_task", "vPortTaskWrapper"];

fn crashes() -> Vec<Crash> {
    let chain = |parts: &[&[&'static str]]| -> &'static [&'static str] { parts.concat().leak() };
    let crash = |words, inner: &[&[&'static str]], expected| Crash {
        words,
        cause: (29, 7),
        chain: chain(&[&inner.concat(), BASE]),
        expected,
        ..Crash::default()
    };
    let panic = &ABORT[..2];
    let stopped = |inner: &[&'static str], expected| crash("", &[inner], expected);
    let aborted = "abort() was called at PC 0x40081234 on core 0";
    vec![
        crash(
            aborted,
            &[ABORT, &["_ZL12config_parsei", "config_load"]],
            "abort | config_parse | config_load | app_main",
        ),
        crash(
            "assert failed: xQueueSemaphoreTake queue.c:1713 (( pxQueue ))",
            &[
                panic,
                &[
                    "__assert_func",
                    "xQueueSemaphoreTake",
                    "bus_lock",
                    "sensor_read",
                ],
            ],
            "assert xQueueSemaphoreTake queue.c ( pxQueue ) | xQueueSemaphoreTake | bus_lock | sensor_read | app_main",
        ),
        crash(
            aborted,
            &[ABORT, &["_esp_error_check_failed", "wifi_start"]],
            "esp_error_check | wifi_start | app_main",
        ),
        Crash {
            // the hook runs at a switch: what lies below is no matter
            chain: chain(&[panic, &["vApplicationStackOverflowHook", "start"]]),
            ..crash(
                "***ERROR*** A stack overflow in task main has been detected.",
                &[],
                "stack_overflow main",
            )
        },
        crash(
            "Stack smashing protect failure!",
            &[panic, &["__stack_chk_fail", "copy_name"]],
            "stack_smash | copy_name | app_main",
        ),
        crash(
            "Undefined behavior of type out_of_bounds",
            &[
                panic,
                &[
                    "__ubsan_default_handler",
                    "__ubsan_handle_out_of_bounds",
                    "palette_set",
                ],
            ],
            "ubsan out_of_bounds | palette_set | app_main",
        ),
        crash(
            "assert failed: multi_heap_free multi_heap.c:279 (head != NULL)",
            &[
                panic,
                &[
                    "__assert_func",
                    "multi_heap_free",
                    "heap_caps_free",
                    "free",
                    "message_done",
                ],
            ],
            "heap_corruption | free | message_done",
        ),
        stopped(
            &[
                "stop_block_set_free",
                "multi_heap_malloc",
                "heap_caps_malloc",
                "malloc",
                "message_new",
            ],
            "heap_corruption | malloc | message_new",
        ),
        crash(
            "Mem alloc fail. size 0x00001000 caps 0x00000804",
            &[
                panic,
                &[
                    "heap_caps_alloc_failed",
                    "heap_caps_malloc",
                    "frame_buffer_new",
                ],
            ],
            "alloc_failed | heap_caps_malloc | frame_buffer_new | app_main",
        ),
        crash(
            "Task watchdog got triggered. The following tasks/users did not reset the watchdog in time:\n - IDLE0 (CPU 0)",
            &[&["stop_spin_until_ready", "lcd_flush"]],
            "task_wdt | spin_until_ready",
        ),
        Crash {
            other: chain(&[
                &[
                    "stop_vPortYield",
                    "xQueueSemaphoreTake",
                    "bus_lock",
                    "sensor_read",
                ],
                BASE,
            ]),
            ..crash(
                "Task watchdog got triggered. The following tasks/users did not reset the watchdog in time:\n - uplink (CPU 0/1)",
                &[&["stop_spin_until_ready", "lcd_flush"]],
                "task_wdt | xQueueSemaphoreTake | bus_lock",
            )
        },
        crash(
            "Task watchdog got triggered. The following tasks/users did not reset the watchdog in time:\n - IDLE1 (CPU 1)",
            &[&[
                "stop_strlen",
                "print_value",
                "print_object",
                "cJSON_Print",
                "report_all",
            ]],
            "task_wdt | cJSON_Print | report_all",
        ),
        Crash {
            cause: (70, 24),
            ..stopped(
                &["stop_spinlock_acquire", "xQueueGenericSend", "log_push"],
                "int_wdt | xQueueGenericSend | log_push",
            )
        },
        crash(
            aborted,
            &[
                ABORT,
                &[
                    "_Z12on_terminatev",
                    "_ZN10__cxxabiv111__terminateEPFvvE",
                    "_ZSt9terminatev",
                    "__cxa_throw",
                    "_ZSt20__throw_out_of_rangePKc",
                    "_ZN8RegistryI6DeviceLi16EE4findEi",
                    "_ZN6Server6handleERK7Request",
                    "_ZZ11server_taskENKUlRK7RequestE_clES1_",
                    "_Z4eachIZ11server_taskEUlRK7RequestE_EiT_",
                    "server_task",
                ],
            ],
            "abort | Registry::find | Server::handle | server_task::{lambda}::operator()",
        ),
        Crash {
            interrupted: chain(&[&["stop_vPortYield", "vTaskDelay"], BASE]),
            chain: &[
                "stop_ring_put",
                "button_isr",
                "gpio_isr_loop",
                "gpio_intr_service",
                "VECTOR",
            ],
            ..stopped(&[], "isr exception STORE | ring_put | button_isr")
        },
        stopped(
            &["0", "stop_event_dispatch"],
            "exception STORE | event_dispatch | app_main",
        ),
        stopped(
            &["stop_tree_free", "tree_free", "tree_free", "tree_free"],
            "exception STORE | tree_free | app_main",
        ),
    ]
}

fn dump(app: &App<'_>, crash: &Crash) -> DumpSpec {
    let xtensa = app.architecture() == Architecture::Xtensa;
    let mut spec = if xtensa {
        dumps::xtensa()
    } else {
        dumps::risc_v()
    };
    spec.app_elf_sha256 = app.elf.digest().short(9).leak();
    spec.reasons = match crash.words {
        "" => Vec::new(),
        words => vec![words],
    };
    spec.exccause = crash.cause.0;
    let mut tasks = vec![(0x3fc9_0000, "main", crash.chain)];
    if !crash.other.is_empty() {
        tasks.push((0x3fca_0000, "uplink", crash.other));
    }
    // Xtensa's chain goes on into what the interrupt broke into
    let through = [crash.chain, crash.interrupted].concat();
    if xtensa {
        tasks[0].2 = &through;
    }
    spec.tasks = tasks
        .iter()
        .map(|(tcb, name, chain)| app.task(*tcb, name, chain, crash.cause.1))
        .collect();
    if !xtensa && !crash.interrupted.is_empty() {
        let interrupted = app.task(0x3fcb_0000, "main", crash.interrupted, 0);
        spec.interrupted = Some((interrupted.stack_start, interrupted.stack));
    }
    if xtensa && !crash.interrupted.is_empty() {
        spec.tasks[0] = through_interrupt(app, crash);
    }
    spec
}

/// An interrupt's entry calls nothing of the task: its frame returns to where that was.
fn through_interrupt(app: &App<'_>, crash: &Crash) -> TaskSpec {
    let mut pcs = app.program_counters(crash.chain);
    pcs.extend(app.program_counters(crash.interrupted));
    let mut task = app.task(0x3fc9_0000, "main", crash.chain, 0);
    windows(&mut task, &pcs);
    task
}

fn reports(crash: &Crash) -> Vec<(&'static str, Architecture, Report)> {
    let one = |(name, bytes): (&'static str, &'static [u8])| {
        let app = App {
            elf: AppElf::parse(bytes).unwrap(),
            rules: CallFrames::new(&AppElf::parse(bytes).unwrap()),
        };
        let image = dump(&app, crash).image(0x0102, true);
        (
            name,
            app.architecture(),
            decode(&image, Some(&app.elf), Options::default()),
        )
    };
    APPS.into_iter().map(one).collect()
}

#[test]
fn a_crash_has_one_text_on_both_architectures_wherever_it_was_built() {
    for crash in crashes() {
        let mut ids = Vec::new();
        for (name, architecture, report) in reports(&crash) {
            let exception = match architecture {
                Architecture::Xtensa => "StoreProhibited",
                Architecture::RiscV => "StoreAccessFault",
            };
            let expected = crash.expected.replace("STORE", exception);
            let signature = report.signature.as_ref();
            let text = signature.map(|signature| signature.text.as_str());
            assert_eq!(
                text,
                Some(&*expected),
                "{name}: {:?} {:#?}",
                report.signature_reason,
                report.tasks[0]
                    .backtrace
                    .iter()
                    .map(|f| (&f.pc, &f.function, &f.file))
                    .collect::<Vec<_>>()
            );
            ids.push((
                crash.expected.contains("STORE").then_some(exception),
                signature.unwrap().id.clone(),
            ));
        }
        ids.sort();
        ids.dedup();
        assert_eq!(
            ids.len(),
            if crash.expected.contains("STORE") {
                2
            } else {
                1
            },
            "{ids:?}"
        );
    }
}

#[test]
fn a_function_that_is_inlined_in_one_build_is_a_frame_in_all() {
    let crash = &crashes()[0];
    let inlined: Vec<bool> = reports(crash)
        .iter()
        .map(|(_, _, report)| {
            let frames = &report.tasks[0].backtrace;
            frames
                .iter()
                .find(|frame| frame.function.as_deref() == Some("config_parse"))
                .unwrap()
                .inlined
        })
        .collect();
    assert_eq!(inlined, [false, true, false, true]);
}

#[test]
fn the_sdk_s_folder_is_where_the_panic_handler_is() {
    let roots = reports(&crashes()[0])
        .into_iter()
        .map(|(_, _, report)| report.app.sdk_root);
    let expected = [
        Some("/opt/esp/idf"),
        None,
        Some("/home/user/esp/esp-idf"),
        Some("/home/user/.platformio/packages/framework-espidf"),
    ];
    assert_eq!(
        roots.collect::<Vec<_>>(),
        expected.map(|root| root.map(str::to_owned))
    );
}
