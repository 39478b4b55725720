//! A writer thread, so that logging does not wait for a slow disk or journal.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Items that may wait; more are dropped and counted.
const MOST_WAITING: usize = 4096;

/// The way to one writing thread.
#[derive(Debug)]
pub(super) struct Writer<T>(Arc<Queue<T>>);

#[derive(Debug)]
struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    dropped: u64,
    is_writing: bool,
}

impl<T: Send + 'static> Writer<T> {
    /// Begins to write: `write` gets each item, and how many were dropped
    /// before it.
    pub(super) fn begin(mut write: impl FnMut(T, u64) + Send + 'static) -> Self {
        let queue = Arc::new(Queue {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                dropped: 0,
                is_writing: false,
            }),
            changed: Condvar::new(),
        });
        let writer = Self(Arc::clone(&queue));
        std::thread::spawn(move || {
            loop {
                let (item, dropped) = queue.next();
                write(item, dropped);
                queue.lock().is_writing = false;
                queue.changed.notify_all();
            }
        });
        writer
    }

    /// Hands an item on. Never waits for the writing.
    pub(super) fn push(&self, item: T) {
        let mut state = self.0.lock();
        if state.waiting.len() >= MOST_WAITING {
            state.dropped += 1;
            return;
        }
        state.waiting.push_back(item);
        drop(state);
        self.0.changed.notify_all();
    }

    /// Waits until all is written, or for as long as `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let busy = |state: &mut State<T>| state.is_writing || !state.waiting.is_empty();
        let _ = self
            .0
            .changed
            .wait_timeout_while(self.0.lock(), patience, busy);
    }
}

impl<T> Queue<T> {
    fn next(&self) -> (T, u64) {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.waiting.pop_front() {
                state.is_writing = true;
                return (item, std::mem::take(&mut state.dropped));
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn while_the_disk_stalls_items_wait_up_to_a_bound_and_the_rest_is_counted() {
        let (go, stalled) = mpsc::channel::<()>();
        let (written, items) = mpsc::channel();
        let (reached, is_reached) = mpsc::channel();
        let writer = Writer::begin(move |item, dropped| {
            reached.send(()).unwrap();
            // the first waits until told, then all go through
            let _ = stalled.recv();
            written.send((item, dropped)).unwrap();
        });
        writer.push(0);
        is_reached.recv().unwrap();
        for item in 1..=MOST_WAITING + 7 {
            writer.push(item);
        }
        writer.flush(Duration::ZERO);
        assert!(items.try_recv().is_err());
        drop(go);
        writer.flush(PATIENCE);
        let written: Vec<_> = items.try_iter().collect();
        assert_eq!(written.len(), MOST_WAITING + 1);
        assert_eq!(written[..2], [(0, 0), (1, 7)]);
        assert_eq!(written[MOST_WAITING].0, MOST_WAITING);
    }

    #[test]
    fn what_was_handed_on_is_written_when_the_flush_returns() {
        let (written, items) = mpsc::channel();
        let writer = Writer::begin(move |item, _| written.send(item).unwrap());
        for item in 0..1000 {
            writer.push(item);
        }
        writer.flush(PATIENCE);
        assert_eq!(
            items.try_iter().collect::<Vec<_>>(),
            (0..1000).collect::<Vec<_>>()
        );
    }
}
