//! From a dump to a report that names functions and source lines.

pub mod causes;
pub mod cfi;
pub mod elf;
pub mod report;
pub mod riscv;
pub mod symbols;
pub mod unwind;
