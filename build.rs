//! Tells the program when it was built: an earlier clock was never set.

#![expect(
    clippy::disallowed_methods,
    reason = "the clock of who builds is right"
)]

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    // set by who builds packages that can be made again
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    };
    let seconds = given.map_or_else(now, |given| given.parse().unwrap_or_default());
    println!("cargo::rustc-env=ESPGATE_BUILT_AT={seconds}");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=Cargo.lock");
}
