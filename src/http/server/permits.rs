//! A semaphore whose size can change while permits are in use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A resizable semaphore; permits are given in order of waiting.
#[derive(Debug)]
pub(super) struct Permits {
    permits: Arc<Semaphore>,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    wanted: usize,
    /// Permits in use beyond the new size: dropped when they are returned.
    excess: usize,
}

/// A permit, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    pool: Arc<Permits>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Permits {
    /// `size` permits, at least one.
    pub(super) fn new(size: usize) -> Arc<Self> {
        let size = possible(size);
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(size)),
            size: Mutex::new(Size {
                wanted: size,
                excess: 0,
            }),
        })
    }

    /// Waits for a permit.
    pub(super) async fn take(self: &Arc<Self>) -> Permit {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let pool = Arc::clone(self);
        Permit { pool, permit }
    }

    /// A permit if there is one now.
    pub(super) fn try_take(self: &Arc<Self>) -> Option<Permit> {
        let permit = Some(Arc::clone(&self.permits).try_acquire_owned().ok()?);
        let pool = Arc::clone(self);
        Some(Permit { pool, permit })
    }

    /// Changes the size. If more permits are in use than that, none is given until
    /// enough were returned.
    pub(super) fn resize(&self, wanted: usize) {
        let wanted = possible(wanted);
        let mut size = self.size();
        let more = wanted.saturating_sub(size.wanted);
        let fewer = size.wanted.saturating_sub(wanted);
        let kept = more.min(size.excess);
        size.excess -= kept;
        self.permits.add_permits(more - kept);
        size.excess += fewer - self.permits.forget_permits(fewer);
        size.wanted = wanted;
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut size = self.pool.size();
        let permit = self.permit.take();
        if let Some(permit) = permit
            && size.excess > 0
        {
            size.excess -= 1;
            permit.forget();
        }
    }
}

fn possible(size: usize) -> usize {
    size.clamp(1, Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pool_grows_and_shrinks_while_permits_are_out() {
        let pool = Permits::new(2);
        let mut held = vec![pool.take().await, pool.take().await];
        assert!(pool.try_take().is_none());
        pool.resize(4);
        held.extend([pool.take().await, pool.take().await]);
        assert!(pool.try_take().is_none());
        // Two fewer, then one more again, all of it while four are out.
        pool.resize(2);
        pool.resize(3);
        held.pop();
        assert!(pool.try_take().is_none());
        held.pop();
        assert_eq!(held.len(), 2);
        let third = pool.try_take().unwrap();
        assert!(pool.try_take().is_none());
        drop((held, third));
        let all: Vec<_> = std::iter::from_fn(|| pool.try_take()).collect();
        assert_eq!(all.len(), 3);
    }

    #[tokio::test]
    async fn impossible_sizes_become_possible_ones() {
        let pool = Permits::new(0);
        let _one = pool.take().await;
        assert!(pool.try_take().is_none());
        pool.resize(usize::MAX);
        assert!(pool.try_take().is_some());
    }
}
