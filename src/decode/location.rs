//! Where DWARF says a value is, and the bytes that are there.

use gimli::{
    AttributeValue, DwAt, EvaluationResult, Expression, Location, Piece, UnitOffset, UnitRef,
    ValueType,
};

use crate::coredump::{Memory, Registers};
use crate::device::Architecture;

use super::application::Application;
use super::entry::{Entry, name, referred};
use super::symbols::{Place, Slice};
use super::unwind::Frame;

/// A backtrace in which values are looked for.
#[derive(Clone, Copy)]
pub(super) struct Scene<'s, 'e, 'a> {
    pub application: &'s Application<'e, 'a>,
    pub memory: &'s Memory,
    pub frames: &'s [Frame],
}

/// One frame of a scene, with the debug information of its function.
#[derive(Clone, Copy)]
pub(super) struct Spot<'s, 'e, 'a> {
    pub scene: Scene<'s, 'e, 'a>,
    /// Of the physical frame.
    pub index: usize,
    pub frame: &'s Frame,
    pub unit: UnitRef<'s, Slice<'a>>,
    /// The entry of the function that was called, not of one inlined in it.
    pub function: UnitOffset,
}

impl<'s, 'e, 'a> Scene<'s, 'e, 'a> {
    /// The frame number `index`, whose places are known; `None` without debug information.
    pub(super) fn spot(self, index: usize, places: &[Place]) -> Option<Spot<'s, 'e, 'a>> {
        let frame = self.frames.get(index)?;
        Some(Spot {
            scene: self,
            index,
            frame,
            unit: self.application.symbols.as_ref()?.unit(frame.probe)?,
            function: places.last()?.entry?,
        })
    }

    /// Memory that the dump has, or that is constant in the application.
    pub(super) fn from(&self, address: u32) -> Option<&'s [u8]> {
        let memory = self.memory;
        memory
            .from(address)
            .or_else(|| self.application.elf.constant_from(address))
    }

    fn read(&self, address: u64, size: usize) -> Option<&'s [u8]> {
        self.from(u32::try_from(address).ok()?)?.get(..size)
    }
}

impl<'s, 'a> Spot<'s, '_, 'a> {
    /// The `size` bytes of the value that the attribute `name` of `entry`
    /// locates. `None` if it is optimized out or lies where the dump has nothing.
    pub(super) fn bytes(&self, entry: &Entry<'a>, size: usize) -> Option<Vec<u8>> {
        if let Some(constant) = entry.attr_value(gimli::DW_AT_const_value) {
            return constant_bytes(constant, size);
        }
        let expression = self.expression(entry, gimli::DW_AT_location)?;
        let pieces = self.evaluate(expression, 0)?;
        self.gather(&pieces, size)
    }

    /// The expression of an attribute that holds at this spot.
    fn expression(&self, entry: &Entry<'a>, name: DwAt) -> Option<Expression<Slice<'a>>> {
        let value = entry.attr_value(name)?;
        if let AttributeValue::Exprloc(expression) = value {
            return Some(expression);
        }
        let mut locations = self.unit.attr_locations(value).ok()??;
        let probe = u64::from(self.frame.probe);
        let mut tried = 0;
        while let Ok(Some(location)) = locations.next() {
            if location.range.begin <= probe && probe < location.range.end {
                return Some(location.data);
            }
            tried += 1;
            if tried > LOCATIONS_LIMIT {
                break;
            }
        }
        None
    }

    fn evaluate(
        &self,
        expression: Expression<Slice<'a>>,
        depth: u32,
    ) -> Option<Vec<Piece<Slice<'a>>>> {
        if depth > DEPTH_LIMIT {
            return None;
        }
        let mut evaluation = expression.evaluation(self.unit.encoding());
        evaluation.set_max_iterations(OPERATIONS_LIMIT);
        let mut state = evaluation.evaluate().ok()?;
        // every question answered takes at least one operation
        for _ in 0..OPERATIONS_LIMIT {
            state = match state {
                EvaluationResult::Complete => return Some(evaluation.result()),
                EvaluationResult::RequiresRegister {
                    register,
                    base_type,
                } => {
                    let value = self.frame.registers.general(register.0)?;
                    let value = gimli::Value::from_u64(self.value_type(base_type)?, value.into());
                    evaluation.resume_with_register(value.ok()?)
                }
                EvaluationResult::RequiresMemory {
                    address,
                    size,
                    base_type,
                    ..
                } => {
                    let value = little_endian(self.scene.read(address, size.into())?)?;
                    let value = gimli::Value::from_u64(self.value_type(base_type)?, value);
                    evaluation.resume_with_memory(value.ok()?)
                }
                EvaluationResult::RequiresCallFrameCfa => {
                    evaluation.resume_with_call_frame_cfa(self.cfa()?.into())
                }
                EvaluationResult::RequiresFrameBase => {
                    evaluation.resume_with_frame_base(self.frame_base(depth)?)
                }
                EvaluationResult::RequiresEntryValue(inner) => {
                    let value = self.value_at_entry(&inner, depth)?;
                    let (_, base_type) = single_register(&inner, self.unit.encoding())?;
                    let value = gimli::Value::from_u64(self.value_type(base_type)?, value);
                    evaluation.resume_with_entry_value(value.ok()?)
                }
                EvaluationResult::RequiresRelocatedAddress(address) => {
                    evaluation.resume_with_relocated_address(address)
                }
                EvaluationResult::RequiresIndexedAddress { index, .. } => {
                    evaluation.resume_with_indexed_address(self.unit.address(index).ok()?)
                }
                EvaluationResult::RequiresBaseType(offset) => {
                    evaluation.resume_with_base_type(self.value_type(offset)?)
                }
                _ => return None,
            }
            .ok()?;
        }
        None
    }

    fn value_type(&self, offset: UnitOffset) -> Option<ValueType> {
        if offset.0 == 0 {
            return Some(ValueType::Generic);
        }
        ValueType::from_entry(&self.unit.entry(offset).ok()?).ok()?
    }

    fn cfa(&self) -> Option<u32> {
        let rules = &self.scene.application.rules;
        self.frame
            .cfa
            .or_else(|| rules.cfa(&self.frame.registers, self.frame.probe))
    }

    fn frame_base(&self, depth: u32) -> Option<u64> {
        let function = self.unit.entry(self.function).ok()?;
        let expression = self.expression(&function, gimli::DW_AT_frame_base)?;
        match self.evaluate(expression, depth + 1)?.first()?.location {
            Location::Register { register } => {
                self.frame.registers.general(register.0).map(u64::from)
            }
            Location::Address { address } => Some(address),
            Location::Value { value } => value.to_u64(u64::from(u32::MAX)).ok(),
            _ => None,
        }
    }

    /// What `expression` was worth when the function was entered: the caller's
    /// debug information may tell what it passed.
    fn value_at_entry(&self, expression: &Expression<Slice<'a>>, depth: u32) -> Option<u64> {
        let caller_index = self.index + 1;
        let scene = self.scene;
        let frame = scene.frames.get(caller_index)?;
        if frame.interrupted != self.frame.interrupted {
            return None;
        }
        let places = scene.application.places(frame.probe);
        let caller = scene.spot(caller_index, &places)?;
        let (register, _) = single_register(expression, self.unit.encoding())?;
        // the caller's window is another one: a call8 makes its a10 the callee's a2
        let passed = match self.frame.registers.architecture() {
            Architecture::Xtensa => register + windows_moved(&self.frame.registers)?,
            Architecture::RiscV => register,
        };
        let value = caller.passed(passed, self)?;
        match caller.evaluate(value, depth + 1)?.first()?.location {
            // such an expression is the value, not the place of one
            Location::Address { address } => Some(address),
            ref location => little_endian(&caller.piece(location, 4)?),
        }
    }

    /// The expression for what the call that returns to this spot passes in `register`.
    fn passed(&self, register: u16, callee: &Self) -> Option<Expression<Slice<'a>>> {
        let mut entries = self.unit.entries_at_offset(self.function).ok()?;
        let root = entries.next_dfs().ok()??.depth();
        let mut site_depth = None;
        for _ in 0..ENTRIES_LIMIT {
            let entry = entries.next_dfs().ok()??;
            if entry.depth() <= root {
                return None;
            }
            if let Some(depth) = site_depth {
                if entry.depth() <= depth {
                    return None;
                }
                let parameter = matches!(
                    entry.tag(),
                    gimli::DW_TAG_call_site_parameter | gimli::DW_TAG_GNU_call_site_parameter
                );
                if parameter && self.parameter_register(entry) == Some(register) {
                    return exprloc(entry, gimli::DW_AT_call_value)
                        .or_else(|| exprloc(entry, gimli::DW_AT_GNU_call_site_value));
                }
            } else if self.is_call_site(entry) {
                if !self.calls(entry, callee) {
                    return None;
                }
                site_depth = Some(entry.depth());
            }
        }
        None
    }

    fn parameter_register(&self, parameter: &Entry<'a>) -> Option<u16> {
        let location = exprloc(parameter, gimli::DW_AT_location)?;
        single_register(&location, self.unit.encoding()).map(|(register, _)| register)
    }

    fn is_call_site(&self, entry: &Entry<'a>) -> bool {
        let returns_to = match entry.tag() {
            gimli::DW_TAG_call_site => gimli::DW_AT_call_return_pc,
            gimli::DW_TAG_GNU_call_site => gimli::DW_AT_low_pc,
            _ => return false,
        };
        entry
            .attr_value(returns_to)
            .and_then(|value| self.unit.attr_address(value).ok()?)
            == Some(self.frame.pc.into())
    }

    /// Whether the call goes to `callee` itself and not to something that then
    /// jumped there. A call through a pointer is believed.
    fn calls(&self, site: &Entry<'a>, callee: &Self) -> bool {
        let target = site
            .attr_value(gimli::DW_AT_call_origin)
            .or_else(|| site.attr_value(gimli::DW_AT_abstract_origin));
        let Some(target) = target else { return true };
        let entry = referred(self.unit, target);
        let named = entry.and_then(|entry| name(self.unit, &entry));
        let function = callee.unit.entry(callee.function).ok();
        let called = function.and_then(|entry| name(callee.unit, &entry));
        named.is_some() && named == called
    }

    fn gather(&self, pieces: &[Piece<Slice<'a>>], size: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for piece in pieces {
            let wanted = match piece.size_in_bits {
                Some(bits) => usize::try_from(bits / 8).ok()?,
                None => size,
            };
            if wanted > VALUE_LIMIT
                || bytes.len() + wanted > VALUE_LIMIT
                || piece.bit_offset.is_some_and(|bits| bits != 0)
            {
                return None;
            }
            bytes.extend(self.piece(&piece.location, wanted)?);
        }
        (bytes.len() >= size && size > 0).then(|| {
            bytes.truncate(size);
            bytes
        })
    }

    fn piece(&self, location: &Location<Slice<'a>>, size: usize) -> Option<Vec<u8>> {
        match location {
            Location::Register { register } => {
                let mut bytes = Vec::new();
                let count = u16::try_from(size.div_ceil(4)).ok()?;
                for number in 0..count {
                    let number = register.0.checked_add(number)?;
                    bytes.extend(self.frame.registers.general(number)?.to_le_bytes());
                }
                bytes.truncate(size);
                Some(bytes)
            }
            Location::Address { address } => Some(self.scene.read(*address, size)?.to_vec()),
            Location::Value { value } => {
                let bits = match value {
                    gimli::Value::F32(value) => value.to_bits().into(),
                    gimli::Value::F64(value) => value.to_bits(),
                    value => value.to_u64(u64::MAX).ok()?,
                };
                bits.to_le_bytes().get(..size).map(<[u8]>::to_vec)
            }
            Location::Bytes { value } => value.slice().get(..size).map(<[u8]>::to_vec),
            Location::Empty | Location::ImplicitPointer { .. } => None,
        }
    }
}

/// Up to eight bytes as a number.
pub(super) fn little_endian(bytes: &[u8]) -> Option<u64> {
    let mut number = [0; 8];
    number.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(number))
}

fn constant_bytes(value: AttributeValue<Slice<'_>>, size: usize) -> Option<Vec<u8>> {
    if let AttributeValue::Block(block) = value {
        return block.slice().get(..size).map(<[u8]>::to_vec);
    }
    let number = match value.sdata_value() {
        Some(number) => number.to_le_bytes(),
        None => value.udata_value()?.to_le_bytes(),
    };
    number.get(..size).map(<[u8]>::to_vec)
}

fn exprloc<'a>(entry: &Entry<'a>, name: DwAt) -> Option<Expression<Slice<'a>>> {
    entry.attr_value(name)?.exprloc_value()
}

/// The register that an expression reads, and the type that it is read as.
fn single_register(
    expression: &Expression<Slice<'_>>,
    encoding: gimli::Encoding,
) -> Option<(u16, UnitOffset)> {
    let mut operations = expression.operations(encoding);
    let found = match operations.next().ok()?? {
        gimli::Operation::Register { register } => (register.0, UnitOffset(0)),
        gimli::Operation::RegisterOffset {
            register,
            offset: 0,
            base_type,
        } => (register.0, base_type),
        _ => return None,
    };
    operations.next().ok()?.is_none().then_some(found)
}

/// By how many registers the call into this frame moved the window.
fn windows_moved(registers: &Registers) -> Option<u16> {
    u16::try_from((registers.general(0)? >> 30) * 4).ok()
}

/// Entry values of entry values: more callers are not asked.
const DEPTH_LIMIT: u32 = 4;
const OPERATIONS_LIMIT: u32 = 1000;
const LOCATIONS_LIMIT: usize = 4096;
/// Entries of one function searched for a call.
const ENTRIES_LIMIT: usize = 100_000;
/// The largest value that is read, in bytes.
const VALUE_LIMIT: usize = 256;
