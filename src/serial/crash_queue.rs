//! Waiting crashes, a queue per port, and which of them are dropped above the
//! limit. Sums are kept up to date, since thousands of small crashes may wait.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::crash_recorder::RepeatKey;

/// The queues of all ports; `T` is the part of a crash that does not matter here.
pub(super) struct CrashQueues<T> {
    ports: BTreeMap<String, PortQueue<T>>,
    bytes: usize,
    /// How many crashes are not examined yet.
    unexamined: usize,
    numbers: u64,
    /// Recently stored crashes: another one like them is a repeat.
    stored: VecDeque<(String, RepeatKey)>,
    closed: bool,
}

/// One port's waiting crashes, oldest first.
struct PortQueue<T> {
    items: VecDeque<QueuedCrash<T>>,
    bytes: usize,
    /// How many have the same key.
    alike: HashMap<RepeatKey, usize>,
}

struct QueuedCrash<T> {
    number: u64,
    bytes: usize,
    examined: Examined,
    /// Another one with the same key is stored or waits before it.
    is_repeat: bool,
    may_drop: bool,
    stage: Stage,
    content: T,
}

/// Whether a crash's key is known.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Examined {
    NotYet,
    As(Option<RepeatKey>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Waiting,
    BeingStored,
    /// Storing failed and is tried again.
    Failed,
}

impl<T> CrashQueues<T> {
    pub(super) fn new() -> Self {
        Self {
            ports: BTreeMap::new(),
            bytes: 0,
            unexamined: 0,
            numbers: 0,
            stored: VecDeque::new(),
            closed: false,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn are_examined(&self) -> bool {
        self.unexamined == 0
    }

    /// Nothing waits any longer, except for the end of an attempt to store it.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Adds a crash; answers with its number.
    pub(super) fn push(
        &mut self,
        port: &str,
        bytes: usize,
        examined: Examined,
        may_drop: bool,
        content: T,
    ) -> u64 {
        self.numbers += 1;
        self.bytes += bytes;
        self.unexamined += 1;
        let queue = self.ports.entry(port.to_owned()).or_default();
        queue.bytes += bytes;
        queue.items.push_back(QueuedCrash {
            number: self.numbers,
            bytes,
            examined: Examined::NotYet,
            is_repeat: false,
            may_drop,
            stage: Stage::Waiting,
            content,
        });
        if let Examined::As(repeat_key) = examined {
            self.examined(port, self.numbers, repeat_key);
        }
        self.numbers
    }

    /// A crash was examined, if it still waits.
    pub(super) fn examined(&mut self, port: &str, number: u64, repeat_key: Option<RepeatKey>) {
        let Some(queue) = self.ports.get_mut(port) else {
            return;
        };
        let alike = repeat_key
            .as_ref()
            .map_or(0, |repeat_key| queue.count(repeat_key));
        let Some(item) = queue.item(number) else {
            return;
        };
        item.is_repeat = alike > 0 || is_in(&self.stored, port, repeat_key.as_ref());
        item.examined = Examined::As(repeat_key.clone());
        if let Some(repeat_key) = repeat_key {
            queue.alike.insert(repeat_key, alike + 1);
        }
        self.unexamined -= 1;
    }

    /// Takes out what is too much. While crashes are being examined a little
    /// more may wait: the newest may turn out to be repeats.
    pub(super) fn drop_excess(&mut self) -> Vec<T> {
        let mut dropped = Vec::new();
        while let Some((port, at)) = self.next_to_drop() {
            dropped.extend(self.remove_at(&port, at));
        }
        dropped
    }

    fn next_to_drop(&self) -> Option<(String, usize)> {
        if self.closed {
            return self.newest(|item| item.stage != Stage::BeingStored);
        }
        let more = if self.unexamined > 0 { MOST_MORE } else { 0 };
        let is_only_one = self.ports.len() == 1 && self.ports.values().all(PortQueue::has_one);
        if self.bytes <= MOST_BYTES + more || is_only_one {
            return None;
        }
        let may_go = |item: &QueuedCrash<T>| item.may_drop && item.stage == Stage::Waiting;
        self.newest(|item| item.is_repeat && may_go(item))
            .or_else(|| self.newest(may_go))
    }

    /// The newest of these, of the port that has the most bytes waiting.
    fn newest(&self, is_one: impl Fn(&QueuedCrash<T>) -> bool) -> Option<(String, usize)> {
        let of_ports = self.ports.iter().filter_map(|(port, queue)| {
            let at = queue.items.iter().rposition(&is_one)?;
            Some((queue.bytes, port, at))
        });
        let (_, port, at) = of_ports.max_by_key(|(bytes, ..)| *bytes)?;
        Some((port.clone(), at))
    }

    /// The port's oldest crash that was not taken yet.
    pub(super) fn take(&mut self, port: &str) -> Option<(u64, &mut T)> {
        let queue = self.ports.get_mut(port)?;
        let mut items = queue.items.iter_mut();
        let item = items.find(|item| item.stage == Stage::Waiting)?;
        item.stage = Stage::BeingStored;
        Some((item.number, &mut item.content))
    }

    /// Storing a crash failed and is tried again.
    pub(super) fn failed(&mut self, port: &str, number: u64) {
        self.enter(port, number, Stage::Failed);
    }

    /// A crash is tried again; answers whether it is still there.
    pub(super) fn try_again(&mut self, port: &str, number: u64) -> bool {
        self.enter(port, number, Stage::BeingStored)
    }

    fn enter(&mut self, port: &str, number: u64, stage: Stage) -> bool {
        let queue = self.ports.get_mut(port);
        let item = queue.and_then(|queue| queue.item(number));
        item.map(|item| item.stage = stage).is_some()
    }

    /// A crash was stored: others like it are repeats from now on.
    pub(super) fn stored(&mut self, port: &str, number: u64, repeat_key: RepeatKey) {
        if let Some(queue) = self.ports.get_mut(port) {
            queue.are_repeats(&repeat_key, number);
        }
        self.stored.push_back((port.to_owned(), repeat_key));
        if self.stored.len() > MOST_STORED {
            self.stored.pop_front();
        }
    }

    /// A crash waits no longer.
    pub(super) fn remove(&mut self, port: &str, number: u64) -> Option<T> {
        let at = self.ports.get(port)?.at(number)?;
        self.remove_at(port, at)
    }

    fn remove_at(&mut self, port: &str, at: usize) -> Option<T> {
        let queue = self.ports.get_mut(port)?;
        let item = queue.items.remove(at)?;
        queue.bytes -= item.bytes;
        self.bytes -= item.bytes;
        match item.examined {
            Examined::NotYet => self.unexamined -= 1,
            Examined::As(None) => {}
            Examined::As(Some(repeat_key)) => {
                let stays_known = item.is_repeat || is_in(&self.stored, port, Some(&repeat_key));
                queue.one_less(repeat_key, stays_known);
            }
        }
        if queue.items.is_empty() {
            self.ports.remove(port);
        }
        Some(item.content)
    }

    /// What waits.
    pub(super) fn contents(&self) -> impl Iterator<Item = &T> {
        let items = self.ports.values().flat_map(|queue| &queue.items);
        items.map(|item| &item.content)
    }
}

impl<T> Default for PortQueue<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            alike: HashMap::new(),
        }
    }
}

impl<T> PortQueue<T> {
    fn has_one(&self) -> bool {
        self.items.len() == 1
    }

    /// Where it is: numbers only rise.
    fn at(&self, number: u64) -> Option<usize> {
        self.items
            .binary_search_by_key(&number, |item| item.number)
            .ok()
    }

    fn item(&mut self, number: u64) -> Option<&mut QueuedCrash<T>> {
        let at = self.at(number)?;
        self.items.get_mut(at)
    }

    fn count(&self, repeat_key: &RepeatKey) -> usize {
        self.alike.get(repeat_key).copied().unwrap_or_default()
    }

    /// Marks those as repeats that are like the one with this `number`. If it
    /// was known to be like them, they are marked already.
    fn are_repeats(&mut self, repeat_key: &RepeatKey, number: u64) {
        let was_known = self
            .item(number)
            .is_some_and(|item| item.is_like(repeat_key));
        if was_known || self.count(repeat_key) == 0 {
            return;
        }
        for item in &mut self.items {
            item.is_repeat |= item.is_like(repeat_key);
        }
    }

    /// One with this repeat_key is gone. Unless the others are repeats all the
    /// same, the oldest of them is the first now.
    fn one_less(&mut self, repeat_key: RepeatKey, are_repeats: bool) {
        let left = self.count(&repeat_key).saturating_sub(1);
        if left == 0 {
            self.alike.remove(&repeat_key);
            return;
        }
        if !are_repeats {
            let mut items = self.items.iter_mut();
            if let Some(item) = items.find(|item| item.is_like(&repeat_key)) {
                item.is_repeat = false;
            }
        }
        self.alike.insert(repeat_key, left);
    }
}

impl<T> QueuedCrash<T> {
    fn is_like(&self, repeat_key: &RepeatKey) -> bool {
        matches!(&self.examined, Examined::As(Some(own)) if own == repeat_key)
    }
}

fn is_in(
    stored: &VecDeque<(String, RepeatKey)>,
    port: &str,
    repeat_key: Option<&RepeatKey>,
) -> bool {
    let mut stored = stored.iter();
    repeat_key.is_some_and(|repeat_key| stored.any(|(of, known)| of == port && known == repeat_key))
}

/// What may wait, over all ports.
pub(super) const MOST_BYTES: usize = 8 << 20;
/// What may wait besides while crashes are being examined.
const MOST_MORE: usize = 2 << 20;
/// Stored crashes that are remembered to know repeats by.
const MOST_STORED: usize = 256;

#[cfg(test)]
mod tests;
