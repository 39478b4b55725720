//! A register as it is in memory. Nobody waits for the disk here: what is noted
//! while a change is on its way to the disk is not lost by it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

/// A register's present state.
pub(super) struct Memory<T>(RwLock<State<T>>);

struct State<T> {
    current: Arc<T>,
    /// Whether something was noted that is not on the disk.
    noted: bool,
    /// While a change is being made: what was noted since it began. It is noted
    /// in the changed state as well before that becomes the present one.
    meanwhile: Option<Vec<Note<T>>>,
}

type Note<T> = Box<dyn Fn(&mut T) + Send + Sync>;

/// Notes that are remembered while a change is being made; what is noted beyond
/// is forgotten when the change is made.
const MAX_MEANWHILE: usize = 10_000;

impl<T: Clone> Memory<T> {
    pub(super) fn new(current: T) -> Self {
        Self(RwLock::new(State {
            current: Arc::new(current),
            noted: false,
            meanwhile: None,
        }))
    }

    /// The present state.
    pub(super) fn read(&self) -> Arc<T> {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&state.current)
    }

    /// Alters the present state; `note` may be applied to the one that a change
    /// makes, too.
    pub(super) fn note(&self, note: impl Fn(&mut T) + Send + Sync + 'static) {
        let mut state = self.state();
        // in place, unless somebody is reading: then of a copy of its own
        note(Arc::make_mut(&mut state.current));
        state.noted = true;
        if let Some(meanwhile) = &mut state.meanwhile
            && meanwhile.len() < MAX_MEANWHILE
        {
            meanwhile.push(Box::new(note));
        }
    }

    /// Whether something was noted since this was last asked.
    pub(super) fn take_noted(&self) -> bool {
        std::mem::take(&mut self.state().noted)
    }

    /// What was noted did not get onto the disk.
    pub(super) fn keep_noted(&self) {
        self.state().noted = true;
    }

    /// Begins a change, one at a time, of the state that is given with it.
    pub(super) fn begin(&self) -> (Changing<'_, T>, Arc<T>) {
        let mut state = self.state();
        state.meanwhile = Some(Vec::new());
        (Changing(self), Arc::clone(&state.current))
    }
}

impl<T> Memory<T> {
    fn state(&self) -> RwLockWriteGuard<'_, State<T>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change that is being made; dropped, nothing is changed.
pub(super) struct Changing<'a, T>(&'a Memory<T>);

impl<T> Changing<'_, T> {
    /// `next`, which is on the disk, becomes the present state.
    pub(super) fn end(self, mut next: T) {
        let mut state = self.0.state();
        let meanwhile = state.meanwhile.take().unwrap_or_default();
        for note in &meanwhile {
            note(&mut next);
        }
        state.noted = !meanwhile.is_empty();
        let before = std::mem::replace(&mut state.current, Arc::new(next));
        drop(state);
        // a large one takes a while
        drop(before);
    }
}

impl<T> Drop for Changing<'_, T> {
    fn drop(&mut self) {
        self.0.state().meanwhile = None;
    }
}

impl<T: fmt::Debug> fmt::Debug for Memory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_tuple("Memory").field(&state.current).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_while_a_change_is_made_is_in_the_state_after_it() {
        let memory = Memory::new(vec!["a"]);
        let (changing, before) = memory.begin();
        memory.note(|list| list.push("noted"));
        assert_eq!(*memory.read(), ["a", "noted"]);
        assert_eq!(*before, ["a"]);
        changing.end(vec!["a", "changed"]);
        assert_eq!(*memory.read(), ["a", "changed", "noted"]);
        assert!(memory.take_noted(), "it is not on the disk");
    }

    #[test]
    fn a_change_that_is_not_made_loses_no_note() {
        let memory = Memory::new(vec!["a"]);
        let (changing, _) = memory.begin();
        memory.note(|list| list.push("noted"));
        drop(changing);
        assert_eq!(*memory.read(), ["a", "noted"]);
        assert!(memory.take_noted());
        let (changing, before) = memory.begin();
        changing.end(before.to_vec());
        assert_eq!(*memory.read(), ["a", "noted"]);
        assert!(!memory.take_noted());
    }

    #[test]
    fn a_note_copies_the_state_only_while_somebody_reads_it() {
        let memory = Memory::new(vec!["a"]);
        let address = || Arc::as_ptr(&memory.read());
        let before = address();
        memory.note(|list| list.push("b"));
        assert_eq!(address(), before);
        let reader = memory.read();
        memory.note(|list| list.push("c"));
        assert_eq!((reader.len(), memory.read().len()), (2, 3));
    }
}
