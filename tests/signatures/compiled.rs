//! Crashes of applications that were compiled for both architectures, with the folders
//! of real builds: dumps of them, decoded, have one text, wherever they were built.
//!
//! A chain names the functions from the innermost. Where each was when it called the next
//! is looked up in the machine code; a function that the compiler expanded in its caller
//! has no frame in the dump.

use espgate::coredump::Registers;
use espgate::decode::cfi::CallFrames;
use espgate::decode::report::Report;
use espgate::decode::{AppElf, Options, decode};
use espgate::device::Architecture;

use crate::dumps::{self, DumpSpec, RISC_V_FRAME, TaskSpec, XTENSA_FRAME};

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

struct App<'a> {
    elf: AppElf<'a>,
    rules: CallFrames<'a>,
}

impl App<'_> {
    fn architecture(&self) -> Architecture {
        self.elf.architecture()
    }

    /// The program counters of a chain: where the innermost function stopped, and where
    /// each of the others goes on when the one before returns.
    fn program_counters(&self, chain: &[&str]) -> Vec<u32> {
        let vector = match self.architecture() {
            Architecture::Xtensa => "_xt_lowint1",
            Architecture::RiscV => "_global_interrupt_handler",
        };
        let named = chain
            .iter()
            .map(|name| if *name == "VECTOR" { vector } else { name });
        let present: Vec<&str> = named
            .filter(|name| *name == "0" || self.elf.symbol(name).is_some())
            .collect();
        let mut all = vec![match present[0] {
            "0" => 0,
            name => self.elf.symbol(name).unwrap().address,
        }];
        for pair in present.windows(2) {
            let (callee, caller) = (self.entry(pair[0]), pair[1]);
            all.push(match caller.starts_with("stop_") {
                true => self.elf.symbol(caller).unwrap().address,
                false => self.behind_call(caller, callee),
            });
        }
        all
    }

    /// The function that a name, which may be of a place in it, stands for.
    fn entry(&self, name: &str) -> u32 {
        let Some(place) = name.strip_prefix("stop_") else {
            return self.elf.symbol(name).map_or(0, |symbol| symbol.address);
        };
        match self.elf.symbol(place) {
            Some(symbol) => symbol.address,
            // expanded in another: the one that the place is in
            None => self.function_around(self.elf.symbol(name).unwrap().address),
        }
    }

    fn function_around(&self, address: u32) -> u32 {
        let sized =
            ["tlsf_malloc", "vPortEnterCritical"].map(|name| self.elf.symbol(name).unwrap());
        let found = sized
            .iter()
            .find(|it| (it.address..it.address + it.size).contains(&address));
        found.unwrap().address
    }

    /// Where `caller` goes on after a call of `callee`.
    fn behind_call(&self, caller: &str, callee: u32) -> u32 {
        let symbol = self.elf.symbol(caller).unwrap();
        let code = self.elf.constant_from(symbol.address).unwrap();
        let code = &code[..symbol.size as usize];
        let mut places = (0..symbol.size).filter_map(|at| {
            let (target, length) = call(
                self.architecture(),
                symbol.address + at,
                &code[at as usize..],
            )?;
            (target == callee).then_some(symbol.address + at + length)
        });
        places
            .next()
            .unwrap_or_else(|| panic!("{caller} does not call {callee:#x}"))
    }

    /// A task that is stopped in this chain, with its registers and stack.
    fn task(&self, tcb: u32, name: &'static str, chain: &[&str], cause: u32) -> TaskSpec {
        let pcs = self.program_counters(chain);
        let mut task = TaskSpec {
            tcb,
            name,
            stack_start: tcb + 0x2000,
            stack: vec![0; 0x200],
            solicited: false,
        };
        match self.architecture() {
            Architecture::Xtensa => windows(&mut task, &pcs),
            Architecture::RiscV => self.frames(&mut task, &pcs, cause),
        }
        task
    }

    fn frames(&self, task: &mut TaskSpec, pcs: &[u32], cause: u32) {
        let mut sp = task.stack_start + RISC_V_FRAME;
        let start = sp;
        let mut in_register = 0xdead_beef;
        for (number, pc) in pcs.iter().enumerate() {
            let returns_to = pcs.get(number + 1).copied().unwrap_or(0);
            let mut registers = Registers::new(Architecture::RiscV);
            registers.set("sp", Some(sp));
            let probe = if number == 0 { *pc } else { pc - 1 };
            // a call to nowhere has no frame
            let cfa = if *pc == 0 {
                sp
            } else {
                self.rules.cfa(&registers, probe).unwrap()
            };
            match cfa == sp {
                true => in_register = returns_to,
                false => task.set(cfa - 4, &[returns_to]),
            }
            sp = cfa;
        }
        task.set(task.stack_start, &[pcs[0], in_register, start]);
        task.set(
            task.stack_start + 32 * 4,
            &[0x1881, 0x4038_0001, cause, 0, 0],
        );
    }
}

/// Spills the windows of a chain of `call8`s.
fn windows(task: &mut TaskSpec, pcs: &[u32]) {
    let return_address = |number: usize| {
        pcs.get(number)
            .map_or(0, |pc| pc & 0x3fff_ffff | 0x8000_0000)
    };
    let mut sp = task.stack_start + XTENSA_FRAME;
    task.set_xtensa_frame(pcs[0], return_address(1), sp);
    // a call to nowhere: the window has not turned, a8 has the return address
    if pcs[0] == 0 {
        task.set(
            task.stack_start,
            &[0xdead_beef, 0, 0x0006_0f30 | 2 << 16, return_address(2), sp],
        );
        task.set(task.stack_start + (3 + 8) * 4, &[return_address(1)]);
    }
    let skipped = if pcs[0] == 0 { 2 } else { 1 };
    for number in skipped..pcs.len() {
        task.set(sp - 16, &[return_address(number + 1), sp + 0x20]);
        sp += 0x20;
    }
    task.set(sp - 16, &[0, sp + 0x20]);
}

/// The target of the call instruction at the beginning of `code`, and its length.
fn call(architecture: Architecture, at: u32, code: &[u8]) -> Option<(u32, u32)> {
    let bits = |value: u32, from: u32, count: u32| value >> from & ((1 << count) - 1);
    let signed = |value: u32, count: u32| ((value << (32 - count)) as i32 >> (32 - count)) as u32;
    if architecture == Architecture::Xtensa {
        let [a, b, c] = *code.first_chunk::<3>()?;
        let word = u32::from_le_bytes([a, b, c, 0]);
        let offset = signed(word >> 6, 18) << 2;
        return (word & 0x3f == 0x05)
            .then_some(((at & !3).wrapping_add(offset).wrapping_add(4), 3));
    }
    let half = u32::from(u16::from_le_bytes(*code.first_chunk::<2>()?));
    if half & 0xe003 == 0x2001 {
        let offset = bits(half, 12, 1) << 11
            | bits(half, 11, 1) << 4
            | bits(half, 9, 2) << 8
            | bits(half, 8, 1) << 10
            | bits(half, 7, 1) << 6
            | bits(half, 6, 1) << 7
            | bits(half, 3, 3) << 1
            | bits(half, 2, 1) << 5;
        return Some((at.wrapping_add(signed(offset, 12)), 2));
    }
    let word = u32::from_le_bytes(*code.first_chunk::<4>()?);
    let offset = bits(word, 31, 1) << 20
        | bits(word, 12, 8) << 12
        | bits(word, 20, 1) << 11
        | bits(word, 21, 10) << 1;
    (word & 0xfff == 0x0ef).then_some((at.wrapping_add(signed(offset, 21)), 4))
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
        Some("/home/ann/esp/esp-idf"),
        Some("/home/bo/.platformio/packages/framework-espidf"),
    ];
    assert_eq!(
        roots.collect::<Vec<_>>(),
        expected.map(|root| root.map(str::to_owned))
    );
}
