//! The binary payload without its image's header: what arrives when an
//! uploader cuts off 24 bytes, whatever the header's size was.
//!
//! The header's counts are lost, and with the shorter headers the first words
//! of the first task. All can be found again: the owner fields of a TCB's two
//! list items hold its own address (FreeRTOS's `TCB_t`), which tells where
//! tasks begin, and so how long a TCB is.

use crate::device::Architecture;
use crate::reader::word_at;

use super::binary_payload::Counts;

/// A payload with what its header would have said.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The payload from its first byte.
    pub(super) data: Vec<u8>,
    /// How many of its bytes were made up from the others.
    pub(super) put_back: usize,
    pub(super) counts: Counts,
    pub(super) architecture: Architecture,
}

/// Whether `bytes` are tasks of a binary payload, and if so, which; the inner
/// `None` stands for tasks that cannot be told apart.
pub(super) fn recover(bytes: &[u8]) -> Option<Option<Recovered>> {
    let put_back = [0, 4, 8]
        .into_iter()
        .find(|cut| begins_with_task(bytes, *cut))?;
    Some(recover_from(bytes, put_back))
}

/// Whether the first task follows, of whose description `cut` bytes are gone.
fn begins_with_task(bytes: &[u8], cut: usize) -> bool {
    let word = |offset: usize| word_at(bytes, offset.checked_sub(cut)?);
    let Some(owner) = owner(bytes, 12 - cut) else {
        return false;
    };
    let (tcb, start, end) = (word(0), word(4), word(8));
    tcb.is_none_or(|tcb| tcb == owner)
        && end.is_some_and(|end| is_stack(start.unwrap_or(end.saturating_sub(4)), end))
}

/// The address that the TCB at `offset` gives as its own, twice.
fn owner(bytes: &[u8], offset: usize) -> Option<u32> {
    let owner = word_at(bytes, offset.checked_add(STATE_ITEM_OWNER)?)?;
    let again = word_at(bytes, offset.checked_add(EVENT_ITEM_OWNER)?)?;
    (owner == again && is_memory(owner)).then_some(owner)
}

fn is_memory(address: u32) -> bool {
    address.is_multiple_of(4) && matches!(address, 0x3c00_0000..0x6200_0000)
}

fn is_stack(start: u32, end: u32) -> bool {
    is_memory(start) && is_memory(end & !3) && start < end && end - start < LARGEST_STACK
}

fn recover_from(bytes: &[u8], put_back: usize) -> Option<Recovered> {
    let mut data = vec![0; put_back];
    data.extend(bytes);
    let starts = task_starts(&data);
    let stack = |at: usize| -> Option<usize> {
        let size = word_at(&data, at + 8)?.checked_sub(word_at(&data, at + 4)?)?;
        usize::try_from(size.next_multiple_of(4)).ok()
    };
    // the first task's stack may be of unknown size, and the last one's is cut
    let known = starts.get(usize::from(put_back == 8)..)?;
    let tcb_size = match known {
        [at, next, ..] => (next - at).checked_sub(12 + stack(*at)?)?,
        [at] => {
            let longest = (data.len() - at).checked_sub(12 + stack(*at)?)?;
            let shortest = longest.saturating_sub(FLASH_PADDING);
            let framed = |size: &usize| running(&data, *at, *size);
            (shortest..=longest).rev().step_by(4).find(framed)?
        }
        [] => return None,
    };
    if !(SMALLEST_TCB..=LARGEST_TCB).contains(&tcb_size) {
        return None;
    }
    if put_back >= 4 {
        write(&mut data, 0, owner(bytes, 12 - put_back)?);
    }
    if put_back == 8 {
        let size = starts.get(1)?.checked_sub(12 + tcb_size)?;
        let end = word_at(&data, 8)?;
        write(&mut data, 4, end.checked_sub(u32::try_from(size).ok()?)?);
    }
    let mut counts = Counts {
        tasks: u32::try_from(starts.len()).ok()?,
        tcb_size: u32::try_from(tcb_size).ok()?,
        segments: 0,
    };
    if put_back < 8 {
        counts.segments = segments(&data, &starts, tcb_size);
    }
    let architecture = architecture(&data, 0, counts.tcb_size)?;
    Some(Recovered {
        data,
        put_back,
        counts,
        architecture,
    })
}

/// Where tasks begin. The first one does so at 0.
fn task_starts(data: &[u8]) -> Vec<usize> {
    let begins = |at: &usize| {
        let (tcb, start, end) = (
            word_at(data, *at),
            word_at(data, at + 4),
            word_at(data, at + 8),
        );
        tcb.is_some()
            && tcb == owner(data, at + 12)
            && matches!((start, end), (Some(start), Some(end)) if is_stack(start, end))
    };
    let later = (4..data.len()).step_by(4).filter(begins);
    std::iter::once(0).chain(later).take(MOST_TASKS).collect()
}

/// How many memory segments follow the last task.
fn segments(data: &[u8], starts: &[usize], tcb_size: usize) -> u32 {
    let step = |at: usize, header: usize, size: Option<u32>| {
        let end = at
            .checked_add(header)?
            .checked_add(usize::try_from(size?).ok()?)?;
        (end <= data.len()).then_some(end)
    };
    let last = starts.last().copied().unwrap_or(0);
    let size = |at: usize| word_at(data, at + 8)?.checked_sub(word_at(data, at + 4)?);
    let Some(mut at) = step(
        last,
        12 + tcb_size,
        size(last).map(|size| size.next_multiple_of(4)),
    ) else {
        return 0;
    };
    let mut count = 0;
    while word_at(data, at).is_some_and(is_memory) && word_at(data, at + 4) != Some(0) {
        let Some(end) = step(at, 8, word_at(data, at + 4)) else {
            break;
        };
        at = end;
        count += 1;
    }
    count
}

/// Whose frame the stack of the task at `at` begins with: the one whose stack
/// pointer points into that stack.
pub(super) fn architecture(data: &[u8], at: usize, tcb_size: u32) -> Option<Architecture> {
    let (start, end) = (word_at(data, at + 4)?, word_at(data, at + 8)?);
    let frame = usize::try_from(tcb_size).ok()?.checked_add(at + 12)?;
    let points = |word: usize| {
        let pointer = word_at(data, frame.checked_add(word * 4)?);
        Some(pointer? > start && pointer? <= end)
    };
    if points(XTENSA_A1)? || points(SOLICITED_A1)? {
        return Some(Architecture::Xtensa);
    }
    points(RISC_V_SP)?.then_some(Architecture::RiscV)
}

/// Whether the task at `at` stands in code, if its TCB is `tcb_size` long.
fn running(data: &[u8], at: usize, tcb_size: usize) -> bool {
    let frame = at + 12 + tcb_size;
    let size = u32::try_from(tcb_size).unwrap_or(u32::MAX);
    let pc = match architecture(data, at, size) {
        Some(Architecture::Xtensa) => word_at(data, frame + 4),
        Some(Architecture::RiscV) => word_at(data, frame),
        None => None,
    };
    // code lies from 0x4000_0000; saved return addresses of Xtensa carry a
    // call size in the two highest bits
    pc.is_some_and(|pc| pc >> 30 != 0 && pc & 0x3fff_ffff < 0x1000_2000)
}

fn write(data: &mut [u8], at: usize, word: u32) {
    if let Some(held) = data.get_mut(at..at + 4) {
        held.copy_from_slice(&word.to_le_bytes());
    }
}

/// `xStateListItem.pvOwner` and `xEventListItem.pvOwner` in `TCB_t`.
const STATE_ITEM_OWNER: usize = 16;
const EVENT_ITEM_OWNER: usize = 36;
const SMALLEST_TCB: usize = 64;
const LARGEST_TCB: usize = 4096;
const LARGEST_STACK: u32 = 64 << 10;
const MOST_TASKS: usize = 1024;
/// Words of `XtExcFrame` and of `RvExcFrame`.
const XTENSA_A1: usize = 4;
const RISC_V_SP: usize = 2;
/// Word of `XtSolFrame`.
const SOLICITED_A1: usize = 5;
/// Flash writers fill the data up to a multiple of this.
const FLASH_PADDING: usize = 32;
