//! Frees disk space: from which devices, and how much.

use std::collections::VecDeque;

use super::{RetentionLimits, Rule};

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
/// that go first, until all hold at most `max_total`, `must_free` bytes are free and
/// `must_go` dumps are gone, or nothing more may go.
pub(super) fn make(mut holders: Vec<Holder>, limits: RetentionLimits) -> Vec<(usize, Rule)> {
    let RetentionLimits {
        max_total,
        mut must_free,
        mut must_go,
        ..
    } = limits;
    let mut total: u64 = holders.iter().map(|holder| holder.bytes).sum();
    let mut removals = Vec::new();
    loop {
        let rule = if must_free > 0 || must_go > 0 {
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
        must_go = must_go.saturating_sub(1);
        removals.push((at, rule));
    }
}
