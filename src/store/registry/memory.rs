//! A register in memory. Nothing here waits for the disk: what is noted
//! while a change is on its way to the disk is not lost by it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

/// A register's present state.
pub(super) struct Memory<T>(RwLock<State<T>>);

struct State<T> {
    current: Arc<T>,
    /// The weightiest of what was noted and is not on the disk.
    noted: Option<Weight>,
    /// While a change is being made: what was noted since it began. It is noted
    /// in the changed state as well before that becomes the present one.
    meanwhile: Option<Meanwhile<T>>,
}

type Note<T> = Box<dyn Fn(&mut T) + Send + Sync>;

/// How much it matters that a note is kept.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Weight {
    /// The next note of its kind replaces it, and is never far: when a device
    /// was last seen.
    Passing,
    /// Nobody may say it again, such as that a board was registered.
    Lasting,
}

struct Meanwhile<T> {
    notes: Vec<Note<T>>,
    passing: usize,
    noted: Option<Weight>,
}

/// Passing notes that are remembered while a change is being made; those beyond
/// are forgotten when the change is made. Lasting ones are all remembered: few
/// come, while the disk that the change waits for stalls.
const MAX_PASSING: usize = 10_000;

impl<T> Meanwhile<T> {
    fn remember(&mut self, weight: Weight, note: Note<T>) {
        self.noted = self.noted.max(Some(weight));
        if weight == Weight::Passing {
            if self.passing == MAX_PASSING {
                return;
            }
            self.passing += 1;
        }
        self.notes.push(note);
    }
}

impl<T> Default for Meanwhile<T> {
    fn default() -> Self {
        Self {
            notes: Vec::new(),
            passing: 0,
            noted: None,
        }
    }
}

impl<T: Clone> Memory<T> {
    pub(super) fn new(current: T) -> Self {
        Self(RwLock::new(State {
            current: Arc::new(current),
            noted: None,
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
    pub(super) fn note(&self, weight: Weight, note: impl Fn(&mut T) + Send + Sync + 'static) {
        let mut state = self.state();
        // in place, unless somebody is reading: then of a copy of its own
        note(Arc::make_mut(&mut state.current));
        state.noted = state.noted.max(Some(weight));
        if let Some(meanwhile) = &mut state.meanwhile {
            meanwhile.remember(weight, Box::new(note));
        }
    }

    /// The weightiest of what was noted since this was last given, if it is so
    /// weighty.
    pub(super) fn take_noted(&self, least: Weight) -> Option<Weight> {
        self.state().noted.take_if(|noted| *noted >= least)
    }

    /// What was noted did not get onto the disk.
    pub(super) fn keep_noted(&self, weight: Weight) {
        let mut state = self.state();
        state.noted = state.noted.max(Some(weight));
    }

    /// Begins a change, one at a time, of the state that is given with it.
    pub(super) fn begin(&self) -> (Changing<'_, T>, Arc<T>) {
        let mut state = self.state();
        state.meanwhile = Some(Meanwhile::default());
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
        for note in &meanwhile.notes {
            note(&mut next);
        }
        state.noted = meanwhile.noted;
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
    use super::Weight::{Lasting, Passing};
    use super::*;

    #[test]
    fn what_is_noted_while_a_change_is_made_is_in_the_state_after_it() {
        let memory = Memory::new(vec!["a"]);
        let (changing, before) = memory.begin();
        memory.note(Lasting, |list| list.push("noted"));
        assert_eq!(*memory.read(), ["a", "noted"]);
        assert_eq!(*before, ["a"]);
        changing.end(vec!["a", "changed"]);
        assert_eq!(*memory.read(), ["a", "changed", "noted"]);
        assert_eq!(memory.take_noted(Lasting), Some(Lasting), "not on the disk");
    }

    #[test]
    fn a_change_that_is_not_made_loses_no_note() {
        let memory = Memory::new(vec!["a"]);
        let (changing, _) = memory.begin();
        memory.note(Lasting, |list| list.push("noted"));
        drop(changing);
        assert_eq!(*memory.read(), ["a", "noted"]);
        assert_eq!(memory.take_noted(Lasting), Some(Lasting));
        let (changing, before) = memory.begin();
        changing.end(before.to_vec());
        assert_eq!(*memory.read(), ["a", "noted"]);
        assert_eq!(memory.take_noted(Passing), None);
    }

    #[test]
    fn a_note_copies_the_state_only_while_somebody_reads_it() {
        let memory = Memory::new(vec!["a"]);
        let address = || Arc::as_ptr(&memory.read());
        let before = address();
        memory.note(Lasting, |list| list.push("b"));
        assert_eq!(address(), before);
        let reader = memory.read();
        memory.note(Lasting, |list| list.push("c"));
        assert_eq!((reader.len(), memory.read().len()), (2, 3));
    }

    #[test]
    fn of_what_is_noted_while_a_change_stalls_only_passing_notes_are_bounded() {
        let memory = Memory::new((0, 0));
        let (changing, _) = memory.begin();
        for _ in 0..MAX_PASSING + 5 {
            memory.note(Passing, |(passing, _)| *passing += 1);
        }
        for _ in 0..MAX_PASSING + 5 {
            memory.note(Lasting, |(_, lasting)| *lasting += 1);
        }
        assert_eq!(*memory.read(), (MAX_PASSING + 5, MAX_PASSING + 5));
        changing.end((0, 0));
        assert_eq!(*memory.read(), (MAX_PASSING, MAX_PASSING + 5));
        assert_eq!(memory.take_noted(Passing), Some(Lasting));
    }

    #[test]
    fn notes_are_taken_when_one_is_as_weighty_as_asked_for() {
        let memory = Memory::new(0);
        memory.note(Passing, |n| *n += 1);
        assert_eq!(memory.take_noted(Lasting), None);
        assert_eq!(memory.take_noted(Passing), Some(Passing));
        assert_eq!(memory.take_noted(Passing), None);
        memory.note(Lasting, |n| *n += 1);
        memory.note(Passing, |n| *n += 1);
        assert_eq!(memory.take_noted(Lasting), Some(Lasting));
        memory.keep_noted(Passing);
        assert_eq!(memory.take_noted(Lasting), None);
    }
}
