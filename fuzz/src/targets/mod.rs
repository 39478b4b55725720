//! What each fuzz target does with its bytes, and what must hold.
//!
//! Plain functions, so that a test can run them without a fuzzer.

pub mod bundles;
pub mod consoles;
pub mod dumps;
mod elf_file;
pub mod elves;
pub mod requests;
pub mod rom;
pub mod stored;
pub mod tokens;

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
