//! How the C library's allocator treats large blocks.

use nix::libc;

/// Blocks from this size, in bytes, are given back to the system as soon as they are
/// freed.
const LARGE: libc::c_int = 256 * 1024;

/// Keeps the allocator from keeping what was freed. By itself it raises its threshold
/// with each large block that it sees, up to 32 MiB: lists of all dumps, made in each
/// round, would then stay in its arenas in between.
pub(super) fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "no crate in use wraps mallopt")]
    // SAFETY: it takes two numbers, and may be called at any time.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}
