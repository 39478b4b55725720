#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| espgate_fuzz::targets::consoles::console(bytes));
