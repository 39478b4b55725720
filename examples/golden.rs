//! Compares reports with what Espressif's tool and GDB print for the same dumps.
//!
//! `ESPGATE_SHARED_DATA` names the folder with `coredumps/{golden,apps,cases}`.
//!
//! Compared is `golden/<case>.json`, for which GDB had the chip's ROM as an ELF
//! too, not `<case>.norom.json`: without the ROM, GDB gives up on RISC-V at the
//! first ROM frame, and the application's frames above it are missing there.
//!
//! Frames: every task's, in order, without those in ROM (the application does
//! not carry their names), artefacts and inferred tail calls. Program counter,
//! function, file, line and whether it is inlined must be the same.
//!
//! Arguments: of the crashed task's frames, by name. The same are: the value
//! without decoration; the text behind it, without quotes; `<optimized out>`
//! and `<error reading variable>` are both a value that is not known.
//! `name=name@entry=value` counts as `name=value`. Those of the other tasks'
//! frames are compared and printed too, but no bar is set for them.
//!
//! Signatures: all of these applications crash in the same way, so the text must be the
//! same, and so must the id.
//!
//! Task table: name and both priorities of every task; bytes of stack used and
//! free of every task but the crashed one, of which the other tool gives what
//! it was when the task last gave the CPU away.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::ExitCode;

use espgate::decode::report::{Frame, Report, Task, Variable};
use espgate::decode::{AppElf, Options, decode};
use serde_json::{Value, json};

const CASES: [&str; 3] = ["esp32", "esp32_bin", "esp32c3"];
/// What all of them crash by, and the hash of that; groups live by it, so it never changes.
const ID: &str = "s1-24f65590c9c17c6e";
const SIGNATURE: &str = "abort | fail_once | app_main";
/// Share of arguments that must be the same.
const ARGUMENTS_BAR: f64 = 0.9;

#[derive(Default)]
struct Score {
    passed: usize,
    failed: usize,
}

#[derive(Default)]
struct Scores {
    frames: Score,
    arguments: Score,
    other_arguments: Score,
    table: Score,
    signatures: Score,
}

impl Score {
    fn tell(&self, what: &str) {
        println!("{what}: {} the same, {} differ", self.passed, self.failed);
    }

    fn count(&mut self, what: &str, same: bool, golden: &str, ours: &str) {
        if same {
            self.passed += 1;
        } else {
            self.failed += 1;
            println!("{what}\n  golden {golden}\n  ours   {ours}");
        }
    }
}

fn main() -> ExitCode {
    let data = std::env::var("ESPGATE_SHARED_DATA").expect("ESPGATE_SHARED_DATA names the folder");
    let folder = Path::new(&data).join("coredumps");
    let mut scores = Scores::default();
    for case in CASES {
        let golden = std::fs::read(folder.join(format!("golden/{case}.json"))).expect(case);
        let golden: Value = serde_json::from_slice(&golden).expect(case);
        let elf = std::fs::read(folder.join(format!("apps/{case}.elf"))).expect(case);
        let elf = AppElf::parse(&elf).expect(case);
        let dump = std::fs::read(folder.join(format!("cases/{case}.raw"))).expect(case);
        let report = decode(&dump, Some(&elf), Options::default());
        compare_signature(case, &report, &mut scores.signatures);
        let before = scores.frames.passed;
        compare(case, &golden, &report, &mut scores);
        println!(
            "{case}: {} frames are the same",
            scores.frames.passed - before
        );
    }
    let crashed = &scores.arguments;
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    let share = crashed.passed as f64 / (crashed.passed + crashed.failed).max(1) as f64;
    scores.frames.tell("frames");
    crashed.tell("arguments of crashed tasks");
    scores.other_arguments.tell("arguments of other tasks");
    scores.table.tell("rows of the task table");
    scores.signatures.tell("signatures");
    let all = [&scores.frames, crashed, &scores.table, &scores.signatures];
    println!(
        "{} passed, {} failed",
        all.map(|score| score.passed).iter().sum::<usize>(),
        all.map(|score| score.failed).iter().sum::<usize>()
    );
    let exact = [&scores.frames, &scores.table, &scores.signatures];
    let exact = exact.map(|score| score.failed == 0 && score.passed > 0);
    match exact == [true; 3] && share >= ARGUMENTS_BAR {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn compare_signature(case: &str, report: &Report, score: &mut Score) {
    let signature = report.signature.as_ref();
    let text = signature.map_or("none", |signature| signature.text.as_str());
    score.count(
        &format!("{case} signature"),
        text == SIGNATURE,
        SIGNATURE,
        text,
    );
    let id = signature.map_or("none", |signature| signature.id.as_str());
    let what = format!("{case} signature's id, without a model");
    score.count(&what, id == ID, ID, id);
}

fn compare(case: &str, golden: &Value, report: &Report, scores: &mut Scores) {
    for thread in golden["threads"].as_array().expect("threads") {
        let tcb = thread["tcb"].as_str().expect("tcb");
        let task = report.tasks.iter().find(|task| task.tcb == tcb);
        let theirs: Vec<&Value> = thread["frames"]
            .as_array()
            .expect("frames")
            .iter()
            .filter(|frame| {
                ["rom", "artefact", "tailcall"]
                    .iter()
                    .all(|flag| frame[flag] != Value::Bool(true))
            })
            .collect();
        let ours: Vec<&Frame> = task
            .map(|task: &Task| task.backtrace.iter().filter(|frame| !frame.rom).collect())
            .unwrap_or_default();
        for i in 0..theirs.len().max(ours.len()) {
            let golden_line = theirs
                .get(i)
                .map_or("no frame".to_owned(), |f| golden_line(f));
            let our_line = ours.get(i).map_or("no frame".to_owned(), |f| our_line(f));
            let what = format!("{case} task {tcb} frame {i}");
            scores
                .frames
                .count(&what, golden_line == our_line, &golden_line, &our_line);
            let crashed = task.is_some_and(|task| task.crashed);
            let score = match crashed {
                true => &mut scores.arguments,
                false => &mut scores.other_arguments,
            };
            if let (Some(theirs), Some(ours)) = (theirs.get(i), ours.get(i)) {
                compare_arguments(&what, theirs, &ours.args, score);
            }
        }
    }
    for row in golden["task_table"].as_array().expect("task_table") {
        let tcb = row["tcb"].as_str().expect("tcb");
        let task = report.tasks.iter().find(|task| task.tcb == tcb);
        let crashed = task.is_some_and(|task| task.crashed);
        let ours = task.map(|task| {
            let stack = (!crashed).then_some(&task.stack);
            json!([
                task.name,
                task.priority,
                task.base_priority,
                stack.map(|stack| stack.used),
                stack.map(|stack| stack.free)
            ])
        });
        let stack = |key: &str| if crashed { &Value::Null } else { &row[key] };
        let theirs = json!([
            row["name"],
            row["prio_current"],
            row["prio_base"],
            stack("stack_used"),
            stack("stack_free")
        ]);
        let ours = ours.unwrap_or_default();
        let what = format!("{case} task {tcb}");
        scores.table.count(
            &what,
            theirs == ours,
            &theirs.to_string(),
            &ours.to_string(),
        );
    }
}

fn golden_line(frame: &Value) -> String {
    let word = |key: &str| frame[key].as_str().unwrap_or("-").to_owned();
    let inlined = frame["inlined_into_next"] == Value::Bool(true);
    format!(
        "{} {} at {}:{} inlined {inlined}",
        word("pc_resolved"),
        word("function"),
        word("file"),
        frame["line"]
    )
}

fn our_line(frame: &Frame) -> String {
    format!(
        "{} {} at {}:{} inlined {}",
        frame.pc,
        frame.function.as_deref().unwrap_or("-"),
        frame.file.as_deref().unwrap_or("-"),
        frame
            .line
            .map_or("null".to_owned(), |line| line.to_string()),
        frame.inlined
    )
}

fn compare_arguments(what: &str, golden: &Value, ours: &[Variable], score: &mut Score) {
    let theirs = golden_arguments(golden["args_text"].as_str().unwrap_or_default());
    for i in 0..theirs.len().max(ours.len()) {
        let theirs = theirs.get(i);
        let same = theirs.zip(ours.get(i)).is_some_and(|(theirs, ours)| {
            theirs.name == ours.name
                && theirs.value == ours.value
                && theirs.text == ours.text
                && theirs.symbol == ours.symbol
        });
        let what = format!("{what} argument {i}");
        score.count(
            &what,
            same,
            &format!("{theirs:?}"),
            &format!("{:?}", ours.get(i)),
        );
    }
}

/// `a=1, b=0x3ffb4f0b "text, more"` taken apart.
fn golden_arguments(text: &str) -> Vec<Variable> {
    let mut pieces = Vec::new();
    let mut quoted = false;
    let mut start = 0;
    for (i, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                pieces.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    pieces.push(text[start..].trim());
    pieces
        .into_iter()
        .filter_map(|piece| {
            let (name, rest) = piece.split_once('=')?;
            let rest = match rest.split_once('=') {
                Some((entry, rest)) if entry == format!("{name}@entry") => rest,
                _ => rest,
            };
            let mut variable = Variable {
                name: name.to_owned(),
                ..Variable::default()
            };
            if rest.starts_with("<optimized out>") || rest.starts_with("<error reading") {
                return Some(variable);
            }
            let (value, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            variable.value = Some(value.to_owned());
            if behind.starts_with('<') {
                variable.symbol = Some(behind.trim_matches(['<', '>']).to_owned());
            } else if !behind.is_empty() {
                variable.text = Some(behind.trim_matches(['"', '\'']).to_owned());
            }
            Some(variable)
        })
        .collect()
}
