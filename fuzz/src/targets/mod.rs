//! What each fuzz target does with its bytes, and what must hold.
//!
//! Plain functions, so that a test can run them without a fuzzer.

mod bundles;
mod consoles;
mod dumps;
mod elf_file;
mod elves;
mod requests;
mod rom;
mod stored;
mod tokens;

/// A target's name, which its corpus folder and binary have too, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Target; 14] = [
    ("image", dumps::image),
    ("notes", dumps::notes),
    ("binary_payload", dumps::binary_payload),
    ("xtensa_unwinding", dumps::xtensa_unwinding),
    ("panic_text", dumps::panic_text),
    ("console", consoles::console),
    ("call_frames", elves::call_frames),
    ("dwarf", elves::dwarf),
    ("http_head", requests::head),
    ("http_query", requests::query),
    ("bundle", bundles::bundle),
    ("rom_answers", rom::answers),
    ("stored_json", stored::json),
    ("token", tokens::token),
];

/// Runs the target of this name.
pub fn run(name: &str, bytes: &[u8]) {
    let target = ALL.iter().find(|(known, _)| *known == name);
    let (_, target) = target.expect("a target of this name");
    target(bytes);
}
