//! What the signature of one report costs. Always measured: the small application of the
//! tests, and reports that are as large as decoders make them. With
//! `ESPGATE_SHARED_DATA`, the folder with `coredumps/{apps,cases}`, also real ones.
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

use std::path::PathBuf;
use std::time::Instant;

use espgate::decode::report::{Frame, Report, Task};
use espgate::decode::signature::of_report;
use espgate::decode::{AppElf, Options, decode};
use espgate::signature::Lists;

const RUNS: u32 = 300;
const APP: &[u8] = include_bytes!("../tests/data/app.elf");

fn main() {
    let app = AppElf::parse(APP).unwrap();
    let dump = dumps::crash_of_app(app.digest().short(9).leak());
    let report = decode(&dump.image(0x0102, true), Some(&app), Options::default());
    measure("small", &report);
    if let Some(shared) = std::env::var_os("ESPGATE_SHARED_DATA").map(PathBuf::from) {
        for name in ["esp32", "esp32_bin", "esp32c3"] {
            let folder = shared.join("coredumps");
            let elf = std::fs::read(folder.join(format!("apps/{name}.elf"))).unwrap();
            let dump = std::fs::read(folder.join(format!("cases/{name}.raw"))).unwrap();
            let elf = AppElf::parse(&elf).unwrap();
            measure(name, &decode(&dump, Some(&elf), Options::default()));
        }
    }
    measure(
        "100 different frames",
        &deep(100, |number| format!("Step<{number}>::run_{number}")),
    );
    measure(
        "recursion, 10,000 deep",
        &deep(10_000, |_| "walk".to_owned()),
    );
    measure(
        "10,000 different frames",
        &deep(10_000, |number| format!("step_{number}")),
    );
}

fn deep(frames: usize, name: impl Fn(usize) -> String) -> Report {
    let frame = |number| Frame {
        function: Some(name(number)),
        file: Some("/home/a/pump/components/steps/src/steps.cpp".to_owned()),
        ..Frame::default()
    };
    let task = Task {
        crashed: true,
        backtrace: (0..frames).map(frame).collect(),
        ..Task::default()
    };
    Report {
        tasks: vec![task],
        ..Report::default()
    }
}

fn measure(what: &str, report: &Report) {
    let begin = Instant::now();
    for _ in 0..RUNS {
        std::hint::black_box(of_report(
            std::hint::black_box(report),
            "pump",
            &Lists::default(),
        ));
    }
    println!("{what:<28}{:>10.1?} for each", begin.elapsed() / RUNS);
}
