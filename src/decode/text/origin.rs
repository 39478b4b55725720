//! Whose code a frame is: the application's or the system's below it.

use super::super::report::Frame;
use crate::signature::is_sdk;

/// Whether a frame is of ESP-IDF, its libraries, the toolchain or the ROM. `sdk_root` is
/// the report's.
pub fn is_system(frame: &Frame, sdk_root: Option<&str>) -> bool {
    match frame.file.as_deref().filter(|_| !frame.rom) {
        Some(file) => is_sdk(file, sdk_root),
        None => true,
    }
}
