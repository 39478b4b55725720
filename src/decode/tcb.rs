//! FreeRTOS's task control block, by the layout in the application's debug
//! information: it differs with version and configuration.

use gimli::UnitRef;

use crate::coredump::{Memory, Task};
use crate::reader::{text_until_nul, word_at};

use super::application::Application;
use super::entry::{Entry, name};
use super::symbols::Slice;
use super::types;

/// Where the members of `tskTaskControlBlock` are, in bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Layout {
    members: Vec<(String, usize)>,
    /// Of a list item's pointer to the list that it is in.
    container: Option<usize>,
}

/// What a task's control block tells.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct ControlBlock {
    pub name: Option<String>,
    pub priority: Option<u32>,
    pub base_priority: Option<u32>,
    /// The core that the task is bound to.
    pub core: Option<u32>,
    pub stack_start: Option<u32>,
    pub stack_end: Option<u32>,
    /// Where the task's context was saved when it last gave the CPU away.
    pub top: Option<u32>,
    pub state: Option<&'static str>,
}

impl Layout {
    /// The layout in `application`, if it is built on FreeRTOS.
    pub(super) fn new(application: &Application<'_, '_>) -> Option<Self> {
        let symbols = application.symbols.as_ref()?;
        let scheduler = SCHEDULER
            .iter()
            .find_map(|name| application.elf.symbol(name))?;
        let unit = symbols.unit(scheduler.address)?;
        let mut entries = unit.entries();
        // the unit itself, then its first child
        entries.next_entry().ok()?;
        entries.next_entry().ok()?;
        for _ in 0..ENTRIES_LIMIT {
            let entry = entries.current()?;
            let whole = entry.tag() == gimli::DW_TAG_structure_type
                && entry.has_attr(gimli::DW_AT_byte_size);
            if whole && name(unit, entry).is_some_and(|name| name == STRUCTURE) {
                return Some(Self::of(unit, &entry.clone()));
            }
            entries.next_sibling().ok()??;
        }
        None
    }

    fn of<'a>(unit: UnitRef<'_, Slice<'a>>, structure: &Entry<'a>) -> Self {
        let mut layout = Self::default();
        for (name, offset, member) in members(unit, structure) {
            if layout.container.is_none() && name == STATE_ITEM {
                layout.container = member
                    .attr_value(gimli::DW_AT_type)
                    .and_then(|value| types::structure(unit, value))
                    .into_iter()
                    .flat_map(|item| members(unit, &item))
                    .find(|(name, ..)| name == "pxContainer" || name == "pvContainer")
                    .map(|(_, offset, _)| offset);
            }
            layout.members.push((name, offset));
        }
        layout
    }

    fn offset(&self, name: &str) -> Option<usize> {
        let (_, offset) = self.members.iter().find(|(known, _)| known == name)?;
        Some(*offset)
    }

    /// Reads the control block of `task`.
    pub(super) fn read(
        &self,
        task: &Task,
        memory: &Memory,
        application: &Application<'_, '_>,
    ) -> Option<ControlBlock> {
        let bytes = memory.from(task.tcb)?;
        let word = |name: &str| word_at(bytes, self.offset(name)?);
        let name = self.offset("pcTaskName").and_then(|at| {
            let end = bytes.len().min(at.checked_add(NAME_SIZE)?);
            Some(text_until_nul(bytes.get(at..end)?))
        });
        Some(ControlBlock {
            name: name.filter(|name| !name.is_empty()),
            priority: word("uxPriority"),
            base_priority: word("uxBasePriority"),
            core: word("xCoreID").filter(|core| *core < MOST_CORES),
            stack_start: word("pxStack"),
            stack_end: word("pxEndOfStack"),
            top: word("pxTopOfStack"),
            state: match task.crashed {
                true => Some("running"),
                false => self.state(task.tcb, bytes, memory, application),
            },
        })
    }

    /// What FreeRTOS's `eTaskGetState` would say: it goes by the lists that the
    /// task is in.
    fn state(
        &self,
        tcb: u32,
        bytes: &[u8],
        memory: &Memory,
        application: &Application<'_, '_>,
    ) -> Option<&'static str> {
        let list = |item: &str| {
            let at = self.offset(item)?.checked_add(self.container?)?;
            word_at(bytes, at).filter(|list| *list != 0)
        };
        let in_list = |list: u32, names: &[&str]| {
            let mut lists = names.iter().filter_map(|name| application.elf.symbol(name));
            lists.any(|symbol| list.wrapping_sub(symbol.address) < symbol.size.max(1))
        };
        let is_current = CURRENT
            .iter()
            .filter_map(|name| application.elf.symbol(name))
            .flat_map(|symbol| {
                (0..symbol.size / 4)
                    .take(4)
                    .map(move |i| symbol.address + 4 * i)
            })
            .any(|address| memory.word(address) == Some(tcb));
        if is_current {
            return Some("running");
        }
        let (state, event) = (list(STATE_ITEM)?, list("xEventListItem"));
        if event.is_some_and(|event| in_list(event, &["xPendingReadyList"]))
            || in_list(state, &["pxReadyTasksLists"])
        {
            return Some("ready");
        }
        if in_list(state, &["xDelayedTaskList1", "xDelayedTaskList2"]) {
            return Some("blocked");
        }
        if in_list(state, &["xTasksWaitingTermination"]) {
            return Some("deleted");
        }
        if !in_list(state, &["xSuspendedTaskList"]) {
            return None;
        }
        let waits_for_notification = self
            .offset("ucNotifyState")
            .and_then(|at| bytes.get(at))
            .is_some_and(|state| *state == WAITING_NOTIFICATION);
        // a task that waits without a time limit is kept with the suspended ones
        match event.is_some() || waits_for_notification {
            true => Some("blocked"),
            false => Some("suspended"),
        }
    }
}

fn members<'a>(
    unit: UnitRef<'_, Slice<'a>>,
    structure: &Entry<'a>,
) -> Vec<(String, usize, Entry<'a>)> {
    let mut members = Vec::new();
    let Ok(mut entries) = unit.entries_at_offset(structure.offset()) else {
        return members;
    };
    let (Ok(true), Ok(true)) = (entries.next_entry(), entries.next_entry()) else {
        return members;
    };
    while let Some(entry) = entries.current() {
        let offset = entry
            .attr_value(gimli::DW_AT_data_member_location)
            .and_then(|value| usize::try_from(value.udata_value()?).ok());
        if let (Some(name), Some(offset)) = (name(unit, entry), offset) {
            members.push((name, offset, entry.clone()));
        }
        if members.len() >= MEMBERS_LIMIT || !matches!(entries.next_sibling(), Ok(Some(_))) {
            break;
        }
    }
    members
}

const STRUCTURE: &str = "tskTaskControlBlock";
const STATE_ITEM: &str = "xStateListItem";
/// Functions of the unit that defines the structure.
const SCHEDULER: [&str; 3] = ["vTaskSwitchContext", "xTaskIncrementTick", "vTaskDelay"];
/// What runs on each core.
const CURRENT: [&str; 2] = ["pxCurrentTCBs", "pxCurrentTCB"];
/// Names are shorter than this; FreeRTOS cuts them.
const NAME_SIZE: usize = 16;
/// Higher numbers mean that the task is bound to none.
const MOST_CORES: u32 = 2;
/// FreeRTOS's `taskWAITING_NOTIFICATION`.
const WAITING_NOTIFICATION: u8 = 1;
const ENTRIES_LIMIT: usize = 100_000;
const MEMBERS_LIMIT: usize = 256;

#[cfg(test)]
mod tests {
    use super::super::elf::AppElf;
    use super::*;
    use crate::coredump::{RegionKind, Registers};
    use crate::device::Architecture;

    const APP: &[u8] = include_bytes!("../../tests/data/app.elf");
    const TCB: u32 = 0x3fc9_8000;

    /// The control block of a task whose list items are in the lists `state` and `event`.
    fn block(state: u32, event: u32, notify: u8, extra: &[(u32, u32)]) -> ControlBlock {
        let elf = AppElf::parse(APP).unwrap();
        let application = Application::new(&elf);
        let mut bytes = vec![0; 84];
        let mut set = |at: usize, word: u32| bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        set(0, 0x3fc9_9100);
        set(4 + 16, state);
        set(24 + 16, event);
        set(44, 20);
        set(48, 0x3fc9_9000);
        set(68, 1);
        set(72, 0x3fc9_9800);
        set(76, 5);
        bytes[52..56].copy_from_slice(b"pump");
        bytes[80] = notify;
        let mut regions = vec![(TCB, RegionKind::Tcb, 0..84)];
        for (address, word) in extra {
            let at = bytes.len();
            bytes.extend(word.to_le_bytes());
            regions.push((*address, RegionKind::Data, at..at + 4));
        }
        let memory = Memory::new(bytes, regions);
        let task = Task {
            tcb: TCB,
            crashed: false,
            registers: Registers::new(Architecture::RiscV),
            stack: None,
            fake_stack: false,
            name_hint: None,
            solicited: false,
        };
        let layout = Layout::new(&application).unwrap();
        layout.read(&task, &memory, &application).unwrap()
    }

    fn address(name: &str) -> u32 {
        let elf = AppElf::parse(APP).unwrap();
        elf.symbol(name).unwrap().address
    }

    #[test]
    fn members_are_where_the_debug_information_says() {
        let expected = ControlBlock {
            name: Some("pump".to_owned()),
            priority: Some(20),
            base_priority: Some(5),
            core: Some(1),
            stack_start: Some(0x3fc9_9000),
            stack_end: Some(0x3fc9_9800),
            top: Some(0x3fc9_9100),
            state: None,
        };
        assert_eq!(block(0, 0, 0, &[]), expected);
    }

    #[test]
    fn a_task_s_state_follows_from_the_list_that_it_is_in() {
        let (ready, delayed, suspended) = (
            address("pxReadyTasksLists") + 20,
            address("xDelayedTaskList1"),
            address("xSuspendedTaskList"),
        );
        for (state, event, notify, expected) in [
            (ready, 0, 0, Some("ready")),
            (delayed, 0, 0, Some("blocked")),
            (suspended, 0, 0, Some("suspended")),
            (suspended, 0x3fc9_a000, 0, Some("blocked")),
            (suspended, 0, 1, Some("blocked")),
            (0x3fc9_a000, 0, 0, None),
        ] {
            assert_eq!(
                block(state, event, notify, &[]).state,
                expected,
                "{state:#x} {event:#x}"
            );
        }
        let second_core = address("pxCurrentTCBs") + 4;
        assert_eq!(
            block(ready, 0, 0, &[(second_core, TCB)]).state,
            Some("running")
        );
    }
}
