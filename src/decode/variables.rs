//! Arguments and local variables of one line of a backtrace.

use gimli::UnitOffset;

use super::Options;
use super::entry::{Entry, name, origin};
use super::location::Spot;
use super::report::Variable;
use super::secret_variables::looks_secret;
use super::types;

/// Arguments and locals of the function whose entry is `function`: the spot's
/// own, or one inlined there.
pub(super) fn variables(
    spot: &Spot<'_, '_, '_>,
    function: UnitOffset,
    options: Options,
) -> (Vec<Variable>, Vec<Variable>) {
    let mut found = Found::default();
    found.collect(spot, function, options);
    (found.arguments, found.locals)
}

#[derive(Default)]
struct Found {
    arguments: Vec<Variable>,
    locals: Vec<Variable>,
    /// Abstract instances of what was found.
    origins: Vec<UnitOffset>,
}

impl Found {
    fn collect(
        &mut self,
        spot: &Spot<'_, '_, '_>,
        function: UnitOffset,
        options: Options,
    ) -> Option<()> {
        let unit = spot.unit;
        self.children(spot, function, options, true);
        // what the compiler removed altogether is only in the abstract instance
        let origin = origin(unit, &unit.entry(function).ok()?)?;
        self.children(spot, origin.offset(), options, false);
        Some(())
    }

    fn children(
        &mut self,
        spot: &Spot<'_, '_, '_>,
        function: UnitOffset,
        options: Options,
        concrete: bool,
    ) -> Option<()> {
        let mut entries = spot.unit.entries_at_offset(function).ok()?;
        let root = entries.next_dfs().ok()??.depth();
        // entries deeper than this are in a block that does not count
        let mut deepest = root + 1;
        for _ in 0..ENTRIES_LIMIT {
            let entry = entries.next_dfs().ok()??;
            let depth = entry.depth();
            if depth <= root || self.arguments.len() + self.locals.len() >= VARIABLES_LIMIT {
                return None;
            }
            deepest = deepest.min(depth);
            if depth > deepest {
                continue;
            }
            match entry.tag() {
                gimli::DW_TAG_lexical_block if concrete && covers(spot, entry) => {
                    deepest = depth + 1
                }
                gimli::DW_TAG_formal_parameter if depth == root + 1 => {
                    if let Some(variable) = self.variable(spot, entry, options, concrete) {
                        self.arguments.push(variable);
                    }
                }
                gimli::DW_TAG_variable if concrete => {
                    if let Some(variable) = self.variable(spot, entry, options, concrete) {
                        self.locals.push(variable);
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn variable<'a>(
        &mut self,
        spot: &Spot<'_, '_, 'a>,
        entry: &Entry<'a>,
        options: Options,
        concrete: bool,
    ) -> Option<Variable> {
        let unit = spot.unit;
        let origin = origin(unit, entry);
        if !concrete && self.origins.contains(&entry.offset()) {
            return None;
        }
        self.origins
            .extend(origin.as_ref().map(|origin| origin.offset()));
        let mut variable = Variable {
            name: name(unit, entry)?,
            ..Variable::default()
        };
        let typed =
            types::of_entry(unit, entry).or_else(|| types::of_entry(unit, origin.as_ref()?));
        let located = typed.filter(|_| concrete);
        if let Some((kind, size)) = located
            && let Some(bytes) = spot.bytes(entry, size)
        {
            types::show(&mut variable, kind, &bytes, unit, spot.scene);
        }
        if !options.secrets && looks_secret(&variable.name) {
            super::secret_variables::mask(&mut variable);
        }
        Some(variable)
    }
}

fn covers<'a>(spot: &Spot<'_, '_, 'a>, block: &Entry<'a>) -> bool {
    let Ok(mut ranges) = spot.unit.die_ranges(block) else {
        return false;
    };
    let probe = u64::from(spot.frame.probe);
    while let Ok(Some(range)) = ranges.next() {
        if range.begin <= probe && probe < range.end {
            return true;
        }
    }
    false
}

const VARIABLES_LIMIT: usize = 64;
/// Entries of one function looked at.
const ENTRIES_LIMIT: usize = 100_000;
