//! The `espgate` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    let options = espgate::daemon::Options {
        config: std::env::var_os("ESPGATE_CONFIG").map(Into::into),
        data_dir: std::env::var_os("ESPGATE_DATA_DIR").map(Into::into),
    };
    espgate::daemon::run(&options, |_| {})
}
