//! The report's tasks: names, stacks, registers, backtraces.

use crate::coredump::{Dump, Examination, Registers, Task};

use super::Options;
use super::application::{Application, frames};
use super::location::Scene;
use super::report::{self, Named, Stack, TaskName, hex};
use super::tcb::{ControlBlock, Layout};
use super::unwind::{Frame, in_rom};
use super::variables::variables;

/// All tasks of `dump`, the crashed one first.
pub(super) fn tasks(
    dump: &Dump,
    application: Option<&Application<'_, '_>>,
    options: Options,
) -> Vec<report::Task> {
    let layout = application.and_then(Layout::new);
    let mut tasks: Vec<&Task> = dump.tasks.iter().collect();
    tasks.sort_by_key(|task| !task.crashed);
    tasks
        .into_iter()
        .map(|task| {
            let block = application
                .zip(layout.as_ref())
                .and_then(|(application, layout)| layout.read(task, &dump.memory, application));
            describe(dump, task, block.unwrap_or_default(), application, options)
        })
        .collect()
}

/// The crashed task by name.
pub(super) fn crashed(
    dump: &Dump,
    tasks: &[report::Task],
    examination: &Examination,
) -> Option<TaskName> {
    let tcb = dump
        .crashed_task()
        .map(|task| task.tcb)
        .or_else(|| dump.extra.and_then(|extra| extra.crashed_tcb))?;
    let crashed = tasks.iter().find(|task| task.crashed);
    Some(TaskName {
        tcb: hex(tcb),
        name: crashed
            .and_then(|task| task.name.clone())
            .or_else(|| examination.task.clone()),
    })
}

fn describe(
    dump: &Dump,
    task: &Task,
    block: ControlBlock,
    application: Option<&Application<'_, '_>>,
    options: Options,
) -> report::Task {
    let mut walked = Vec::new();
    if !task.fake_stack {
        walked = frames(application, dump, &task.registers);
        if let Some(interrupted) = dump.interrupted.filter(|_| task.crashed) {
            let below = frames(application, dump, &interrupted.registers);
            walked.extend(below.into_iter().map(|frame| Frame {
                interrupted: true,
                ..frame
            }));
        }
    }
    let scene = application.map(|application| Scene {
        application,
        memory: &dump.memory,
        frames: &walked,
    });
    let backtrace = walked
        .iter()
        .enumerate()
        .flat_map(|(index, frame)| lines(scene, index, frame, task.crashed, options))
        .collect();
    let stack = stack(dump, task, &block);
    report::Task {
        tcb: hex(task.tcb),
        name: block.name.clone().or_else(|| task.name_hint.clone()),
        crashed: task.crashed,
        state: block
            .state
            .or(task.crashed.then_some("running"))
            .map(str::to_owned),
        priority: block.priority,
        base_priority: block.base_priority,
        core: core(dump, task, &block),
        registers: registers(&task.registers),
        backtrace,
        note: note(task, &stack),
        stack,
    }
}

/// The task's stack. The crashed task's use is counted from where it stopped:
/// what its control block says is from the last time it was switched away.
fn stack(dump: &Dump, task: &Task, block: &ControlBlock) -> Stack {
    let interrupted = dump.interrupted.as_ref().filter(|_| task.crashed);
    let top = match interrupted {
        Some(interrupted) => interrupted.registers.sp(),
        None if task.crashed => task.registers.sp(),
        None => block.top.or(task.stack.map(|(start, _)| start)),
    };
    let dumped = interrupted
        .map(|interrupted| interrupted.stack)
        .or(task.stack);
    let start = block.stack_start;
    let end = block
        .stack_end
        .or(dumped.map(|(_, end)| end).filter(|_| !task.fake_stack));
    let outside = start
        .zip(end)
        .zip(top)
        .is_some_and(|((start, end), top)| top < start || top > end);
    let corrupted = task.fake_stack || outside;
    let within = top.filter(|_| !corrupted);
    Stack {
        start: start.map(hex),
        end: end.map(hex),
        used: within.zip(end).and_then(|(top, end)| end.checked_sub(top)),
        free: within
            .zip(start)
            .and_then(|(top, start)| top.checked_sub(start)),
        corrupted,
    }
}

fn note(task: &Task, stack: &Stack) -> Option<String> {
    let text = match (task.fake_stack, stack.corrupted) {
        (true, _) => "stack corrupted, no backtrace",
        (false, true) => "the stack pointer is outside of the task's stack",
        (false, false) => return None,
    };
    Some(text.to_owned())
}

/// The core that the task crashed on, or is bound to.
fn core(dump: &Dump, task: &Task, block: &ControlBlock) -> Option<u32> {
    let crashed_on = dump.core.filter(|_| task.crashed).or_else(|| {
        let reason = dump.panic_reason.as_deref().filter(|_| task.crashed)?;
        let (_, behind) = reason.rsplit_once(" on core ")?;
        behind.chars().next()?.to_digit(10)
    });
    crashed_on.or(block.core)
}

fn registers(registers: &Registers) -> Named {
    let values = registers.iter();
    Named(
        values
            .map(|(name, value)| (name.to_owned(), value.map(hex)))
            .collect(),
    )
}

/// The lines of the backtrace that the physical frame number `index` makes.
fn lines(
    scene: Option<Scene<'_, '_, '_>>,
    index: usize,
    frame: &Frame,
    with_locals: bool,
    options: Options,
) -> Vec<report::Frame> {
    let bare = report::Frame {
        pc: hex(frame.pc),
        guessed: frame.guessed,
        validated: frame.guessed.then_some(frame.validated),
        interrupted: frame.interrupted,
        ..report::Frame::default()
    };
    let Some(scene) = scene else {
        return vec![bare];
    };
    let places = scene.application.places(frame.probe);
    let spot = scene.spot(index, &places);
    if places.is_empty() {
        return vec![by_symbol(bare, frame.probe, scene.application)];
    }
    places
        .into_iter()
        .map(|place| {
            let entry = spot.as_ref().zip(place.entry);
            let (args, locals) = entry
                .map(|(spot, entry)| variables(spot, entry, options))
                .unwrap_or_default();
            report::Frame {
                function: place.function,
                file: place.file,
                line: place.line,
                inlined: place.inlined,
                args,
                locals: if with_locals { locals } else { Vec::new() },
                ..bare.clone()
            }
        })
        .collect()
}

/// A line without source: from the symbol table, or the ROM's symbols.
fn by_symbol(bare: report::Frame, probe: u32, application: &Application<'_, '_>) -> report::Frame {
    let elf = application.elf;
    let rom = !elf.is_code(probe) && in_rom(probe, elf.architecture());
    let symbol = if rom {
        elf.rom_symbol_near(probe)
    } else {
        elf.symbol_at(probe).filter(|_| elf.is_code(probe))
    };
    report::Frame {
        function: symbol.map(|symbol| super::symbols::demangle(symbol.name)),
        offset: symbol.map(|symbol| probe - symbol.address),
        rom,
        ..bare
    }
}
