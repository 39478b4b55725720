//! Frees disk space: from which devices, and how much.

use std::collections::VecDeque;

use super::Rule;

/// A device, as far as its bytes are concerned.
#[derive(Debug)]
pub(super) struct Holder {
    /// Whether it is asked before those of which this is not so.
    pub(super) goes_first: bool,
    /// What all its dumps take.
    pub(super) bytes: u64,
    /// Dumps that may go and the bytes of each, oldest first.
    pub(super) removable: VecDeque<(usize, u64)>,
}

/// Takes the oldest of whichever device holds the most bytes, first of those
/// that go first, until all hold at
/// most `max_total` and `must_free` bytes are free, or nothing more may go.
pub(super) fn make(
    mut holders: Vec<Holder>,
    max_total: u64,
    mut must_free: u64,
) -> Vec<(usize, Rule)> {
    let mut total: u64 = holders.iter().map(|holder| holder.bytes).sum();
    let mut removals = Vec::new();
    loop {
        let rule = if must_free > 0 {
            Rule::MinFree
        } else if total > max_total {
            Rule::MaxTotal
        } else {
            return removals;
        };
        let largest = holders
            .iter_mut()
            .filter(|holder| !holder.removable.is_empty())
            .max_by_key(|holder| (holder.goes_first, holder.bytes));
        let taken = largest.and_then(|holder| {
            let (at, bytes) = holder.removable.pop_front()?;
            holder.bytes -= bytes;
            Some((at, bytes))
        });
        let Some((at, bytes)) = taken else {
            return removals;
        };
        total -= bytes;
        must_free = must_free.saturating_sub(bytes);
        removals.push((at, rule));
    }
}
