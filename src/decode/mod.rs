//! From a dump to a report that names functions and source lines.

pub mod elf;
pub mod symbols;
