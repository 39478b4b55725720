//! Names of C++ lambdas. Debug information calls each of them `operator()`; which
//! function it is in is told by where its entry is.

use std::cell::Cell;

use gimli::{DwTag, UnitOffset, UnitRef};

use super::entry::{name, origin};
use super::symbols::{Slice, demangle};

/// What debug information calls all of them.
pub(super) const CALL: &str = "operator()";

/// The name of the lambda with the entry `function`, such as
/// `app_main::{lambda}::operator()`. `budget` is how many entries may be looked at.
pub(super) fn qualified<'a>(
    unit: UnitRef<'_, Slice<'a>>,
    function: UnitOffset,
    budget: &Cell<usize>,
) -> Option<String> {
    let around = around(unit, declaration(unit, function)?, budget)?;
    let mut parts = vec![CALL.to_owned()];
    for (offset, tag) in around.into_iter().rev() {
        let named = name(unit, &unit.entry(offset).ok()?);
        match tag {
            gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type => {
                parts.push(named.unwrap_or_else(|| "{lambda}".to_owned()));
            }
            gimli::DW_TAG_subprogram => {
                let function = demangle(&named?);
                let is_lambda = function == CALL;
                parts.push(function);
                if !is_lambda {
                    break;
                }
            }
            gimli::DW_TAG_namespace => {
                parts.push(named.unwrap_or_else(|| "(anonymous namespace)".to_owned()));
            }
            _ => {}
        }
    }
    parts.reverse();
    (parts.len() > 1).then(|| parts.join("::"))
}

/// The entry that `function` is a copy of.
fn declaration<'a>(unit: UnitRef<'_, Slice<'a>>, function: UnitOffset) -> Option<UnitOffset> {
    let mut entry = unit.entry(function).ok()?;
    for _ in 0..MOST_HOPS {
        match origin(unit, &entry) {
            Some(declaration) => entry = declaration,
            None => return Some(entry.offset()),
        }
    }
    None
}

/// The entries that the one at `wanted` is in, the outermost first.
fn around<'a>(
    unit: UnitRef<'_, Slice<'a>>,
    wanted: UnitOffset,
    budget: &Cell<usize>,
) -> Option<Vec<(UnitOffset, DwTag)>> {
    let mut path: Vec<(isize, UnitOffset, DwTag)> = Vec::new();
    let mut entries = unit.entries();
    while let Ok(Some(entry)) = entries.next_dfs() {
        budget.set(budget.get().checked_sub(1)?);
        let depth = entry.depth();
        while path.last().is_some_and(|(outer, ..)| *outer >= depth) {
            path.pop();
        }
        if entry.offset() == wanted {
            return Some(path.into_iter().map(|(_, at, tag)| (at, tag)).collect());
        }
        path.push((depth, entry.offset(), entry.tag()));
    }
    None
}

/// A copy of a copy of a declaration is usual.
const MOST_HOPS: usize = 4;
