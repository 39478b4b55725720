//! Values that very many records have in common, each once in memory.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Values that are shared while somebody has them.
pub struct Pool<T: ?Sized>(Mutex<Kept<T>>);

struct Kept<T: ?Sized> {
    values: HashSet<Arc<T>>,
    /// With so many it is looked which are not used any more.
    look_at: usize,
}

/// The fewest values with which it is looked which are not used any more.
const FEW: usize = 1024;

impl<T: Eq + Hash + ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::new(Kept {
            values: HashSet::new(),
            look_at: FEW,
        }))
    }
}

impl<T: Eq + Hash + ?Sized> Pool<T> {
    /// The one that is equal to `value`.
    pub fn share(&self, value: impl Borrow<T> + Into<Arc<T>>) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.values.get(value.borrow()) {
            return Arc::clone(known);
        }
        if kept.values.len() >= kept.look_at {
            kept.values.retain(|value| Arc::strong_count(value) > 1);
            kept.look_at = FEW.max(2 * kept.values.len());
        }
        let value: Arc<T> = value.into();
        kept.values.insert(Arc::clone(&value));
        value
    }
}

/// A text that many have: a model, a version, a device.
pub fn text(text: &str) -> Arc<str> {
    static TEXTS: LazyLock<Pool<str>> = LazyLock::new(Pool::default);
    TEXTS.share(text)
}

/// The same for one that may be missing.
pub fn maybe(known: Option<&str>) -> Option<Arc<str>> {
    known.map(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_unused_ones_are_dropped() {
        let pool = Pool::<str>::default();
        let one = pool.share("a");
        assert!(Arc::ptr_eq(&one, &pool.share(String::from("a"))));
        for n in 0..10 * FEW {
            pool.share(n.to_string());
        }
        let kept = pool.0.lock().unwrap();
        assert!(kept.values.len() <= FEW, "{}", kept.values.len());
        assert!(kept.values.contains("a"));
    }
}
