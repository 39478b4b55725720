//! What is read of a panic, by the example of each system.

use super::*;

const XTENSA: &str = "\
I (30) cpu_start: ELF file SHA256:  1b43c5e74...\r
Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.\r
\r
Core  0 register dump:\r
PC      : 0x400d1500  PS      : 0x00060b30  A0      : 0x800d66d1  A1      : 0x3ffb4f70  \r
A14     : 0x00000000  A15     : 0x00000000  SAR     : 0x0000001b  EXCCAUSE: 0x0000001c  \r
EXCVADDR: 0x00000004  LBEG    : 0x4000c2e0  LEND    : 0x4000c2f6  LCOUNT  : 0x00000000  \r
\r
Backtrace: 0x400d14fd:0x3ffb4f70 0x400d66ce:0x3ffb4f90 |<-CORRUPTED\r
\r
Core  1 register dump:\r
PC      : 0x40085908  PS      : 0x00060035  A0      : 0x8008508d  A1      : 0x3ffb56b0  \r
Backtrace: 0x40085905:0x3ffb56b0\r
ELF file SHA256: 1b43c5e74\r
Rebooting...\r
";

const RISC_V: &str = "\
ESP-ROM:esp32c3-api1-20210207
\x1b[0;32mI (757) cpu_start: ELF file SHA256:  7d946a8e8...\x1b[0m
abort() was called at PC 0x42009351 on core 0
Core  0 register dump:
MEPC    : 0x40380698  RA      : 0x4038368e  SP      : 0x3fc8ea70  GP      : 0x3fc8a600
S0/FP   : 0x00000004  S1      : 0x3fc8ead4  A0      : 0x3fc8ea9c  A1      : 0x3fc8ead2
MSTATUS : 0x00001880  MTVEC   : 0x40380001  MCAUSE  : 0x00000007  MTVAL   : 0x00000000
Stack memory:
3fc8ea70: 0xa5a5a5a5 0x00000001
3fc8ea78: 0x3fc8ead0 0x403887b8
3fc8eb78: 0x00000009
";

#[test]
fn an_xtensa_panic_is_read_from_the_first_core_that_prints() {
    let dump = parse(XTENSA.as_bytes()).unwrap();
    assert_eq!(dump.architecture, Architecture::Xtensa);
    let reason = dump.panic_reason.as_deref().unwrap();
    assert!(reason.starts_with("Guru Meditation Error: Core  0 panic'ed (LoadProhibited)"));
    assert!(reason.ends_with("unhandled."));
    let registers = dump.tasks[0].registers;
    assert_eq!(
        (registers.pc(), registers.sp()),
        (Some(0x400d_1500), Some(0x3ffb_4f70))
    );
    let exception = dump.exception.as_ref().unwrap();
    assert_eq!((exception.cause, exception.address), (Some(28), Some(4)));
    let expected = [
        (0x400d_14fd, Some(0x3ffb_4f70)),
        (0x400d_66ce, Some(0x3ffb_4f90)),
    ];
    assert_eq!(dump.printed_backtrace, expected);
    assert_eq!(dump.problems.len(), 1, "{:?}", dump.problems);
    assert_eq!(dump.app_elf_sha256.as_deref(), Some("1b43c5e74"));
}

#[test]
fn a_risc_v_panic_brings_its_stack() {
    let dump = parse(RISC_V.as_bytes()).unwrap();
    assert_eq!(
        (dump.architecture, dump.chip),
        (Architecture::RiscV, Some(Chip::Esp32C3))
    );
    let task = &dump.tasks[0];
    assert_eq!(task.registers.get("ra"), Some(0x4038_368e));
    assert_eq!(task.registers.get("fp"), Some(4));
    assert_eq!(task.stack, Some((0x3fc8_ea70, 0x3fc8_ea80)));
    assert_eq!(dump.memory.word(0x3fc8_ea7c), Some(0x4038_87b8));
    assert_eq!(dump.exception.as_ref().and_then(|e| e.cause), Some(7));
    assert_eq!(
        dump.app_elf_sha256.as_deref(),
        Some("7d946a8e8"),
        "from the boot"
    );
}

#[test]
fn the_last_panic_of_several_is_taken() {
    let loops = [
        XTENSA,
        "rst:0xc (SW_CPU_RESET)\r\nboot\r\n",
        "assert failed: f x.c:3 (y)\r\n",
    ];
    let dump = parse(loops.concat().as_bytes()).unwrap();
    assert_eq!(
        dump.panic_reason.as_deref(),
        Some("assert failed: f x.c:3 (y)")
    );
    assert!(dump.printed_backtrace.is_empty());
    let dump = parse([XTENSA, XTENSA].concat().as_bytes()).unwrap();
    assert_eq!(dump.panic_reason.unwrap().lines().count(), 1);
}

#[test]
fn text_without_a_panic_is_none() {
    for text in [
        "",
        "I (30) main: hello\n",
        "rst:0x1\nELF file SHA256: 1b43\n",
        "Backtrace: soon\n",
    ] {
        assert_eq!(parse(text.as_bytes()), None, "{text}");
    }
}

fn pcs(dump: &Dump) -> Vec<u32> {
    dump.printed_backtrace.iter().map(|(pc, _)| *pc).collect()
}

#[test]
fn esp_hal_prints_exceptions_of_both_architectures() {
    let xtensa = "\n\nException occurred on AppCpu 'LoadProhibited'\nContext\n\
        PC=0x42003a18       PS=0x00060830\n0x42003a18 - pump::read\n    at src/pump.rs:17\n\
        A0=0x82004b2c       A1=0x3fca1f30       A2=0x00000007       A3=0x00000000       A4=0x1\n\
        EXCVADDR=0x00000010       LBEG=0x0       LEND=0x0       LCOUNT=0x0\n\n\
        Backtrace:\n\n0x42003a18\n0x42004b29\n0x4200a0cc\n";
    let dump = parse(xtensa.as_bytes()).unwrap();
    assert_eq!(dump.architecture, Architecture::Xtensa);
    assert_eq!(dump.core, Some(1));
    assert_eq!(dump.tasks[0].registers.get("a1"), Some(0x3fca_1f30));
    assert_eq!(pcs(&dump), [0x4200_3a18, 0x4200_4b29, 0x4200_a0cc]);

    let trap = "Exception 'Load access fault' mepc=0x42003a18, mtval=0x00000010\n\
        TrapFrame { ra: 0x42004b2c, sp: 0x3fc93f10, pc: 0x42003a18, mcause: 0x5 }\n\
        0x42003a18\n0x42004b2a\n";
    let dump = parse(trap.as_bytes()).unwrap();
    assert_eq!(dump.architecture, Architecture::RiscV);
    assert_eq!(dump.tasks[0].registers.pc(), Some(0x4200_3a18));
    assert_eq!(dump.exception.unwrap().address, Some(0x10));

    assert_eq!(dump.printed_backtrace.len(), 2, "without a title");

    let older = "Exception occured 'IllegalInstruction'\nContext { PC: 1, A0: 2 }\n\
        0x400d3a18\n0x400d3a18 - pump::read\n    at src/pump.rs:17\n0x400d4b2a\n";
    assert_eq!(
        pcs(&parse(older.as_bytes()).unwrap()),
        [0x400d_3a18, 0x400d_4b2a]
    );

    let monitor = "====================== PANIC ======================\n\
        panicked at src/main.rs:9:5:\nboom\n\nBacktrace:\n\n\
        0x42003a18\n0x42003a18 - pump::read\n    at src/pump.rs:17\n\
        0x42004b2a\n0x42004b2a - pump::run\n    at src/pump.rs:40\n";
    assert_eq!(
        pcs(&parse(monitor.as_bytes()).unwrap()),
        [0x4200_3a18, 0x4200_4b2a]
    );

    let stack = "ESP-ROM:esp32c6-20220919\n====================== PANIC ======================\n\
        panicked at src/main.rs:9:5:\nboom\n\nBacktrace:\n\n\
        No backtrace available - make sure to force frame-pointers.\n\
        STACKDUMP: 42003a18 00000000a0b0c0d011223344\n";
    let dump = parse(stack.as_bytes()).unwrap();
    assert_eq!(pcs(&dump), [0x4200_3a18]);
    let reason = dump.panic_reason.unwrap();
    assert_eq!(reason, "panicked at src/main.rs:9:5\nboom");

    let old = "!! A panic occured in 'src/main.rs', at line 31, column 9:\nno sensor\n\n\
        Backtrace:\n\n0x400d1a2b\n0x400d2c3d\n";
    let dump = parse(old.as_bytes()).unwrap();
    assert_eq!(pcs(&dump), [0x400d_1a2b, 0x400d_2c3d]);
    assert!(dump.panic_reason.unwrap().ends_with("no sensor"));
}

#[test]
fn zephyr_tells_of_both_architectures() {
    let xtensa = "[00:00:05.250,000] <err> os:  ** FATAL EXCEPTION\n\
        [00:00:05.250,000] <err> os:  ** CPU 0 EXCCAUSE 29 (store prohibited)\n\
        [00:00:05.250,000] <err> os:  **  PC 0x400d1a2e VADDR (nil)\n\
        [00:00:05.250,000] <err> os:  **  A0 0x800d2c40  SP 0x3ffe1230  A2 0x1  A3 0x2\n\
        Backtrace:0x400d1a2b:0x3ffe1230 0x400d2c3d:0x3ffe1250 |<-CORRUPTED\n\
        [00:00:05.260,000] <err> os: >>> ZEPHYR FATAL ERROR 0: CPU exception on CPU 0\n\
        [00:00:05.260,000] <err> os: Current thread: 0x3ffb1d10 (main)\n";
    let dump = parse(xtensa.as_bytes()).unwrap();
    assert_eq!(pcs(&dump), [0x400d_1a2b, 0x400d_2c3d]);
    assert_eq!(dump.tasks[0].registers.pc(), Some(0x400d_1a2e));
    assert_eq!(dump.tasks[0].registers.sp(), Some(0x3ffe_1230));
    assert_eq!(dump.tasks[0].name_hint.as_deref(), Some("main"));
    assert_eq!(dump.exception.unwrap().cause, Some(29));
    assert!(
        dump.panic_reason
            .unwrap()
            .starts_with("FATAL EXCEPTION\nCPU 0")
    );

    let risc_v = "<err> os:\n<err> os:  mcause: 7, Store/AMO access fault\n\
        <err> os:   mtval: 8\n<err> os:      a0: 00000001    t0: 42001234\n\
        <err> os:      sp: 3fc91a30\n<err> os:      ra: 42002c3e\n\
        <err> os:    mepc: 42001a2e\n<err> os: mstatus: 00001880\n\
        <err> os: >>> ZEPHYR FATAL ERROR 0: CPU exception on CPU 0\n\
        <err> os: Halting system\n";
    let dump = parse(risc_v.as_bytes()).unwrap();
    assert_eq!(dump.architecture, Architecture::RiscV);
    assert_eq!(dump.tasks[0].registers.pc(), Some(0x4200_1a2e));
    assert_eq!(dump.tasks[0].registers.get("ra"), Some(0x4200_2c3e));
    let exception = dump.exception.unwrap();
    assert_eq!((exception.cause, exception.address), (Some(7), Some(8)));

    let newer = risc_v.replace("mepc", "xepc").replace("mstatus", "xstatus");
    let registers = parse(newer.as_bytes()).unwrap().tasks[0].registers;
    assert_eq!(registers.pc(), Some(0x4200_1a2e));
}

#[test]
fn what_failed_before_abort_is_in_the_reason() {
    let abort =
        "abort() was called at PC 0x400d66b9 on core 0\n\nBacktrace: 0x400d1234:0x3ffb1000\n";
    for said in [
        "/idf/freertos/tasks.c:913 (xTaskCreate)- assert failed!\n",
        "thread 'pump' (1073490112) panicked at src/main.rs:7:5:\nno water\n",
        "assert failed: void Pump::run(int, A::B&) [with A = C] pump.cpp:31 (x)\n",
    ] {
        let dump = parse([said, abort].concat().as_bytes()).unwrap();
        let reason = dump.panic_reason.unwrap();
        let expected = said
            .trim()
            .replace(" (1073490112)", "")
            .replace(":5:\n", ":5\n");
        assert!(reason.starts_with(&expected), "{reason}");
        assert!(reason.contains("abort() was"), "{reason}");
    }
    let zephyr = "ASSERTION FAIL [level < 9] @ WEST_TOPDIR/app/pump.c:31\n\
        <err> os: >>> ZEPHYR FATAL ERROR 4: Kernel panic on CPU 0\n";
    let reason = parse(zephyr.as_bytes()).unwrap().panic_reason.unwrap();
    assert!(reason.starts_with("ASSERTION FAIL [level < 9]"), "{reason}");
}

#[test]
fn nuttx_gives_reason_task_and_addresses() {
    let xtensa = "xtensa_user_panic: User Exception: EXCCAUSE=001c task: pump\n\
        _assert: Current Version: NuttX  12.5.1 0abcdef123 Mar 1 2026 10:00:00 xtensa\n\
        _assert: Assertion failed user panic: at file: :0 task: pump process: pump 0x400f0724\n\
        up_dump_register:    PC: 400d1a2e    PS: 00060530\n\
        sched_dumpstack: backtrace| 5: 0x400d1a2b 0x400d2c3d\n\
        sched_dumpstack: backtrace| 5: 0x400d4e5f\n\
        sched_dumpstack: backtrace| 0: 0x40001111\n";
    let dump = parse(xtensa.as_bytes()).unwrap();
    assert_eq!(pcs(&dump), [0x400d_1a2b, 0x400d_2c3d, 0x400d_4e5f]);
    assert_eq!(dump.tasks[0].name_hint.as_deref(), Some("pump"));
    assert_eq!(dump.exception.unwrap().cause, Some(0x1c));

    let risc_v = "riscv_exception: EXCEPTION: Load access fault. MCAUSE: 00000005, EPC: 42001a2e, MTVAL: 00000010\n\
        riscv_exception: PANIC!!! Exception = 00000005\n\
        dump_assert_info: Assertion failed panic: at file: common/riscv_exception.c:131 task: nsh_main process: nsh_main 0x4200a806\n\
        up_dump_register: EPC: 42001a2e\n";
    let dump = parse(risc_v.as_bytes()).unwrap();
    assert_eq!(dump.tasks[0].registers.pc(), Some(0x4200_1a2e));
    assert_eq!(dump.architecture, Architecture::RiscV);
}

#[test]
fn esphome_tells_of_the_crash_before_the_boot_once() {
    let report = "[E][esp32.crash:221]: *** CRASH DETECTED ON PREVIOUS BOOT ***\n\
        [E][esp32.crash:224]:   Reason: Fault - LoadProhibited\n\
        [E][esp32.crash:226]:   Crashed core: 1\n\
        [E][esp32.crash:228]:   PC:  0x400D1A2E  (fault location)\n\
        [E][esp32.crash:242]:   BT0: 0x400D1A2B  (backtrace)\n\
        [E][esp32.crash:242]:   BT1: 0x400D2C3D  (backtrace)\n\
        [E][esp32.crash:250]: Use: addr2line -pfiaC -e firmware.elf 0x400D1A2E\n";
    let dump = parse(report.as_bytes()).unwrap();
    assert_eq!(pcs(&dump), [0x400d_1a2b, 0x400d_2c3d]);
    assert_eq!(dump.panic_reason.as_deref(), Some("Fault - LoadProhibited"));
    assert_eq!(dump.core, Some(1));
    let count = |log: String| super::super::load_all(log.as_bytes()).len();
    assert_eq!(count(report.repeat(3)), 1, "told to each who asks");
    let panic = "Guru Meditation Error: Core  1 panic'ed (LoadProhibited). X\n\
        Core  1 register dump:\nPC      : 0x400d1a2e  PS      : 0x00060b30\n\
        Backtrace: 0x400d1a2b:0x3ffb4f70\nRebooting...\nrst:0xc (SW_CPU_RESET)\n";
    assert_eq!(count([panic, report].concat()), 1, "it was seen itself");
}

#[test]
fn a_panic_within_a_panic_is_the_first_one() {
    let text = "Guru Meditation Error: Core  1 panic'ed (StoreProhibited). Exception was unhandled.\n\
        Core  1 register dump:\n\
        PC      : 0x400d1a2e  PS      : 0x00060b30  A0      : 0x800d2c40  A1      : 0x3ffbGuru Meditation Error: Core  1 panic'ed (Double exception). \n\
        Core  1 register dump:\nPC      : 0x40081111  PS      : 0x00040036\n\
        Panic handler entered multiple times. Abort panic handling. Rebooting ...\n";
    let dump = parse(text.as_bytes()).unwrap();
    assert_eq!(dump.tasks[0].registers.pc(), Some(0x400d_1a2e));
    let reason = dump.panic_reason.unwrap();
    assert!(
        reason.lines().next().unwrap().contains("StoreProhibited"),
        "{reason}"
    );
}

#[test]
fn binary_frames_on_the_wire_do_not_disturb() {
    let frame: &[u8] = &[0x9f, 0x02, 0xc3, 0x11, 0x40, 0x00];
    let mut log = frame.repeat(30);
    log.extend(b"\n====================== PANIC ======================\npanicked at src/main.rs:9:5:\nboom\n\nBacktrace:\n\n0x42003a18\n0x42004b2a\n");
    log.extend(frame.repeat(20));
    let found = super::super::examine(&log);
    assert_eq!(found.verdict, super::super::Verdict::PanicOnly);
    let dump = parse(&log).unwrap();
    assert_eq!(pcs(&dump), [0x4200_3a18, 0x4200_4b2a]);
}

#[test]
fn what_a_watchdogs_warning_printed_is_not_the_panics() {
    let warning = "E (5310) task_wdt: Task watchdog got triggered. The following tasks\n";
    let frames = "E (5310) task_wdt: Print CPU 0 (current core) backtrace\n\n\
        Backtrace: 0x400d7001:0x3ffb0e80 0x400d7002:0x3ffb0ea0 |<-CORRUPTED\n";
    let dump = parse([warning, frames, XTENSA].concat().as_bytes()).unwrap();
    assert_eq!(pcs(&dump), [0x400d_14fd, 0x400d_66ce]);
    assert_eq!(dump.problems.len(), 1, "{:?}", dump.problems);
    let registers = "E (5310) task_wdt: Print CPU 0 (current core) registers\n\
        Core  0 register dump:\nMEPC    : 0x42007001  RA      : 0x42007002\n\
        MCAUSE  : 0x00000000  T6      : 0x00000009\nStack memory:\n\
        3fc82000: 0x00000001 0x00000002\n";
    let dump = parse([warning, registers, RISC_V].concat().as_bytes()).unwrap();
    let task = &dump.tasks[0];
    assert_eq!(task.registers.pc(), Some(0x4038_0698));
    assert_eq!(task.registers.get("t6"), None);
    assert_eq!(task.stack, Some((0x3fc8_ea70, 0x3fc8_ea80)));
    // with its panic enabled they are all that there is
    let aborting = "E (5310) task_wdt: Aborting.\n";
    let dump = parse([warning, aborting, frames].concat().as_bytes()).unwrap();
    assert_eq!(pcs(&dump), [0x400d_7001, 0x400d_7002]);
}
