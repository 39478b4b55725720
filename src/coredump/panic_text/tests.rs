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
