//! C, C++ and Rust types of the debug information, and values of them in words.

use gimli::{AttributeValue, UnitOffset, UnitRef};

use super::entry::{Entry, name, referred};
use super::location::{Scene, little_endian};
use super::report::Variable;
use super::symbols::{Slice, demangle};

/// What a value of a type is shown as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Signed,
    Unsigned,
    Character {
        signed: bool,
    },
    Boolean,
    Float,
    Enumeration(UnitOffset),
    Pointer(Option<UnitOffset>),
    /// An array of single characters.
    Text,
    /// A structure, an array, or what else is no single value.
    Aggregate,
}

/// The kind and size in bytes of the type that `entry`'s `DW_AT_type` names.
/// `None` if there is no such type.
pub(super) fn of_entry<'a>(
    unit: UnitRef<'_, Slice<'a>>,
    entry: &Entry<'a>,
) -> Option<(Kind, usize)> {
    let mut entry = referred(unit, entry.attr_value(gimli::DW_AT_type)?)?;
    for _ in 0..CHAIN_LIMIT {
        let size = size(&entry);
        let kind = match entry.tag() {
            gimli::DW_TAG_base_type => base(&entry)?,
            gimli::DW_TAG_enumeration_type => Kind::Enumeration(entry.offset()),
            gimli::DW_TAG_pointer_type
            | gimli::DW_TAG_reference_type
            | gimli::DW_TAG_rvalue_reference_type => {
                let target = entry.attr_value(gimli::DW_AT_type);
                let target = target.and_then(|value| referred(unit, value));
                return Some((
                    Kind::Pointer(target.map(|target| target.offset())),
                    size.unwrap_or(4),
                ));
            }
            gimli::DW_TAG_array_type => return array(unit, &entry),
            gimli::DW_TAG_typedef
            | gimli::DW_TAG_const_type
            | gimli::DW_TAG_volatile_type
            | gimli::DW_TAG_restrict_type
            | gimli::DW_TAG_atomic_type => {
                entry = referred(unit, entry.attr_value(gimli::DW_AT_type)?)?;
                continue;
            }
            _ => Kind::Aggregate,
        };
        return Some((kind, size?));
    }
    None
}

fn base(entry: &Entry<'_>) -> Option<Kind> {
    let AttributeValue::Encoding(encoding) = entry.attr_value(gimli::DW_AT_encoding)? else {
        return None;
    };
    Some(match encoding {
        gimli::DW_ATE_signed => Kind::Signed,
        gimli::DW_ATE_unsigned | gimli::DW_ATE_address => Kind::Unsigned,
        gimli::DW_ATE_signed_char => Kind::Character { signed: true },
        gimli::DW_ATE_unsigned_char | gimli::DW_ATE_UTF => Kind::Character { signed: false },
        gimli::DW_ATE_boolean => Kind::Boolean,
        gimli::DW_ATE_float => Kind::Float,
        _ => Kind::Aggregate,
    })
}

fn array<'a>(unit: UnitRef<'_, Slice<'a>>, entry: &Entry<'a>) -> Option<(Kind, usize)> {
    let single = is_character(unit, referred(unit, entry.attr_value(gimli::DW_AT_type)?)?);
    let mut entries = unit.entries_at_offset(entry.offset()).ok()?;
    entries.next_dfs().ok()??;
    let range = entries.next_dfs().ok()??;
    let length = match range.attr_value(gimli::DW_AT_count) {
        Some(count) => count.udata_value()?,
        None => range
            .attr_value(gimli::DW_AT_upper_bound)?
            .udata_value()?
            .checked_add(1)?,
    };
    let further = entries.next_dfs().ok().flatten();
    let flat = further.is_none_or(|entry| entry.tag() != gimli::DW_TAG_subrange_type);
    let kind = if single && flat {
        Kind::Text
    } else {
        Kind::Aggregate
    };
    Some((kind, usize::try_from(length).ok()?))
}

/// Whether a type is one byte that stands for a character.
fn is_character<'a>(unit: UnitRef<'_, Slice<'a>>, mut entry: Entry<'a>) -> bool {
    for _ in 0..CHAIN_LIMIT {
        if entry.tag() == gimli::DW_TAG_base_type {
            let character = matches!(base(&entry), Some(Kind::Character { .. }));
            return character && size(&entry) == Some(1);
        }
        let qualified = matches!(
            entry.tag(),
            gimli::DW_TAG_typedef | gimli::DW_TAG_const_type | gimli::DW_TAG_volatile_type
        );
        let next = entry.attr_value(gimli::DW_AT_type).filter(|_| qualified);
        match next.and_then(|value| referred(unit, value)) {
            Some(target) => entry = target,
            None => return false,
        }
    }
    false
}

/// Fills in value, text and symbol of a variable from its bytes.
pub(super) fn show<'a>(
    variable: &mut Variable,
    kind: Kind,
    bytes: &[u8],
    unit: UnitRef<'_, Slice<'a>>,
    scene: Scene<'_, '_, 'a>,
) {
    if kind == Kind::Text {
        variable.text = Some(text(bytes, bytes.len()));
        return;
    }
    let Some(bits) = little_endian(bytes).filter(|_| kind != Kind::Aggregate) else {
        return;
    };
    let signed = sign_extended(bits, bytes.len());
    variable.value = Some(match kind {
        Kind::Signed | Kind::Character { signed: true } => signed.to_string(),
        Kind::Float => float(bytes, bits),
        Kind::Boolean if bits < 2 => (bits == 1).to_string(),
        Kind::Pointer(_) => format!("{bits:#x}"),
        Kind::Enumeration(_) => signed.to_string(),
        _ => bits.to_string(),
    });
    match kind {
        Kind::Character { .. } => {
            variable.text = u32::try_from(bits)
                .ok()
                .and_then(char::from_u32)
                .map(character);
        }
        Kind::Enumeration(entry) => variable.text = enumerator(unit, entry, bits, signed),
        Kind::Pointer(target) => point(variable, bits, target, unit, scene),
        _ => {}
    }
}

fn point<'a>(
    variable: &mut Variable,
    bits: u64,
    target: Option<UnitOffset>,
    unit: UnitRef<'_, Slice<'a>>,
    scene: Scene<'_, '_, 'a>,
) {
    let Ok(address) = u32::try_from(bits) else {
        return;
    };
    if let Some(symbol) = scene.application.elf.symbol_at(address) {
        let name = demangle(symbol.name);
        variable.symbol = Some(match address - symbol.address {
            0 => name,
            offset => format!("{name}+{offset}"),
        });
    }
    let target = target.and_then(|target| unit.entry(target).ok());
    if target.is_some_and(|target| is_character(unit, target)) {
        variable.text = scene.from(address).map(|bytes| text(bytes, TEXT_LIMIT));
    }
}

fn enumerator(
    unit: UnitRef<'_, Slice<'_>>,
    entry: UnitOffset,
    bits: u64,
    signed: i64,
) -> Option<String> {
    let mut entries = unit.entries_at_offset(entry).ok()?;
    let depth = entries.next_dfs().ok()??.depth();
    for _ in 0..ENUMERATORS_LIMIT {
        let entry = entries.next_dfs().ok()??;
        if entry.depth() <= depth {
            return None;
        }
        let Some(value) = entry.attr_value(gimli::DW_AT_const_value) else {
            continue;
        };
        if value.sdata_value() == Some(signed) || value.udata_value() == Some(bits) {
            return name(unit, entry);
        }
    }
    None
}

/// The structure that an attribute refers to, through any names it has.
pub(super) fn structure<'a>(
    unit: UnitRef<'_, Slice<'a>>,
    value: AttributeValue<Slice<'a>>,
) -> Option<Entry<'a>> {
    let mut entry = referred(unit, value)?;
    for _ in 0..CHAIN_LIMIT {
        if entry.tag() == gimli::DW_TAG_structure_type {
            return Some(entry);
        }
        entry = referred(unit, entry.attr_value(gimli::DW_AT_type)?)?;
    }
    None
}

fn size(entry: &Entry<'_>) -> Option<usize> {
    let size = entry.attr_value(gimli::DW_AT_byte_size)?.udata_value()?;
    usize::try_from(size).ok()
}

fn text(bytes: &[u8], limit: usize) -> String {
    let shown = bytes.get(..limit).unwrap_or(bytes);
    let end = shown.iter().position(|byte| *byte == 0);
    let text = String::from_utf8_lossy(shown.get(..end.unwrap_or(shown.len())).unwrap_or_default());
    match end {
        None if bytes.len() > shown.len() => format!("{text}..."),
        _ => text.into_owned(),
    }
}

/// A character as C writes it.
fn character(letter: char) -> String {
    match letter {
        '\n' | '\r' | '\t' | '\\' | '\'' => letter.escape_default().to_string(),
        letter if letter.is_control() => format!("\\{:03o}", u32::from(letter)),
        letter => letter.to_string(),
    }
}

fn float(bytes: &[u8], bits: u64) -> String {
    match u32::try_from(bits) {
        Ok(bits) if bytes.len() == 4 => f32::from_bits(bits).to_string(),
        _ => f64::from_bits(bits).to_string(),
    }
}

fn sign_extended(bits: u64, size: usize) -> i64 {
    let unused = 64 - 8 * u32::try_from(size.clamp(1, 8)).unwrap_or(8);
    bits.wrapping_shl(unused).cast_signed().wrapping_shr(unused)
}

/// Typedefs and qualifiers followed.
const CHAIN_LIMIT: usize = 32;
const ENUMERATORS_LIMIT: usize = 10_000;
/// Bytes of a text shown.
const TEXT_LIMIT: usize = 200;
