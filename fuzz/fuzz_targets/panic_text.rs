#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| espgate_fuzz::targets::dumps::panic_text(bytes));
