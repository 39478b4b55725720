fn main() {
    for f in std::env::args().skip(1) {
        let b = std::fs::read(&f).unwrap();
        let (e, d) = espgate::coredump::load(&b);
        println!(
            "== {f} {:?} {:?} {:?} task {:?} fp {:?}",
            e.verdict,
            e.problems,
            e.format_label(),
            e.task,
            e.fingerprint
        );
        if let Some(d) = d {
            println!(
                "{:?} rev {:?} v {:?} reason {:?} sha {:?} extra {:?} exc {:x?} ck {:?} intr {:?}",
                d.chip,
                d.chip_revision,
                d.header_version,
                d.panic_reason,
                d.app_elf_sha256,
                d.extra,
                d.exception,
                d.checksum,
                d.interrupted
            );
            for t in &d.tasks {
                println!(
                    "  tcb {:x} {:?} crashed {} stack {:x?} fake {} sol {} pc {:x?} sp {:x?}",
                    t.tcb,
                    t.name_hint,
                    t.crashed,
                    t.stack,
                    t.fake_stack,
                    t.solicited,
                    t.registers.pc(),
                    t.registers.sp()
                );
            }
            for r in d.memory.regions() {
                println!("  {:x}+{:x} {:?}", r.start, r.size(), r.kind);
            }
        }
    }
}
