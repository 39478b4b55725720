//! The binary payload of older ESP-IDF: tasks and memory one after another
//! (core_dump_binary.c). It carries no reason and no application hash.

use std::ops::Range;

use crate::device::Architecture;
use crate::reader::Reader;

use super::dump::{Dump, Task};
use super::elf_payload::name_hint;
use super::frame;
use super::memory::{Memory, RegionKind};

/// The counts of the image's header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) tasks: u32,
    pub(super) tcb_size: u32,
    pub(super) segments: u32,
}

/// Where tasks and memory lie. The last task may be cut within its stack.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Layout {
    tasks: Vec<TaskPlace>,
    /// Address and place of each memory segment.
    segments: Vec<(u32, Range<usize>)>,
    /// Bytes up to the end of the last whole task or segment.
    pub(super) end: usize,
    /// What is wrong, if not all that the header counts is there.
    pub(super) missing: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct TaskPlace {
    tcb: u32,
    stack: (u32, u32),
    tcb_bytes: Range<usize>,
    stack_bytes: Range<usize>,
}

impl Layout {
    /// Walks through the data by the header's counts.
    pub(super) fn of(data: &[u8], counts: Counts) -> Self {
        let mut layout = Self {
            tasks: Vec::new(),
            segments: Vec::new(),
            end: 0,
            missing: None,
        };
        let mut reader = Reader::new(data);
        if counts.tasks > MOST_TASKS {
            layout.missing = Some(format!("invalid task count {}", counts.tasks));
            return layout;
        }
        for number in 1..=counts.tasks {
            let Some((task, whole)) = task(&mut reader, counts.tcb_size) else {
                layout.missing = Some(format!("task {number} of {} truncated", counts.tasks));
                return layout;
            };
            layout.tasks.push(task);
            if !whole {
                layout.missing = Some(format!("task {number} of {} truncated", counts.tasks));
                return layout;
            }
            layout.end = reader.position();
        }
        if counts.tasks == 0 {
            layout.missing = Some("dump contains no tasks".to_owned());
            return layout;
        }
        for number in 1..=counts.segments {
            let Some(segment) = segment(&mut reader) else {
                layout.missing = Some(format!(
                    "memory segment {number} of {} truncated",
                    counts.segments
                ));
                return layout;
            };
            layout.segments.push(segment);
            layout.end = reader.position();
        }
        layout
    }
}

/// The next task, and whether its stack is all there: the saved frame lies at
/// the beginning, so the rest of a stack tells something too.
fn task(reader: &mut Reader<'_>, tcb_size: u32) -> Option<(TaskPlace, bool)> {
    let tcb = reader.word()?;
    let stack = (reader.word()?, reader.word()?);
    let tcb_bytes = range(reader, tcb_size)?;
    let stack_size = stack.1.checked_sub(stack.0)?;
    let there = reader.position()..reader.position() + reader.rest().len();
    let all = range(reader, stack_size.checked_next_multiple_of(4)?);
    let whole = all.is_some();
    let place = TaskPlace {
        tcb,
        stack,
        tcb_bytes,
        stack_bytes: all.unwrap_or(there),
    };
    Some((place, whole))
}

fn segment(reader: &mut Reader<'_>) -> Option<(u32, Range<usize>)> {
    let start = reader.word()?;
    let size = reader.word()?;
    Some((start, range(reader, size)?))
}

fn range(reader: &mut Reader<'_>, size: u32) -> Option<Range<usize>> {
    let start = reader.position();
    reader.take(usize::try_from(size).ok()?)?;
    Some(start..reader.position())
}

/// Everything that the payload says of its tasks.
pub(super) fn parse(architecture: Architecture, data: &[u8], layout: &Layout) -> Dump {
    let mut dump = Dump::empty(architecture);
    let mut regions = Vec::with_capacity(layout.tasks.len() * 2 + layout.segments.len());
    for (index, place) in layout.tasks.iter().enumerate() {
        regions.push((place.tcb, RegionKind::Tcb, place.tcb_bytes.clone()));
        regions.push((place.stack.0, RegionKind::Stack, place.stack_bytes.clone()));
        let stack = data.get(place.stack_bytes.clone()).unwrap_or_default();
        let Some(saved) = frame::read(architecture, stack) else {
            dump.problem(format!("no stack frame found for task {}", index + 1));
            continue;
        };
        let crashed = index == 0;
        if crashed {
            dump.exception = Some(saved.exception);
        }
        dump.tasks.push(Task {
            tcb: place.tcb,
            crashed,
            registers: saved.registers,
            stack: Some(place.stack),
            fake_stack: frame::is_fake_stack(None, place.stack.0),
            name_hint: None,
            solicited: saved.solicited,
        });
    }
    for (start, held) in &layout.segments {
        regions.push((*start, RegionKind::Data, held.clone()));
    }
    dump.memory = Memory::new(data.to_vec(), regions);
    for task in &mut dump.tasks {
        task.name_hint = name_hint(&dump.memory, task.tcb);
    }
    dump.problems.extend(layout.missing.clone());
    dump
}

const MOST_TASKS: u32 = 1024;
