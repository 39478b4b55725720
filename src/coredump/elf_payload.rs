//! The ELF core file in a dump: segments and notes become a [`Dump`].
//!
//! Layout by ESP-IDF's core_dump_elf.c; order and presence of notes and
//! segments differ between writers, so nothing here depends on them.

use std::collections::HashMap;
use std::ops::Range;

use crate::device::{Architecture, Chip};
use crate::reader::{Reader, half_at, word_at};

use super::dump::{Dump, Exception, Interrupted, Task};
use super::frame;
use super::memory::{Memory, RegionKind};
use super::notes::{self, Kind};
use super::panic_text::is_no_hash;
use super::registers::Registers;

/// What an ELF core's headers say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Layout {
    pub(super) architecture: Architecture,
    pub(super) segments: Vec<Segment>,
    /// Bytes from the ELF's first to the last that a header or segment needs.
    pub(super) end: usize,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Segment {
    note: bool,
    address: u32,
    held: Range<usize>,
}

/// Why bytes that begin like an ELF are no core file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Error {
    /// The bytes end before the ELF header does.
    Truncated,
    /// An executable, another word size, or a table that no core has.
    NotACore,
    /// A core of some other machine.
    Machine(u16),
}

impl Layout {
    /// Reads the headers of the ELF that `bytes` begin with. Program headers
    /// behind the end of `bytes` are left out, and `end` lies behind it then.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, Error> {
        let magic = bytes.get(..MAGIC.len().min(bytes.len()));
        if magic.is_none_or(|magic| !MAGIC.starts_with(magic)) {
            return Err(Error::NotACore);
        }
        if half_at(bytes, 16).is_some_and(|kind| kind != ET_CORE) {
            return Err(Error::NotACore);
        }
        let architecture = match half_at(bytes, 18).ok_or(Error::Truncated)? {
            0x5e => Architecture::Xtensa,
            0xf3 => Architecture::RiscV,
            other => return Err(Error::Machine(other)),
        };
        let table = word_at(bytes, 28).ok_or(Error::Truncated)?;
        let entry_size = half_at(bytes, 42).ok_or(Error::Truncated)?;
        let count = half_at(bytes, 44).ok_or(Error::Truncated)?;
        if entry_size != ENTRY || count == 0 {
            return Err(Error::NotACore);
        }
        let table = usize::try_from(table).map_err(|_| Error::NotACore)?;
        let mut end = table
            .checked_add(usize::from(count) * usize::from(ENTRY))
            .ok_or(Error::NotACore)?;
        let mut segments = Vec::new();
        let mut reader = Reader::at(bytes, table);
        for _ in 0..count {
            let Some(segment) = segment(&mut reader) else {
                break;
            };
            if let Some(segment) = segment {
                end = end.max(segment.held.end);
                segments.push(segment);
            }
        }
        Ok(Self {
            architecture,
            segments,
            end,
        })
    }
}

/// The next program header; the inner `None` is one that holds no bytes.
fn segment(reader: &mut Reader<'_>) -> Option<Option<Segment>> {
    let kind = reader.word()?;
    let offset = usize::try_from(reader.word()?).ok()?;
    let address = reader.word()?;
    let _physical = reader.word()?;
    let size = usize::try_from(reader.word()?).ok()?;
    reader.take(12)?;
    if !matches!(kind, PT_LOAD | PT_NOTE) || size == 0 {
        return Some(None);
    }
    Some(Some(Segment {
        note: kind == PT_NOTE,
        address,
        held: offset..offset.saturating_add(size),
    }))
}

/// Everything that the ELF core `bytes` says, as far as it is whole.
pub(super) fn parse(bytes: &[u8], layout: &Layout) -> Dump {
    let mut dump = Dump::empty(layout.architecture);
    let mut texts = Vec::new();
    let mut budget = NOTE_BUDGET.saturating_add(bytes.len());
    for segment in layout.segments.iter().filter(|segment| segment.note) {
        // segments may overlap, but no real ones do
        budget = budget.saturating_sub(segment.held.len().min(bytes.len()));
        if budget == 0 {
            dump.problem("the notes overlap");
            break;
        }
        read_notes(&mut dump, &mut texts, cut(bytes, &segment.held));
    }
    dump.panic_reason = (!texts.is_empty()).then(|| texts.join("\n"));
    mark_crashed(&mut dump);
    place(&mut dump, bytes, layout);
    dump
}

fn cut<'a>(bytes: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    let end = range.end.min(bytes.len());
    bytes.get(range.start..end).unwrap_or_default()
}

fn read_notes(dump: &mut Dump, texts: &mut Vec<String>, segment: &[u8]) {
    let architecture = dump.architecture;
    let (found, whole) = notes::notes(segment);
    if !whole {
        dump.problem("ELF note truncated");
    }
    for note in found {
        match note.kind {
            Kind::Task => match notes::task(architecture, note.description) {
                Some((tcb, registers)) if dump.tasks.len() < MOST_TASKS => dump.tasks.push(Task {
                    tcb,
                    crashed: false,
                    registers,
                    stack: None,
                    fake_stack: false,
                    name_hint: None,
                    solicited: false,
                }),
                Some(_) => {}
                None => dump.problem("registers of a task truncated"),
            },
            Kind::Info => {
                if let Some((version, hash)) = notes::info(note.description) {
                    let [minor, major, low, high] = version.to_le_bytes();
                    let chip_id = u16::from_le_bytes([low, high]);
                    dump.chip_id = Some(chip_id);
                    dump.chip = Chip::from_id(chip_id);
                    dump.header_version = Some((major, minor));
                    match hash {
                        Some(hash) if is_no_hash(&hash) => dump.null_hash = Some(hash),
                        hash => dump.app_elf_sha256 = hash,
                    }
                }
            }
            Kind::Extra => {
                if let Some((info, exception)) = notes::extra(architecture, note.description) {
                    dump.extra = Some(info);
                    dump.exception = exception;
                }
            }
            Kind::Panic if texts.len() < MOST_TEXTS => {
                texts.extend(notes::panic_text(note.description));
            }
            Kind::ChipRevision => {
                dump.chip_revision = notes::chip_revision(note.description);
            }
            Kind::Panic | Kind::Other => {}
        }
    }
}

/// The crashed task is the one that the extra info names, else the first.
fn mark_crashed(dump: &mut Dump) {
    let crashed = match dump.extra {
        Some(extra) => extra
            .crashed_tcb
            .and_then(|tcb| dump.tasks.iter().position(|task| task.tcb == tcb)),
        None => Some(0),
    };
    if let Some(index) = crashed.filter(|index| *index < dump.tasks.len()) {
        if let Some(head) = dump.tasks.get_mut(..=index) {
            head.rotate_right(1);
        }
        if let Some(task) = dump.tasks.first_mut() {
            task.crashed = true;
        }
    }
}

/// Gives every segment its kind and every task its stack, name and true frame.
fn place(dump: &mut Dump, bytes: &[u8], layout: &Layout) {
    let loads: Vec<&Segment> = layout.segments.iter().filter(|s| !s.note).collect();
    let mut kinds = vec![RegionKind::Data; loads.len()];
    let tcbs: HashMap<u32, usize> = (0..).zip(&dump.tasks).map(|(i, t)| (t.tcb, i)).collect();
    let in_isr = dump.extra.and_then(|extra| extra.isr_context) == Some(true);
    let chip = dump.chip;
    for (index, segment) in loads.iter().enumerate() {
        let held = tcbs.get(&segment.address);
        let Some(task) = held.and_then(|held| dump.tasks.get_mut(*held)) else {
            continue;
        };
        mark(&mut kinds, index, RegionKind::Tcb);
        let Some(next) = loads.get(index + 1) else {
            continue;
        };
        let stack = (next.address, end_address(next));
        let pointer = task.registers.sp().unwrap_or(0);
        let saved = frame::read(layout.architecture, cut(bytes, &next.held))
            .filter(|saved| same_code(&saved.registers, &task.registers));
        let holds_it = (stack.0..=stack.1).contains(&pointer) || saved.is_some();
        if task.stack.is_some() || !holds_it {
            continue;
        }
        mark(&mut kinds, index + 1, RegionKind::Stack);
        task.stack = Some(stack);
        task.fake_stack = frame::is_fake_stack(chip, stack.0);
        if let Some(saved) = saved {
            adopt(task, &mut dump.exception, saved);
        }
        if task.crashed
            && in_isr
            && let Some(broken) = loads.get(index + 2)
            && !tcbs.contains_key(&broken.address)
            && let Some(saved) = frame::read(layout.architecture, cut(bytes, &broken.held))
        {
            mark(&mut kinds, index + 2, RegionKind::InterruptedStack);
            dump.interrupted = Some(Interrupted {
                registers: saved.registers,
                stack: (broken.address, end_address(broken)),
            });
        }
    }
    let regions = loads
        .iter()
        .zip(kinds)
        .map(|(segment, kind)| (segment.address, kind, segment.held.clone()));
    dump.memory = Memory::new(bytes.to_vec(), regions);
    for task in &mut dump.tasks {
        if task.stack.is_none() {
            find_frame(task, &mut dump.exception, &dump.memory);
        }
        task.name_hint = name_hint(&dump.memory, task.tcb);
        let pointer = task.registers.sp().unwrap_or(0);
        task.fake_stack |= frame::is_fake_stack(chip, pointer);
    }
}

/// Whether two contexts stand at the same instruction; the writer of the note
/// may have cleared the two highest bits.
fn same_code(one: &Registers, other: &Registers) -> bool {
    const ADDRESS: u32 = 0x3fff_ffff;
    match (one.pc(), other.pc()) {
        (Some(one), Some(other)) => one & ADDRESS == other & ADDRESS,
        _ => false,
    }
}

/// Where all of memory is dumped, stacks are no segments of their own: the
/// frame is where the TCB's first word (`pxTopOfStack`) points, or, for the
/// crashed task of a RISC-V, right below its stack pointer.
fn find_frame(task: &mut Task, exception: &mut Option<Exception>, memory: &Memory) {
    let top = memory.word(task.tcb);
    let below = match task.registers.architecture() {
        Architecture::RiscV => task
            .registers
            .sp()
            .and_then(|sp| sp.checked_sub(RISC_V_FRAME)),
        Architecture::Xtensa => None,
    };
    for address in [top, below].into_iter().flatten() {
        let saved = memory
            .from(address)
            .and_then(|stack| frame::read(task.registers.architecture(), stack))
            .filter(|saved| same_code(&saved.registers, &task.registers));
        if let Some(saved) = saved {
            adopt(task, exception, saved);
            return;
        }
    }
}

/// What the frame on the stack knows better than the note.
fn adopt(task: &mut Task, exception: &mut Option<Exception>, saved: frame::Frame) {
    if saved.solicited {
        // the note's other registers are left over from the task before it
        task.registers = saved.registers;
        task.solicited = true;
    } else if task.crashed && exception.is_none() {
        *exception = Some(saved.exception);
    }
}

fn mark(kinds: &mut [RegionKind], index: usize, kind: RegionKind) {
    if let Some(held) = kinds.get_mut(index) {
        *held = kind;
    }
}

fn end_address(segment: &Segment) -> u32 {
    let size = u32::try_from(segment.held.len()).unwrap_or(u32::MAX);
    segment.address.saturating_add(size)
}

/// The task's name where FreeRTOS has it: builds that keep the FPU's state in
/// the TCB (ESP32 and S3 up to ESP-IDF 4) have one more word before it.
pub(super) fn name_hint(memory: &Memory, tcb: u32) -> Option<String> {
    NAME_OFFSETS.iter().find_map(|offset| {
        let name = memory.c_string(tcb.checked_add(*offset)?, NAME_LENGTH)?;
        let readable = !name.is_empty() && !name.chars().any(|c| c.is_control() || c == '\u{fffd}');
        readable.then_some(name)
    })
}

const MAGIC: [u8; 7] = [0x7f, b'E', b'L', b'F', 1, 1, 1];
const ET_CORE: u16 = 4;
const ENTRY: u16 = 32;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const NOTE_BUDGET: usize = 64;
const MOST_TASKS: usize = 1024;
const MOST_TEXTS: usize = 16;
const NAME_OFFSETS: [u32; 2] = [52, 56];
const NAME_LENGTH: usize = 16;
/// Size of `RvExcFrame`.
const RISC_V_FRAME: u32 = 160;
