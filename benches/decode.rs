//! What decoding one dump costs: CPU time and memory of the whole process.
//!
//! Always measured: the small application of the tests. With
//! `ESPGATE_SHARED_DATA`, the folder with `coredumps/{apps,cases}`, also real
//! applications. With `ESPGATE_OTHER_TOOL`, a command to which chip, dump and
//! ELF are appended, that tool on the same RISC-V dump, after everything else.
//!
//! Prints a table and asserts nothing: figures depend on the machine.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub
)]

#[path = "../tests/common/dumps.rs"]
mod dumps;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};

const RUNS: u32 = 20;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("small.raw");
    std::io::Write::write_all(
        &mut std::fs::File::create(&dump).unwrap(),
        &dumps::risc_v().image(0x0102, true),
    )
    .unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cases = vec![("small", dump, manifest.join("tests/data/app.elf"))];
    let shared = std::env::var_os("ESPGATE_SHARED_DATA").map(PathBuf::from);
    if let Some(shared) = &shared {
        for name in ["esp32", "esp32_bin", "esp32c3"] {
            let folder = shared.join("coredumps");
            let dump = folder.join(format!("cases/{name}.raw"));
            cases.push((name, dump, folder.join(format!("apps/{name}.elf"))));
        }
    }
    println!("{:<24}{:>12}{:>16}", "", "CPU per run", "largest so far");
    for (name, dump, elf) in &cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_espgate"));
        command.arg("decode").arg(dump).arg("--elf").arg(elf);
        measure(&format!("espgate {name}"), &mut command, RUNS);
    }
    let log = folder.path().join("long.log");
    std::io::Write::write_all(&mut std::fs::File::create(&log).unwrap(), &long_log()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_espgate"));
    command.args(["decode", "--all"]).arg(&log);
    measure("espgate, 100 MB of log", &mut command, 3);
    // memory is the maximum over all children, so the larger tool comes last
    if let Some((tool, (_, dump, elf))) = std::env::var("ESPGATE_OTHER_TOOL")
        .ok()
        .zip(cases.last().filter(|_| shared.is_some()))
    {
        let mut words = tool.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg("esp32c3").arg(dump).arg(elf);
        measure("other tool esp32c3", &mut command, 5);
    }
}

/// 100 MB of a console, a panic among 400 lines.
fn long_log() -> Vec<u8> {
    let mut block = String::new();
    for line in 0..400 {
        block += &format!(
            "I ({line}) pump: level {}, {} rpm, sensor 0x{line:08x}\r\n",
            line % 9,
            line * 7
        );
    }
    block += include_str!("../tests/data/panics/idf5-xtensa.log");
    block
        .into_bytes()
        .into_iter()
        .cycle()
        .take(100_000_000)
        .collect()
}

fn measure(name: &str, command: &mut Command, runs: u32) {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let before = cpu(&children());
    for _ in 0..runs {
        command.status().unwrap();
    }
    let after = children();
    let spent = (cpu(&after) - before) / runs;
    let milliseconds = spent.as_secs_f64() * 1e3;
    println!(
        "{name:<24}{milliseconds:>9.1} ms{:>12} KiB",
        after.max_rss()
    );
}

fn children() -> Usage {
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap()
}

fn cpu(usage: &Usage) -> Duration {
    let time = |time: TimeVal| Duration::from_micros(time.num_microseconds().try_into().unwrap());
    time(usage.user_time()) + time(usage.system_time())
}
