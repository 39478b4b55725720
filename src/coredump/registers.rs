//! One CPU context, in the names that GDB gives its registers.

use crate::device::Architecture;

/// The registers of a task or frame. What a dump does not tell is `None`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Registers {
    architecture: Architecture,
    values: [Option<u32>; SLOTS],
}

impl Registers {
    /// All registers unknown.
    pub fn new(architecture: Architecture) -> Self {
        Self {
            architecture,
            values: [None; SLOTS],
        }
    }

    /// Whose registers these are.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The register names, in the order of [`Registers::iter`]: Xtensa `pc ps
    /// lbeg lend lcount sar a0..a15`, RISC-V `pc` and x1 to x31 by their ABI
    /// names, x8 being `fp`.
    pub fn names(&self) -> &'static [&'static str] {
        match self.architecture {
            Architecture::Xtensa => &XTENSA,
            Architecture::RiscV => &RISC_V,
        }
    }

    /// Every register with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Option<u32>)> + '_ {
        self.names().iter().copied().zip(self.values)
    }

    /// The register called `name`.
    pub fn get(&self, name: &str) -> Option<u32> {
        *self.values.get(self.slot(name)?)?
    }

    /// Sets the register called `name`; an unknown name changes nothing.
    pub fn set(&mut self, name: &str, value: Option<u32>) {
        if let Some(slot) = self.slot(name).and_then(|i| self.values.get_mut(i)) {
            *slot = value;
        }
    }

    /// Xtensa's a0..a15 or RISC-V's x0..x31 by number (x0 is always 0). These
    /// are also DWARF's register numbers.
    pub fn general(&self, number: u16) -> Option<u32> {
        if self.architecture == Architecture::RiscV && number == 0 {
            return Some(0);
        }
        *self.values.get(self.general_slot(number)?)?
    }

    /// Sets the register that [`Registers::general`] reads.
    pub fn set_general(&mut self, number: u16, value: Option<u32>) {
        if let Some(slot) = self.general_slot(number)
            && let Some(held) = self.values.get_mut(slot)
        {
            *held = value;
        }
    }

    /// The program counter.
    pub fn pc(&self) -> Option<u32> {
        self.get("pc")
    }

    /// The stack pointer: a1 or x2.
    pub fn sp(&self) -> Option<u32> {
        match self.architecture {
            Architecture::Xtensa => self.general(1),
            Architecture::RiscV => self.general(2),
        }
    }

    fn slot(&self, name: &str) -> Option<usize> {
        self.names().iter().position(|known| *known == name)
    }

    fn general_slot(&self, number: u16) -> Option<usize> {
        let number = usize::from(number);
        match self.architecture {
            Architecture::Xtensa => (number < 16).then_some(number + XTENSA_A0),
            Architecture::RiscV => (1..32).contains(&number).then_some(number),
        }
    }
}

const SLOTS: usize = 32;
const XTENSA_A0: usize = 6;

#[rustfmt::skip]
const XTENSA: [&str; 22] = [
    "pc", "ps", "lbeg", "lend", "lcount", "sar",
    "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
    "a8", "a9", "a10", "a11", "a12", "a13", "a14", "a15",
];

#[rustfmt::skip]
const RISC_V: [&str; SLOTS] = [
    "pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "fp", "s1",
    "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
    "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
    "t3", "t4", "t5", "t6",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_has_one_value_by_name_and_by_number() {
        for (architecture, number, name) in [
            (Architecture::Xtensa, 0, "a0"),
            (Architecture::Xtensa, 15, "a15"),
            (Architecture::RiscV, 1, "ra"),
            (Architecture::RiscV, 8, "fp"),
            (Architecture::RiscV, 10, "a0"),
            (Architecture::RiscV, 31, "t6"),
        ] {
            let mut registers = Registers::new(architecture);
            registers.set_general(number, Some(7));
            assert_eq!(registers.get(name), Some(7), "{name}");
            registers.set(name, None);
            assert_eq!(registers.general(number), None, "{name}");
        }
    }

    #[test]
    fn numbers_and_names_of_no_register_are_nothing() {
        let mut registers = Registers::new(Architecture::Xtensa);
        registers.set_general(16, Some(1));
        registers.set("ra", Some(1));
        assert!(registers.iter().all(|(_, value)| value.is_none()));
        assert_eq!(registers.general(16), None);
        assert_eq!(Registers::new(Architecture::RiscV).general(0), Some(0));
    }
}
