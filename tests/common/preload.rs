//! Libraries for `LD_PRELOAD` that stand between the daemon and the system.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// `tests/common/NAME.c` as a library for `LD_PRELOAD`, made in `folder`.
pub fn library(name: &str, folder: &Path) -> PathBuf {
    let library = folder.join(format!("{name}.so"));
    let common = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
        .args([&library, &common.join(name).with_extension("c")])
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(built.success());
    library
}
