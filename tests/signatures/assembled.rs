//! Stacks of tasks that stopped in a chain of functions of a compiled application.

use espgate::coredump::Registers;
use espgate::decode::AppElf;
use espgate::decode::cfi::CallFrames;
use espgate::device::Architecture;

use crate::dumps::{RISC_V_FRAME, TaskSpec, XTENSA_FRAME};

/// An application, and the rules by which its stacks are read.
pub(crate) struct App<'a> {
    pub(crate) elf: AppElf<'a>,
    pub(crate) rules: CallFrames<'a>,
}

impl App<'_> {
    pub(crate) fn architecture(&self) -> Architecture {
        self.elf.architecture()
    }

    /// The program counters of a chain: where the innermost function stopped, and where
    /// each of the others goes on when the one before returns.
    pub(crate) fn program_counters(&self, chain: &[&str]) -> Vec<u32> {
        let vector = match self.architecture() {
            Architecture::Xtensa => "_xt_lowint1",
            Architecture::RiscV => "_global_interrupt_handler",
        };
        let named = chain
            .iter()
            .map(|name| if *name == "VECTOR" { vector } else { name });
        let present: Vec<&str> = named
            .filter(|name| *name == "0" || self.elf.symbol(name).is_some())
            .collect();
        let mut all = vec![match present[0] {
            "0" => 0,
            name => self.elf.symbol(name).unwrap().address,
        }];
        for pair in present.windows(2) {
            let (callee, caller) = (self.entry(pair[0]), pair[1]);
            all.push(match caller.starts_with("stop_") {
                true => self.elf.symbol(caller).unwrap().address,
                false => self.behind_call(caller, callee),
            });
        }
        all
    }

    /// The function that a name, which may be of a place in it, stands for.
    fn entry(&self, name: &str) -> u32 {
        let Some(place) = name.strip_prefix("stop_") else {
            return self.elf.symbol(name).map_or(0, |symbol| symbol.address);
        };
        match self.elf.symbol(place) {
            Some(symbol) => symbol.address,
            // expanded in another: the one that the place is in
            None => self.function_around(self.elf.symbol(name).unwrap().address),
        }
    }

    fn function_around(&self, address: u32) -> u32 {
        let sized =
            ["tlsf_malloc", "vPortEnterCritical"].map(|name| self.elf.symbol(name).unwrap());
        let found = sized
            .iter()
            .find(|it| (it.address..it.address + it.size).contains(&address));
        found.unwrap().address
    }

    /// Where `caller` goes on after a call of `callee`.
    fn behind_call(&self, caller: &str, callee: u32) -> u32 {
        let symbol = self.elf.symbol(caller).unwrap();
        let code = self.elf.constant_from(symbol.address).unwrap();
        let code = &code[..symbol.size as usize];
        let mut places = (0..symbol.size).filter_map(|at| {
            let (target, length) = call(
                self.architecture(),
                symbol.address + at,
                &code[at as usize..],
            )?;
            (target == callee).then_some(symbol.address + at + length)
        });
        places
            .next()
            .unwrap_or_else(|| panic!("{caller} does not call {callee:#x}"))
    }

    /// A task that is stopped in this chain, with its registers and stack.
    pub(crate) fn task(
        &self,
        tcb: u32,
        name: &'static str,
        chain: &[&str],
        cause: u32,
    ) -> TaskSpec {
        let pcs = self.program_counters(chain);
        let mut task = TaskSpec {
            tcb,
            name,
            stack_start: tcb + 0x2000,
            stack: vec![0; 0x200],
            solicited: false,
        };
        match self.architecture() {
            Architecture::Xtensa => windows(&mut task, &pcs),
            Architecture::RiscV => self.frames(&mut task, &pcs, cause),
        }
        task
    }

    fn frames(&self, task: &mut TaskSpec, pcs: &[u32], cause: u32) {
        let mut sp = task.stack_start + RISC_V_FRAME;
        let start = sp;
        let mut in_register = 0xdead_beef;
        for (number, pc) in pcs.iter().enumerate() {
            let returns_to = pcs.get(number + 1).copied().unwrap_or(0);
            let mut registers = Registers::new(Architecture::RiscV);
            registers.set("sp", Some(sp));
            let probe = if number == 0 { *pc } else { pc - 1 };
            // a call to nowhere has no frame
            let cfa = if *pc == 0 {
                sp
            } else {
                self.rules.cfa(&registers, probe).unwrap()
            };
            match cfa == sp {
                true => in_register = returns_to,
                false => task.set(cfa - 4, &[returns_to]),
            }
            sp = cfa;
        }
        task.set(task.stack_start, &[pcs[0], in_register, start]);
        task.set(
            task.stack_start + 32 * 4,
            &[0x1881, 0x4038_0001, cause, 0, 0],
        );
    }
}

/// Spills the windows of a chain of `call8`s.
pub(crate) fn windows(task: &mut TaskSpec, pcs: &[u32]) {
    let return_address = |number: usize| {
        pcs.get(number)
            .map_or(0, |pc| pc & 0x3fff_ffff | 0x8000_0000)
    };
    let mut sp = task.stack_start + XTENSA_FRAME;
    task.set_xtensa_frame(pcs[0], return_address(1), sp);
    // a call to nowhere: the window has not turned, a8 has the return address
    if pcs[0] == 0 {
        task.set(
            task.stack_start,
            &[0xdead_beef, 0, 0x0006_0f30 | 2 << 16, return_address(2), sp],
        );
        task.set(task.stack_start + (3 + 8) * 4, &[return_address(1)]);
    }
    let skipped = if pcs[0] == 0 { 2 } else { 1 };
    for number in skipped..pcs.len() {
        task.set(sp - 16, &[return_address(number + 1), sp + 0x20]);
        sp += 0x20;
    }
    task.set(sp - 16, &[0, sp + 0x20]);
}

/// The target of the call instruction at the beginning of `code`, and its length.
fn call(architecture: Architecture, at: u32, code: &[u8]) -> Option<(u32, u32)> {
    let bits = |value: u32, from: u32, count: u32| value >> from & ((1 << count) - 1);
    let signed = |value: u32, count: u32| ((value << (32 - count)) as i32 >> (32 - count)) as u32;
    if architecture == Architecture::Xtensa {
        let [a, b, c] = *code.first_chunk::<3>()?;
        let word = u32::from_le_bytes([a, b, c, 0]);
        let offset = signed(word >> 6, 18) << 2;
        return (word & 0x3f == 0x05)
            .then_some(((at & !3).wrapping_add(offset).wrapping_add(4), 3));
    }
    let half = u32::from(u16::from_le_bytes(*code.first_chunk::<2>()?));
    if half & 0xe003 == 0x2001 {
        let offset = bits(half, 12, 1) << 11
            | bits(half, 11, 1) << 4
            | bits(half, 9, 2) << 8
            | bits(half, 8, 1) << 10
            | bits(half, 7, 1) << 6
            | bits(half, 6, 1) << 7
            | bits(half, 3, 3) << 1
            | bits(half, 2, 1) << 5;
        return Some((at.wrapping_add(signed(offset, 12)), 2));
    }
    let word = u32::from_le_bytes(*code.first_chunk::<4>()?);
    let offset = bits(word, 31, 1) << 20
        | bits(word, 12, 8) << 12
        | bits(word, 20, 1) << 11
        | bits(word, 21, 10) << 1;
    (word & 0xfff == 0x0ef).then_some((at.wrapping_add(signed(offset, 21)), 4))
}
