//! Call frame information: how to get from a frame to its caller's registers.
//!
//! Only RISC-V applications have rules worth following; the rules are plain
//! offsets there, so expressions are not evaluated.

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, DebugFrame, DebugFrameOffset, EhFrame, EhFrameOffset,
    LittleEndian, Register, RegisterRule, UnwindContext, UnwindSection, UnwindTableRow,
};

use crate::coredump::{Memory, Registers};

use super::elf::AppElf;
use super::symbols::Slice;

/// The unwinding rules of one application, by address.
pub struct CallFrames<'a> {
    debug_frame: DebugFrame<Slice<'a>>,
    eh_frame: EhFrame<Slice<'a>>,
    bases: BaseAddresses,
    /// By start address.
    entries: Vec<Entry>,
}

struct Entry {
    start: u32,
    end: u32,
    offset: Offset,
}

#[derive(Clone, Copy)]
enum Offset {
    DebugFrame(usize),
    EhFrame(usize),
}

/// The caller of a frame, as far as the rules give it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The frame's canonical address: the caller's stack pointer.
    pub cfa: u32,
    /// `pc` is the return address, if there is one.
    pub registers: Registers,
    pub return_address: ReturnAddress,
}

/// Where the rules say the return address is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReturnAddress {
    /// On the stack.
    Saved,
    /// Still in its register, as in a function that calls nothing.
    InRegister,
    /// Nowhere: this is the outermost function.
    Undefined,
}

impl<'a> CallFrames<'a> {
    /// The rules in `elf`. What does not parse is left out.
    pub fn new(elf: &AppElf<'a>) -> Self {
        let mut debug_frame = DebugFrame::new(elf.section(".debug_frame"), LittleEndian);
        debug_frame.set_address_size(4);
        let mut eh_frame = EhFrame::new(elf.section(".eh_frame"), LittleEndian);
        eh_frame.set_address_size(4);
        let address = elf.section_address(".eh_frame").unwrap_or(0);
        let bases = BaseAddresses::default().set_eh_frame(address.into());

        let mut entries = Vec::new();
        collect(&debug_frame, &bases, elf, &mut entries, Offset::DebugFrame);
        collect(&eh_frame, &bases, elf, &mut entries, Offset::EhFrame);
        entries.sort_by_key(|entry| entry.start);
        Self {
            debug_frame,
            eh_frame,
            bases,
            entries,
        }
    }

    /// Whether there are rules for the instruction at `probe`.
    pub fn covers(&self, probe: u32) -> bool {
        self.entry(probe).is_some()
    }

    /// The caller of the frame with `registers`, which is at the instruction
    /// `probe`. `None` without rules, or if the CFA cannot be told.
    pub fn caller(&self, memory: &Memory, registers: &Registers, probe: u32) -> Option<Caller> {
        let mut context = UnwindContext::new();
        let address = u64::from(probe);
        let row = match self.entry(probe)?.offset {
            Offset::DebugFrame(offset) => self
                .debug_frame
                .fde_from_offset(
                    &self.bases,
                    DebugFrameOffset(offset),
                    DebugFrame::cie_from_offset,
                )
                .ok()?
                .unwind_info_for_address(&self.debug_frame, &self.bases, &mut context, address),
            Offset::EhFrame(offset) => self
                .eh_frame
                .fde_from_offset(&self.bases, EhFrameOffset(offset), EhFrame::cie_from_offset)
                .ok()?
                .unwind_info_for_address(&self.eh_frame, &self.bases, &mut context, address),
        };
        apply(row.ok()?, memory, registers)
    }

    /// The frame's canonical address alone, which every architecture's rules tell.
    pub fn cfa(&self, registers: &Registers, probe: u32) -> Option<u32> {
        self.caller(&Memory::default(), registers, probe)
            .map(|caller| caller.cfa)
    }

    fn entry(&self, probe: u32) -> Option<&Entry> {
        let after = self.entries.partition_point(|entry| entry.start <= probe);
        let before = self.entries.get(..after)?;
        before.last().filter(|entry| probe < entry.end)
    }
}

fn collect<'a, S: UnwindSection<Slice<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    elf: &AppElf<'a>,
    entries: &mut Vec<Entry>,
    offset: impl Fn(usize) -> Offset,
) {
    let mut all = section.entries(bases);
    let mut last_cie = None;
    while let Ok(Some(entry)) = all.next() {
        let CieOrFde::Fde(partial) = entry else {
            continue;
        };
        let fde = partial.parse(|section, bases, at| match &last_cie {
            Some((known, cie)) if *known == at => Ok(Clone::clone(cie)),
            _ => {
                let cie = section.cie_from_offset(bases, at)?;
                last_cie = Some((at, cie.clone()));
                Ok(cie)
            }
        });
        let Ok(fde) = fde else { continue };
        let range = (
            u32::try_from(fde.initial_address()),
            u32::try_from(fde.end_address()),
        );
        // discarded functions keep an entry at address 0
        if let (Ok(start), Ok(end)) = range
            && elf.is_code(start)
        {
            entries.push(Entry {
                start,
                end,
                offset: offset(fde.offset()),
            });
        }
    }
}

fn apply(row: &UnwindTableRow<usize>, memory: &Memory, registers: &Registers) -> Option<Caller> {
    let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else {
        return None;
    };
    let cfa = displaced(registers.general(register.0)?, *offset);
    let mut caller = Registers::new(registers.architecture());
    for number in 0..=LAST_REGISTER {
        let value = match row.register(Register(number)) {
            None if CALLEE_SAVED.contains(&number) => registers.general(number),
            None | Some(RegisterRule::Undefined) => None,
            Some(RegisterRule::SameValue) => registers.general(number),
            Some(RegisterRule::Offset(offset)) => memory.word(displaced(cfa, offset)),
            Some(RegisterRule::ValOffset(offset)) => Some(displaced(cfa, offset)),
            Some(RegisterRule::Register(other)) => registers.general(other.0),
            Some(RegisterRule::Constant(value)) => u32::try_from(value).ok(),
            Some(_) => None,
        };
        caller.set_general(number, value);
    }
    let (return_address, pc) = match row.register(RETURN_ADDRESS) {
        Some(RegisterRule::Undefined) => (ReturnAddress::Undefined, None),
        None | Some(RegisterRule::SameValue) => (
            ReturnAddress::InRegister,
            registers.general(RETURN_ADDRESS.0),
        ),
        Some(_) => (ReturnAddress::Saved, caller.general(RETURN_ADDRESS.0)),
    };
    caller.set("pc", pc);
    caller.set_general(STACK_POINTER, Some(cfa));
    Some(Caller {
        cfa,
        registers: caller,
        return_address,
    })
}

/// `address` moved by a signed offset, as the 32-bit machine computes it.
fn displaced(address: u32, offset: i64) -> u32 {
    let moved = i64::from(address).wrapping_add(offset) & i64::from(u32::MAX);
    u32::try_from(moved).unwrap_or(0)
}

/// RISC-V's ra.
const RETURN_ADDRESS: Register = Register(1);
const STACK_POINTER: u16 = 2;
const LAST_REGISTER: u16 = 31;
/// gp, tp and s0 to s11: a function without a rule for them has left them alone.
const CALLEE_SAVED: [u16; 14] = [3, 4, 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27];
