//! The report as text that a developer pastes into an issue: what happened,
//! where, then the other tasks, registers and memory.
//!
//! Lines are at most 80 columns wide. Control and bidirectional characters,
//! which come from devices and files, are escaped.

mod lines;
mod origin;

use std::fmt::Write as _;

use super::report::{App, Frame, Match, Named, Report, Stack, Task, Variable};
use super::secret_variables::is_masked;
use lines::{Lines, Tone};
pub use origin::is_system;

/// What stands for a task that nobody named: the console of a panic.
const NO_TCB: &str = "0x0";

/// `report` in words. With `colours`, escape sequences set off what matters.
pub fn render(report: &Report, colours: bool) -> String {
    let mut lines = Lines::new(colours);
    summary(report, &mut lines);
    let (crashed, others): (Vec<&Task>, Vec<&Task>) =
        report.tasks.iter().partition(|task| task.crashed);
    for task in &crashed {
        lines.blank();
        let name = match task.name.as_deref().unwrap_or(&task.tcb) {
            NO_TCB => String::new(),
            name => format!(" {name}"),
        };
        lines.put(
            Tone::Heading,
            &format!("Crashed task{name}{}", particulars(task)),
        );
        in_full(task, report.app.sdk_root.as_deref(), &mut lines);
    }
    for task in others {
        lines.blank();
        let name = task.name.as_deref().unwrap_or(&task.tcb);
        lines.put(Tone::Heading, &format!("Task {name}{}", particulars(task)));
        in_short(task, report.app.sdk_root.as_deref(), &mut lines);
    }
    for (heading, values) in crashed
        .iter()
        .map(|task| ("Registers", &task.registers))
        .chain([("Exception registers", &report.exception_registers)])
    {
        registers(heading, values, &mut lines);
    }
    memory(report, &mut lines);
    lines.finish()
}

fn summary(report: &Report, lines: &mut Lines) {
    let panic = &report.panic;
    for reason in panic.reason.iter().flat_map(|reason| reason.lines()) {
        lines.put(Tone::Alarm, reason);
    }
    let cause = panic.cause.as_ref().map(|name| {
        let number = panic.cause_number.unwrap_or_default();
        let words = panic.explanation.as_deref().unwrap_or_default();
        format!("{name} ({number}): {words}")
    });
    let unnamed = panic
        .cause_number
        .map(|number| format!("exception cause {number}"));
    lines.fact("Cause", cause.or(unnamed).as_deref());
    lines.fact("Address", panic.address.as_deref());
    lines.fact(
        "Task",
        report
            .crashed_task
            .as_ref()
            .and_then(|task| match (&task.name, task.tcb.as_str()) {
                (Some(name), NO_TCB) => Some(name.clone()),
                (Some(name), tcb) => Some(format!("{name} (TCB {tcb})")),
                (None, NO_TCB) => None,
                (None, tcb) => Some(format!("TCB {tcb}")),
            })
            .as_deref(),
    );
    lines.fact(
        "Context",
        panic
            .in_isr
            .filter(|in_isr| *in_isr)
            .map(|_| "in an interrupt handler"),
    );
    lines.fact("Application", Some(&application(&report.app)));
    let image = &report.image;
    let words = [
        &image.chip,
        &image.container,
        &image.format,
        &image.header_version,
    ];
    let mut dump = words
        .into_iter()
        .flatten()
        .fold(String::new(), |mut text, word| {
            let _ = write!(text, "{word} ");
            text
        });
    let _ = write!(dump, "{} bytes: {}", image.size, report.verdict);
    lines.fact("Dump", Some(&dump));
    if let Some(count) = image.crashes_in_log.filter(|count| *count > 1) {
        let text = format!("the last of {count} crashes in this log; decode --all prints each");
        lines.fact("Log", Some(&text));
    }
    if !image.wrapping.is_empty() {
        let text = format!("unwrapped from {}", image.wrapping.join(", "));
        lines.fact("Wrapping", Some(&text));
    }
    for problem in &report.problems {
        lines.fact("Problem", Some(problem));
    }
    lines.fact("Fingerprint", report.fingerprint.as_deref());
    lines.fact("Signature", signature(report).as_deref());
    lines.fact("Decoder", Some(&report.decoder));
}

fn signature(report: &Report) -> Option<String> {
    match (&report.signature, &report.signature_reason) {
        (Some(signature), _) => Some(format!("{} ({})", signature.text, signature.id)),
        (None, Some(why)) => Some(format!("none: {why}")),
        (None, None) => None,
    }
}

fn application(app: &App) -> String {
    let prefix = app.elf_sha256_prefix.as_deref();
    let name = match (&app.project, &app.version) {
        (Some(project), Some(version)) => format!("{project} {version}, "),
        (Some(name), None) | (None, Some(name)) => format!("{name}, "),
        (None, None) => String::new(),
    };
    match app.matched {
        Match::Exact => format!("{name}app ELF {}", prefix.unwrap_or_default()),
        Match::Unverified => {
            format!("{name}unverified ELF: the dump contains no application hash")
        }
        Match::Mismatch => format!(
            "app ELF {}; the given ELF is another build and was not used",
            prefix.unwrap_or("for another CPU architecture")
        ),
        Match::None => match prefix {
            Some(prefix) => format!("{name}app ELF {prefix}, not available"),
            None => format!("{name}no ELF available"),
        },
    }
}

fn particulars(task: &Task) -> String {
    let mut parts = Vec::new();
    parts.extend(task.state.clone().filter(|_| !task.crashed));
    parts.extend(task.priority.map(|priority| format!("priority {priority}")));
    parts.extend(task.core.map(|core| format!("core {core}")));
    parts.extend(stack_use(&task.stack));
    match parts.is_empty() {
        true => String::new(),
        false => format!(": {}", parts.join(", ")),
    }
}

fn stack_use(stack: &Stack) -> Option<String> {
    if stack.corrupted {
        return Some("stack corrupted".to_owned());
    }
    let used = stack.used?;
    Some(match stack.free {
        Some(free) => format!("stack {used} used, {free} free"),
        None => format!("stack {used} used"),
    })
}

/// The crashed task: every frame with arguments, file and line.
fn in_full(task: &Task, sdk_root: Option<&str>, lines: &mut Lines) {
    if let Some(note) = &task.note {
        lines.indented(Tone::Plain, 2, note);
    }
    for (number, frame) in task.backtrace.iter().enumerate() {
        notes_between(task, number, lines);
        let system = is_system(frame, sdk_root);
        let (mark, tone) = if system {
            (' ', Tone::Faint)
        } else {
            ('>', Tone::Strong)
        };
        let arguments: Vec<String> = frame.args.iter().map(variable).collect();
        let called = match frame.function.is_some() && frame.offset.is_none() {
            true => format!("{} ({})", function(frame), arguments.join(", ")),
            false => function(frame),
        };
        lines.hanging(
            tone,
            &format!("{mark} #{number:<3}{} ", frame.pc),
            7,
            &called,
        );
        if let Some(place) = place(frame) {
            lines.path(tone, 7, &place);
        }
        if !system {
            for local in frame.locals.iter().filter(|local| is_known(local)) {
                lines.hanging(Tone::Plain, "         ", 11, &variable(local));
            }
        }
    }
}

/// Another task: one line for each frame.
fn in_short(task: &Task, sdk_root: Option<&str>, lines: &mut Lines) {
    if let Some(note) = &task.note {
        lines.indented(Tone::Plain, 2, note);
    }
    for (number, frame) in task.backtrace.iter().enumerate() {
        notes_between(task, number, lines);
        let mut text = function(frame);
        if let Some((file, line)) = frame.file.as_deref().zip(frame.line) {
            let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
            let _ = write!(text, " at {name}:{line}");
        }
        let tone = if is_system(frame, sdk_root) {
            Tone::Plain
        } else {
            Tone::Strong
        };
        lines.hanging(tone, &format!("  #{number:<3}{} ", frame.pc), 7, &text);
    }
}

/// What changes from the frame before to the frame `number`.
fn notes_between(task: &Task, number: usize, lines: &mut Lines) {
    let Some(frame) = task.backtrace.get(number) else {
        return;
    };
    let before = number
        .checked_sub(1)
        .and_then(|before| task.backtrace.get(before));
    if frame.interrupted && before.is_none_or(|before| !before.interrupted) {
        lines.indented(Tone::Plain, 2, "-- interrupted here:");
    }
    if frame.guessed && before.is_none_or(|before| !before.guessed) {
        lines.indented(Tone::Plain, 2, "-- found by searching the stack:");
    }
}

fn function(frame: &Frame) -> String {
    let mut text = match (&frame.function, frame.offset) {
        (Some(name), Some(offset)) if frame.rom => format!("ROM near {name}+{offset:#x}"),
        (Some(name), Some(offset)) => format!("{name}+{offset:#x}"),
        (Some(name), None) => name.clone(),
        (None, _) if frame.rom => "ROM".to_owned(),
        (None, _) => "??".to_owned(),
    };
    if frame.inlined {
        text.push_str(" [inlined]");
    }
    text
}

fn place(frame: &Frame) -> Option<String> {
    let file = frame.file.as_deref()?;
    Some(match frame.line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    })
}

fn is_known(variable: &Variable) -> bool {
    variable.value.is_some() || variable.text.is_some()
}

fn variable(variable: &Variable) -> String {
    let mut text = format!("{}=", variable.name);
    let numeric = variable
        .value
        .as_deref()
        .filter(|value| !value.starts_with("0x"));
    match (&variable.value, &variable.text) {
        (Some(value), _) if is_masked(variable) => text.push_str(value),
        (Some(value), Some(named)) if numeric.is_some() && named.chars().count() <= 4 => {
            let _ = write!(text, "{value} '{named}'");
        }
        (Some(value), Some(named)) if numeric.is_some() => {
            let _ = write!(text, "{value} ({named})");
        }
        (Some(value), Some(string)) => {
            let _ = write!(text, "{value} \"{string}\"");
        }
        (Some(value), None) => text.push_str(value),
        (None, Some(string)) => {
            let _ = write!(text, "\"{string}\"");
        }
        (None, None) => text.push_str("<optimized out>"),
    }
    if let Some(symbol) = &variable.symbol {
        let _ = write!(text, " <{symbol}>");
    }
    text
}

fn registers(heading: &str, values: &Named, lines: &mut Lines) {
    let known: Vec<String> = values
        .0
        .iter()
        .filter_map(|(name, value)| Some(format!("{name:<9}{:<10}", value.as_ref()?)))
        .collect();
    table(heading, &known, 3, lines);
}

fn memory(report: &Report, lines: &mut Lines) {
    let regions: Vec<String> = report
        .memory
        .iter()
        .map(|region| {
            let text = format!("{} {:>6} {}", region.start, region.size, region.kind);
            format!("{text:<24}")
        })
        .collect();
    table(
        "Memory in the dump (start, bytes, kind)",
        &regions,
        2,
        lines,
    );
}

fn table(heading: &str, cells: &[String], columns: usize, lines: &mut Lines) {
    if cells.is_empty() {
        return;
    }
    lines.blank();
    lines.put(Tone::Heading, heading);
    for row in cells.chunks(columns) {
        lines.indented(Tone::Plain, 2, row.join("   ").trim_end());
    }
}
