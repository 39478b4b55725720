//! Functions, files and lines of addresses, from the application's DWARF.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use addr2line::Context;
use gimli::{EndianSlice, LittleEndian, UnitOffset, UnitRef};

use super::elf::AppElf;
use super::lambda;

/// Debug information, borrowed from the ELF file.
pub type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The debug information of one application. Units are read when an address in
/// them is asked for.
pub struct Symbols<'a> {
    context: Context<Slice<'a>>,
    /// By address and entry.
    lambdas: RefCell<HashMap<(u32, UnitOffset), Option<String>>>,
    /// Entries that may still be looked at for the names of lambdas.
    lambda_budget: Cell<usize>,
}

/// Where in the source an address lies.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    pub function: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    /// The function is expanded in the one of the next place.
    pub inlined: bool,
    /// The function's entry in the unit that [`Symbols::unit`] gives.
    pub entry: Option<UnitOffset>,
}

impl<'a> Symbols<'a> {
    /// The debug information in `elf`.
    ///
    /// # Errors
    /// If its sections do not hang together.
    pub fn new(elf: &AppElf<'a>) -> Result<Self, gimli::Error> {
        let dwarf = gimli::Dwarf::load(|id| {
            Ok::<_, gimli::Error>(EndianSlice::new(elf.section(id.name()), LittleEndian))
        })?;
        Ok(Self {
            context: Context::from_dwarf(dwarf)?,
            lambdas: RefCell::default(),
            lambda_budget: Cell::new(LAMBDA_BUDGET),
        })
    }

    /// The functions that the instruction at `probe` belongs to: innermost
    /// inlined function first, last the one that was called. Empty without
    /// debug information.
    pub fn places(&self, probe: u32) -> Vec<Place> {
        let Ok(mut frames) = self.context.find_frames(probe.into()).skip_all_loads() else {
            return Vec::new();
        };
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let name = frame
                .function
                .as_ref()
                .and_then(|name| name.raw_name().ok());
            let location = frame.location.as_ref();
            places.push(Place {
                function: name.map(|name| self.named(&name, probe, frame.dw_die_offset)),
                file: location.and_then(|at| at.file).map(bounded),
                line: location.and_then(|at| at.line),
                inlined: true,
                entry: frame.dw_die_offset,
            });
            if places.len() == INLINED_LIMIT {
                break;
            }
        }
        if let Some(outermost) = places.last_mut() {
            outermost.inlined = false;
        }
        places
    }

    fn named(&self, name: &str, probe: u32, entry: Option<UnitOffset>) -> String {
        let lambda = entry.filter(|_| name == lambda::CALL);
        let lambda = lambda.and_then(|entry| self.lambda(probe, entry));
        lambda.unwrap_or_else(|| demangle(name))
    }

    fn lambda(&self, probe: u32, entry: UnitOffset) -> Option<String> {
        let mut known = self.lambdas.borrow_mut();
        let name = known.entry((probe, entry)).or_insert_with(|| {
            let name = lambda::qualified(self.unit(probe)?, entry, &self.lambda_budget)?;
            Some(bounded(&name))
        });
        name.clone()
    }

    /// The unit whose code is at `probe`.
    pub fn unit(&self, probe: u32) -> Option<UnitRef<'_, Slice<'a>>> {
        self.context
            .find_dwarf_and_unit(probe.into())
            .skip_all_loads()
    }
}

/// `name` as its programmer wrote it: C++ and Rust names are mangled. Without
/// parameter types, which the arguments tell.
pub fn demangle(name: &str) -> String {
    if name.len() > MANGLED_LIMIT {
        return bounded(name);
    }
    bounded(&demangled(name))
}

/// A name or path of the debug information, cut to what a report takes.
pub(super) fn bounded(name: &str) -> String {
    match name.char_indices().nth(NAME_LIMIT) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}...", name.get(..end).unwrap_or_default()),
    }
}

fn demangled(name: &str) -> String {
    if let Ok(demangled) = rustc_demangle::try_demangle(name) {
        return format!("{demangled:#}");
    }
    if !name.starts_with("_Z") {
        return name.to_owned();
    }
    let options = cpp_demangle::DemangleOptions::new()
        .no_params()
        .no_return_type();
    cpp_demangle::Symbol::new(name)
        .ok()
        .and_then(|symbol| symbol.demangle_with_options(&options).ok())
        .unwrap_or_else(|| name.to_owned())
}

/// Entries of debug information that are looked at for lambdas: those of the
/// largest units, many times.
const LAMBDA_BUDGET: usize = 10_000_000;
/// More inlined functions at one address are not believed.
const INLINED_LIMIT: usize = 64;
/// Characters of a name or path that are shown.
const NAME_LIMIT: usize = 512;
/// Longer names stay mangled: back references make them grow without bound.
const MANGLED_LIMIT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_they_were_written() {
        for (mangled, written) in [
            ("app_main", "app_main"),
            ("_ZN7Display4drawEiPKc", "Display::draw"),
            (
                "_ZN4core9panicking5panic17h0123456789abcdefE",
                "core::panicking::panic",
            ),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            ("_Znonsense", "_Znonsense"),
        ] {
            assert_eq!(demangle(mangled), written);
        }
        for length in [NAME_LIMIT + 1, 100_000] {
            let long = "\u{e9}".repeat(length);
            assert_eq!(demangle(&long).chars().count(), NAME_LIMIT + 3);
        }
    }
}
