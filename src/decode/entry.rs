//! Entries of the debug information: their names, and those they refer to.

use gimli::{AttributeValue, DebuggingInformationEntry, UnitRef};

use super::symbols::{Slice, bounded};

pub(super) type Entry<'a> = DebuggingInformationEntry<Slice<'a>>;

/// The entry's name, its own or that of the declaration that it completes.
/// The mangled one is preferred: it tells the most.
pub(super) fn name<'a>(unit: UnitRef<'_, Slice<'a>>, entry: &Entry<'a>) -> Option<String> {
    let named = [gimli::DW_AT_linkage_name, gimli::DW_AT_name];
    if let Some(value) = named.into_iter().find_map(|name| entry.attr_value(name)) {
        let name = unit.attr_string(value).ok()?;
        return Some(bounded(&name.to_string_lossy()));
    }
    let origin = origin(unit, entry)?;
    let value = named.into_iter().find_map(|name| origin.attr_value(name))?;
    Some(bounded(&unit.attr_string(value).ok()?.to_string_lossy()))
}

/// The declaration or abstract instance that `entry` completes.
pub(super) fn origin<'a>(unit: UnitRef<'_, Slice<'a>>, entry: &Entry<'a>) -> Option<Entry<'a>> {
    let value = entry
        .attr_value(gimli::DW_AT_abstract_origin)
        .or_else(|| entry.attr_value(gimli::DW_AT_specification))?;
    referred(unit, value)
}

/// The entry that an attribute refers to, if it is in the same unit.
pub(super) fn referred<'a>(
    unit: UnitRef<'_, Slice<'a>>,
    value: AttributeValue<Slice<'a>>,
) -> Option<Entry<'a>> {
    let offset = match value {
        AttributeValue::UnitRef(offset) => offset,
        AttributeValue::DebugInfoRef(offset) => offset.to_unit_offset(&unit.header)?,
        _ => return None,
    };
    unit.entry(offset).ok()
}
